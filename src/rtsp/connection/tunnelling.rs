//! A connection that turns out to be half of a tunnel through HTTP: the answers' half goes on with what the other one
//! brings, the requests' half hands itself over to it.

use super::Connection;
use crate::rtsp::{
    ending::End,
    framing::{Framing, HttpHead},
    tunnel::{self, Post, Wish},
    wire::Wire,
};

impl Connection {
    /// What came is HTTP: one half of a tunnel, or a mistake.
    pub(super) fn on_http(&mut self, head: &HttpHead) -> Result<(), End> {
        let ip = self.caller.peer.ip();
        let may_tunnel = self.shared.options.http_tunnel && !self.session.was_asked();
        let wish = if may_tunnel { Wish::of(head) } else { Wish::Other("404 Not Found") };
        match wish {
            Wish::Down(cookie) => {
                let Some((entry, posts)) = self.shared.tunnels.enter(cookie, ip) else {
                    self.io.outbox.put_bytes(&tunnel::refusal("503 Service Unavailable"));
                    return Err(End::Unreadable(None));
                };
                self.caller.relayed |= tunnel::is_relayed(head, ip);
                let direct = std::mem::replace(&mut self.io.wire, Wire::Closed);
                self.io.wire = direct.into_tunnel(entry, posts);
                self.io.framing = Framing::default();
                self.session.keep_media_inside();
                self.io.outbox.put_bytes(tunnel::GET_ANSWER);
                self.retime = true;
                Ok(())
            }
            Wish::Up(cookie) => {
                let rest = self.io.framing.take_rest();
                let wire = std::mem::replace(&mut self.io.wire, Wire::Closed);
                let stream = wire.into_stream().and_then(|stream| stream.leave().ok());
                let Some(stream) = stream else { return Err(End::HandedOver) };
                match self.shared.tunnels.hand_over(&cookie, ip, Post { stream, rest }) {
                    Ok(()) => Err(End::HandedOver),
                    Err(post) => {
                        self.io.wire = Wire::Direct(post.stream.enter().map_err(End::Client)?);
                        self.io.outbox.put_bytes(&tunnel::refusal("404 Not Found"));
                        Err(End::Unreadable(None))
                    }
                }
            }
            Wish::Other(status) => {
                self.io.outbox.put_bytes(&tunnel::refusal(status));
                Err(End::Unreadable(None))
            }
        }
    }
}
