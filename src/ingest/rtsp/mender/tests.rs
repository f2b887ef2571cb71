//! Exchanges with cameras that err, as they came to be known.

use proptest::prelude::*;

use super::*;
use crate::base::Secret;

const BRIDGE: &str = "rtsp://127.0.0.1:40000";

fn mender(login: bool) -> Mender {
    let credentials = login.then(|| Credentials { username: "admin".into(), password: Secret::new("secret") });
    Mender::new(&Url::parse("rtsps://cam.lan:322/stream").unwrap(), BRIDGE.to_owned(), credentials)
}

fn asks(mender: &mut Mender, method: &str, sequence: u32) -> String {
    let request = format!("{method} {BRIDGE}/stream RTSP/1.0\r\nCSeq: {sequence}\r\nUser-Agent: x\r\n\r\n");
    mender.handle_client(&mut BytesMut::from(request.as_str())).unwrap();
    String::from_utf8(mender.take_for_camera()).unwrap()
}

fn answers(mender: &mut Mender, bytes: &[u8]) -> (String, String) {
    mender.handle_camera(&mut BytesMut::from(bytes)).unwrap();
    let client = String::from_utf8_lossy(&mender.take_for_client()).into_owned();
    (client, String::from_utf8(mender.take_for_camera()).unwrap())
}

