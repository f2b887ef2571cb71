//! One HTTP/1.1 request on a connection of its own, and its whole answer.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use url::Url;

/// How long a server may take.
const WAIT: Duration = Duration::from_secs(10);

/// An answer larger than this is not one to an offer.
const ANSWER_MAX: u64 = 256 * 1024;

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: String,
}

/// Sends `method` with `body`, if there is one, and reads until the server closes.
///
/// # Errors
/// No connection, no answer in time, or none that is HTTP/1.1.
pub(super) async fn exchange(method: &str, url: &Url, body: Option<&str>) -> io::Result<Answer> {
    let odd = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let host =
        url.host_str().filter(|_| url.scheme() == "http").ok_or_else(|| odd("only http:// URLs are measured"))?;
    let port = url.port_or_known_default().unwrap_or(80);
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = format!(
        "{method} {}{query} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: campanile-load\r\nConnection: close\r\n",
        url.path()
    );
    if let Some(body) = body {
        request.push_str(&format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
    } else {
        request.push_str("\r\n");
    }
    let whole = timeout(WAIT, async {
        let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await?;
        stream.set_nodelay(true)?;
        stream.write_all(request.as_bytes()).await?;
        let mut whole = Vec::new();
        stream.take(ANSWER_MAX).read_to_end(&mut whole).await?;
        Ok::<_, io::Error>(whole)
    });
    let whole = whole.await.map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no answer in 10 s"))??;
    parse(&String::from_utf8_lossy(&whole)).ok_or_else(|| odd("an answer that is not HTTP/1.1"))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let header = |wanted: &str| {
        let (_, value) =
            head.lines().filter_map(|line| line.split_once(':')).find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.trim())
    };
    let chunked = header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let body = if chunked { unchunk(body) } else { body.to_owned() };
    Some(Answer { status, location: header("location").map(str::to_owned), body })
}

/// RFC 9112 §7.1.
fn unchunk(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let Some(size) = usize::from_str_radix(size.trim(), 16).ok().filter(|size| *size > 0) else { break };
        let Some(chunk) = tail.get(..size) else { break };
        whole.push_str(chunk);
        rest = tail.get(size + 2..).unwrap_or_default();
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_with_a_length_and_in_chunks() {
        let plain = parse("HTTP/1.1 201 Created\r\nlocation: /a/whep/1\r\ncontent-length: 3\r\n\r\nv=0").unwrap();
        assert_eq!((plain.status, plain.location.as_deref(), &*plain.body), (201, Some("/a/whep/1"), "v=0"));
        let chunked = "HTTP/1.1 406 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).unwrap().body, "abc");
        assert!(parse("HTTP/1.1").is_none());
    }
}
