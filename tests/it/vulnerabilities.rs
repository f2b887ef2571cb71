//! The classes of vulnerabilities that servers of this kind have had, each with the tests that stand for it. What one part
//! of the program answers for is tried beside that part; what the whole has to hold is tried here, against the real binary,
//! and its test begins with the name of its class.

use std::{fs, net::SocketAddr, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;
use rustls::{ClientConnection, pki_types::ServerName};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use campanile::net::trust::{Judge, Trust};

use crate::support::{process::PATIENCE, rtsp_client::RtspClient, server::Server, tls::Identity};

/// Class, and where its tests stand: file, test.
const CLASSES: &[(&str, &[(&str, &str)])] = &[
    (
        "parser memory and denial of service",
        &[
            ("tests/it/vulnerabilities.rs", "parser_memory_a_line_without_end_is_cut_off"),
            ("tests/it/rtsp_clients.rs", "endless_header_and_silent_connection_are_cut_off_and_others_play_on"),
            ("tests/it/robustness.rs", "no_parser_fails_on_what_becomes_of_its_seeds"),
            ("tests/it/hostile.rs", "listeners_survive_bent_requests"),
            ("src/http/tests/sockets.rs", "heads_beyond_the_limits_are_refused_with_431"),
            ("src/rtsp/framing.rs", "what_passes_the_bounds_ends_the_connection_rt_16"),
        ],
    ),
    ("session hijack", &[("src/rtsp/tests/claims.rs", "nobody_else_takes_a_session_over_rt_10")]),
    (
        "path traversal",
        &[
            ("tests/it/vulnerabilities.rs", "path_traversal_finds_nothing_outside"),
            ("src/http/target.rs", "no_url_panics_and_no_name_leaves_its_alphabet"),
            ("src/http/target.rs", "urls_made_of_tricky_pieces_stay_inside"),
            ("src/base/name.rs", "what_could_leave_the_house_or_shadow_a_door_is_refused"),
            ("src/http/assets.rs", "names_outside_the_table_find_nothing"),
        ],
    ),
    (
        "command injection",
        &[
            ("tests/it/vulnerabilities.rs", "command_injection_finds_no_shell"),
            ("tests/it/architecture.rs", "every_source_keeps_the_rules_of_the_house"),
        ],
    ),
    (
        "server-side request forgery",
        &[
            ("tests/it/push.rs", "nobody_sends_the_server_to_the_machines_behind_it"),
            ("src/net/fetch.rs", "a_redirect_into_a_private_network_is_not_followed"),
            ("src/net/reach.rs", "an_address_leads_where_the_registries_say_whatever_its_dress"),
            ("src/ingest/rtsp/guard.rs", "ssrf_a_camera_of_the_api_stands_in_networks_and_nowhere_on_this_machine"),
            ("tests/it/config_paths.rs", "ssrf_no_camera_that_is_added_leads_to_this_machine_or_the_link"),
            ("tests/it/config_paths.rs", "ssrf_a_camera_that_was_allowed_leads_no_further_and_this_server_is_none"),
            ("src/config/check/auth.rs", "keys_of_an_issuer_come_over_tls_or_from_this_machine"),
        ],
    ),
    (
        "cross-site scripting",
        &[
            ("tests/it/alone/browser.rs", "markup_that_is_smuggled_into_a_page_runs_nothing_and_loads_nothing"),
            ("tests/it/alone/browser.rs", "start_page_lists_the_cameras_and_swallows_hostile_names"),
            ("src/http/assets.rs", "nothing_inline_breaks_the_content_security_policy"),
            (
                "tests/it/vulnerabilities.rs",
                "cross_site_scripting_every_answer_says_nosniff_and_json_is_never_a_script",
            ),
        ],
    ),
    (
        "cross-site request forgery",
        &[
            ("src/http/tests/auth.rs", "a_browser_logs_in_with_a_cookie_and_writes_with_a_word_beside_it"),
            ("src/http/cors.rs", "a_foreign_page_changes_nothing_even_where_every_page_may_read"),
            (
                "src/http/graphql/tests.rs",
                "methods_and_media_types_are_those_of_graphql_over_http_and_a_foreign_page_does_nothing",
            ),
        ],
    ),
    (
        "cross-origin reading",
        &[
            ("src/http/cors.rs", "credentials_go_to_listed_pages_alone_and_never_with_a_star"),
            ("src/http/tests/mod.rs", "foreign_pages_read_only_what_the_list_allows"),
            ("src/http/tests/mod.rs", "a_proxied_or_rebound_request_is_not_this_machine"),
        ],
    ),
    (
        "cross-site WebSocket hijacking",
        &[
            ("src/http/ws/tests.rs", "ws_01_a_foreign_page_is_refused_before_the_upgrade"),
            ("tests/it/vulnerabilities.rs", "cross_site_websocket_hijacking_ends_before_the_upgrade"),
            ("src/http/tests/mod.rs", "a_foreign_page_follows_nothing_by_server_sent_events_or_long_poll"),
        ],
    ),
    (
        "unsafe deserialisation",
        &[
            ("src/config/load/tests.rs", "an_alias_bomb_is_refused_at_once"),
            ("src/config/load/tests.rs", "any_soup_of_yaml_is_read_or_refused"),
            ("tests/it/vulnerabilities.rs", "vulnerable_dependencies_are_not_there"),
        ],
    ),
    (
        "broken access control",
        &[
            ("tests/it/matrix.rs", "every_route_and_every_shape_of_url_has_a_row"),
            ("tests/it/matrix.rs", "every_route_answers_every_credential_as_its_row_says"),
            ("tests/it/matrix.rs", "rtsp_answers_every_credential_as_its_row_says"),
            ("tests/it/matrix.rs", "every_door_that_the_server_names_has_a_row"),
        ],
    ),
    (
        "enumeration and timing",
        &[
            ("src/http/tests/mod.rs", "without_a_credential_known_and_unknown_paths_look_the_same"),
            ("tests/it/alone/logins.rs", "enumeration_a_user_who_is_not_there_takes_as_long_as_a_wrong_password"),
        ],
    ),
    (
        "algorithm confusion and forged tokens",
        &[
            ("src/auth/token.rs", "jw_01_to_jw_03_forged_tokens_are_refused"),
            ("src/auth/token.rs", "kinds_of_tokens_do_not_pass_for_each_other"),
            ("src/auth/issuer/tests.rs", "jw_01_to_jw_03_forged_foreign_and_late_tokens_are_refused"),
            ("src/auth/issuer_keys.rs", "keys_for_something_else_and_weak_ones_are_left_out"),
        ],
    ),
    (
        "memory for slow readers",
        &[
            ("tests/it/crowd.rs", "clients_that_do_not_read_are_sent_away_and_slow_ones_and_others_get_everything"),
            ("src/rtsp/tests/slow.rs", "a_reader_whose_socket_takes_nothing_for_too_long_is_gone"),
            (
                "src/rtsp/tests/slow.rs",
                "what_waits_for_a_blocked_socket_is_dropped_and_pictures_go_on_with_a_random_access_point",
            ),
            ("src/events/ws/tests/session.rs", "nothing_is_read_while_too_much_waits_to_be_written"),
        ],
    ),
    (
        "decompression bomb",
        &[
            ("src/http/body.rs", "decompression_bomb_is_not_unpacked"),
            ("src/http/ws/tests.rs", "a_compression_bomb_is_too_big_and_nobody_else_minds"),
            ("src/events/ws/tests/inbound.rs", "ws_04_a_compression_bomb_is_too_big_before_it_is_inflated"),
        ],
    ),
    (
        "length fields",
        &[
            ("src/events/ws/tests/inbound.rs", "a_length_of_two_to_the_63_is_too_big_at_once"),
            ("src/rtp/packet.rs", "lengths_that_lie_are_refused"),
            ("src/rtp/rtcp.rs", "lengths_and_versions_that_lie_end_the_walk"),
            ("src/rtp/av1.rs", "lengths_that_lie_are_refused_and_the_next_unit_is_taken"),
            ("tests/it/vulnerabilities.rs", "length_fields_that_no_number_holds_are_refused"),
        ],
    ),
    ("request smuggling", &[("tests/it/vulnerabilities.rs", "request_smuggling_leaves_no_second_request")]),
    (
        "header injection",
        &[
            ("tests/it/vulnerabilities.rs", "header_injection_adds_no_line"),
            ("src/http/whep/tests.rs", "servers_are_links_and_nothing_breaks_out_of_them_wh_08"),
        ],
    ),
    (
        "log injection",
        &[
            ("tests/it/vulnerabilities.rs", "log_injection_forges_no_line"),
            ("src/cli/log.rs", "what_peers_send_cannot_forge_a_line_or_steer_the_terminal"),
        ],
    ),
    (
        "open redirect",
        &[
            ("tests/it/vulnerabilities.rs", "open_redirect_leads_nowhere_else"),
            ("src/http/challenges.rs", "whoever_asks_for_anything_else_is_sent_on_to_https"),
        ],
    ),
    (
        "cache poisoning",
        &[
            ("tests/it/vulnerabilities.rs", "cache_poisoning_no_header_that_caches_leave_out_changes_an_answer"),
            ("tests/it/proxies.rs", "what_a_login_allows_is_kept_by_no_cache_between"),
        ],
    ),
    (
        "HTTP/2 floods",
        &[
            ("src/http/tests/sockets.rs", "a_flood_ends_its_connection_and_hurts_nobody_else"),
            ("tests/it/vulnerabilities.rs", "vulnerable_dependencies_are_not_there"),
        ],
    ),
    (
        "slow loris, slow post, slow read",
        &[
            ("src/http/tests/sockets.rs", "a_head_that_trickles_in_is_cut_off_and_a_silent_client_too"),
            ("src/http/tests/sockets.rs", "a_handshake_that_does_not_come_is_cut_off"),
            ("src/http/tests/sockets.rs", "many_idle_connections_leave_the_server_quick_and_a_full_house_waits"),
            ("src/http/tests/sockets.rs", "a_reader_that_takes_nothing_is_cut_off"),
            ("src/http/tests/sockets.rs", "a_stream_whose_window_never_opens_is_cut_off"),
            ("src/http/body.rs", "slow_post_is_given_up"),
            ("src/rtsp/tests/slow.rs", "connections_that_say_nothing_or_half_a_request_are_closed"),
            ("src/rtsp/tests/wrapped.rs", "a_handshake_that_does_not_end_is_ended"),
        ],
    ),
    (
        "DTLS, ICE and STUN",
        &[
            ("src/webrtc/ice_tests.rs", "what_is_not_authentic_is_refused_as_rfc_8489_says_and_changes_nothing"),
            ("src/webrtc/ice_tests.rs", "hostile_datagrams_choose_nothing"),
            ("src/webrtc/transport_tests.rs", "only_proven_ways_cost_arithmetic"),
            ("src/webrtc/transport_tests.rs", "a_certificate_other_than_the_offered_one_ends_it"),
            ("src/webrtc/dtls_tests.rs", "bent_handshakes_do_no_harm"),
            ("src/webrtc/srtp_tests.rs", "an_index_is_never_sealed_over_a_second_content"),
            ("src/webrtc/srtp_tests.rs", "every_flipped_bit_and_every_missing_byte_is_noticed"),
        ],
    ),
    (
        "RTP and RTCP",
        &[
            ("src/rtp/packet.rs", "arbitrary_bytes_are_read_without_a_panic"),
            ("src/rtp/rtcp.rs", "arbitrary_bytes_are_read_without_a_panic"),
            ("src/webrtc/srtp_tests.rs", "hostile_reports_are_refused"),
            ("tests/it/hostile.rs", "server_survives_a_camera_that_sends_nonsense"),
        ],
    ),
    (
        "MQTT",
        &[
            ("src/config/alert_topic.rs", "names_are_filled_in_and_never_break_the_topic"),
            ("src/sensors/mqtt/routes.rs", "names_do_not_widen_what_is_read"),
            ("src/sensors/mqtt/session.rs", "a_broker_that_breaks_the_protocol_is_left"),
        ],
    ),
    (
        "brute force",
        &[
            ("tests/it/alone/logins.rs", "brute_force_of_a_hundred_logins_a_second_harms_neither_viewers_nor_alerts"),
            ("src/http/tests/mod.rs", "who_guesses_too_often_is_told_when_to_come_back"),
            ("src/auth/throttle.rs", "who_guesses_elsewhere_or_for_another_name_keeps_nobody_out"),
            ("src/auth/throttle.rs", "an_address_that_tries_many_names_waits_too"),
            ("src/auth/throttle.rs", "what_is_remembered_is_bounded"),
            ("src/http/tests/proxies.rs", "a_stranger_who_names_others_is_counted_as_itself"),
        ],
    ),
    (
        "TLS",
        &[
            ("tests/it/vulnerabilities.rs", "tls_a_hello_in_small_pieces_is_put_together"),
            ("tests/it/vulnerabilities.rs", "tls_older_than_1_2_is_not_spoken"),
            ("src/rtsp/tests/wrapped.rs", "nothing_leaves_a_tls_connection_in_the_clear_rt_14"),
        ],
    ),
    ("XML", &[("tests/it/vulnerabilities.rs", "vulnerable_dependencies_are_not_there")]),
    ("picture decoders", &[("tests/it/architecture.rs", "every_source_keeps_the_rules_of_the_house")]),
    (
        "information leak",
        &[
            ("src/config/load/tests.rs", "no_secret_is_shown_whatever_is_printed"),
            ("tests/it/cli.rs", "show_gives_what_is_in_force_with_secrets_masked"),
            ("src/http/tests/mod.rs", "a_lost_camera_is_named_with_a_hint_and_without_secrets"),
            ("src/http/problem.rs", "causes_go_to_the_log_and_never_to_the_client"),
            ("tests/it/users.rs", "users_come_and_go_while_the_server_runs"),
        ],
    ),
    (
        "weakened authentication",
        &[("tests/it/users.rs", "an_open_listener_without_users_is_refused_and_auth_off_is_said_aloud")],
    ),
];

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn every_class_has_its_tests_and_every_test_here_its_class() {
    for (class, tests) in CLASSES {
        assert!(!tests.is_empty(), "{class}");
        for (file, test) in *tests {
            let found =
                Regex::new(&format!(r"#\[(?:tokio::)?test\b[^\]]*\]\s+(?:#\[[^\]]*\]\s+)*(?:async )?fn {test}\("));
            assert!(found.unwrap().is_match(&read(file)), "{class}: there is no test {test} in {file}");
        }
    }
    let here = Regex::new(r"#\[(?:tokio::)?test\]\n(?:async )?fn ([a-z0-9_]+)").unwrap();
    for found in here.captures_iter(include_str!("vulnerabilities.rs")).skip(1) {
        let known = CLASSES.iter().any(|(_, tests)| tests.iter().any(|(_, test)| *test == &found[1]));
        assert!(known, "{} stands for a class", &found[1]);
    }
}

/// What comes back for these bytes until the server closes.
async fn answer(address: SocketAddr, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    // It may have said no already.
    let _ = socket.write_all(bytes).await;
    let (mut seen, mut buffer) = (Vec::new(), [0; 8192]);
    while let Ok(count @ 1..) = timeout(PATIENCE, socket.read(&mut buffer)).await.expect("the server closes") {
        seen.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&seen).into_owned()
}

/// The last request of a connection.
const LAST: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The answer to a target, which is sent as it stands, with further lines in its head.
async fn get(server: &Server, target: &str, lines: &str) -> String {
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n");
    answer(server.address("http"), request.as_bytes()).await
}

fn statuses(answers: &str) -> Vec<u16> {
    let line = Regex::new(r"HTTP/1\.[01] (\d{3}) ").unwrap();
    line.captures_iter(answers).map(|found| found[1].parse().unwrap()).collect()
}

async fn demo() -> Server {
    Server::start(json!({ "paths": { "cam": { "source": "demo" } } })).await
}

#[tokio::test]
async fn parser_memory_a_line_without_end_is_cut_off() {
    const MANY: usize = 10 << 20;
    let server = demo().await;
    let long = async |door: &str, head: &str| {
        let mut bytes = head.as_bytes().to_vec();
        bytes.resize(MANY, b'a');
        let said = answer(server.address(door), &bytes).await;
        assert!(said.is_empty() || said.contains(" 4"), "{door}: {said}");
    };
    for door in ["http", "rtsp"] {
        let heads =
            ["GET /", "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nX: "];
        // The first time what answers comes into memory.
        for head in heads {
            long(door, head).await;
        }
        let before = server.resident_bytes();
        for head in heads {
            long(door, head).await;
        }
        let grown = server.resident_bytes().saturating_sub(before);
        assert!(grown < MANY as u64, "{door}: {grown} bytes more");
    }
    assert_eq!(server.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn path_traversal_finds_nothing_outside() {
    let server = demo().await;
    let secret = "a secret of the state";
    fs::write(server.folder().join("state/secret.txt"), secret).unwrap();
    let climbs = [
        "..",
        "%2e%2e",
        "%2e.",
        ".%2e",
        "%252e%252e",
        "..%2f",
        "%2e%2e%2f",
        "..%5c",
        "..\\",
        "%c0%ae%c0%ae",
        "%e2%80%a5",
        "%ef%bc%8e%ef%bc%8e",
        "....",
        ".%00.",
        "..;",
        "cam/..",
        "cam%2f..",
        "/..",
        "//..",
    ];
    let prefixes =
        ["", "assets/", "cam/", "cam/hls/", "embed/", "api/", "api/v1/paths/", "api/v1/sensors/", "cam/whep/"];
    let ends = ["state/secret.txt", "state%2fsecret.txt", "etc/passwd", "campanile.yaml"];
    for (prefix, climb) in prefixes.iter().flat_map(|prefix| climbs.map(|climb| (prefix, [climb; 3].join("/")))) {
        for end in ends {
            let said = get(&server, &format!("/{prefix}{climb}/{end}"), "").await;
            let status = statuses(&said)[0];
            // A redirect to a name that is none but for its dots.
            assert!(
                (400..500).contains(&status) || climb.starts_with("....") && status == 308,
                "/{prefix}{climb}/{end}: {said}"
            );
            assert!(!said.contains(secret) && !said.contains("root:"), "/{prefix}{climb}/{end}: {said}");
        }
    }
}

#[tokio::test]
async fn command_injection_finds_no_shell() {
    let server = demo().await;
    let sentinel = server.folder().join("pwned");
    let touch = format!("touch {}", sentinel.display());
    for wrapped in
        [format!("$({touch})"), format!("`{touch}`"), format!(";{touch};"), format!("|{touch}"), format!("\n{touch}\n")]
    {
        let encoded: String = wrapped.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for target in [format!("/{encoded}/"), format!("/cam/index.m3u8?{encoded}"), format!("/api/v1/paths/{encoded}")]
        {
            get(&server, &target, &format!("User-Agent: {}\r\n", wrapped.trim())).await;
        }
        let mut client = RtspClient::connect(server.address("rtsp")).await;
        client.ask("DESCRIBE", &format!("{}?a={encoded}", server.rtsp("cam")), &[]).await;
        client.ask("DESCRIBE", &server.rtsp(&encoded), &[("X-Note", wrapped.trim())]).await;
        let event = json!({ "type": "motion", "path": "cam", "data": { "command": wrapped } });
        server.client().post(server.http("/api/v1/events")).json(&event).send().await.unwrap();
    }
    assert!(!sentinel.exists(), "somebody ran a command");
}

#[tokio::test]
async fn cross_site_scripting_every_answer_says_nosniff_and_json_is_never_a_script() {
    let server = demo().await;
    let markup = "%3Cimg%20src=x%20onerror=alert(1)%3E";
    for target in [
        "/".to_owned(),
        "/cam/".to_owned(),
        format!("/{markup}/"),
        format!("/api/v1/paths/{markup}"),
        format!("/api/v1/info?callback={markup}"),
        format!("/api/v1/paths?jsonp={markup}&after={markup}"),
        format!("/api/v1/events?types={markup}"),
        "/api/docs".to_owned(),
    ] {
        let said = get(&server, &target, "").await;
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        assert!(head.contains("\r\nx-content-type-options: nosniff"), "{target}: {head}");
        assert!(!head.contains("javascript"), "{target}: {head}");
        let is_page = head.contains("\r\ncontent-type: text/html");
        assert_eq!(is_page, head.contains("\r\ncontent-security-policy: default-src 'none'"), "{target}: {head}");
        assert!(!is_page || !body.contains("onerror"), "{target}: {body}");
    }
}

#[tokio::test]
async fn cross_site_websocket_hijacking_ends_before_the_upgrade() {
    let server = demo().await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let open = async |door: &str, origin: &str| {
        let request = format!("GET {door} HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\n{upgrade}{origin}\r\n");
        let mut socket = TcpStream::connect(server.address("http")).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut buffer = [0; 64];
        let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
        statuses(&String::from_utf8_lossy(&buffer[..count]))[0]
    };
    for door in ["/ws/events", "/ws/alerts", "/ws/statistics", "/graphql"] {
        for origin in ["http://evil.example", "null", "http://localhost.evil.example", "http://localhost:1"] {
            assert_eq!(open(door, &format!("Origin: {origin}\r\n")).await, 403, "{door} from {origin}");
        }
        assert_eq!(open(door, "Origin: http://localhost\r\n").await, 101, "{door} from its own page");
    }
}

#[tokio::test]
async fn length_fields_that_no_number_holds_are_refused() {
    let server = demo().await;
    for length in ["99999999999999999999", "18446744073709551616", "-1", "+5", "0x10", "5, 6", "5;6", "1e3", "5 5"] {
        let request =
            format!("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{LAST}");
        let said = answer(server.address("http"), request.as_bytes()).await;
        assert_eq!(statuses(&said), [400], "HTTP, {length}: {said}");
        let request = format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: {length}\r\n\r\n");
        let said = answer(server.address("rtsp"), request.as_bytes()).await;
        assert!(said.starts_with("RTSP/1.0 4"), "RTSP, {length}: {said}");
    }
    // One chunk longer than any number.
    let request = "POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n";
    let said = answer(server.address("http"), request.as_bytes()).await;
    assert_eq!(statuses(&said), [400], "{said}");
}

/// RFC 9112 §11.2: two programs that disagree on where a request ends. Whatever this one takes for its end, nothing that a
/// proxy may have taken for a body is answered on the same connection.
#[tokio::test]
async fn request_smuggling_leaves_no_second_request() {
    let server = demo().await;
    let smuggled = "GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = smuggled.len() + 5;
    for framing in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: 5\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding : chunked\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding: xchunked\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding: chunked, identity\r\nContent-Length: {length}\r\n"),
        format!("Transfer-Encoding:\u{b}chunked\r\nContent-Length: {length}\r\n"),
        format!("X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("X: y\rTransfer-Encoding: chunked\r\nContent-Length: {length}\r\n"),
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    ] {
        let request =
            format!("POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n0\r\n\r\n{smuggled}{LAST}");
        let said = answer(server.address("http"), request.as_bytes()).await;
        assert!(!said.contains("\"version\""), "{framing}: {said}");
        let first = statuses(&said)[0];
        assert!((400..500).contains(&first), "{framing}: {said}");
    }
    // The version before had no chunks.
    let request = format!(
        "POST /api/v1/events HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    let said = answer(server.address("http"), request.as_bytes()).await;
    assert_eq!(statuses(&said), [400], "{said}");
}

#[tokio::test]
async fn header_injection_adds_no_line() {
    let server = demo().await;
    let ends = [
        "%0d%0aX-Injected:%20yes",
        "%0aX-Injected:yes",
        "%0d%0a%0d%0aX-Injected:yes",
        "%e5%98%8a%e5%98%8dX-Injected:yes",
    ];
    for end in ends {
        for target in [
            format!("/cam{end}"),
            format!("/cam?a=b{end}"),
            format!("/embed/cam?{end}"),
            format!("/cam/index.m3u8?token={end}"),
            format!("/api/v1/events?after={end}"),
        ] {
            let said =
                get(&server, &target, &format!("Origin: http://localhost{end}\r\nRange: bytes=0-{end}\r\n")).await;
            let head = said.split("\r\n\r\n").next().unwrap();
            let injected = head.lines().any(|line| line.trim_start().to_ascii_lowercase().starts_with("x-injected"));
            assert!(!injected, "{target}: {head}");
        }
        for url in [server.rtsp(&format!("cam{end}")), format!("{}?a={end}", server.rtsp("cam"))] {
            let mut client = RtspClient::connect(server.address("rtsp")).await;
            let said = client.ask("DESCRIBE", &url, &[("Accept", "application/sdp")]).await;
            assert!(said.header("X-Injected").is_none(), "{url}: {said:?}");
        }
    }
}

#[tokio::test]
async fn log_injection_forges_no_line() {
    let server =
        Server::start(json!({ "auth": {}, "log": { "level": "trace" }, "paths": { "cam": { "source": "demo" } } }))
            .await;
    let forged = "2026-01-01T00:00:00.000Z  INFO the door is open";
    for evil in [
        format!("a\r\n{forged}"),
        format!("a\u{1b}[2K\r{forged}"),
        format!("a\u{9b}2J\u{202e}{forged}"),
        format!("a\u{2028}{forged}"),
    ] {
        let encoded: String = evil.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let login = STANDARD.encode(format!("{evil}:{evil}"));
        let agent: String = evil.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
        let lines = format!("Authorization: Basic {login}\r\nUser-Agent: {agent}\r\nForwarded: for=\"{agent}\"\r\n");
        get(&server, &format!("/{encoded}/"), "").await;
        get(&server, &format!("/api/v1/paths/{encoded}?{encoded}"), &lines).await;
        let login = json!({ "name": evil, "password": evil });
        server.client().post(server.http("/api/v1/auth/login")).json(&login).send().await.unwrap();
        let mut client = RtspClient::connect(server.address("rtsp")).await;
        client.user_agent = agent;
        client.ask("DESCRIBE", &server.rtsp(&encoded), &[]).await;
    }
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("%0d%0a%32%30%32%36")), "something of it is logged");
    for line in log {
        assert!(!line.contains(['\u{1b}', '\r', '\u{9b}', '\u{202e}', '\u{2028}']), "{line:?}");
        assert!(!line.starts_with("2026-01-01"), "{line:?}");
    }
}

#[tokio::test]
async fn open_redirect_leads_nowhere_else() {
    let server = demo().await;
    for target in [
        "/cam",
        "//evil.example",
        "//evil.example/cam",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "/\\evil.example",
        "/cam/%2f%2fevil.example",
        "/evil.example",
        "/cam/..//evil.example",
        "/http:%2f%2fevil.example",
        "/embed//evil.example",
        "/embed/evil.example",
        "/cam?next=//evil.example",
        "http://evil.example/cam",
    ] {
        let said = get(&server, target, "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n").await;
        let location = said.lines().find_map(|line| line.strip_prefix("location: "));
        // Relative to where it is: no scheme, no host, nothing that a browser takes for one.
        let Some(location) = location else { continue };
        let path = location.split('?').next().unwrap();
        assert!(!path.contains(':') && !path.contains('\\') && !path.starts_with('/'), "{target}: {location}");
    }
}

#[tokio::test]
async fn cache_poisoning_no_header_that_caches_leave_out_changes_an_answer() {
    let server = demo().await;
    let lines = [
        "X-Forwarded-Host: evil.example\r\n",
        "X-Host: evil.example\r\n",
        "Forwarded: host=evil.example;proto=https\r\n",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n",
        "X-Original-URL: /evil.example\r\nX-Rewrite-URL: /evil.example\r\n",
        "X-HTTP-Method-Override: DELETE\r\n",
        "X-Forwarded-Prefix: /evil.example\r\n",
        "Origin: http://evil.example\r\n",
        "Accept-Language: evil.example\r\n",
    ];
    // What is the same at every moment.
    let same = |said: &str| {
        let date = Regex::new(r#"(?m)^(date|age): .*\r\n|urn:uuid:[0-9a-f-]+"#).unwrap();
        date.replace_all(said, "").into_owned()
    };
    for target in ["/", "/cam/", "/cam", "/embed/cam/", "/cam/hls/none.mp4", "/api/openapi.json", "/api/docs"] {
        let clean = same(&get(&server, target, "").await);
        for line in lines {
            let said = same(&get(&server, target, line).await);
            assert!(!said.contains("evil"), "{target}, {line}: {said}");
            assert_eq!(said, clean, "{target}, {line}");
        }
    }
}

#[test]
fn vulnerable_dependencies_are_not_there() {
    let lock = read("Cargo.lock");
    let package = Regex::new(r#"name = "([^"]+)"\nversion = "(\d+)\.(\d+)\.(\d+)"#).unwrap();
    let number = |text: &str| text.parse::<u32>().unwrap();
    let packages: Vec<(String, (u32, u32, u32))> = package
        .captures_iter(&lock)
        .map(|found| (found[1].to_owned(), (number(&found[2]), number(&found[3]), number(&found[4]))))
        .collect();
    let of = |name: &str| -> Vec<_> {
        packages.iter().filter(|(known, _)| known == name).map(|(_, version)| *version).collect()
    };
    // RUSTSEC-2024-0332, -2024-0003, -2026-0258; -2024-0399; -2023-0053; -2023-0065; -2025-0008.
    let mended = [
        ("h2", (0, 4, 16)),
        ("rustls", (0, 23, 18)),
        ("rustls-webpki", (0, 103, 0)),
        ("tungstenite", (0, 20, 1)),
        ("openh264-sys2", (0, 8, 0)),
    ];
    for (name, least) in mended {
        for version in of(name) {
            assert!(version >= least, "{name} {version:?} has a hole that {least:?} has not");
        }
    }
    assert!(of("h2").len() == 1 && of("rustls").len() == 1, "the names are right");
    // YAML that runs or is not kept; XML, whose readers took quadratic time; other stacks of TLS and WebSocket.
    for name in
        ["serde_yaml", "serde_yml", "quick-xml", "xml-rs", "roxmltree", "openssl-sys", "native-tls", "websocket"]
    {
        assert_eq!(of(name).len(), 0, "{name}: deny.toml and this list say why not");
    }
}

/// A server that speaks TLS, and the first flight of a client.
async fn hello() -> (Server, Identity, ClientConnection, Vec<u8>) {
    let identity = Identity::new();
    let tls = json!({ "certificate_file": identity.certificate, "key_file": identity.key });
    let server = Server::start(json!({ "http": { "tls": tls }, "paths": { "cam": { "source": "demo" } } })).await;
    let config = Judge::new(Trust::Anybody).builder().unwrap().with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(config.into(), name).unwrap();
    let mut flight = Vec::new();
    client.write_tls(&mut flight).unwrap();
    (server, identity, client, flight)
}

/// RUSTSEC-2024-0399: a hello in more than one record made a server panic.
#[tokio::test]
async fn tls_a_hello_in_small_pieces_is_put_together() {
    for size in [1, 7, 64] {
        let (server, _identity, mut client, flight) = hello().await;
        // RFC 8446 §5.1: a handshake message may be cut into any number of records.
        let (head, body) = flight.split_at(5);
        let mut records = Vec::new();
        for piece in body.chunks(size) {
            records.extend_from_slice(&head[..3]);
            records.extend((piece.len() as u16).to_be_bytes());
            records.extend_from_slice(piece);
        }
        let mut socket = TcpStream::connect(server.address("https")).await.unwrap();
        for bytes in records.chunks(100) {
            socket.write_all(bytes).await.unwrap();
        }
        let mut buffer = [0; 16384];
        while client.is_handshaking() {
            let count = timeout(PATIENCE, socket.read(&mut buffer)).await.unwrap().unwrap();
            assert!(count > 0, "closed, in pieces of {size}");
            let mut seen = &buffer[..count];
            while !seen.is_empty() {
                client.read_tls(&mut seen).unwrap();
                client.process_new_packets().unwrap();
            }
            let mut reply = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut reply).unwrap();
            }
            socket.write_all(&reply).await.unwrap();
        }
    }
}

#[tokio::test]
async fn tls_older_than_1_2_is_not_spoken() {
    let (server, _identity, _, flight) = hello().await;
    // A hello of TLS 1.0, with nothing of later ones: one old suite, and no extension.
    let mut hello = vec![3, 1];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0, 0x2f, 1, 0]);
    let mut record = vec![22, 3, 1, 0, (hello.len() + 4) as u8, 1, 0, 0, hello.len() as u8];
    record.extend(hello);
    let mut socket = TcpStream::connect(server.address("https")).await.unwrap();
    socket.write_all(&record).await.unwrap();
    let mut said = Vec::new();
    let _ended = timeout(PATIENCE, socket.read_to_end(&mut said)).await.expect("it is closed");
    // RFC 8446 §6: an alert at most, and no handshake.
    assert!(said.first().is_none_or(|kind| *kind == 21), "{said:?}");
    // The same bytes of a client of today are answered by a handshake.
    let mut socket = TcpStream::connect(server.address("https")).await.unwrap();
    socket.write_all(&flight).await.unwrap();
    let mut first = [0];
    timeout(PATIENCE, socket.read_exact(&mut first)).await.unwrap().unwrap();
    assert_eq!(first, [22]);
}
