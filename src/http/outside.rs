//! What the server that decides about callers (`auth.http`) is asked before a request goes on: it follows from the door and
//! the URL. Handlers that name a path by themselves ask about that with [`Front::ask`]. Whatever is not asked is refused to
//! callers from outside.

use http::Uri;

use super::{
    caller::too_many_attempts,
    front::Front,
    problem::Problem,
    target::{self, Target},
};
use crate::{
    auth::{Action, Caller, Deed, Knock},
    base::{PathName, Secret},
    stats::HttpDoor,
};

/// How somebody came to a door of this listener.
pub(super) fn knock(caller: &Caller, uri: &Uri, door: HttpDoor) -> Knock {
    let protocol = match door {
        HttpDoor::Playlist | HttpDoor::Media => "hls",
        HttpDoor::Whep => "webrtc",
        HttpDoor::Api | HttpDoor::Events | HttpDoor::Page | HttpDoor::Watch => "",
    };
    Knock { protocol, query: Secret::new(uri.query().unwrap_or_default()), ..Knock::from(caller.peer.ip()) }
}

/// What a request to a door is about. Pages themselves are everybody's.
pub(super) fn deed(uri: &Uri, door: HttpDoor) -> Option<Deed> {
    match door {
        HttpDoor::Playlist | HttpDoor::Media | HttpDoor::Whep => match target::split(uri.path()) {
            Ok(Target::Hls(place, _) | Target::Whep(place, _)) => Some(Deed::Read(place.path)),
            _ => None,
        },
        HttpDoor::Api | HttpDoor::Events => Some(Deed::Api),
        HttpDoor::Watch => (uri.path() == "/metrics").then_some(Deed::Metrics),
        HttpDoor::Page => None,
    }
}

impl Front {
    /// Asks about an action on a path, if that is to be asked elsewhere. The gate's check comes after it.
    ///
    /// # Errors
    /// 429: they failed too often, or too many ask at the same time.
    pub(super) async fn ask(&self, caller: &Caller, action: Action, path: &PathName) -> Result<(), Problem> {
        self.ask_about(caller, &Deed::on(action, path)).await
    }

    /// The same of every path there is, for lists.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn ask_about_all(&self, caller: &Caller) -> Result<(), Problem> {
        if !self.rooms.gate.asks_outside() {
            return Ok(());
        }
        let names = self.rooms.hub.names();
        let deeds: Vec<Deed> = names.into_iter().map(Deed::Read).collect();
        // A few at a time: others ask as well.
        for some in deeds.chunks(8) {
            let asked = futures_util::future::join_all(some.iter().map(|deed| self.ask_about(caller, deed)));
            asked.await.into_iter().collect::<Result<(), Problem>>()?;
        }
        Ok(())
    }

    /// Asks about a deed.
    ///
    /// # Errors
    /// The same.
    pub(super) async fn ask_about(&self, caller: &Caller, deed: &Deed) -> Result<(), Problem> {
        let asked = self.rooms.gate.ask(caller, deed, self.rooms.clock.moment());
        asked.await.map_err(too_many_attempts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_follows_from_the_door_and_the_url() {
        let read = || Some(Deed::Read("site/cam".parse().unwrap()));
        let table = [
            ("/site/cam/index.m3u8", HttpDoor::Playlist, read(), "hls"),
            ("/site/cam/sub/index.m3u8", HttpDoor::Playlist, read(), "hls"),
            ("/site/cam/hls/main_1.mp4", HttpDoor::Media, read(), "hls"),
            ("/site/cam/whep", HttpDoor::Whep, read(), "webrtc"),
            ("/site/cam/whep/0123", HttpDoor::Whep, read(), "webrtc"),
            ("/a//b/index.m3u8", HttpDoor::Playlist, None, "hls"),
            ("/api/v1/alerts", HttpDoor::Api, Some(Deed::Api), ""),
            ("/ws/events", HttpDoor::Events, Some(Deed::Api), ""),
            ("/metrics", HttpDoor::Watch, Some(Deed::Metrics), ""),
            ("/healthz", HttpDoor::Watch, None, ""),
            ("/site/cam/", HttpDoor::Page, None, ""),
        ];
        let caller = Caller::direct("10.0.0.9:5000".parse().unwrap());
        for (url, door, expected, protocol) in table {
            let uri: Uri = format!("{url}?a=1").parse().unwrap();
            assert_eq!(deed(&uri, door), expected, "{url}");
            let knock = knock(&caller, &uri, door);
            assert_eq!((knock.protocol, knock.query.reveal()), (protocol, "a=1"), "{url}");
        }
    }
}
