//! The command line, as people and scripts meet it: what is printed where, and the exit codes.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::support::{
    process::{Ran, run},
    server::campanile,
};

async fn campanile_in(folder: &Path, arguments: &[&str]) -> Ran {
    run(campanile(folder).args(arguments)).await
}

fn folder_with(file: &str, text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(file), text).unwrap();
    folder
}

#[tokio::test]
async fn check_says_everything_that_is_wrong_at_once_and_exits_1() {
    let text = "http:\n  adress: 127.0.0.1:8080\npaths:\n  yard: { source: rtsp://cam/, password: '${ABSENT}' }\n  api: { source: demo }\n";
    let folder = folder_with("campanile.yaml", text);
    let ran = campanile_in(folder.path(), &["check"]).await;
    assert_eq!(ran.status.code(), Some(1));
    assert_eq!(ran.text(), "");
    assert_eq!(
        ran.stderr,
        "error: campanile.yaml:2:3: http.adress: unknown key\n\
         hint: did you mean `address`?\n\
         error: campanile.yaml:4:42: paths.yard.password: the variable `ABSENT` is not set\n\
         hint: set it, or give a text for its absence: `${ABSENT:-text}`\n\
         error: campanile.yaml:5:3: paths.api: the segment `api` is reserved\n"
    );
    let ran = campanile_in(folder.path(), &["check", "--json"]).await;
    assert_eq!((ran.status.code(), ran.stderr.as_str()), (Some(1), ""));
    let outcome: Value = serde_json::from_str(&ran.text()).unwrap();
    assert_eq!(outcome["ok"], false);
    assert_eq!(outcome["problems"].as_array().unwrap().len(), 3);
    assert_eq!(outcome["problems"][0]["line"], 2);
    assert_eq!(outcome["problems"][0]["key"], "http.adress");
    assert_eq!(outcome["problems"][0]["hint"], "did you mean `address`?");
}

#[tokio::test]
async fn a_file_that_is_right_says_so_and_exits_0() {
    let folder = folder_with("campanile.yaml", "paths: { a: { source: demo }, '~^b': { source: demo } }");
    let ran = campanile_in(folder.path(), &["check"]).await.success();
    assert_eq!(
        ran.text(),
        "ok: campanile.yaml\n    1 path, 1 regular expression, HTTP on 127.0.0.1:8080, RTSP on 127.0.0.1:8554\n"
    );
    let outcome: Value =
        serde_json::from_str(&campanile_in(folder.path(), &["check", "--json"]).await.success().text()).unwrap();
    assert_eq!(outcome["ok"], true);
}

