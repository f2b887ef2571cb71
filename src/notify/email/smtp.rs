//! One mail over a connection of its own: dialled, made TLS, and given to `lettre`, which speaks SMTP on it.
//!
//! The library could dial by itself, but not judge a certificate by its fingerprint. STARTTLS (RFC 3207) is said here, for
//! the library begins with a server's greeting: it is given one of ours when the real one is behind.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use lettre::{
    Message,
    transport::smtp::{
        authentication::{Credentials, Mechanism},
        client::{AsyncSmtpConnection, AsyncTokioStream},
        extension::ClientId,
    },
};
use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::Email;
use crate::{
    base::{Error, Kind, Result},
    config::MailEncryption,
    net::dial::{self, Stream},
    notify::Outcome,
};

/// What a server may say in one conversation, in bytes.
const SAID_MAX: usize = 256 * 1024;
/// The longest reply before TLS, in bytes.
const REPLY_MAX: usize = 8 * 1024;
const GREETING: &[u8] = b"220 secured\r\n";

/// Sends a mail. The caller bounds the time.
pub(super) async fn send(email: &Email, message: &Message) -> Outcome {
    let host = email.server.as_str();
    let line = match connect(email).await {
        Ok(line) => line,
        Err(error) => return Outcome::Away { after: None, why: error.chain() },
    };
    match converse(email, line, message).await {
        Ok(()) => Outcome::Delivered,
        Err(error) => {
            let why = format!("{host}: {}", told(&error));
            match error.status() {
                // RFC 5321 §4.2.1: 5yz will not be otherwise the next time, 4yz may.
                Some(_) if error.is_permanent() => Outcome::Refused { why },
                None if error.is_client() => Outcome::Refused { why },
                _ => Outcome::Away { after: None, why },
            }
        }
    }
}

fn told(error: &lettre::transport::smtp::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn converse(
    email: &Email,
    line: Line,
    message: &Message,
) -> std::result::Result<(), lettre::transport::smtp::Error> {
    let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(line), &name()).await?;
    if let Some((user, password)) = &email.login {
        let credentials = Credentials::new(user.clone(), password.reveal().to_owned());
        connection.auth(&[Mechanism::Plain, Mechanism::Login], &credentials).await?;
    }
    connection.send(message.envelope(), &message.formatted()).await?;
    // It has the mail; how it says goodbye changes nothing.
    let _ = connection.quit().await;
    Ok(())
}

/// Who we say we are.
fn name() -> ClientId {
    ClientId::Domain("campanile".to_owned())
}

async fn connect(email: &Email) -> Result<Line> {
    let host = email.server.trim_matches(['[', ']']);
    let tcp = dial::connect(&dial::look_up(host, email.port).await?).await?;
    let peer = tcp.peer_addr().map_err(|error| Error::new(Kind::Unavailable, host.to_owned()).caused_by(error))?;
    let line = |stream: Box<dyn Stream>, greeting| Line { stream, peer, greeting, left: SAID_MAX };
    match (email.encryption, &email.tls) {
        (MailEncryption::Tls, Some(tls)) => Ok(line(dial::secure(tcp, host, tls.clone()).await?, &[])),
        (MailEncryption::Starttls, Some(tls)) => Ok(line(start_tls(tcp, host, tls.clone()).await?, GREETING)),
        _ => Ok(line(Box::new(tcp), &[])),
    }
}

/// RFC 3207 §4: greeting, EHLO, STARTTLS, and TLS. What the server says in the clear is believed in nothing.
async fn start_tls(mut tcp: TcpStream, host: &str, tls: Arc<ClientConfig>) -> Result<Box<dyn Stream>> {
    let refused = |what: &str| Error::new(Kind::Unavailable, format!("{host}: {what}"));
    for (say, expected) in [("", "220"), ("EHLO campanile\r\n", "250"), ("STARTTLS\r\n", "220")] {
        let broken = |error: io::Error| refused("smtp").caused_by(error);
        tcp.write_all(say.as_bytes()).await.map_err(broken)?;
        let reply = reply(&mut tcp).await.map_err(broken)?;
        if !reply.starts_with(expected) {
            let said: String = reply.chars().filter(|c| !c.is_control()).take(120).collect();
            let what = if say.starts_with("STARTTLS") { "it does not offer TLS" } else { "it does not take us" };
            return Err(refused(&format!("{what}: {said}")));
        }
    }
    dial::secure(tcp, host, tls).await
}

/// A reply of one or more lines, the last of which has a space after its code (RFC 5321 §4.2.1). Byte by byte: what
/// follows it belongs to TLS.
async fn reply(tcp: &mut TcpStream) -> io::Result<String> {
    let (mut reply, mut begins) = (Vec::new(), 0);
    loop {
        let byte = tcp.read_u8().await?;
        reply.push(byte);
        if byte == b'\n' {
            if reply.get(begins + 3) != Some(&b'-') {
                return Ok(String::from_utf8_lossy(&reply).into_owned());
            }
            begins = reply.len();
        }
        if reply.len() > REPLY_MAX {
            return Err(io::Error::other("the reply is too long"));
        }
    }
}

/// The connection as the library reads it: a greeting if it missed the real one, and no more than a server may say.
#[derive(Debug)]
struct Line {
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    greeting: &'static [u8],
    left: usize,
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.greeting.is_empty() {
            let (now, later) = self.greeting.split_at(self.greeting.len().min(buf.remaining()));
            buf.put_slice(now);
            self.greeting = later;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        match self.left.checked_sub(read) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("the server says too much"))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for Line {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}
