//! What the door says, statement by statement of WHEP (WH-01 …). Sessions themselves are tried by the room `webrtc`, and
//! the two together by `tests/it`.

use http_body_util::{BodyExt, Full};

use super::*;
use crate::{
    auth::GatePolicy,
    config::AllowedOrigins,
    http::{HttpOptions, testing::House},
    media::{MediaKind, TrackId},
};

const FINE: &str = "v=0\r\n";

fn error(message: &'static str) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("some_code")
}

fn opened() -> Opened {
    Opened {
        id: SessionId::parse("0123456789abcdef0123456789abcdef").unwrap(),
        answer: FINE.to_owned(),
        etag: "\"tag\"".to_owned(),
        left_out: Vec::new(),
        notices: Vec::new(),
        rendition: Rendition::Sub,
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

fn status_of(problem: Problem) -> (u16, String) {
    let response = problem.into_response();
    assert_eq!(header(&response, "content-type"), "application/problem+json");
    (response.status().as_u16(), header(&response, "retry-after").to_owned())
}

#[tokio::test]
async fn a_session_is_created_with_all_it_takes_to_go_on_wh_01() {
    let response = created(opened(), &[], None);
    assert_eq!((response.status().as_u16(), header(&response, "content-type")), (201, "application/sdp"));
    assert_eq!(header(&response, "location"), "whep/0123456789abcdef0123456789abcdef");
    let by_link = created(opened(), &[], Some("a.b.c"));
    assert_eq!(header(&by_link, "location"), "whep/0123456789abcdef0123456789abcdef?token=a.b.c");
    let etag = header(&response, "etag");
    assert!(etag.starts_with('"') && etag.ends_with('"') && etag.len() > 2, "strong and quoted: {etag}");
    assert_eq!(header(&response, "accept-patch"), "application/trickle-ice-sdpfrag");
    assert_eq!((header(&response, "cache-control"), header(&response, "campanile-rendition")), ("no-store", "sub"));
    assert!(!response.headers().contains_key(header::LINK) && !response.headers().contains_key(LEFT_OUT));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), FINE);
}

#[test]
fn what_is_wrong_with_an_offer_has_a_status_and_a_problem_of_its_own_wh_02_wh_03_wh_04_wh_09_wh_12() {
    let secs = Duration::from_millis(2500);
    let table = [
        (OpenRefused::Invalid(error("x")), (400, "")),
        (OpenRefused::Direction(error("x")), (422, "")),
        (OpenRefused::NothingShared(error("x")), (406, "")),
        (OpenRefused::NotReady { error: error("x"), retry_after: secs }, (409, "3")),
        (OpenRefused::NotReady { error: error("x"), retry_after: Duration::ZERO }, (409, "1")),
        (OpenRefused::Full { error: error("x"), retry_after: secs }, (503, "3")),
        (OpenRefused::Refused(Error::new(Kind::NotFound, "x")), (404, "")),
        (OpenRefused::Refused(Error::new(Kind::Unavailable, "x")), (503, "2")),
    ];
    for (refused, (status, retry_after)) in table {
        let shown = format!("{refused:?}");
        assert_eq!(status_of(refuse(refused)), (status, retry_after.to_owned()), "{shown}");
    }
}

#[tokio::test]
async fn a_patch_is_taken_or_refused_as_its_tag_says_wh_05_wh_06() {
    let trickled = accepted(Patched::Accepted);
    assert_eq!((trickled.status().as_u16(), trickled.headers().contains_key(header::ETAG)), (204, false));
    let restarted = accepted(Patched::Restarted { fragment: "a=ice-lite\r\n".into(), etag: "\"new\"".into() });
    assert_eq!((restarted.status().as_u16(), header(&restarted, "etag")), (200, "\"new\""));
    assert_eq!(header(&restarted, "content-type"), "application/trickle-ice-sdpfrag");
    let table = [
        (PatchRefused::NoSession, 404),
        (PatchRefused::MissingMatch, 428),
        (PatchRefused::Stale, 412),
        (PatchRefused::Invalid(error("x")), 400),
        (PatchRefused::Unsupported(error("x")), 422),
    ];
    for (refused, status) in table {
        let shown = format!("{refused:?}");
        assert_eq!(status_of(refuse_patch(refused)).0, status, "{shown}");
    }
}

