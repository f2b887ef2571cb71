//! Reads `src/` and holds the doors of the house: which room may name which, which crate stands behind one door only,
//! where tasks, threads, clocks and SQL may be. A finding prints the file, the line and the rule.
//!
//! Floors and rooms are those of `docs/architecture.md`. A new room enters [`ROOMS`], or nothing compiles against it.

mod source;

use std::{fs, path::Path, sync::LazyLock};

use regex::Regex;
use source::Source;

/// A room, its floor, and the rooms of its own floor it may name. It may name every room of a lower floor.
struct Room {
    name: &'static str,
    floor: u8,
    beside: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, beside: &'static [&'static str]) -> Room {
    Room { name, floor, beside }
}

const ROOMS: &[Room] = &[
    room("base", 0, &[]),
    room("media", 1, &[]),
    // The types of the file stand below whoever takes a section; what decides (auth) stands on them.
    room("rtp", 2, &[]),
    room("config", 2, &[]),
    room("stats", 2, &[]),
    room("auth", 2, &["config", "stats"]),
    // net, hub and store: nothing else of their floor.
    room("net", 3, &[]),
    room("hub", 3, &[]),
    room("store", 3, &[]),
    room("events", 3, &["store"]),
    room("sensors", 3, &["events", "net", "store"]),
    room("notify", 3, &["events", "net", "store"]),
    // Not each other, but for cmaf and audio.
    room("audio", 4, &[]),
    room("cmaf", 4, &["audio"]),
    room("ingest", 4, &["audio"]),
    room("rtsp", 4, &["audio"]),
    room("webrtc", 4, &["audio"]),
    room("hls", 4, &["cmaf", "audio"]),
    room("record", 4, &["cmaf", "audio"]),
    room("jpeg", 4, &[]),
    room("http", 5, &[]),
    room("app", 6, &[]),
    room("cli", 6, &["app"]),
    room("main", 6, &["app", "cli"]),
];

/// Crates that stand behind the doors of a few rooms.
const CRATES: &[(&str, &[&str])] = &[
    ("retina", &["ingest"]),
    ("async_graphql|axum|axum_extra|utoipa|utoipa_swagger_ui|rust_embed", &["http"]),
    ("governor", &["http"]),
    ("instant_acme", &["net"]),
    ("rusqlite", &["store"]),
    ("rumqttc", &["sensors"]),
    ("lettre", &["notify"]),
    ("rtc|rtc_dtls|rtc_crypto|rtc_shared|rtc_srtp|str0m", &["webrtc"]),
    ("mp4_atom", &["cmaf", "record", "jpeg"]),
    ("m3u8_rs", &["hls"]),
    ("rtsp_types", &["rtsp", "ingest"]),
    ("openh264", &["ingest", "jpeg"]),
    ("opus", &["audio", "ingest"]),
    ("symphonia_core|symphonia_codec_aac|rubato|audio_codec_algorithms", &["audio"]),
    ("clap|clap_complete", &["cli", "main"]),
    ("anyhow|eyre", &[]),
];

/// A line that breaks a rule.
struct Finding {
    line: usize,
    rule: String,
}

type Rule = fn(&Source) -> Vec<Finding>;

const RULES: &[Rule] = &[
    doors,
    crates,
    sans_io,
    tasks,
    threads,
    processes,
    channels,
    unsafe_code,
    decoders,
    sql,
    lint_exceptions,
    names,
    headers,
    length,
];

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap()
}

/// The lines of code that match, each with the rule it breaks.
fn matching(source: &Source, pattern: &Regex, rule: &str) -> Vec<Finding> {
    let hits = source.code().filter(|(_, line)| pattern.is_match(line));
    hits.map(|(line, _)| Finding { line, rule: rule.to_owned() }).collect()
}

