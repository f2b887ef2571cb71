//! Users, from the command line to the doors of the real binary.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    time::Instant,
};

use serde_json::{Value, json};

use crate::support::{
    process::{PATIENCE, run},
    server::{Server, campanile, command, config_file},
};

/// `campanile user …` with `input` on its standard input.
fn user(folder: &Path, arguments: &[&str], input: &str) -> Output {
    let mut command: Command = campanile(folder);
    command.arg("user").args(arguments).arg("--config").arg(folder.join("campanile.yaml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[track_caller]
fn success(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn status(server: &Server, method: &str, path: &str, login: Option<(&str, &str)>) -> u16 {
    let mut request = server.client().request(method.parse().unwrap(), server.http(path));
    if let Some((name, password)) = login {
        request = request.basic_auth(name, Some(password));
    }
    request.send().await.unwrap().status().as_u16()
}

const KICK: &str = "/api/v1/sessions/00000000000000000000000000000000";

#[tokio::test]
async fn the_first_start_prints_a_password_once_and_it_opens_everything() {
    let closed = json!({ "auth": {}, "paths": { "demo": { "source": "demo" } } });
    let mut server = Server::start(closed.clone()).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    let password = server.log_line(|line| line.len() == 29 && line.matches('-').count() == 3).await;
    let password = password.trim().to_owned();
    // This machine reads without a login, and does nothing else.
    for url in ["/api/v1/paths/demo", "/api/v1/info", "/api/v1/alerts", "/metrics"] {
        assert_eq!(status(&server, "GET", url, None).await, 200, "{url}");
    }
    assert_eq!(status(&server, "DELETE", KICK, None).await, 401);
    assert_eq!(status(&server, "DELETE", KICK, Some(("admin", &password))).await, 404);
    assert_eq!(status(&server, "GET", "/api/v1/info", Some(("admin", "wrong"))).await, 401);
    let info: Value = server.json("/api/v1/info").await;
    assert_eq!(info["warnings"], json!([]));
    // A second start knows the user, and prints nothing.
    let server = server.restart(closed).await;
    assert_eq!(status(&server, "DELETE", KICK, Some(("admin", &password))).await, 404);
    assert!(!server.log().iter().any(|line| line.contains("The first user")));
}

#[tokio::test]
async fn users_come_and_go_while_the_server_runs() {
    let mut server = Server::start(json!({ "auth": {}, "paths": { "demo": { "source": "demo" } } })).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    let folder = server.folder().to_owned();
    success(user(&folder, &["add", "anna", "--allow", "view=demo", "--allow", "stats"], "correct horse\n"));
    let again = user(&folder, &["add", "anna"], "correct horse\n");
    assert!(!again.status.success() && String::from_utf8_lossy(&again.stderr).contains("user anna"), "{again:?}");
    let short = user(&folder, &["add", "berta"], "short\n");
    assert!(!short.status.success() && !String::from_utf8_lossy(&short.stderr).contains("short\n"), "{short:?}");
    let made = success(user(&folder, &["add", "boss", "--admin", "--generate"], ""));
    let list = success(user(&folder, &["list"], ""));
    for line in
        ["admin (store, digest): admin", "anna (store, digest): view=demo, stats", "boss (store, digest): admin"]
    {
        assert!(list.lines().any(|known| known == line), "{line}: {list}");
    }
    // Who was added last is known last.
    until(&server, "DELETE", KICK, Some(("boss", made.trim())), 404).await;
    until(&server, "GET", "/api/v1/paths/demo", Some(("anna", "correct horse")), 200).await;
    let anna = Some(("anna", "correct horse"));
    assert_eq!(status(&server, "GET", "/api/v1/paths/other", anna).await, 404);
    assert_eq!(status(&server, "GET", "/api/v1/sensors", anna).await, 403);
    assert_eq!(status(&server, "DELETE", KICK, anna).await, 403);
    assert_eq!(status(&server, "DELETE", KICK, Some(("boss", made.trim()))).await, 404);
    assert_eq!(status(&server, "GET", "/api/v1/paths/demo", None).await, 401, "there are more users than one");
    success(user(&folder, &["add", "clara", "--no-rtsp-digest"], "correct horse\n"));
    let list = success(user(&folder, &["list"], ""));
    assert!(list.lines().any(|known| known.starts_with("clara (store):")), "nothing is kept for Digest: {list}");
    success(user(&folder, &["passwd", "anna"], "battery staple\n"));
    until(&server, "GET", "/api/v1/paths/demo", anna, 401).await;
    let anna = Some(("anna", "battery staple"));
    assert_eq!(status(&server, "GET", "/api/v1/paths/demo", anna).await, 200);
    success(user(&folder, &["remove", "anna"], ""));
    until(&server, "GET", "/api/v1/paths/demo", anna, 401).await;
    assert!(!user(&folder, &["remove", "anna"], "").status.success());
    let secrets = ["correct horse", "battery staple", made.trim()];
    assert!(!server.log().iter().any(|line| secrets.iter().any(|secret| line.contains(secret))));
}

/// Answers each question of a program at a terminal: `[program, argument …]`, `[[question, answer] …]`. What the terminal showed
/// is printed.
const AT_A_TERMINAL: &str = r#"
import json, os, pty, sys, termios, time
program, talk = json.load(sys.stdin)
child, terminal = pty.fork()
if child == 0:
    os.execv(program[0], program)
shown = b""
def read():
    global shown
    try:
        more = os.read(terminal, 4096)
    except OSError:
        more = b""
    shown += more
    return more
for question, answer in talk:
    heard = len(shown)
    while question.encode() not in shown[heard:] and read():
        pass
    # The question stands there a moment before the echo is off.
    while termios.tcgetattr(terminal)[3] & termios.ECHO:
        time.sleep(0.01)
    os.write(terminal, answer.encode() + b"\n")
while read():
    pass
sys.stdout.write(shown.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[tokio::test]
async fn a_terminal_asks_for_the_password_twice_and_shows_it_never() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("campanile.yaml");
    std::fs::write(&file, format!("state_dir: {}\n", folder.path().join("state").display())).unwrap();
    let add = |name: &str, again: &str| {
        let program = json!([env!("CARGO_BIN_EXE_campanile"), "user", "add", name, "--config", file]);
        let talk = json!([["Password:", "correct horse"], ["Again:", again]]);
        let mut python = Command::new("python3");
        python.args(["-c", AT_A_TERMINAL]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = python.spawn().unwrap();
        child.stdin.take().unwrap().write_all(json!([program, talk]).to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let shown = success(add("anna", "correct horse"));
    assert!(shown.contains("Again:") && !shown.contains("correct horse"), "{shown}");
    let other = add("berta", "correct hearse");
    let said = String::from_utf8_lossy(&other.stdout);
    assert!(!other.status.success() && said.contains("the two passwords are not the same"), "{said}");
    assert!(!said.contains("correct"), "{said}");
    let list = success(user(folder.path(), &["list"], ""));
    assert!(list.contains("anna (store, digest)") && !list.contains("berta"), "{list}");
}

/// A request with a login, and what it gave.
async fn tell(server: &Server, method: &str, path: &str, login: (&str, &str), body: Value) -> (u16, Value) {
    let request = server.client().request(method.parse().unwrap(), server.http(path));
    let request = request.basic_auth(login.0, Some(login.1));
    let request = if body.is_null() { request } else { request.json(&body) };
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or_default())
}

#[tokio::test]
async fn an_administrator_keeps_the_users_over_the_api_and_it_is_written_down() {
    let mut server = Server::start(json!({ "auth": {}, "paths": { "demo": { "source": "demo" } } })).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    let password = server.log_line(|line| line.len() == 29 && line.matches('-').count() == 3).await;
    let admin = ("admin", password.trim());
    assert_eq!(status(&server, "GET", "/api/v1/users", None).await, 401, "not even on this machine");
    let wanted = json!({
        "name": "anna", "password": "correct horse",
        "permissions": [{ "action": "view", "path": "demo" }, { "action": "stats" }],
    });
    assert_eq!(tell(&server, "POST", "/api/v1/users", admin, wanted.clone()).await.0, 201);
    let (again, problem) = tell(&server, "POST", "/api/v1/users", admin, wanted).await;
    assert_eq!((again, &problem["code"]), (409, &json!("user_exists")));
    let anna = ("anna", "correct horse");
    assert_eq!(status(&server, "GET", "/api/v1/statistics", Some(anna)).await, 200, "at once");
    assert_eq!(status(&server, "GET", "/api/v1/users", Some(anna)).await, 403);
    assert_eq!(status(&server, "DELETE", "/api/v1/users/admin", Some(anna)).await, 403);
    let (_, list) = tell(&server, "GET", "/api/v1/users", admin, Value::Null).await;
    let shown = json!({
        "name": "anna", "origin": "store", "rtsp_digest": true, "groups": [],
        "permissions": [{ "action": "view", "path": "demo" }, { "action": "stats", "path": "*" }],
    });
    assert_eq!((&list["users"][1], &list["users"][0]["name"]), (&shown, &json!("admin")));

    let mine = "/api/v1/users/me/preferences";
    assert_eq!(tell(&server, "GET", mine, anna, Value::Null).await, (200, json!({})));
    let kept = json!({ "tiles": 4, "order": ["demo"] });
    assert_eq!(tell(&server, "PUT", mine, anna, kept.clone()).await.0, 204);
    assert_eq!(tell(&server, "GET", mine, anna, Value::Null).await, (200, kept));
    assert_eq!(tell(&server, "GET", mine, admin, Value::Null).await, (200, json!({})), "to each their own");
    assert_eq!(tell(&server, "PUT", mine, anna, json!({ "x": "x".repeat(20_000) })).await.0, 413);
    assert_eq!(tell(&server, "PUT", mine, anna, json!([1])).await.0, 400);
    assert_eq!(status(&server, "GET", mine, None).await, 401);

    let rights = json!({ "permissions": [{ "action": "view", "path": "demo" }] });
    assert_eq!(tell(&server, "PUT", "/api/v1/users/anna/permissions", admin, rights).await.0, 204);
    assert_eq!(status(&server, "GET", "/api/v1/statistics", Some(anna)).await, 403);
    let other = json!({ "password": "battery staple" });
    assert_eq!(tell(&server, "PUT", "/api/v1/users/anna/password", admin, other).await.0, 204);
    assert_eq!(status(&server, "GET", "/api/v1/paths/demo", Some(anna)).await, 401);
    assert_eq!(status(&server, "GET", "/api/v1/paths/demo", Some(("anna", "battery staple"))).await, 200);
    let (last, problem) = tell(&server, "DELETE", "/api/v1/users/admin", admin, Value::Null).await;
    assert_eq!((last, &problem["code"]), (409, &json!("last_admin")));
    assert_eq!(tell(&server, "DELETE", "/api/v1/users/anna", admin, Value::Null).await.0, 204);
    assert_eq!(status(&server, "GET", "/api/v1/paths/demo", Some(("anna", "battery staple"))).await, 401);
    assert_eq!(tell(&server, "DELETE", "/api/v1/users/anna", admin, Value::Null).await.0, 404);

    let (_, facts) = tell(&server, "GET", "/api/v1/events?limit=1000", admin, Value::Null).await;
    let audit = facts["events"].as_array().unwrap().iter().filter(|fact| fact["type"] == "audit");
    // Whom the server refused meanwhile is written down as well.
    let audit = audit.filter(|fact| fact["data"]["action"].as_str().unwrap().starts_with("user."));
    let deeds: Vec<_> =
        audit.map(|fact| (&fact["data"]["action"], &fact["data"]["by"], &fact["data"]["target"])).collect();
    let (by, target) = (json!("admin"), json!("anna"));
    let actions = ["user.added", "user.permissions", "user.password", "user.removed"].map(Value::from);
    assert_eq!(deeds, actions.iter().map(|action| (action, &by, &target)).collect::<Vec<_>>());
}

/// Waits until a running server has learnt of a change.
async fn until(server: &Server, method: &str, path: &str, login: Option<(&str, &str)>, wanted: u16) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = status(server, method, path, login).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{method} {path}: {found}, not {wanted}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn users_of_the_file_log_in_and_groups_say_what_they_may() {
    let folder = tempfile::tempdir().unwrap();
    config_file(folder.path(), &json!({ "auth": {} }));
    let hash = success(user(folder.path(), &["hash"], "correct horse\n"));
    let server = Server::start_in(
        folder,
        json!({
            "auth": {
                "groups": { "family": [{ "action": "view", "path": "house/*" }] },
                "users": [
                    { "name": "anna", "password": hash.trim(), "groups": ["family"] },
                    { "name": "boss", "password": hash.trim(), "permissions": [{ "action": "admin" }] },
                ],
            },
            "paths": { "house/door": { "source": "demo" }, "shed": { "source": "demo" } },
        }),
        &[],
    )
    .await;
    let anna = Some(("anna", "correct horse"));
    assert_eq!(status(&server, "GET", "/api/v1/paths/house/door", anna).await, 200);
    assert_eq!(status(&server, "GET", "/api/v1/paths/shed", anna).await, 404);
    assert_eq!(status(&server, "DELETE", KICK, Some(("boss", "correct horse"))).await, 404);
    assert!(!server.log().iter().any(|line| line.contains("The first user")));
    let taken = user(server.folder(), &["add", "anna"], "correct horse\n");
    assert!(String::from_utf8_lossy(&taken.stderr).contains("auth.users"), "{taken:?}");
}

#[tokio::test]
async fn an_open_listener_without_users_is_refused_and_auth_off_is_said_aloud() {
    let mut server = Server::start(json!({ "auth": {} })).await;
    server.log_line(|line| line.contains("The first user is `admin`")).await;
    let spared = user(server.folder(), &["remove", "admin"], "");
    let said = String::from_utf8_lossy(&spared.stderr);
    assert!(!spared.status.success() && said.contains("nobody else administers the server"), "{said}");
    success(user(server.folder(), &["remove", "admin", "--force"], ""));
    server.terminate().await;
    let folder = server.into_folder();
    let open = json!({ "auth": {}, "http": { "address": "0.0.0.0:0" } });
    let ran = run(&mut command(folder.path(), &open, &[])).await;
    assert_eq!(ran.status.code(), Some(1), "{ran:?}");
    assert!(ran.stderr.contains("there are no users") && ran.stderr.contains("auth: off"), "{}", ran.stderr);
    let off = json!({ "auth": "off", "http": { "address": "0.0.0.0:0" } });
    let mut server = Server::start_in(folder, off, &[]).await;
    server.log_line(|line| line.contains("auth is off")).await;
    let url = format!("http://127.0.0.1:{}/api/v1/info", server.address("http").port());
    let info: Value = server.client().get(url).send().await.unwrap().json().await.unwrap();
    assert_eq!(info["warnings"][0]["code"], "auth_off");
}
