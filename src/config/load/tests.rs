//! Bad inputs and the exact words about them.

use std::{collections::HashMap, io, path::Path};

use proptest::prelude::*;

use super::*;
use crate::config::{ResolvedSource, SourceTransport};

/// Files in memory.
#[derive(Default)]
struct Memory(HashMap<&'static str, &'static str>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.0.get(path.to_str().unwrap()).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok((*text).to_owned())
    }

    fn probe(&self, path: &Path) -> io::Result<()> {
        self.read(path).map(drop)
    }
}

fn read_with(text: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let files = Memory(HashMap::from([("secret.txt", "pa ss\r\n"), ("cert.pem", ""), ("key.pem", "")]));
    let input = Input { name: "campanile.yaml", text, environment: &environment, files: &files };
    load(&input).map_err(|problems| problems.to_string())
}

fn read(text: &str) -> Result<Config, String> {
    read_with(text, &[])
}

/// The complaints about `text`, line by line.
#[track_caller]
fn assert_wrong(text: &str, expected: &str) {
    assert_wrong_with(text, &[], expected);
}

#[track_caller]
fn assert_wrong_with(text: &str, environment: &[(&str, &str)], expected: &str) {
    let found = read_with(text, environment).expect_err("nothing is wrong");
    assert_eq!(found.trim_end(), expected.trim(), "\n--- found\n{found}--- for\n{text}");
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "# nothing\n", "---\n", "http:\nlog:\npaths:\n", "http: {}\n", "\u{feff}log:\r\n  level: info\r\n"]
    {
        assert_eq!(read(text), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn every_problem_is_said_at_once_in_file_order() {
    assert_wrong(
        r#"
state_dirr: /var/lib/x
log: { level: verbose, format: json }
http:
  adress: 127.0.0.1:8080
  max_connections: many
  tls: { certificate_file: cert.pem }
  allowed_origins: [example.org]
rtsp:
  address: [127.0.0.1, "127.0.0.1:8554", localhost]
  transports: [tcp, utp]
  udp_ports: [8000]
  session_timeout: 60
hls:
  part: 0.2
  segments: 2
paths:
  front door:
    source: demo
  garden:
    source: http://10.0.0.5/video
    transprot: tcp
  gate:
    sub: rtsp://10.0.0.5/2
  yard:
    source: rtsp://10.0.0.6/1
    password: ${CAMPANILE_TEST_ABSENT}
    history: { size: 16 }
"#,
        r#"
error: campanile.yaml:2:1: state_dirr: unknown key
hint: did you mean `state_dir`?
error: campanile.yaml:3:15: log.level: expected one of `error`, `warn`, `info`, `debug`, `trace`, found `verbose`
error: campanile.yaml:5:3: http.adress: unknown key
hint: did you mean `address`?
error: campanile.yaml:6:20: http.max_connections: expected a whole number, found `many`
error: campanile.yaml:7:3: http.tls: the key `key_file` is missing
error: campanile.yaml:8:21: http.allowed_origins[0]: expected an origin, a scheme and a host such as `https://example.org`, or `*`, found `example.org`
error: campanile.yaml:10:13: rtsp.address[0]: expected an IP address with a port, such as `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for every interface, found `127.0.0.1`
error: campanile.yaml:10:42: rtsp.address[2]: expected an IP address with a port, such as `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for every interface, found `localhost`
error: campanile.yaml:11:21: rtsp.transports[1]: expected one of `tcp`, `udp`, found `utp`
hint: did you mean `udp`?
error: campanile.yaml:12:3: rtsp.udp_ports: expected a list of 2, found a list of 1
error: campanile.yaml:13:20: rtsp.session_timeout: expected a span of time with its unit, such as `200ms`, `2s` or `1m30s`, found `60`
error: campanile.yaml:15:9: hls.part: expected a span of time with its unit, such as `200ms`, `2s` or `1m30s`, found `0.2`
error: campanile.yaml:16:13: hls.segments: expected 3 to 1000, found `2`
error: campanile.yaml:18:3: paths.front door: a path name has letters, digits, `_`, `.`, `-` and `/` only, found ' '
error: campanile.yaml:21:13: paths.garden.source: sources of the scheme `http` are not supported; expected `rtsp://…`, `rtsps://…`, `demo` or `publisher`, found `http://10.0.0.5/video`
error: campanile.yaml:22:5: paths.garden.transprot: unknown key
hint: did you mean `transport`?
error: campanile.yaml:23:3: paths.gate: the key `source` is missing
hint: write the camera's URL, `source: rtsp://…`, or `source: demo` for the built-in camera
error: campanile.yaml:27:15: paths.yard.password: the variable `CAMPANILE_TEST_ABSENT` is not set
hint: set it, or give a text for its absence: `${CAMPANILE_TEST_ABSENT:-text}`
error: campanile.yaml:28:22: paths.yard.history.size: expected a size with its unit, such as `64KiB`, `16MiB` or `8MB`, found `16`
"#,
    );
}

#[test]
fn syntax_is_complained_of_with_its_place() {
    let table = [
        ("http: [", "error: campanile.yaml:1:7: not valid YAML"),
        ("a: b: c", "error: campanile.yaml:1:5: not valid YAML"),
        ("http:\n\taddress: x", "error: campanile.yaml:2:"),
        (
            "http: {address: 1}\n---\nlog: {}",
            "error: campanile.yaml:3:1: the file holds a second document; one is expected",
        ),
        ("? [a]\n: b", "error: campanile.yaml:1:3: a key is a text, not a list or an object"),
        ("drain: *x", "error: campanile.yaml:1:8: not valid YAML"),
        ("drain: {a: ${B}}", "error: campanile.yaml:1:13: not valid YAML"),
        ("just words", "error: campanile.yaml:1:1: expected an object, found `just words`"),
    ];
    for (text, expected) in table {
        let found = read(text).unwrap_err();
        assert!(found.starts_with(expected), "{text:?}: {found}");
    }
}

#[test]
fn a_key_written_twice_is_an_error_with_the_first_line() {
    assert_wrong(
        "drain: 1s\nhttp:\n  address: :1\n  address: :2\ndrain: 2s\n",
        "error: campanile.yaml:4:3: the key `address` is there twice\n\
         hint: the first one is on line 3\n\
         error: campanile.yaml:5:1: the key `drain` is there twice\n\
         hint: the first one is on line 1",
    );
}

#[test]
fn keys_that_are_wrong_together_are_found() {
    let table = [
        (
            "rtsp: { address: ':8080' }",
            "error: campanile.yaml:1:18: rtsp.address: `[::]:8080` overlaps with `127.0.0.1:8080` of `http.address`\n\
             hint: give each listener a port of its own, or port 0 for any free one",
        ),
        (
            "rtsp:\n  tls: { certificate_file: cert.pem, key_file: key.pem }\n  tls_address: 127.0.0.1:8554",
            "error: campanile.yaml:3:16: rtsp.tls_address: `127.0.0.1:8554` overlaps with `127.0.0.1:8554` of `rtsp.address`\n\
             hint: give each listener a port of its own, or port 0 for any free one",
        ),
        (
            "rtsp: { udp_ports: [28188, 28189] }\nwebrtc: { address: '127.0.0.1:28189' }",
            "error: campanile.yaml:2:20: webrtc.address: `127.0.0.1:28189` overlaps with `127.0.0.1:28189` of `rtsp.udp_ports`\n\
             hint: give each listener a port of its own, or port 0 for any free one",
        ),
        (
            "rtsp: { udp_ports: [8001, 8002] }",
            "error: campanile.yaml:1:9: rtsp.udp_ports: expected an even port and the next one, found `[8001, 8002]`\n\
             hint: such as `[8000, 8001]`, or `[0, 0]` for any free pair",
        ),
        (
            "hls: { part: 1s, segment: 500ms }",
            "error: campanile.yaml:1:14: hls.part: a part of 1s is longer than a segment of 500ms",
        ),
        (
            "default_path: gardn\npaths: { garden: { source: demo } }",
            "error: campanile.yaml:1:15: default_path: no path has the name `gardn`\nhint: did you mean `garden`?",
        ),
        (
            "http: { tls: { certificate_file: cert.pem, key_file: nowhere.pem } }",
            "error: campanile.yaml:1:54: http.tls.key_file: `nowhere.pem`: no such file",
        ),
        ("drain: 5m", "error: campanile.yaml:1:8: drain: expected 0s to 1m, found `5m`"),
    ];
    for (text, expected) in table {
        assert_wrong(text, expected);
    }
}

#[test]
fn paths_that_cannot_work_are_found() {
    let table = [
        ("whep: { source: demo }", "error: campanile.yaml:2:3: paths.whep: the segment `whep` is reserved"),
        (
            "a: { source: publisher }",
            "error: campanile.yaml:2:16: paths.a.source: `publisher` is not possible yet\n\
             hint: a source is a camera's URL, `rtsp://…` or `rtsps://…`, or `demo`",
        ),
        (
            "~^cam(: { source: demo }",
            "error: campanile.yaml:2:3: paths.~^cam(: the regular expression is not valid: unclosed group",
        ),
        (
            "~^cam([0-9]+)$: { source: 'rtsp://10.0.0.$2/' }",
            "error: campanile.yaml:2:29: paths.~^cam([0-9]+)$.source: the regular expression has no group `2`\n\
             hint: `$1` is the first group in parentheses, `${name}` is `(?<name>…)`, `$$` is a plain `$`",
        ),
        (
            "a: { source: 'rtsp://u:hunter2@cam:x/' }",
            "error: campanile.yaml:2:16: paths.a.source: the URL is not valid: invalid port number, found `rtsp://***@cam:x/`",
        ),
        (
            "a: { source: 'rtsp://u:p@cam/', username: v, password_file: secret.txt }",
            "error: campanile.yaml:2:45: paths.a.username: the URL of `source` holds one as well: one of the two\n\
             error: campanile.yaml:2:63: paths.a.password_file: the URL of `source` holds one as well: one of the two\n\
             error: campanile.yaml:2:63: paths.a.password_file: `password` is given as well: one of the two",
        ),
        (
            "a: { source: 'rtsp://cam/', password_file: nowhere.txt }",
            "error: campanile.yaml:2:46: paths.a.password_file: `nowhere.txt`: no such file",
        ),
        (
            "a: { source: 'rtsp://cam/', tls: { insecure: true } }",
            "error: campanile.yaml:2:31: paths.a.tls: the source is `rtsp://`: there is no certificate to judge\n\
             hint: write `rtsps://` if the camera can",
        ),
        (
            "a: { source: 'rtsps://cam/', transport: udp }",
            "error: campanile.yaml:2:43: paths.a.transport: `udp` is not possible with `rtsps://`: its media travel inside the connection\n\
             hint: leave it at `auto`, or write `tcp`",
        ),
        (
            "a: { source: demo, username: x }",
            "error: campanile.yaml:2:32: paths.a.username: the built-in camera has no use for it",
        ),
        (
            "a: { source: 'rtsp://cam/1', sub: 'rtsp://cam/1' }",
            "error: campanile.yaml:2:37: paths.a.sub: the smaller rendition is the same stream as the main one",
        ),
        (
            "a: { source: demo, stalled_after: 20s }",
            "error: campanile.yaml:2:37: paths.a.stalled_after: never reached: after 10s (`reconnect_after`) the camera is connected anew, before 20s",
        ),
        (
            "a: { source: dem }",
            "error: campanile.yaml:2:16: paths.a.source: expected `rtsp://…`, `rtsps://…`, `demo` or `publisher`, found `dem`\n\
             hint: did you mean `demo`?",
        ),
        (
            "a: { source: 'rtps://cam/' }",
            "error: campanile.yaml:2:16: paths.a.source: sources of the scheme `rtps` are not supported; expected `rtsp://…`, `rtsps://…`, `demo` or `publisher`, found `rtps://cam/`\n\
             hint: did you mean `rtsp`?",
        ),
        (
            "a: { source: cam.lan }",
            "error: campanile.yaml:2:16: paths.a.source: expected `rtsp://…`, `rtsps://…`, `demo` or `publisher`, found `cam.lan`",
        ),
        (
            "a: { source: 'rtsp://cam/', on_demand: sometimes }",
            "error: campanile.yaml:2:42: paths.a.on_demand: expected `true`, `false`, or an object with `start_timeout` and `close_after`, found `sometimes`",
        ),
        (
            "a: { source: 'rtsp://cam/', on_demand: { start_timout: 3s } }",
            "error: campanile.yaml:2:44: paths.a.on_demand.start_timout: unknown key\nhint: did you mean `start_timeout`?",
        ),
        (
            "a: { source: 'rtsp://cam/', sub: { sorce: 'rtsp://cam/2' } }",
            "error: campanile.yaml:2:31: paths.a.sub: the key `source` is missing\n\
             hint: write the URL of the smaller stream\n\
             error: campanile.yaml:2:38: paths.a.sub.sorce: unknown key\n\
             hint: did you mean `source`?",
        ),
        (
            "a: { source: 'rtsp://cam/', password: [hunter2] }",
            "error: campanile.yaml:2:31: paths.a.password: expected a text",
        ),
        (
            "a: { source: 'rtsps://cam/', tls: { fingerprint: abc } }",
            "error: campanile.yaml:2:52: paths.a.tls.fingerprint: expected a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons, found `abc`",
        ),
        (
            "a: { source: 'rtsp://cam/', title: '${' }",
            "error: campanile.yaml:2:38: paths.a.title: `${` without its `}`\nhint: write `$${` for a plain `${`",
        ),
    ];
    for (path, expected) in table {
        assert_wrong(&format!("paths:\n  {path}\n"), expected);
    }
}

#[test]
fn a_value_in_error_is_not_complained_of_again_through_its_default() {
    // The default of `http.address` would clash; the range of `udp_ports` would not fit what is left.
    assert_wrong(
        "http: { address: oops }\nrtsp: { address: '127.0.0.1:8080', udp_ports: [x, 8001] }",
        "error: campanile.yaml:1:18: http.address: expected an IP address with a port, such as `127.0.0.1:8080`, `[::1]:8080`, or `:8080` for every interface, found `oops`\n\
         error: campanile.yaml:2:48: rtsp.udp_ports[0]: expected a whole number, found `x`",
    );
}

#[test]
fn variables_are_filled_in_as_values_never_as_syntax() {
    let environment = [("HOST", "10.0.0.5"), ("PASSWORD", "a: [b] #c"), ("EMPTY", ""), ("MOST", "5"), ("NUL", "null")];
    let text = r#"
http: { max_connections: "${MOST}00" }
limits: { sessions: "${MOST}" }
rtsp:
  max_connections: ${MOST}
paths:
  a:
    source: rtsp://${HOST}/$1/$${HOST}
    password: ${PASSWORD}
    title: "${ABSENT:-Garden} ${EMPTY:-gate} $5 50$"
  b: { source: demo, title: "${EMPTY}x" }
  c: { source: rtsp://cam/, password: '${NUL}' }
"#;
    let error = read_with(text, &environment).unwrap_err();
    assert!(error.contains("http.max_connections: expected a whole number"), "quoted, it is a text: {error}");
    let text = text.replace("\"${MOST}00\"", "1").replace("\"${MOST}\"", "1");
    let config = read_with(&text, &environment).unwrap();
    assert_eq!(config.rtsp.max_connections, 5);
    let a = config.resolve(&"a".parse().unwrap()).unwrap();
    let ResolvedSource::Camera(camera) = &a.main else { panic!("{a:?}") };
    assert_eq!(camera.url.as_str(), "rtsp://10.0.0.5/$1/$%7BHOST%7D");
    assert_eq!(camera.credentials.as_ref().unwrap().password.reveal(), "a: [b] #c");
    assert_eq!(a.title, "Garden gate $5 50$");
    let c = config.resolve(&"c".parse().unwrap()).unwrap();
    assert_eq!(c.config.password.as_ref().unwrap().reveal(), "null");
}

#[test]
fn groups_of_an_expression_are_not_taken_for_variables() {
    let environment = [("site", "wrong"), ("HOST", "cams")];
    let text =
        "paths: { '~^(?<site>[a-z]+)-([0-9]+)$': { source: 'rtsp://${HOST}-${site}/$2', title: 'Gate ${2} ${site}' } }";
    let config = read_with(text, &environment).unwrap();
    let path = config.resolve(&"north-7".parse().unwrap()).unwrap();
    let ResolvedSource::Camera(camera) = &path.main else { panic!("{path:?}") };
    assert_eq!(camera.url.as_str(), "rtsp://cams-north/7");
    assert_eq!(path.title, "Gate 7 north");
}

#[test]
fn the_environment_stands_above_the_file() {
    let text =
        "http: { address: '127.0.0.1:1' }\npaths:\n  front-door:\n    source: rtsp://cam/\n    password: ${ABSENT}\n";
    let environment = [
        ("CAMPANILE_HTTP__ADDRESS", "[::1]:9000"),
        ("CAMPANILE_RTSP__UDP_PORTS", "[9000, 9001]"),
        ("CAMPANILE_RTSP__ADDRESS", "[':0', '127.0.0.1:9']"),
        ("CAMPANILE_HLS__PART", "500ms"),
        ("CAMPANILE_LOG__LEVEL", "debug"),
        ("CAMPANILE_STATE_DIR", "/tmp/x"),
        ("CAMPANILE_PATHS__FRONT_DOOR__PASSWORD", "[*x"),
        ("CAMPANILE_PATHS__FRONT_DOOR__TRANSPORT", "tcp"),
        ("CAMPANILE_PATHS__YARD__SOURCE", "demo"),
        ("CAMPANILE_PATHS__YARD__TITLE", "7"),
        ("CAMPANILE_MEDIA_THREADS", "3"),
        // Not ours to read.
        ("CAMPANILE_CONFIG", "/nowhere"),
        ("CAMPANILE_LOG", "debug"),
        ("CAMPANILE_PORT", "tcp://10.0.0.1:8080"),
        ("CAMPANILE_SERVICE_HOST", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    let config = read_with(text, &environment).unwrap();
    assert_eq!(config.http.address.to_string(), "[::1]:9000");
    assert_eq!(config.rtsp.udp_ports.0, [9000, 9001]);
    assert_eq!(config.rtsp.address.to_string(), "[::]:0, 127.0.0.1:9");
    assert_eq!(config.hls.part.as_millis(), 500);
    assert_eq!(config.log.level.name(), "debug");
    assert_eq!(config.media_threads.count(2), 3);
    let door = config.resolve(&"front-door".parse().unwrap()).unwrap();
    assert_eq!(door.config.password.as_ref().unwrap().reveal(), "[*x");
    assert_eq!(door.config.transport, SourceTransport::Tcp);
    let yard = config.resolve(&"yard".parse().unwrap()).unwrap();
    assert_eq!((&yard.main, yard.title.as_str()), (&ResolvedSource::Demo, "7"));
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let environment = [
        ("CAMPANILE_HTPP__ADDRESS", ":1"),
        ("CAMPANILE_HTTP__ADDRESS", "8080"),
        ("CAMPANILE_HTTP__", "x"),
        ("CAMPANILE_STATEDIR", "/tmp"),
        ("CAMPANILE_PATHS__A__ON_DEMAND__CLOSE_AFTER", "1s"),
        ("CAMPANILE_PATHS__A_B__SOURCE", "demo"),
        ("CAMPANILE_PATHS__A__PASSWORD_FILE", "nowhere"),
    ];
    assert_wrong_with(
        "paths:\n  a: { source: 'rtsp://cam/', on_demand: true }\n  a-b: { source: demo }\n  a.b: { source: demo }\n",
        &environment,
        "error: CAMPANILE_HTPP__ADDRESS: htpp: unknown key\n\
         hint: did you mean `http`?\n\
         error: CAMPANILE_HTTP__: the name has an empty part: `__` stands between a section and its key\n\
         error: CAMPANILE_HTTP__ADDRESS: http.address: expected an IP address with a port, such as `127.0.0.1:8080`, a list of them, or `off`, found `8080`\n\
         error: CAMPANILE_PATHS__A_B__SOURCE: paths: fits both `a-b` and `a.b` of the file\n\
         error: CAMPANILE_PATHS__A__ON_DEMAND__CLOSE_AFTER: paths.a.on_demand: cannot be set: the value above it is not an object in the file\n\
         error: CAMPANILE_PATHS__A__PASSWORD_FILE: paths.a.password_file: `nowhere`: no such file\n\
         error: CAMPANILE_STATEDIR: unknown key\n\
         hint: did you mean `CAMPANILE_STATE_DIR`?",
    );
}

#[test]
fn a_password_from_a_file_loses_its_line_break_only() {
    let config = read("paths: { a: { source: 'rtsp://cam/', username: u, password_file: secret.txt } }").unwrap();
    let a = config.resolve(&"a".parse().unwrap()).unwrap();
    assert_eq!(a.config.password.as_ref().unwrap().reveal(), "pa ss");
}

#[test]
fn anchors_and_merge_keys_share_settings_between_cameras() {
    let text = "
paths:
  a: &camera
    source: rtsp://cam/1
    username: viewer
    stalled_after: 3s
  b:
    <<: *camera
    source: rtsp://cam/2
    backoff: &waits { most: 10s }
  c: { <<: [*camera], backoff: *waits }
";
    let config = read(text).unwrap();
    let path = |name: &str| config.resolve(&name.parse().unwrap()).unwrap().config;
    assert_eq!(path("b").username.as_deref(), Some("viewer"));
    assert_eq!(path("b").source.as_ref().unwrap().to_string(), "rtsp://cam/2");
    assert_eq!(path("c").backoff.most.as_millis(), 10_000);
    assert_eq!(path("c").source.as_ref().unwrap().to_string(), "rtsp://cam/1");
}

#[test]
fn no_secret_is_shown_whatever_is_printed() {
    let text = "
paths:
  a: { source: 'rtsp://admin:hunter1@cam/', sub: 'rtsp://admin:hunter2@cam/2' }
  b: { source: rtsp://cam/, password: hunter3, sub: { source: rtsp://cam/2, password: hunter4 } }
";
    let config = read(text).unwrap();
    let shown = [
        format!("{config:?} {config:#?}"),
        serde_json::to_string(&config).unwrap(),
        serde_saphyr::to_string(&config).unwrap(),
        format!("{:?}", config.resolve(&"a".parse().unwrap())),
        format!("{:?}", config.resolve(&"b".parse().unwrap())),
    ];
    for text in shown {
        assert!(!text.contains("hunter") && text.contains("***"), "{text}");
    }
}

#[test]
fn no_secret_is_shown_in_complaints() {
    let environment = [("SECRET", "hunter5")];
    for text in [
        "paths: { a: { source: 'rtsp://u:hunter1@cam:x/' } }",
        "paths: { a: { source: 'rtsp:/u:hunter1@cam/' } }",
        "paths: { a: { source: 'rtsp://u:hunter1@cam/', password: { a: hunter2 } } }",
        "paths: { a: { source: 'rtsp://u:hun/ter1@cam/' } }",
        "paths: { a: { source: 'rtsp://cam/', passwort: hunter3 } }",
        "paths: { a: { source: 'rtsp://cam/', password: '${hunter4 x}' } }",
        "paths: { a: { source: 'rtsp://cam/', password: '${hunter4' } }",
        "paths: { a: { source: 'rtsp://cam/', password: *hunter4 } }",
        "paths: { a: { source: 'rtsp://u:${SECRET}@cam:x/' } }",
        "paths: { a: { source: 'rtsp://u:hunter1@cam/', sub: 'rtsp://u:hunter1@cam:x/' } }",
        "paths: { '~a': { source: 'rtsp://u:hunter1@cam:$x/$3' } }",
        "paths: { a: { source: demo, sub: ['rtsp://u:hunter1@cam/'] } }",
    ] {
        let found = read_with(text, &environment).unwrap_err();
        assert!(!found.contains("hunter") && !found.contains("ter1"), "{text}: {found}");
    }
}

#[test]
fn an_alias_bomb_is_refused_at_once() {
    let mut bombs = Vec::new();
    let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for i in 1..20 {
        let before = format!("*a{}", i - 1);
        laughs.push_str(&format!("a{i}: &a{i} [{}]\n", vec![before; 9].join(", ")));
    }
    bombs.push(laughs);
    bombs.push((1..5_000).fold("a0: &a0 [x]\n".to_owned(), |text, i| text + &format!("a{i}: &a{i} [*a{}]\n", i - 1)));
    bombs.push("&a [*a]".to_owned());
    bombs.push("[".repeat(100_000));
    bombs.push("- ".repeat(100_000));
    bombs.push("{a: ".repeat(10_000));
    bombs.push("&a ".repeat(10_000));
    bombs.push(format!(
        "a: &a {{{}}}\nb: {{{}}}",
        (0..900).map(|i| format!("k{i}: v,")).collect::<String>(),
        "<<: *a,".repeat(90)
    ));
    for bomb in bombs {
        let begun = tokio::time::Instant::now();
        let found = read(&bomb).unwrap_err();
        // Ten times the bound: debug builds on a busy machine.
        assert!(begun.elapsed().as_millis() < 1000, "{:?} for {}", begun.elapsed(), &bomb[..40]);
        assert!(found.len() < 40_000, "{} bytes of complaints", found.len());
    }
}

#[test]
fn many_cameras_with_many_errors_are_read_in_time() {
    let text = (0..4_000).fold("paths:\n".to_owned(), |text, i| {
        let wrong = if i % 45 == 0 { ", stalled_after: 5" } else { "" };
        text + &format!("  cam{i}: {{ source: 'rtsp://10.0.0.5/{i}', title: 'Camera {i}'{wrong} }}\n")
    });
    let begun = tokio::time::Instant::now();
    let found = read(&text).unwrap_err();
    assert_eq!(found.lines().count(), 89);
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}

#[test]
fn paths_that_are_no_objects_are_found() {
    let empty = "the key `source` is missing\nhint: write the camera's URL, `source: rtsp://…`, or `source: demo` for the built-in camera";
    let below = "hint: what feeds a path stands below its name: `source: rtsp://…`, or `source: demo`";
    let table = [
        ("paths: [a]", "error: campanile.yaml:1:1: paths: expected an object: the paths by name".to_owned()),
        (
            "paths: { a: rtsp://cam/, b: { source: demo } }",
            format!("error: campanile.yaml:1:13: paths.a: expected an object, found `rtsp://cam/`\n{below}"),
        ),
        (
            "paths: { a: [demo] }",
            "error: campanile.yaml:1:13: paths.a: expected an object, found a list of 1".to_owned(),
        ),
        ("paths: { a: }", format!("error: campanile.yaml:1:10: paths.a: {empty}")),
        (
            "default_path: a\npaths: { a: demo }",
            format!("error: campanile.yaml:2:13: paths.a: expected an object, found `demo`\n{below}"),
        ),
    ];
    for (text, expected) in table {
        assert_wrong(text, &expected);
    }
}

#[test]
fn complaints_have_an_end() {
    let text = (0..5_000).fold(String::new(), |text, i| text + &format!("k{i}: 1\n"));
    let found = read(&text).unwrap_err();
    assert!(found.lines().filter(|line| line.starts_with("error: ")).count() <= 101, "{found}");
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,400}") {
        let _ = read(&text);
    }

    #[test]
    fn any_soup_of_yaml_is_read_or_refused(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "paths", "http", "rtsp", "a", "source", "sub", "~^(a)$", "tls", "on_demand", "password", "address",
                ": ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", ", ", "- ", "&x ", "*x", "<<", "|", ">", "'", "\"",
                "${A}", "${", "$1", "#", "!!str ", "---", "? ", "0x1f", "1e9", "-5", "~", "true", "2s", "64MiB",
                "rtsp://u:p@h/", "demo", "127.0.0.1:0", "\t", "é", "\u{0}",
            ]),
            0..60,
        ),
        value in "\\PC{0,30}",
    ) {
        let text = words.concat();
        let _ = read_with(&text, &[("A", &value), ("CAMPANILE_PATHS__A", &value), ("CAMPANILE_HTTP__ADDRESS", &text)]);
    }
}

#[test]
fn the_servers_told_to_webrtc_viewers_are_read_and_judged() {
    let text = r#"
webrtc:
  address: [":8189", "127.0.0.1:8190"]
  public_ips: [203.0.113.7, "2001:db8::7"]
  start_pace: 100Mbit/s
  ice_servers:
    - urls: stun:stun.example.org
    - { urls: ["turn:a:3478", "turns:a:443?transport=tcp"], username: u, credential: p }
    - { urls: turn:b, secret: s, ttl: 1h }
"#;
    let webrtc = read(text).unwrap().webrtc;
    assert_eq!((webrtc.public_ips.len(), webrtc.ice_servers.len()), (2, 3));
    assert_eq!(webrtc.ice_servers[2].secret.as_ref().unwrap().reveal(), "s");
    assert_wrong(
        r#"
webrtc:
  address: 127.0.0.1:8080
  public_ips: [0.0.0.0]
  start_burst: 1GiB
  ice_servers:
    - urls: http://stun.example.org
    - {}
    - urls: turn:a
    - { urls: stun:a, username: u, credential: p }
    - { urls: turn:a, credential: p }
    - { urls: turn:a, username: u, credential: p, secret: s, ttl: 1s }
"#,
        r#"
error: campanile.yaml:3:12: webrtc.address: `127.0.0.1:8080` overlaps with `127.0.0.1:8080` of `http.address`
hint: give each listener a port of its own, or port 0 for any free one
error: campanile.yaml:4:16: webrtc.public_ips[0]: `0.0.0.0` is an address nobody can be reached at
hint: write the address that viewers send to, such as the router's
error: campanile.yaml:5:16: webrtc.start_burst: expected 0B to 64MiB, found `1GiB`
error: campanile.yaml:7:13: webrtc.ice_servers[0].urls: expected `stun:host`, `turn:host`, `turn:host:port?transport=tcp`, or the same with `stuns:` or `turns:`, found `http://stun.example.org`
error: campanile.yaml:8:7: webrtc.ice_servers[1]: the key `urls` is missing
hint: such as `stun:stun.example.org`
error: campanile.yaml:9:7: webrtc.ice_servers[2]: a TURN server wants a login
hint: give `username` and `credential`, or `secret`, the one shared with the TURN server
error: campanile.yaml:10:7: webrtc.ice_servers[3]: a STUN server takes no login
error: campanile.yaml:11:35: webrtc.ice_servers[4].credential: a `credential` belongs to a `username`
error: campanile.yaml:12:59: webrtc.ice_servers[5].secret: `credential` is given as well: one of the two
error: campanile.yaml:12:67: webrtc.ice_servers[5].ttl: expected 1m to 30d, found `1s`
"#,
    );
}

#[test]
fn sensors_and_brokers_are_complained_of_with_their_place() {
    assert_wrong(
        r#"
limits: { sensors: 20000 }
mqtt:
  brokers:
    home:
      url: tcp://10.0.0.2
      version: "4"
      presets: [zigbee2mqt]
    "bad name": {}
    cabin:
      url: mqtt://10.0.0.3
      tls: { insecure: true, fingerprint: ab }
      password: secret
      client_id: "a+b"
      keep_alive: 1s
      prefixes: { tasmota: /x }
      topics: [{ topic: "a/#/b", sensor: x }]
    barn:
      url: mqtts://10.0.0.5
      tls: { insecure: true, ca_file: cert.pem, key_file: key.pem }
      presets: [shelly]
      prefixes: { shelly: home }
      username: me
      password: a
      password_file: secret.txt
      topics: [{ topic: "a/{room}", sensor: "{floor}", time: /t, kind: motion, unit: °C }]
    boat:
      url: mqtts://me:hunter2@boat
    shed:
      url: mqtt://10.0.0.4
      client_id: same
      presets: [tasmota]
      prefixes: { shelly: x }
    hut:
      url: mqtt://10.0.0.4:1883
      client_id: same
      password_file: absent.txt
sensors:
  "no/slash": {}
  cellar:
    kind: Temperature
    unit: "<b>"
    expected_interval: 0s
    path: /x
  attic:
    kind: temperature
    unit: lx
    pull: { url: ftp://h/, interval: 100ms, time: t }
  roof:
    kind: temperature
    pull: { url: http://10.0.0.8/, unit: "%", time: /t }
  door:
    pull: {}
  gate:
    pull: { url: http://10.0.0.8/, tls: { insecure: true, key_file: key.pem } }
"#,
        r#"
error: campanile.yaml:2:20: limits.sensors: expected 0 to 10000, found `20000`
error: campanile.yaml:6:12: mqtt.brokers.home.url: expected `mqtt://host`, `mqtts://host` for TLS, either with a port, found `tcp://10.0.0.2`
error: campanile.yaml:7:16: mqtt.brokers.home.version: expected one of `3.1.1`, `5`, found `4`
hint: did you mean `5`?
error: campanile.yaml:8:17: mqtt.brokers.home.presets[0]: expected one of `zigbee2mqtt`, `tasmota`, `esphome`, `shelly`, `home_assistant`, `frigate`, found `zigbee2mqt`
hint: did you mean `zigbee2mqtt`?
error: campanile.yaml:9:5: mqtt.brokers.bad name: the name of a broker has 1 to 40 letters, digits, `_` and `-`
error: campanile.yaml:9:5: mqtt.brokers.bad name: the key `url` is missing
hint: such as `mqtt://10.0.0.2`
error: campanile.yaml:10:5: mqtt.brokers.cabin: a password needs a `username`
error: campanile.yaml:12:7: mqtt.brokers.cabin.tls: the broker's URL has no TLS
hint: write `mqtts://…`
error: campanile.yaml:12:43: mqtt.brokers.cabin.tls.fingerprint: expected a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons, found `ab`
error: campanile.yaml:14:18: mqtt.brokers.cabin.client_id: expected 1 to 64 characters without `+` and `#`
error: campanile.yaml:15:19: mqtt.brokers.cabin.keep_alive: expected 5s to 1h, found `1s`
error: campanile.yaml:16:28: mqtt.brokers.cabin.prefixes.tasmota: expected the first levels of a topic, such as `home/sensors`: without `+`, `#`, `$` or a slash at either end, found `/x`
error: campanile.yaml:17:25: mqtt.brokers.cabin.topics[0].topic: expected a topic such as `home/{room}/temperature`: `{name}` and `+` stand for one level, `#` for all at the end, found `a/#/b`
error: campanile.yaml:20:7: mqtt.brokers.barn.tls: `certificate_file` and `key_file` belong together
error: campanile.yaml:20:7: mqtt.brokers.barn.tls: `ca_file`, `fingerprint` and `insecure` are three ways to judge one certificate: one of them
error: campanile.yaml:22:27: mqtt.brokers.barn.prefixes.shelly: every Shelly has a prefix of its own: there is none to give
error: campanile.yaml:25:22: mqtt.brokers.barn.password_file: `password` is given as well: one of the two
error: campanile.yaml:26:45: mqtt.brokers.barn.topics[0].sensor: the topic has no level `{floor}`
error: campanile.yaml:26:62: mqtt.brokers.barn.topics[0].time: without `value` there is nothing the time belongs to
error: campanile.yaml:26:86: mqtt.brokers.barn.topics[0].unit: `motion` is yes or no: it has no unit
error: campanile.yaml:28:12: mqtt.brokers.boat.url: credentials stand in `username` and `password`, not in the URL, found `mqtts://***@boat`
error: campanile.yaml:31:18: mqtt.brokers.shed.client_id: `mqtt.brokers.hut` has the same at the same broker: one would drive the other out
error: campanile.yaml:33:27: mqtt.brokers.shed.prefixes.shelly: `presets` does not name `shelly`
error: campanile.yaml:34:5: mqtt.brokers.hut: a password needs a `username`
error: campanile.yaml:37:22: mqtt.brokers.hut.password_file: `absent.txt`: no such file
error: campanile.yaml:39:3: sensors.no/slash: a sensor's id has 1 to 100 letters, digits, `_`, `.`, `:` and `-`
error: campanile.yaml:41:11: sensors.cellar.kind: expected a kind such as `temperature` or `motion`: 1 to 40 lower-case letters, digits and `_`, found `Temperature`
error: campanile.yaml:42:11: sensors.cellar.unit: expected a unit such as `°C`, `%`, `hPa` or `µg/m³`: 1 to 16 letters, digits and signs, found `<b>`
error: campanile.yaml:43:24: sensors.cellar.expected_interval: expected 1s to 7d, found `0s`
error: campanile.yaml:44:11: sensors.cellar.path: a path name has no empty segment: write `a/b`, without a slash at either end or two in a row, found `/x`
error: campanile.yaml:47:11: sensors.attic.unit: `temperature` is not measured in `lx`
hint: such as `°C`
error: campanile.yaml:48:18: sensors.attic.pull.url: expected `http://…` or `https://…`, found `ftp://h/`
error: campanile.yaml:48:51: sensors.attic.pull.time: expected a JSON pointer such as `/temperature` or `/list/0/value`, at most 300 bytes, found `t`
error: campanile.yaml:51:42: sensors.roof.pull.unit: `%` does not convert to the sensor's `°C`
error: campanile.yaml:51:53: sensors.roof.pull.time: without `value` there is nothing the time belongs to
error: campanile.yaml:53:5: sensors.door.pull: the key `url` is missing
error: campanile.yaml:55:36: sensors.gate.pull.tls: `certificate_file` and `key_file` belong together
error: campanile.yaml:55:36: sensors.gate.pull.tls: the URL has no TLS
hint: write `https://…`
"#,
    );
}

#[test]
fn rules_are_told_what_is_wrong_with_them() {
    assert_wrong(
        r#"
rules:
  - preset: temprature
  - preset: smoke
    path: yard
  - { preset: smoke, titel: x }
  - id: a
    when: { threshold: { sensor: attic, abvoe: 35 } }
  - id: b
    title: "{devise} burns"
    when: { threshold: { kind: temperature, above: { warning: 45, critical: 35 } } }
  - id: c
    when: { threshold: { above: 35 }, state: { kind: door } }
  - id: d
    when: { all: [ { camera: { state: offline } }, { state: { kind: door } } ] }
  - id: e
    when: { rate: { sensor: "a b", rises: fast } }
  - id: f
    for: 5
    inhibited_by: [camera_ofline]
    time_zone: Europe/Berlin
    schedule: [ { days: [mo], from: "25:00" } ]
    when: { event: { hold: 5m } }
  - title: nothing
  - id: g
    time_zone: Mars
    when: { any: [] }
"#,
        r#"
error: campanile.yaml:3:13: rules[0].preset: expected one of `temperature`, `motion`, `smoke`, `water_leak`, `door`, `doorbell`, `face`, `person`, `camera_offline`, `camera_stalled`, `camera_frozen`, `camera_low_frame_rate`, `camera_bit_rate_collapse`, `camera_clock_jump`, `disk_low`, `sensor_silent`, `refusals`, found `temprature`
hint: did you mean `temperature`?
error: campanile.yaml:5:11: rules[1].path: the preset `smoke` takes no `path`
error: campanile.yaml:6:15: rules[2].preset: the rule `smoke` is there already, as number 2
hint: give one of them another `id`
error: campanile.yaml:6:22: rules[2].titel: unknown key
hint: did you mean `title`?
error: campanile.yaml:8:41: rules[3].when.threshold.abvoe: unknown key
hint: did you mean `above`?
error: campanile.yaml:10:12: rules[4].title: nothing is called `{devise}`; did you mean `{device}`?, found `{devise} burns`
error: campanile.yaml:11:45: rules[4].when.threshold.above: the more severe limit `35` is reached before `45`
error: campanile.yaml:13:13: rules[5].when.threshold: the key `sensor` is missing
hint: one sensor, `sensor: cellar`, or each of a kind, `kind: temperature`
error: campanile.yaml:13:39: rules[5].when.state: one condition in each object
hint: put several into a list: `all: [{ … }, { … }]`, or `any`
error: campanile.yaml:15:13: rules[6].when.all: one condition is about each sensor and another about each camera: both never hold of one thing
hint: name the sensor, `sensor: …`, or the camera, `path: …`
error: campanile.yaml:17:29: rules[7].when.rate.sensor: a sensor's id has 1 to 100 letters, digits, `_`, `.`, `:` and `-`, found `a b`
error: campanile.yaml:17:43: rules[7].when.rate.rises: expected a number such as `35` or `-4.5`, found `fast`
error: campanile.yaml:19:10: rules[8].for: expected a span of time with its unit, such as `200ms`, `2s` or `1m30s`, found `5`
error: campanile.yaml:22:26: rules[8].schedule[0].days[0]: expected one of `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`, found `mo`
hint: did you mean `mon`?
error: campanile.yaml:22:37: rules[8].schedule[0].from: expected a time of day from `00:00` to `24:00`, such as `07:30`, found `25:00`
error: campanile.yaml:23:13: rules[8].when.event: the key `kind` is missing
hint: such as `kind: motion`
error: campanile.yaml:24:5: rules[9]: the key `id` is missing
hint: give the rule a name, such as `id: freezer-warm`, or write `preset: …`
error: campanile.yaml:24:5: rules[9]: the key `when` is missing
hint: say what has to be so, such as `when: { threshold: { sensor: freezer, above: -15 } }`
error: campanile.yaml:26:16: rules[10].time_zone: expected the name of a time zone, such as `Europe/Berlin` or `UTC`, found `Mars`
error: campanile.yaml:27:13: rules[10].when.any: the list is empty
hint: give it at least one condition
"#,
    );
}
