//! One GET of a URL: a look-up, a connection of its own, a bounded body, a bounded time. It follows a redirect within its
//! own origin, and to other places only if those are public: a server that answers us may not send us into the network
//! behind us.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use url::Url;

use super::{
    exchange::{self, exchange},
    reach::Reach,
};
use crate::{
    base::{Error, Kind, Result, Secret},
    config::ServiceTlsConfig,
};

/// How long it may take, redirects and all.
pub const LIMIT: Duration = Duration::from_secs(10);
/// The largest body that is read.
pub const BODY_MAX: usize = 1 << 20;
/// Redirects that are followed.
const REDIRECTS: usize = 3;

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The same as the last time.
    NotModified,
    /// A body.
    Body {
        /// It.
        bytes: Bytes,
        /// Its entity tag.
        etag: Option<HeaderValue>,
    },
}

/// A URL of the configuration, and what only its own origin is shown.
#[derive(Debug)]
pub struct Source<'a> {
    /// It may be anywhere.
    pub url: &'a Url,
    /// A user and a password.
    pub login: Option<&'a (String, Secret)>,
    /// How the certificate is judged, and our own.
    pub tls: &'a ServiceTlsConfig,
}

/// GETs a URL; `etag` is that of the last answer.
///
/// # Errors
/// [`Kind::Unavailable`], [`Kind::DeadlineExceeded`], [`Kind::PermissionDenied`] for a redirect that is not followed,
/// [`Kind::ResourceExhausted`] for a body that is too large. They name the host, never credentials.
pub async fn get(source: &Source<'_>, etag: Option<&HeaderValue>) -> Result<Fetched> {
    let host = source.url.host_str().unwrap_or_default();
    let fetched = timeout(LIMIT, follow(source, etag)).await;
    fetched.unwrap_or_else(|_| {
        Err(Error::new(Kind::DeadlineExceeded, format!("{host}: no whole answer within {} s", LIMIT.as_secs())))
    })
}

async fn follow(source: &Source<'_>, etag: Option<&HeaderValue>) -> Result<Fetched> {
    let url = source.url;
    let mut at = url.clone();
    for _ in 0..=REDIRECTS {
        let home = at.origin() == url.origin();
        let answer = ask(&at, home.then_some(source), etag).await?;
        let host = at.host_str().unwrap_or_default();
        match answer {
            Answer::Fetched(fetched) => return Ok(fetched),
            Answer::Redirect(location) => {
                let next = at.join(&location).ok().filter(|next| matches!(next.scheme(), "http" | "https"));
                let next =
                    next.ok_or_else(|| Error::new(Kind::Unavailable, format!("{host}: it redirects to no URL")))?;
                if at.scheme() == "https" && next.scheme() == "http" {
                    return Err(refused(host, "out of TLS"));
                }
                at = next;
            }
        }
    }
    Err(Error::new(Kind::Unavailable, format!("{}: too many redirects", url.host_str().unwrap_or_default())))
}

fn refused(host: &str, whither: &str) -> Error {
    Error::new(Kind::PermissionDenied, format!("{host}: it redirects {whither}, which is not followed"))
}

enum Answer {
    Fetched(Fetched),
    Redirect(String),
}

async fn ask(url: &Url, home: Option<&Source<'_>>, etag: Option<&HeaderValue>) -> Result<Answer> {
    let host = exchange::host(url);
    let addresses = exchange::look_up(url).await?;
    // What was looked up is what is connected to: a second look-up could answer otherwise.
    if home.is_none() && !addresses.iter().all(|address| Reach::of(address.ip()) == Reach::Public) {
        return Err(refused(host, "into a private network"));
    }
    let web = ServiceTlsConfig::default();
    let tls = exchange::tls(url, home.map_or(&web, |home| home.tls))?;
    let headers = headers(home.and_then(|home| home.login), etag)?;
    let request = exchange::request(Method::GET, url, headers, Empty::new())?;
    exchange(host, &addresses, tls, request, |answer| read(host, answer)).await
}