#[test]
fn requests_name_the_camera_and_answers_name_the_bridge() {
    let mut mender = mender(false);
    assert!(
        asks(&mut mender, "DESCRIBE", 1).starts_with("DESCRIBE rtsps://cam.lan:322/stream RTSP/1.0\r\nCSeq: 1\r\n")
    );
    let sdp = "v=0\r\na=control:rtsps://cam.lan:322/stream/\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:rtsps://10.0.0.5/stream/trackID=1\r\n";
    let answer = format!(
        "RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Base: rtsps://cam.lan:322/stream/\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let (client, _) = answers(&mut mender, answer.as_bytes());
    assert!(client.contains(&format!("Content-Base: {BRIDGE}/stream/\r\n")), "{client}");
    assert!(client.contains(&format!("a=control:{BRIDGE}/stream/trackID=1\r\n")), "{client}");
    assert!(!client.contains("cam.lan") && !client.contains("10.0.0.5"), "{client}");
    asks(&mut mender, "PLAY", 2);
    let (client, _) = answers(&mut mender, b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 1\r\nRTP-Info: url=rtsps://cam.lan:322/stream/trackID=1;seq=5,url=rtsps://cam.lan:322/stream/trackID=2;seq=6\r\n\r\n");
    assert!(
        client.contains(&format!("RTP-Info: url={BRIDGE}/stream/trackID=1;seq=5,url={BRIDGE}/stream/trackID=2;seq=6")),
        "{client}"
    );
}

#[test]
fn answers_with_no_number_or_a_wrong_one_get_the_right_one() {
    for number in ["", "CSeq: 77\r\n", "cseq:  1 \r\n"] {
        let mut mender = mender(false);
        asks(&mut mender, "OPTIONS", 1);
        let (client, _) = answers(&mut mender, format!("RTSP/1.0 200 OK\r\n{number}Public: PLAY\r\n\r\n").as_bytes());
        assert_eq!(client, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: PLAY\r\n\r\n", "{number:?}");
    }
}

#[test]
fn sdp_with_everything_wrong_becomes_one_that_can_be_read() {
    let mut mender = mender(false);
    asks(&mut mender, "DESCRIBE", 1);
    let sdp = "garbage\r\nv=0\r\no=\r\ns=a\r\ns=b\r\nc=IN IP4\r\nb=AS\r\nm=video 0 RTP/AVP 96\r\nrubbish\r\na=rtpmap:96 H265/90000\r\na=x y\r\nm=strange\r\nm=audio 0 RTP/AVP 0";
    let answer =
        format!("RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len());
    let (client, _) = answers(&mut mender, answer.as_bytes());
    let (head, body) = client.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("Content-Type: application/sdp") && head.contains(&format!("Content-Length: {}", body.len())),
        "{head}"
    );
    let parsed = sdp_types::Session::parse(body.as_bytes()).unwrap();
    assert_eq!(parsed.medias.iter().map(|media| media.media.as_str()).collect::<Vec<_>>(), ["video", "audio"]);
}

#[test]
fn a_login_is_shown_when_asked_for_and_again_when_the_nonce_is_stale() {
    let mut mender = mender(true);
    assert!(!asks(&mut mender, "DESCRIBE", 1).contains("Authorization"));
    let challenge = |nonce: &str, more: &str| {
        format!(
            "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"{nonce}\", algorithm=SHA-256{more}\r\n\r\n"
        )
    };
    let (client, camera) = answers(&mut mender, challenge("a", "").as_bytes());
    assert_eq!(client, "");
    assert!(camera.contains("CSeq: 1\r\n") && camera.contains("Authorization: Digest username=\"admin\""), "{camera}");
    assert!(
        camera.contains("nonce=\"a\"")
            && camera.contains("uri=\"rtsps://cam.lan:322/stream\"")
            && !camera.contains("secret"),
        "{camera}"
    );
    let (client, camera) = answers(&mut mender, challenge("b", ", stale=true").as_bytes());
    assert!(client.is_empty() && camera.contains("nonce=\"b\""), "{camera}");
    let (client, camera) = answers(&mut mender, challenge("c", "").as_bytes());
    assert!(client.starts_with("RTSP/1.0 401") && camera.is_empty(), "a login that is refused is not shown again");
    assert!(asks(&mut mender, "SETUP", 2).contains("Authorization"), "it is shown at once from then on");
    let forever = |nonce| challenge(nonce, ", stale=true").replace("CSeq: 1", "CSeq: 2");
    let shown = (0..9).filter(|_| !answers(&mut mender, forever("d").as_bytes()).1.is_empty()).count();
    assert_eq!(shown, 2, "a nonce that is always stale is no way in");
}

#[test]
fn without_a_login_a_challenge_passes() {
    let mut mender = mender(false);
    asks(&mut mender, "DESCRIBE", 1);
    let (client, camera) =
        answers(&mut mender, b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=\"x\"\r\n\r\n");
    assert!(client.contains("WWW-Authenticate: Basic") && camera.is_empty());
}

#[test]
fn session_headers_keep_what_is_understood() {
    for (camera, ours) in [
        ("12;timeout=60", "12;timeout=60"),
        ("12 ; Timeout=30;foo=bar", "12;timeout=30"),
        ("12;timeout=0", "12"),
        ("12;x", "12"),
        ("12", "12"),
    ] {
        assert_eq!(mend_session(camera), ours);
    }
}

fn frame(channel: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![b'$', channel];
    frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

const RTP: &[u8] = &[0x80, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 9];

#[test]
fn garbage_between_frames_is_passed_over() {
    let mut mender = mender(false);
    let mut stream = frame(0, RTP);
    stream.extend_from_slice(b"\0\0$junk and \xff more$\x01\x00");
    stream.extend_from_slice(&frame(2, RTP));
    stream.extend_from_slice(b"R2D2");
    stream.extend_from_slice(&frame(0, RTP));
    let mut input = BytesMut::from(&stream[..]);
    mender.handle_camera(&mut input).unwrap();
    let out = mender.take_for_client();
    assert!(out.starts_with(&frame(0, RTP)) && out.ends_with(&frame(0, RTP)));
    assert_eq!(out.len() % (RTP.len() + 4), 0, "whole frames only");
}

#[test]
fn a_request_of_the_camera_is_answered() {
    let mut mender = mender(false);
    let (client, camera) = answers(&mut mender, b"OPTIONS rtsp://us RTSP/1.0\r\nCSeq: 5\r\n\r\n");
    assert_eq!((client.as_str(), camera.as_str()), ("", "RTSP/1.0 200 OK\r\nCSeq: 5\r\n\r\n"));
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut mender = mender(false);
    asks(&mut mender, "OPTIONS", 1);
    let mut stream = frame(0, RTP);
    stream.extend_from_slice(b"RTSP/1.0 200 OK\nCSeq: 1\nContent-Length: 2\n\nab");
    stream.extend_from_slice(&frame(1, RTP));
    let (mut input, mut out) = (BytesMut::new(), Vec::new());
    for byte in stream {
        input.extend_from_slice(&[byte]);
        mender.handle_camera(&mut input).unwrap();
        out.extend_from_slice(&mender.take_for_client());
    }
    let mut expected = frame(0, RTP);
    expected.extend_from_slice(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 2\r\n\r\nab");
    expected.extend_from_slice(&frame(1, RTP));
    assert_eq!(out, expected);
}

#[test]
fn what_has_no_end_is_given_up() {
    let long = |start: &str| {
        let mut mender = mender(false);
        asks(&mut mender, "DESCRIBE", 1);
        let mut input = BytesMut::from(start);
        input.extend_from_slice(&vec![b'x'; HEAD_MAX + 10]);
        mender.handle_camera(&mut input)
    };
    assert_eq!(long("RTSP/1.0 200 OK\r\nX: "), Err(MendError::Head));
    let mut mender = mender(false);
    let mut input = BytesMut::from("RTSP/1.0 200 OK\r\nContent-Length: 4000000000\r\n\r\n");
    assert_eq!(mender.handle_camera(&mut input), Err(MendError::Body));
    let mut input = BytesMut::from(&vec![0; GARBAGE_MAX + 1][..]);
    assert_eq!(mender.handle_camera(&mut input), Err(MendError::Garbage));
    assert_eq!(mender.handle_client(&mut BytesMut::from("\r\n\r\n")), Err(MendError::Request));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_taken_without_a_panic(
        parts in proptest::collection::vec(prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40),
            Just(b"RTSP/1.0 200 OK\r\n".to_vec()),
            Just(b"Content-Length: 9\r\n\r\n".to_vec()),
            Just(b"WWW-Authenticate: Digest realm=\"\", nonce=\"x\"\r\n".to_vec()),
            Just(b"$\x00\x00\x02\x80\x00".to_vec()),
        ], 0..20),
        login: bool,
    ) {
        let mut mender = mender(login);
        asks(&mut mender, "DESCRIBE", 1);
        let mut input = BytesMut::new();
        for part in parts {
            input.extend_from_slice(&part);
            if mender.handle_camera(&mut input).is_err() {
                break;
            }
        }
    }
}