fn floor(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// Every room named from the root: `crate::hub::…`, `use crate::{hub, media::…}`, `campanile::hub` in `main.rs`.
fn rooms_named(source: &Source) -> Vec<(usize, String)> {
    static ROOT: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:crate|campanile)\s*::\s*(\{|[a-z_]+)"));
    let (text, line_at) = source.joined();
    let mut named = Vec::new();
    for found in ROOT.captures_iter(&text) {
        let first = found.get(1).unwrap();
        if first.as_str() != "{" {
            named.push((line_at(first.start()), first.as_str().to_owned()));
            continue;
        }
        // A group: the words at depth one, up to the brace that closes it.
        let (mut depth, mut word_begins) = (0_u32, false);
        for (offset, c) in text[first.start()..].char_indices() {
            match c {
                '{' => (depth, word_begins) = (depth + 1, true),
                '}' => depth -= 1,
                ',' => word_begins = true,
                c if c.is_whitespace() => {}
                _ if depth == 1 && word_begins => {
                    let rest = &text[first.start() + offset..];
                    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    named.push((line_at(first.start() + offset), word));
                    word_begins = false;
                }
                _ => word_begins = false,
            }
            if depth == 0 {
                break;
            }
        }
    }
    named
}

fn doors(source: &Source) -> Vec<Finding> {
    if source.room() == "lib" {
        return Vec::new();
    }
    let Some(here) = floor(source.room()) else {
        let rule = format!("a new room: give `{}` a floor in tests/it/architecture.rs", source.room());
        return vec![Finding { line: 1, rule }];
    };
    let mut findings = Vec::new();
    for (line, word) in rooms_named(source) {
        let Some(there) = floor(&word) else { continue };
        let open = there.floor < here.floor || there.name == here.name || here.beside.contains(&there.name);
        if !open {
            let rule = format!(
                "doors open downwards: {} (floor {}) may not name {} (floor {})",
                here.name, here.floor, there.name, there.floor
            );
            findings.push(Finding { line, rule });
        }
    }
    findings
}

fn crates(source: &Source) -> Vec<Finding> {
    static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let pattern =
            |names| regex(&format!(r"(?:^|[^:\w])(?:::)?(?:{names})\s*::|\buse\s+(?:::)?(?:{names})\b\s*[;{{]"));
        CRATES.iter().map(|(names, _)| pattern(names)).collect()
    });
    let mut findings = Vec::new();
    for ((names, rooms), pattern) in CRATES.iter().zip(PATTERNS.iter()) {
        if !rooms.contains(&source.room()) {
            let rule = match rooms {
                [] => format!("{names} is used nowhere"),
                _ => format!("{names} is used only in {}", rooms.join(", ")),
            };
            findings.extend(matching(source, pattern, &rule));
        }
    }
    findings
}

/// Files of the lower floors that drive: the room's machines and types stand in its other files.
const DRIVERS: &[&str] = &["config/files.rs"];

fn sans_io(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        // A cancellation token needs no runtime: it is how a grant ends.
        regex(concat!(
            r"\btokio(?:_rustls)?\s*::|\btokio_util\s*::\s*(?:codec|io|net|task|time|udp)\b|\bstd::(?:fs|thread)\b",
            r"|\bInstant::now\b|\btime::(?:\{[^}]*\b)?Instant\b|\b(?:SystemTime|Clock|TcpStream|TcpListener|UdpSocket)\b",
        ))
    });
    static SAYS: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)\bsans-io\b"));
    let low = matches!(source.room(), "media" | "rtp" | "stats" | "config") || source.path.starts_with("auth/grant");
    let machine = source.path.ends_with("machine.rs") || SAYS.is_match(&source.header());
    if !(low || machine) || DRIVERS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    matching(
        source,
        &PATTERN,
        "types and machines know no runtime, no socket, no file and no clock: time and bytes come in",
    )
}

fn tasks(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\btokio::spawn\b|\btask::spawn\b|\bspawn_local\b|\bspawn_on\b|\bJoinSet\b"));
    if source.path == "base/tasks.rs" {
        return Vec::new();
    }
    matching(source, &PATTERN, "every task has an owner: base::Tasks::spawn is the only spawn")
}

/// Where threads are started: the runtimes of the media threads, and the process itself.
const THREADS: &[&str] = &["base", "hub", "net", "app", "main"];

fn threads(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> =
        LazyLock::new(|| regex(r"\bthread::(?:spawn|Builder|scope)\b|\bruntime::Builder\b|\bRuntime::new\b"));
    if THREADS.contains(&source.room()) || source.room() == "cli" {
        return Vec::new();
    }
    matching(
        source,
        &PATTERN,
        "threads and runtimes are started at the bottom (media threads) and at the top (the process)",
    )
}

fn processes(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| regex(r"\bprocess::(?:\{[^}]*\b)?Command\b|\bCommand::new\b"));
    matching(source, &PATTERN, "no program is started: what a stranger writes can reach no shell")
}

fn channels(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"\bunbounded(?:_channel)?\s*(?:::<[^>]*>)?\s*\(|\bUnbounded(?:Sender|Receiver)\b|\bmpsc::channel\s*(?:::<[^(]*>)?\s*\(\s*\)",
        )
    });
    matching(source, &PATTERN, "every queue has a bound and a named policy")
}

fn unsafe_code(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| regex(r"\bunsafe\b"));
    if source.path.ends_with("app/resident.rs") {
        return Vec::new();
    }
    matching(source, &PATTERN, "unsafe code stands in one file, app/resident.rs, with its reason")
}

