//! Logins and TLS.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};

use super::{
    super::testing::{Film, Request, Talk},
    *,
};
use crate::config::Fingerprint;

/// Plays to whoever shows the right login.
async fn guarded(mut talk: Talk, challenge: &str, right: fn(&Request) -> bool) -> std::io::Result<()> {
    loop {
        let request = talk.request().await?;
        if !right(&request) {
            talk.answer(&request, "401 Unauthorized", challenge, "").await?;
            continue;
        }
        talk.obey(&request, H264_SDP).await?;
        if request.method == "PLAY" {
            break;
        }
    }
    talk.play_on(&mut Film::new()).await
}

fn with_login(camera: &Camera) -> RtspSource {
    let mut options = options(&camera.url("/stream"));
    options.camera.credentials = Some(Credentials { username: "admin".into(), password: Secret::new("p:ss wört@") });
    RtspSource::new(options, CameraHosts::default())
}

/// The response of a digest without `qop` (RFC 2617 §3.2.2.1), checked by hand.
fn digest_is_right(request: &Request, hash: fn(&str) -> String) -> bool {
    let Some(authorization) = request.header("Authorization") else { return false };
    let part = |name: &str| authorization.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    let a1 = hash("admin:cam:p:ss wört@");
    let a2 = hash(&format!("{}:{}", request.method, request.url));
    part("response") == Some(hash(&format!("{a1}:nonce1:{a2}")).as_str()) && part("uri") == Some(&request.url)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn basic_and_both_digests_are_answered() {
    let basic = Camera::start(|_, talk| {
        guarded(talk, "WWW-Authenticate: Basic realm=\"cam\"\r\n", |request| {
            request.header("Authorization").is_some_and(|value| value.starts_with("Basic "))
        })
    })
    .await;
    let md5 = Camera::start(|_, talk| {
        guarded(talk, "WWW-Authenticate: Digest realm=\"cam\", nonce=\"nonce1\"\r\n", |request| {
            digest_is_right(request, |text| hexadecimal(&md5::Md5::digest(text)))
        })
    })
    .await;
    let sha = Camera::start(|_, talk| {
        guarded(talk, "WWW-Authenticate: Digest realm=\"cam\", nonce=\"nonce1\", algorithm=SHA-256\r\n", |request| {
            digest_is_right(request, |text| hexadecimal(&Sha256::digest(text)))
        })
    })
    .await;
    for camera in [basic, md5, sha] {
        let path = Watched::start(with_login(&camera));
        pictures(&path).await;
        path.stop().await;
    }
}

#[tokio::test]
async fn a_login_that_is_missing_or_wrong_or_of_no_use_is_told_apart() {
    let table = [
        (
            false,
            "WWW-Authenticate: Digest realm=\"cam\", nonce=\"1\"\r\nWWW-Authenticate: Basic realm=\"cam\"\r\n",
            "a login is required (Digest MD5, Basic)",
            "username",
        ),
        (true, "WWW-Authenticate: Digest realm=\"cam\", nonce=\"1\"\r\n", "the login is refused (Digest MD5)", "wrong"),
        (true, "WWW-Authenticate: NTLM\r\n", "the login is refused (NTLM)", "not supported"),
        (false, "", "a login is required", "username"),
    ];
    for (login, challenge, message, hint) in table {
        let camera = Camera::start(move |_, talk| guarded(talk, challenge, |_| false)).await;
        let path = Watched::start(if login { with_login(&camera) } else { source(&camera) });
        let failure = path.failure().await;
        assert_eq!(failure.code(), "source_unauthorized");
        assert!(failure.message().ends_with(message), "{failure:?}");
        assert!(failure.hint().is_some_and(|words| words.contains(hint)), "{:?}", failure.hint());
        let shown = format!("{failure:?} {:?}", failure.hint());
        assert!(!shown.contains("p:ss"), "{shown}");
        path.stop().await;
    }
}

/// Hikvision and others lock a user out after a few wrong logins.
#[tokio::test]
async fn a_login_that_is_refused_is_not_shown_again_at_once() {
    let camera = Camera::start(|_, talk| guarded(talk, "WWW-Authenticate: Basic realm=\"cam\"\r\n", |_| false)).await;
    let path = Watched::start(with_login(&camera));
    assert_eq!(path.failure().await.code(), "source_unauthorized");
    let shown = || camera.requests.lock().unwrap().iter().filter(|r| r.header("Authorization").is_some()).count();
    let before = shown();
    // Other failures are called again within 400 ms here.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((before, shown()), (1, 1));
    path.stop().await;
}

pub(super) struct Certificate {
    pub(super) acceptor: tokio_rustls::TlsAcceptor,
    fingerprint: Fingerprint,
}

pub(super) fn certificate() -> Certificate {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let fingerprint = Fingerprint(Sha256::digest(&certificate).into());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    Certificate { acceptor: Arc::new(config).into(), fingerprint }
}

async fn behind_tls(certificate: &Certificate) -> (Camera, RtspSourceOptions) {
    let camera = Camera::start_tls(Some(certificate.acceptor.clone()), async |_, mut talk| {
        talk.serve(H264_SDP).await?;
        talk.play_on(&mut Film::new()).await
    })
    .await;
    let options = options(&camera.url("/stream?channel=1").replace("rtsp://", "rtsps://"));
    (camera, options)
}

#[tokio::test]
async fn a_camera_behind_tls_is_trusted_by_its_fingerprint_or_blindly() {
    let certificate = certificate();
    for insecure in [false, true] {
        let (camera, mut options) = behind_tls(&certificate).await;
        options.camera.tls.insecure = insecure;
        options.camera.tls.fingerprint = (!insecure).then_some(certificate.fingerprint);
        let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
        pictures(&path).await;
        path.stop().await;
        let requests = camera.requests.lock().unwrap();
        // The camera sees its own name, not that of the bridge.
        let url = format!("rtsps://{}/stream?channel=1", camera.address);
        assert!(requests.iter().all(|request| request.url.starts_with(&url)), "{requests:?}");
        assert_eq!(requests.last().unwrap().method, "TEARDOWN");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_with_its_fingerprint() {
    let certificate = certificate();
    for wrong in [None, Some(Fingerprint([7; 32]))] {
        let (_camera, mut options) = behind_tls(&certificate).await;
        options.camera.tls.fingerprint = wrong;
        let path = Watched::start(RtspSource::new(options, CameraHosts::default()));
        let failure = path.failure().await;
        assert_eq!(failure.code(), "source_tls");
        let hint = failure.hint().unwrap();
        assert!(hint.contains(&certificate.fingerprint.to_string()), "{hint}");
        path.stop().await;
    }
}

#[tokio::test]
async fn a_camera_that_does_not_speak_tls_is_named() {
    let camera = Camera::start(async |_, mut talk| {
        talk.write(b"RTSP/1.0 400 Bad Request\r\n\r\n").await?;
        talk.fall_silent().await
    })
    .await;
    let url = camera.url("/").replace("rtsp://", "rtsps://");
    let path = Watched::start(RtspSource::new(options(&url), CameraHosts::default()));
    let failure = path.failure().await;
    assert_eq!(failure.code(), "source_tls", "{failure:?}");
    path.stop().await;
}