fn headers(login: Option<&(String, Secret)>, etag: Option<&HeaderValue>) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json, text/plain;q=0.9, */*;q=0.1"));
    if let Some((user, password)) = login {
        headers.insert(header::AUTHORIZATION, exchange::basic(user, password)?);
    }
    if let Some(etag) = etag {
        headers.insert(header::IF_NONE_MATCH, etag.clone());
    }
    Ok(headers)
}

async fn read(host: &str, response: Response<Incoming>) -> Result<Answer> {
    let (parts, body) = response.into_parts();
    match parts.status {
        StatusCode::NOT_MODIFIED => Ok(Answer::Fetched(Fetched::NotModified)),
        StatusCode::MOVED_PERMANENTLY
        | StatusCode::FOUND
        | StatusCode::SEE_OTHER
        | StatusCode::TEMPORARY_REDIRECT
        | StatusCode::PERMANENT_REDIRECT => {
            let location = parts.headers.get(header::LOCATION).and_then(|location| location.to_str().ok());
            let nowhere = || Error::new(Kind::Unavailable, format!("{host}: it redirects to no URL"));
            Ok(Answer::Redirect(location.ok_or_else(nowhere)?.to_owned()))
        }
        status if status.is_success() => {
            let collected = Limited::new(body, BODY_MAX).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    Error::new(Kind::ResourceExhausted, format!("{host}: the answer is larger than 1 MB"))
                } else {
                    Error::new(Kind::Unavailable, format!("{host}: the answer broke off")).caused_by(error)
                }
            })?;
            let etag = parts.headers.get(header::ETAG).cloned();
            Ok(Answer::Fetched(Fetched::Body { bytes: collected.to_bytes(), etag }))
        }
        status => Err(Error::new(Kind::Unavailable, format!("{host}: http status {}", status.as_u16()))),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::{Path, PathBuf},
        sync::Arc,
    };

    use rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivatePkcs8KeyDer},
        server::WebPkiClientVerifier,
    };
    use sha2::{Digest, Sha256};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_rustls::TlsAcceptor;

    use super::*;

    /// A server that says the given answers, a connection each, and what it was asked.
    async fn server(answers: Vec<String>) -> (Url, tokio::sync::mpsc::Receiver<String>, crate::base::Tasks) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/status?x=1", listener.local_addr().unwrap())).unwrap();
        let (asked, questions) = tokio::sync::mpsc::channel(8);
        let tasks = crate::base::Tasks::new();
        tasks.spawn("server", tracing::Span::none(), async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
                    head.push(byte[0]);
                }
                asked.send(String::from_utf8(head).unwrap()).await.unwrap();
                // The reader may have had enough.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (url, questions, tasks)
    }

    async fn get_url(url: &Url, login: Option<&(String, Secret)>, etag: Option<&HeaderValue>) -> Result<Fetched> {
        get(&Source { url, login, tls: &ServiceTlsConfig::default() }, etag).await
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nETag: \"7\"\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_body_comes_with_its_tag_and_the_tag_goes_back() {
        let not_modified = "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned();
        let (url, mut asked, _tasks) = server(vec![ok("21.5"), not_modified]).await;
        let login = ("me".to_owned(), Secret::new("hunter2"));
        let Fetched::Body { bytes, etag } = get_url(&url, Some(&login), None).await.unwrap() else { panic!("no body") };
        assert_eq!((&bytes[..], etag.as_ref().unwrap().as_bytes()), (&b"21.5"[..], &b"\"7\""[..]));
        let question = asked.recv().await.unwrap().to_lowercase();
        assert!(question.starts_with("get /status?x=1 http/1.1\r\n"), "{question}");
        assert!(question.contains("authorization: basic bwu6ahvudgvymg=="), "{question}");
        assert_eq!(get_url(&url, None, etag.as_ref()).await.unwrap(), Fetched::NotModified);
        assert!(asked.recv().await.unwrap().contains("if-none-match: \"7\""));
    }

    #[tokio::test]
    async fn a_redirect_into_a_private_network_is_not_followed() {
        let to = |location: &str| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
        let (url, ..) = server(vec![]).await;
        for location in
            ["http://127.0.0.2:1/", "http://[::1]:1/", "http://169.254.169.254/latest", "http://localhost:1/"]
        {
            let (url, _asked, _tasks) = server(vec![to(location)]).await;
            let error = get_url(&url, None, None).await.unwrap_err();
            assert_eq!(error.kind(), Kind::PermissionDenied, "{location}: {error}");
        }
        drop(url);
        let (url, _asked, _tasks) = server(vec![to("/other"), ok("1")]).await;
        assert!(matches!(get_url(&url, None, None).await, Ok(Fetched::Body { .. })), "its own origin may");
        let (url, _asked, _tasks) = server(vec![to("ftp://x/")]).await;
        assert!(get_url(&url, None, None).await.unwrap_err().message().ends_with("redirects to no URL"));
    }

    #[tokio::test]
    async fn what_is_too_large_or_no_success_is_an_error() {
        let large = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", "x".repeat(BODY_MAX + 1));
        let (url, _asked, _tasks) = server(vec![large]).await;
        assert_eq!(get_url(&url, None, None).await.unwrap_err().kind(), Kind::ResourceExhausted);
        let (url, _asked, _tasks) =
            server(vec!["HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".into(), "nonsense\r\n\r\n".into()]).await;
        assert_eq!(get_url(&url, None, None).await.unwrap_err().message(), "127.0.0.1: http status 503");
        assert_eq!(get_url(&url, None, None).await.unwrap_err().kind(), Kind::Unavailable);
    }

    /// A certificate for this machine, and the files of it.
    struct Identity {
        certificate: CertificateDer<'static>,
        key: PrivatePkcs8KeyDer<'static>,
        certificate_file: PathBuf,
        key_file: PathBuf,
    }

    fn identity(folder: &Path, name: &str) -> Identity {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let [certificate_file, key_file] = ["crt", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
        std::fs::write(&certificate_file, made.cert.pem()).unwrap();
        std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Identity { certificate: made.cert.der().clone(), key, certificate_file, key_file }
    }

    /// A server over TLS that says `21.5` to whoever shows one of these certificates, or to everybody.
    async fn secure_server(own: &Identity, asks_for: Option<&Identity>) -> (Url, crate::base::Tasks) {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let builder = match asks_for {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add(client.certificate.clone()).unwrap();
                let judge = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
                builder.with_client_cert_verifier(judge)
            }
        };
        let config = builder.with_single_cert(vec![own.certificate.clone()], own.key.clone_key().into()).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
        let tasks = crate::base::Tasks::new();
        tasks.spawn("server", tracing::Span::none(), async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                }
                let _ = stream.write_all(ok("21.5").as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (url, tasks)
    }

    #[tokio::test]
    async fn a_certificate_is_judged_as_the_configuration_says_and_ours_is_shown_to_who_asks() {
        let folder = tempfile::tempdir().unwrap();
        let [device, ours, other] = ["device", "ours", "other"].map(|name| identity(folder.path(), name));
        let (open, _open) = secure_server(&device, None).await;
        let (mutual, _mutual) = secure_server(&device, Some(&ours)).await;
        let tls = ServiceTlsConfig::default;
        let trusting = |by: &Identity| ServiceTlsConfig { ca_file: Some(by.certificate_file.clone()), ..tls() };
        let showing = |own: &Identity| ServiceTlsConfig {
            certificate_file: Some(own.certificate_file.clone()),
            key_file: Some(own.key_file.clone()),
            ..trusting(&device)
        };
        let hash: String = Sha256::digest(&device.certificate).iter().map(|byte| format!("{byte:02x}")).collect();
        let wrong = format!("{}{}", if hash.starts_with('0') { '1' } else { '0' }, &hash[1..]);
        let pinned = |hash: &str| ServiceTlsConfig { fingerprint: Some(hash.parse().unwrap()), ..tls() };
        let rows = [
            ("nobody signed it", &open, tls(), false),
            ("its own authority", &open, trusting(&device), true),
            ("another authority", &open, trusting(&other), false),
            ("its fingerprint", &open, pinned(&hash), true),
            ("another fingerprint", &open, pinned(&wrong), false),
            ("anybody", &open, ServiceTlsConfig { insecure: true, ..tls() }, true),
            ("ours is asked for and not shown", &mutual, trusting(&device), false),
            ("ours is asked for and shown", &mutual, showing(&ours), true),
            ("another is shown", &mutual, showing(&other), false),
        ];
        for (what, url, tls, fine) in rows {
            let fetched = get(&Source { url, login: None, tls: &tls }, None).await;
            assert_eq!(fetched.is_ok(), fine, "{what}: {fetched:?}");
        }
    }
}