fn decoders(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| regex(r"\bopenh264::(?:decoder|.*\bdecoder\b)"));
    matching(source, &PATTERN, "pictures are decoded nowhere: a decoder would see what strangers send")
}

fn sql(source: &Source) -> Vec<Finding> {
    static PATTERN: LazyLock<Regex> = LazyLock::new(|| {
        regex(r#""\s*(?:SELECT\s|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|CREATE\s+TABLE|PRAGMA\s)"#)
    });
    if source.room() == "store" {
        return Vec::new();
    }
    let rule = "SQL is written only in store".to_owned();
    let hits = source.raw().filter(|(_, line)| !line.trim_start().starts_with("//") && PATTERN.is_match(line));
    hits.map(|(line, _)| Finding { line, rule: rule.clone() }).collect()
}

fn lint_exceptions(source: &Source) -> Vec<Finding> {
    static ALLOW: LazyLock<Regex> = LazyLock::new(|| regex(r"#!?\[(?:cfg_attr\([^\]]*)?\ballow\("));
    static EXPECT: LazyLock<Regex> = LazyLock::new(|| regex(r"#!?\[expect\(([^\]]*)\)\]"));
    let mut findings = matching(source, &ALLOW, "use #[expect(…, reason = \"…\")]: it goes when its cause goes");
    let (text, line_at) = source.joined();
    for found in EXPECT.captures_iter(&text).filter(|found| !found[1].contains("reason")) {
        let rule = "#[expect] says its reason".to_owned();
        findings.push(Finding { line: line_at(found.get(0).unwrap().start()), rule });
    }
    findings
}

fn names(source: &Source) -> Vec<Finding> {
    static FILE: LazyLock<Regex> =
        LazyLock::new(|| regex(r"(?:^|[/_])(?:utils?|common|misc|manager|helpers?)(?:[/_.]|$)"));
    static GETTER: LazyLock<Regex> = LazyLock::new(|| regex(r"\bfn\s+get_"));
    static ITEM: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"\b(?:struct|enum|trait|type)\s+\w*(?:Manager|Helper|Utils?|Common)\b|\bmod\s+(?:\w+_)?(?:utils?|common|misc|manager|helpers?)\b",
        )
    });
    let vague = "a name says what a thing is: no utils, common, misc, manager, helper";
    let mut findings = matching(source, &GETTER, "a function that returns x is called x, not get_x");
    findings.extend(matching(source, &ITEM, vague));
    if FILE.is_match(&source.path) {
        findings.push(Finding { line: 1, rule: vague.to_owned() });
    }
    findings
}

fn headers(source: &Source) -> Vec<Finding> {
    if source.header().trim().is_empty() {
        let rule = "a file opens with `//!`: what it is, owns, does not do, and the standards it implements".to_owned();
        return vec![Finding { line: 1, rule }];
    }
    Vec::new()
}

const MOST_LINES: usize = 400;

fn length(source: &Source) -> Vec<Finding> {
    static REASON: LazyLock<Regex> = LazyLock::new(|| regex(r"(?i)\b(?:long|longer|length of this file|lines)\b"));
    if source.len() <= MOST_LINES || REASON.is_match(&source.header()) {
        return Vec::new();
    }
    let rule = format!("{} lines without tests: over {MOST_LINES} the file's `//!` says why it is long", source.len());
    vec![Finding { line: MOST_LINES + 1, rule }]
}

fn judge(source: &Source) -> Vec<String> {
    let rules = if source.is_test() { &[headers as Rule][..] } else { RULES };
    let findings = rules.iter().flat_map(|rule| rule(source));
    findings
        .map(|found| format!("src/{}:{}: {}\n    {}", source.path, found.line, found.rule, source.line(found.line)))
        .collect()
}

/// Every `.rs` below `folder`, with its path relative to it.
fn sources(folder: &Path) -> Vec<Source> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|error| panic!("{}: {error}", next.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
                found.push(Source::new(&relative, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

#[test]
fn every_source_keeps_the_rules_of_the_house() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 10, "only {} sources were found", sources.len());
    let findings: Vec<String> = sources.iter().flat_map(judge).collect();
    assert!(findings.is_empty(), "{} findings\n\n{}\n", findings.len(), findings.join("\n"));
}

#[test]
fn every_other_rust_file_says_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["tests", "benches", "tools"].map(|name| root.join(name)).iter().filter(|folder| folder.exists()) {
        for source in sources(folder) {
            assert!(headers(&source).is_empty(), "{}/{}: opens without `//!`", folder.display(), source.path);
        }
    }
}