#[test]
fn servers_are_links_and_nothing_breaks_out_of_them_wh_08() {
    let server = |urls: &[&str], login: Option<(&str, &str)>| IceServer {
        urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        username: login.map(|(username, _)| username.to_owned()),
        credential: login.map(|(_, credential)| credential.to_owned()),
    };
    let servers = [
        server(&["stun:stun.example.org"], None),
        server(&["turn:a?transport=udp", "turns:a:443?transport=tcp"], Some(("17:u\"x\\", "p;,w"))),
        server(&["turn:b"], Some(("line\r\nbreak", "p"))),
    ];
    let response = created(opened(), &servers, None);
    let links: Vec<_> = response.headers().get_all(header::LINK).iter().map(|link| link.to_str().unwrap()).collect();
    assert_eq!(
        links,
        [
            "<stun:stun.example.org>; rel=\"ice-server\"",
            "<turn:a?transport=udp>; rel=\"ice-server\"; username=\"17:u\\\"x\\\\\"; credential=\"p;,w\"; \
             credential-type=\"password\"",
            "<turns:a:443?transport=tcp>; rel=\"ice-server\"; username=\"17:u\\\"x\\\\\"; credential=\"p;,w\"; \
             credential-type=\"password\"",
        ]
    );
    assert!(!format!("{:?}", response.headers()).contains("p;,w"), "a login is not for the log");
}

#[test]
fn tracks_left_out_and_notices_are_named_in_headers() {
    let left_out = |track, kind, codec: &str, reason: &str| LeftOut {
        track: TrackId(track),
        kind,
        codec: codec.to_owned(),
        reason: reason.to_owned(),
    };
    let opened = Opened {
        left_out: vec![
            left_out(1, MediaKind::Audio, "G.711 µ-law", "the viewer takes \"Opus\""),
            left_out(2, MediaKind::Application, "vnd.onvif.metadata", "…\r\nx: y"),
        ],
        notices: vec![Notice { track: TrackId(0), code: "reordered_pictures", text: "B-frames".into() }],
        ..opened()
    };
    let response = created(opened, &[], None);
    assert_eq!(
        header(&response, "campanile-left-out"),
        "audio;track=1;codec=\"G.711 u-law\";reason=\"the viewer takes \\\"Opus\\\"\", \
         application;track=2;codec=\"vnd.onvif.metadata\";reason=\"???x: y\""
    );
    assert_eq!(header(&response, "campanile-notice"), "reordered-pictures;track=0;text=\"B-frames\"");
}

async fn text_of(body: Body) -> Result<String, Problem> {
    text(&HeaderMap::new(), body).await
}

#[tokio::test]
async fn a_body_is_bounded_and_a_text() {
    let read = |bytes: Vec<u8>| text_of(Body::new(Full::from(bytes)));
    assert_eq!(read(b"v=0".to_vec()).await.unwrap(), "v=0");
    assert_eq!(status_of(read(vec![b'x'; BODY_MAX + 1]).await.unwrap_err()).0, 413);
    assert_eq!(status_of(read(vec![0xff, 0xfe]).await.unwrap_err()).0, 400);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    assert_eq!(status_of(text_of(never).await.unwrap_err()).0, 408);
}

#[test]
fn the_type_of_a_body_counts_and_its_parameters_do_not_wh_02() {
    let with = |value: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        headers.extend(value.map(|value| (header::CONTENT_TYPE, HeaderValue::from_static(value))));
        content_type(&headers, &SDP, ACCEPT_POST)
    };
    for fine in ["application/sdp", "Application/SDP; charset=utf-8"] {
        assert!(with(Some(fine)).is_ok(), "{fine}");
    }
    for wrong in [None, Some("application/json"), Some("application/sdpx"), Some("text/plain")] {
        let response = with(wrong).unwrap_err().into_response();
        assert_eq!((response.status().as_u16(), header(&response, "accept-post")), (415, "application/sdp"));
    }
}

#[test]
fn any_tag_is_meant_with_and_without_quotes_wh_06() {
    for (given, meant) in
        [(None, None), (Some("*"), Some("*")), (Some("\"*\""), Some("*")), (Some("\"a\""), Some("\"a\""))]
    {
        let mut headers = HeaderMap::new();
        headers.extend(given.map(|given| (header::IF_MATCH, HeaderValue::from_static(given))));
        assert_eq!(if_match(&headers), meant, "{given:?}");
    }
}