#[tokio::test]
async fn a_certificate_that_is_none_is_found_by_check() {
    let folder = folder_with("campanile.yaml", "http: { tls: { certificate_file: cert.pem, key_file: cert.pem } }");
    fs::write(folder.path().join("cert.pem"), "nothing").unwrap();
    let ran = campanile_in(folder.path(), &["check"]).await;
    assert_eq!(ran.status.code(), Some(1));
    assert!(
        ran.stderr.starts_with("error: http.tls.certificate_file: cert.pem: holds no certificate\nhint: "),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn serving_a_file_that_is_wrong_or_absent_exits_1_before_anything_starts() {
    let folder = folder_with("bad.yaml", "htttp: {}\n");
    for (arguments, begins) in [
        (&["--config", "bad.yaml"][..], "error: bad.yaml:1:1: htttp: unknown key\nhint: did you mean `http`?\n"),
        (&["serve", "-c", "none.yaml"], "error: configuration `none.yaml`: no such file\nhint: "),
        (&["check", "none.yaml"], "error: configuration `none.yaml`: no such file\nhint: "),
    ] {
        let ran = campanile_in(folder.path(), arguments).await;
        assert_eq!(ran.status.code(), Some(1), "{arguments:?}");
        assert!(ran.stderr.starts_with(begins), "{arguments:?}: {}", ran.stderr);
    }
    assert!(!folder.path().join("state").exists());
}

#[tokio::test]
async fn wrong_usage_exits_2_and_help_exits_0() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [
        &["frobnicate"][..],
        &["check", "--no-such"],
        &["config"],
        &["--log-level", "loud"],
        &["healthcheck", "--timeout", "3"],
    ] {
        let ran = campanile_in(folder.path(), arguments).await;
        assert_eq!(ran.status.code(), Some(2), "{arguments:?}: {}", ran.stderr);
        assert_eq!(ran.text(), "", "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["check", "--help"], &["config", "init", "--help"]] {
        let ran = campanile_in(folder.path(), arguments).await.success();
        assert!(!ran.text().is_empty() && ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test]
async fn init_writes_a_file_that_check_accepts_and_never_replaces_one() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(campanile_in(folder.path(), &["config", "init"]).await.success().text(), "wrote campanile.yaml\n");
    let written = fs::read_to_string(folder.path().join("campanile.yaml")).unwrap();
    assert!(written.starts_with("# Every option of Campanile, at its default."), "{written:.200}");
    campanile_in(folder.path(), &["check", "campanile.yaml"]).await.success();
    let again = campanile_in(folder.path(), &["config", "init"]).await;
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(
        again.stderr,
        "error: `campanile.yaml` is there already\nhint: name another file, or replace this one with --force\n"
    );
    campanile_in(folder.path(), &["config", "init", "--force"]).await.success();
    assert_eq!(campanile_in(folder.path(), &["config", "init", "-"]).await.success().text(), written);
}

#[tokio::test]
async fn show_gives_what_is_in_force_with_secrets_masked() {
    let text = "paths:\n  a: { source: 'rtsp://u:hunter1@cam/', sub: { source: 'rtsp://cam/2', password: '${P}' } }\n";
    let folder = folder_with("campanile.yaml", text);
    let show = |arguments: &[&str]| -> Command {
        let mut command = campanile(folder.path());
        command.args(["config", "show"]).args(arguments);
        command.env("P", "hunter2").env("CAMPANILE_HLS__PART", "333ms").env("CAMPANILE_PATHS__A__TITLE", "Garden");
        command
    };
    let shown = run(&mut show(&[])).await.success().text();
    for line in ["# campanile.yaml", "  part: 333ms", "    username: u", "    title: Garden", "    source: rtsp://cam/"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert!(shown.contains("***") && !shown.contains("hunter"), "{shown}");
    let json: Value = serde_json::from_str(&run(&mut show(&["--json"])).await.success().text()).unwrap();
    assert_eq!(json["paths"]["a"]["password"], "***");
    assert_eq!(json["paths"]["a"]["sub"]["password"], "***");
    assert_eq!(json["hls"]["part"], "333ms");
}

#[tokio::test]
async fn what_show_prints_reads_back() {
    let folder = folder_with("campanile.yaml", "paths: { '~^a(.*)$': { source: 'rtsp://cam/$1', on_demand: true } }");
    let shown = campanile_in(folder.path(), &["config", "show"]).await.success().text();
    fs::write(folder.path().join("shown.yaml"), &shown).unwrap();
    let again = campanile_in(folder.path(), &["--config", "shown.yaml", "config", "show"]).await.success().text();
    let body = |text: &str| text.split_once('\n').unwrap().1.to_owned();
    assert_eq!(body(&again), body(&shown));
}

#[tokio::test]
async fn the_schema_printed_is_the_one_in_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let printed = campanile_in(folder.path(), &["config", "schema"]).await.success().text();
    let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/schema.json")).unwrap();
    assert!(printed == committed, "run: cargo run -- config schema > config/schema.json");
}

#[tokio::test]
async fn version_and_completions_are_printed() {
    let folder = tempfile::tempdir().unwrap();
    let version = campanile_in(folder.path(), &["version"]).await.success().text();
    assert_eq!(version, format!("campanile {}\n", env!("CARGO_PKG_VERSION")));
    let json: Value =
        serde_json::from_str(&campanile_in(folder.path(), &["version", "--json"]).await.success().text()).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = campanile_in(folder.path(), &["completions", shell]).await.success().text();
        assert!(script.contains("healthcheck"), "{shell}");
    }
}

#[tokio::test]
async fn colours_come_only_when_they_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let coloured = |force: bool| {
        let mut command = campanile(folder.path());
        command.args(["check", "none.yaml"]).env_remove("NO_COLOR");
        if force {
            command.env("CLICOLOR_FORCE", "1");
        }
        command
    };
    assert!(!run(&mut coloured(false)).await.stderr.contains('\u{1b}'), "standard error is no terminal here");
    assert!(run(&mut coloured(true)).await.stderr.contains('\u{1b}'));
}

#[tokio::test]
async fn healthcheck_asks_the_server_and_exits_by_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        for status in ["200 OK", "503 Service Unavailable", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            assert!(head.starts_with(b"GET /healthz HTTP/1.1\r\nHost: "), "{}", String::from_utf8_lossy(&head));
            stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
        }
        listener
    });
    let url = format!("http://{address}");
    let ask = async |arguments: &[&str]| campanile_in(folder.path(), arguments).await;
    assert_eq!(ask(&["healthcheck", "--url", &url]).await.success().text(), "healthy\n");
    let ill = ask(&["healthcheck", "--url", &url]).await;
    assert_eq!(ill.status.code(), Some(1));
    assert_eq!(ill.stderr, format!("error: server at {address}: status 503\n"));
    // The running server wrote its address down; a file broken meanwhile does not matter.
    fs::create_dir(folder.path().join("state")).unwrap();
    fs::write(folder.path().join("state/addresses.json"), format!("{{\"http\":[\"{address}\"]}}")).unwrap();
    fs::write(folder.path().join("campanile.yaml"), "paths: { a: { source: 5 } }\nnonsense: 1\n").unwrap();
    ask(&["healthcheck"]).await.success();
    drop(server.await.unwrap());
    let gone = ask(&["healthcheck", "--url", &url, "--timeout", "500ms"]).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(gone.stderr.starts_with(&format!("error: server at {address}: Connection refused")), "{}", gone.stderr);
    assert!(gone.stderr.contains("\nhint: is it running?"), "{}", gone.stderr);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let program = campanile(folder.path());
    let line = format!("'{}' config schema | head -n 1; exit ${{PIPESTATUS[0]}}", program.get_program().display());
    let ran = run(Command::new("bash").args(["-c", &line])).await.success();
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn rules_are_tried_out_on_readings_and_the_exit_code_tells() {
    let folder = folder_with("campanile.yaml", "rules: [{ preset: temperature }, { id: left_open, preset: door }]");
    let csv = "time,sensor,kind,value,unit\n\
               2026-11-20T10:15:00Z,attic,temperature,34.5,°C\n\
               2026-11-20T10:15:10Z,attic,temperature,36.5,°C\n\
               2026-11-20T10:15:20Z,attic,temperature,34,°C\n\
               2026-11-20T10:15:30Z,attic,temperature,32,°C\n\
               2026-11-20T10:15:40Z,gate,door,true,\n";
    fs::write(folder.path().join("readings.csv"), csv).unwrap();
    let ran = campanile_in(folder.path(), &["rules", "test", "readings.csv"]).await.success();
    assert_eq!(
        ran.text(),
        "2026-11-20T10:15:10.000Z raised warning temperature attic: attic: 36.5 °C\n\
         2026-11-20T10:15:30.000Z cleared warning temperature attic: attic: 36.5 °C\n\
         5 lines, 1 alert raised, 0 active at the end\n"
    );
    let waited = ["rules", "test", "readings.csv", "--wait", "1m", "--rule", "left_open", "--json", "--fail-if-raised"];
    let ran = campanile_in(folder.path(), &waited).await;
    assert_eq!(ran.status.code(), Some(1), "{}", ran.stderr);
    let event: Value = serde_json::from_str(&ran.text()).unwrap();
    assert_eq!((&event["change"], &event["alert"]["rule"]), (&"raised".into(), &"left_open".into()));
    assert_eq!(event["alert"]["started_at"], "2026-11-20T10:15:40.000Z");
    let quiet = ["rules", "test", "readings.csv", "--rule", "left_open", "--fail-if-raised"];
    campanile_in(folder.path(), &quiet).await.success();

    fs::write(folder.path().join("bad.csv"), "time,sensor,value\n2026-11-20T10:15:00Z,a b,1\n").unwrap();
    fs::write(folder.path().join("none.yaml"), "rules: []\n").unwrap();
    for (arguments, code, begins) in [
        (&["rules", "test", "bad.csv"][..], 1, "error: bad.csv:2: sensor: a sensor's id has"),
        (&["rules", "test", "absent.csv"], 1, "error: readings `absent.csv`: No such file"),
        (&["-c", "none.yaml", "rules", "test", "readings.csv"], 1, "error: none.yaml: there is no rule\nhint: "),
        (&["rules", "test", "readings.csv", "--rule", "x"], 1, "error: campanile.yaml: no rule `x` is at work\n"),
        (&["rules", "test"], 2, "error: "),
    ] {
        let ran = campanile_in(folder.path(), arguments).await;
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}");
        assert!(ran.stderr.starts_with(begins), "{arguments:?}: {}", ran.stderr);
    }
}