#[test]
fn planted_violations_are_found_on_their_line() {
    // Path, code (the header is added: the violation stands on line 2), words of the rule.
    let planted: &[(&str, &str, &str)] = &[
        ("media/x.rs", "use crate::hub::Ring;", "media (floor 1) may not name hub"),
        ("hub/x.rs", "use crate::{base::Clock, net::Listener};", "hub (floor 3) may not name net"),
        ("rtsp/x.rs", "fn f() -> crate::ingest::Source { g() }", "rtsp (floor 4) may not name ingest"),
        ("hls/x.rs", "use crate::{\nhttp::Router};", "hls (floor 4) may not name http"),
        ("attic/x.rs", "", "give `attic` a floor"),
        ("hls/x.rs", "use retina::client::Session;", "retina is used only in ingest"),
        ("rtsp/x.rs", "fn f() -> axum::Router { g() }", "used only in http"),
        ("hub/x.rs", "let db = rusqlite::Connection::open(path);", "rusqlite is used only in store"),
        ("http/x.rs", "use rtc_dtls::endpoint::Endpoint;", "is used only in webrtc"),
        ("cmaf/x.rs", "fn f() -> anyhow::Result<()> { Ok(()) }", "is used nowhere"),
        ("media/x.rs", "use tokio::sync::watch;", "know no runtime"),
        ("rtp/x.rs", "let now = std::time::Instant::now();", "know no runtime"),
        ("rtsp/machine.rs", "use tokio::net::TcpStream;", "know no runtime"),
        ("hub/x.rs", "fn f() { tokio::spawn(async {}); }", "base::Tasks::spawn"),
        ("hls/x.rs", "fn f() { std::thread::spawn(|| {}); }", "threads and runtimes"),
        ("notify/x.rs", "std::process::Command::new(hook).arg(name);", "no program is started"),
        ("jpeg/x.rs", "use std::process::{Child, Command};", "no program is started"),
        ("hub/x.rs", "let (tx, rx) = mpsc::unbounded_channel::<u8>();", "every queue has a bound"),
        ("hub/x.rs", "let (tx, rx) = std::sync::mpsc::channel();", "every queue has a bound"),
        ("hub/x.rs", "fn f() { unsafe { g() } }", "unsafe code stands in one file"),
        ("jpeg/x.rs", "use openh264::{decoder::Decoder, formats::YUVSource};", "pictures are decoded nowhere"),
        ("hub/x.rs", "let q = \"SELECT name FROM paths\";", "SQL is written only in store"),
        ("hub/x.rs", "#[allow(dead_code)]", "use #[expect"),
        ("hub/x.rs", "#[expect(dead_code)]", "#[expect] says its reason"),
        ("hub/x.rs", "fn get_path() {}", "not get_x"),
        ("hub/x.rs", "struct PathManager;", "a name says what a thing is"),
        ("hub/utils.rs", "", "a name says what a thing is"),
    ];
    for (path, code, words) in planted {
        let findings = judge(&Source::new(path, &format!("//! A file.\n{code}\n")));
        assert!(findings.iter().any(|found| found.contains(words)), "{path}: {code}: found {findings:?}");
        if !code.is_empty() && !code.contains('\n') {
            assert!(findings[0].starts_with(&format!("src/{path}:2: ")), "{findings:?}");
        }
    }
    assert!(judge(&Source::new("hub/x.rs", "fn f() {}\n"))[0].contains("opens with `//!`"));
    let long = "fn f() {}\n".repeat(MOST_LINES);
    assert!(judge(&Source::new("hub/x.rs", &format!("//! A file.\n{long}")))[0].contains("says why it is long"));
    assert_eq!(
        judge(&Source::new("hub/x.rs", &format!("//! Longer, since it is a table.\n{long}"))),
        Vec::<String>::new()
    );
}

#[test]
fn comments_literals_and_tests_break_no_rule() {
    let innocent = r###"//! A file.
// use crate::http::Router; tokio::spawn
/* unsafe /* nested */ retina:: */
const WORDS: &str = "unsafe tokio::spawn \" retina::";
const RAW: &str = r#"use axum::Router; " unsafe"#;
const QUOTE: char = '"';
const BYTES: &[u8] = b"unsafe";
fn lifetime<'a>(x: &'a str) -> &'a str { x }
use crate::{base::{Clock, Tasks}, media::Unit};
use self::retina_like::thing;
#[cfg(test)]
mod tests {
    fn get_x() { unsafe { tokio::spawn(async { "}" }) } }
}
#[expect(dead_code, reason = "a table")]
const END: u8 = 0;
"###;
    assert_eq!(judge(&Source::new("hub/x.rs", innocent)), Vec::<String>::new());
    let after = format!("{innocent}fn f() {{ unsafe {{}} }}\n");
    assert!(judge(&Source::new("hub/x.rs", &after))[0].contains(":17: unsafe"), "code after a test module is read");
}
