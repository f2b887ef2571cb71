//! The listener of port 80, where an authority asks whether a name leads here (HTTP-01, RFC 8555 §8.3). Whoever else comes
//! is sent on to HTTPS. Nothing else is here: no path, no caller, no cookie.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};
use tracing::{Span, debug, info_span};

use crate::{
    base::Tasks,
    net::acme::{Answers, WELL_KNOWN},
};

/// Connections at once; further ones wait.
const MOST: usize = 64;
/// What a connection may take in all.
const LIMIT: Duration = Duration::from_secs(10);
/// The largest head of a request.
const HEAD_MAX: usize = 8192;

/// Answers on a listener that is bound already. `https_port` is where others are sent; 443 is left out.
pub fn serve_challenges(listener: TcpListener, answers: Answers, https_port: u16, tasks: &Tasks) {
    let (tasks, owner) = (tasks.child(), tasks.clone());
    let address = listener.local_addr().map_or_else(|_| String::from("?"), |address| address.to_string());
    let seats = Arc::new(Semaphore::new(MOST));
    owner.spawn(format!("http/challenges/{address}"), info_span!("challenges", listener = %address), async move {
        let stopping = tasks.stopping().clone();
        loop {
            let next = async {
                let seat = seats.clone().acquire_owned().await;
                (listener.accept().await, seat)
            };
            let (accepted, seat) = tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                next = next => next,
            };
            let (Ok((socket, peer)), Ok(seat)) = (accepted, seat) else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let answers = answers.clone();
            tasks.spawn("http/challenge", Span::none(), async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&request, &answers, https_port, peer);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut builder = http1::Builder::new();
                builder.header_read_timeout(None).keep_alive(false).max_buf_size(HEAD_MAX);
                let _ended = timeout(LIMIT, builder.serve_connection(TokioIo::new(socket), service)).await;
                drop(seat);
            });
        }
    });
}

fn answer<B>(request: &Request<B>, answers: &Answers, https_port: u16, peer: SocketAddr) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(token) = request.uri().path().strip_prefix(WELL_KNOWN).filter(|_| reads) {
        let Some(answer) = answers.to(token) else {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        };
        debug!(%peer, "an authority asked whether this name leads here");
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        *response.body_mut() = Full::from(answer);
        return response;
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = elsewhere(host, https_port, path).and_then(|url| HeaderValue::try_from(url).ok());
    match location {
        Some(location) => {
            *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
            response.headers_mut().insert(header::LOCATION, location);
        }
        None => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    response
}

/// The same over HTTPS; nothing for what is no host.
fn elsewhere(host: &str, port: u16, path: &str) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'[' | b']' | b':');
    if name.is_empty() || !name.bytes().all(plain) || !path.starts_with('/') {
        return None;
    }
    Some(if port == 443 { format!("https://{name}{path}") } else { format!("https://{name}:{port}{path}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_for_anything_else_is_sent_on_to_https() {
        let answers = Answers::default();
        let ask = |method: &str, path: &str, host: &str| {
            let request = Request::builder().method(method).uri(path).header("host", host).body(()).unwrap();
            let response = answer(&request, &answers, 8443, "10.0.0.9:1".parse().unwrap());
            let location = response.headers().get("location").map_or("", |value| value.to_str().unwrap()).to_owned();
            (response.status().as_u16(), location)
        };
        assert_eq!(ask("GET", "/demo/?a=b", "cams.example:80"), (308, "https://cams.example:8443/demo/?a=b".into()));
        assert_eq!(ask("POST", "/api/v1/auth/login", "[::1]"), (308, "https://[::1]:8443/api/v1/auth/login".into()));
        assert_eq!(ask("GET", "/.well-known/acme-challenge/unknown", "cams.example"), (404, String::new()));
        assert_eq!(ask("GET", "/", "").0, 400);
        assert_eq!(ask("GET", "/", "evil.example/@cams.example").0, 400);
        assert_eq!(elsewhere("cams.example", 443, "/").unwrap(), "https://cams.example/");
    }
}