#[test]
fn the_url_chooses_the_rendition() {
    let place = |explicit, rendition| Place { path: "cam".parse().unwrap(), rendition, explicit };
    let of = |place: &Place, query| asked(place, query).map_err(|problem| status_of(problem).0);
    let plain = place(false, Rendition::Main);
    assert_eq!(of(&plain, None), Ok(None));
    assert_eq!(of(&plain, Some("a=b&rendition=sub")), Ok(Some(Rendition::Sub)));
    assert_eq!(of(&place(true, Rendition::Sub), None), Ok(Some(Rendition::Sub)));
    assert_eq!(of(&place(true, Rendition::Sub), Some("rendition=main")), Ok(Some(Rendition::Main)));
    assert_eq!(of(&plain, Some("rendition=hd")), Err(400));
}

#[tokio::test(start_paused = true)]
async fn options_never_needs_a_credential_wh_07() {
    let mut house = House::new();
    house.peer = "10.0.0.9:50000".parse().unwrap();
    for path in ["/demo/whep", "/nothing/whep", "/site/gate/sub/whep"] {
        let reply = house.ask("OPTIONS", path, &[]).await;
        assert_eq!((reply.status.as_u16(), reply.header("accept-post")), (204, "application/sdp"), "{path}");
        assert_eq!(reply.header("allow"), "POST, OPTIONS");
    }
    let reply = house.ask("OPTIONS", "/demo/whep/0f", &[]).await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (204, "PATCH, DELETE, OPTIONS"));
}

#[tokio::test(start_paused = true)]
async fn foreign_pages_that_may_read_may_watch_wh_07() {
    let preflight = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PATCH"),
        ("access-control-request-headers", "content-type,if-match,authorization"),
    ];
    let list = AllowedOrigins::List(vec!["https://a.example".into()]);
    for (origins, allowed) in [(list, true), (AllowedOrigins::Any, true), (AllowedOrigins::None, false)] {
        let options = HttpOptions { origins, ..HttpOptions::default() };
        let house = House::with(&options, GatePolicy::Local);
        let reply = house.ask("OPTIONS", "/demo/whep/0f", &preflight).await;
        assert_eq!(reply.status.as_u16(), if allowed { 204 } else { 403 });
        if allowed {
            let methods = reply.header("access-control-allow-methods");
            assert!(["POST", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods}");
            let headers = reply.header("access-control-allow-headers");
            assert!(["authorization", "content-type", "if-match"].iter().all(|name| headers.contains(name)));
            assert_eq!(reply.header("accept-post"), "application/sdp");
        }
        let reply = house.ask("POST", "/demo/whep", &[("origin", "https://a.example")]).await;
        // Let in, it goes as far as the door, which is closed here.
        assert_eq!(reply.status.as_u16(), if allowed { 404 } else { 403 });
        if allowed {
            let exposed = reply.header("access-control-expose-headers");
            for name in ["etag", "link", "location", "retry-after", "campanile-left-out", "campanile-notice"] {
                assert!(exposed.split(", ").any(|found| found == name), "{name}: {exposed}");
            }
        }
        // A page that may only read changes nothing elsewhere.
        let elsewhere = house.ask("DELETE", "/api/v1/sessions/0f", &[("origin", "https://b.example")]).await;
        assert_eq!(elsewhere.status.as_u16(), 403);
    }
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_kept_for_the_future() {
    let house = House::new();
    let table = [("/demo/whep", ["GET", "PUT", "PATCH", "DELETE"]), ("/demo/whep/0f", ["GET", "HEAD", "PUT", "POST"])];
    for (url, methods) in table {
        for method in methods {
            let reply = house.ask(method, url, &[]).await;
            assert_eq!(reply.status.as_u16(), 405, "{method} {url}");
            assert!(reply.header("allow").contains("OPTIONS"), "{method} {url}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_it_is_switched_off_the_door_says_so() {
    let house = House::new();
    assert_eq!(house.ask("POST", "/demo/whep", &[]).await.problem(404), "webrtc_disabled");
    let id = SessionId::random();
    assert_eq!(house.ask("DELETE", &format!("/demo/whep/{id}"), &[]).await.problem(404), "webrtc_disabled");
}

#[tokio::test]
async fn an_empty_post_explains_who_offers() {
    let response = no_offer().into_response();
    assert_eq!(response.status().as_u16(), 400);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["code"], "offer_missing");
    assert!(body["hint"].as_str().unwrap().contains("Content-Type: application/sdp"), "{body}");
}

#[test]
fn a_session_id_has_enough_randomness_wh_10() {
    assert_ne!(SessionId::random(), SessionId::random());
    assert_eq!(SessionId::random().to_string().len() * 4, 128);
    assert_eq!(status_of(no_session()).0, 404);
}
