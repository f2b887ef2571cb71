//! `campanile probe` and `campanile check --probe` against a scripted camera: what they find, and the likely cause when
//! they find nothing.

use std::{fs, path::Path, sync::Arc};

use serde_json::{Value, json};

use crate::support::{
    process::{Ran, run},
    scripted_camera::{Behaviour, Login, PASSWORD, ScriptedCamera, USER},
    server::campanile,
};

async fn campanile_in(folder: &Path, arguments: &[&str]) -> Ran {
    run(campanile(folder).args(arguments)).await
}

/// A camera that has nothing under `/stream1`, and something under `/live`.
async fn elsewhere() -> ScriptedCamera {
    let reply: crate::support::scripted_camera::Bend = Arc::new(|asked, mut reply| {
        if asked.method == "DESCRIBE" && !asked.url.ends_with("/live") {
            (reply.status, reply.body) = (404, String::new());
        }
        reply
    });
    ScriptedCamera::behaving(Behaviour { reply, ..Behaviour::default() }).await
}

#[tokio::test]
async fn a_camera_is_shown_as_a_table_and_as_json() {
    let camera = ScriptedCamera::start().await;
    let folder = tempfile::tempdir().unwrap();
    let table = campanile_in(folder.path(), &["probe", "--duration", "3s", &camera.url()]).await.success().text();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines[0], format!("{} over TCP", camera.url()));
    assert!(lines[1].starts_with("first picture after "), "{table}");
    assert!(lines[3].trim_start().starts_with("track  codec"), "{table}");
    assert!(lines[4].contains("video") && lines[4].contains("H.264 (avc1.") && lines[4].contains("640×360"), "{table}");
    assert!(lines[4].contains("25 fps") && lines[4].contains("every "), "{table}");
    assert!(lines[5].contains("audio") && lines[5].contains("AAC (mp4a.40.2)") && lines[5].contains("kHz"), "{table}");
    let ran = campanile_in(folder.path(), &["probe", "--duration", "1s", "--json", &camera.url()]).await.success();
    let report: Value = serde_json::from_str(&ran.text()).unwrap();
    assert_eq!(report["tracks"][0]["codec"], "H.264");
    assert_eq!(report["tracks"][0]["size"], json!([640, 360]));
    assert_eq!(report["transport"], "tcp");
    assert_eq!(ran.stderr, "");
}

#[tokio::test]
async fn a_login_may_stand_in_the_url_beside_it_or_in_the_configuration() {
    let camera = ScriptedCamera::behaving(Behaviour { login: Some(Login::Md5), ..Behaviour::default() }).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    let file =
        json!({ "paths": { "gate": { "source": camera.url(), "username": USER, "password_file": "password" } } });
    fs::write(folder.path().join("campanile.yaml"), file.to_string()).unwrap();
    let probe = async |arguments: &[&str]| {
        let all: Vec<_> = ["probe", "--duration", "500ms"].iter().chain(arguments).copied().collect();
        campanile_in(folder.path(), &all).await
    };
    for arguments in [
        &[camera.url_with_login().as_str()][..],
        &["--username", USER, "--password-file", "password", &camera.url()],
        &["gate"],
    ] {
        let ran = probe(arguments).await.success();
        assert!(!ran.text().contains("s3cret") && !ran.text().contains(USER), "{}", ran.text());
    }
    let without = probe(&[&camera.url()]).await;
    assert_eq!(without.status.code(), Some(1));
    let address = camera.url().replace("rtsp://", "").replace("/stream1", "");
    assert_eq!(
        without.stderr,
        format!(
            "error: rtsp source {address}: 401: a login is required (Digest MD5)\n\
             hint: set `username` and `password` of the path\n"
        )
    );
    let wrong = probe(&["--username", "nobody", &camera.url_with_login()]).await;
    assert_eq!(wrong.status.code(), Some(1), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("401: the login is refused (Digest MD5)"), "{}", wrong.stderr);
    assert!(!wrong.stderr.contains("s3cret"), "{}", wrong.stderr);
}

#[tokio::test]
async fn a_wrong_name_is_answered_with_those_that_are_there() {
    let camera = elsewhere().await;
    let folder = tempfile::tempdir().unwrap();
    let there = camera.url().replace("/stream1", "/live");
    let ran = campanile_in(folder.path(), &["probe", &camera.url()]).await;
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.contains(": 404: there is no such stream\n"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with(&format!("hint: the camera has a stream at {there}\n")), "{}", ran.stderr);
    let asked = camera.count("DESCRIBE");
    let exact = campanile_in(folder.path(), &["probe", "--exact", "--json", &camera.url()]).await;
    assert_eq!(exact.status.code(), Some(1));
    let failure: Value = serde_json::from_str(&exact.text()).unwrap();
    assert_eq!(failure["error"]["code"], "source_not_found");
    assert_eq!(failure["error"]["tried"], 0);
    assert!(camera.count("DESCRIBE") - asked <= 3, "no other name is tried");
}

#[tokio::test]
async fn what_is_no_camera_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("campanile.yaml"), "paths: { a: { source: demo } }").unwrap();
    for (target, words) in [
        ("http://10.0.0.5/", "sources of the scheme `http` are not supported"),
        ("rtsp://u:hunter2@cam:x/", "the URL is not valid"),
        ("nothing", "no path of campanile.yaml has the name `nothing`"),
        ("a", "path a is not a camera's"),
        ("a/sub", "path a has no smaller rendition"),
        ("a b", "a path name has letters"),
    ] {
        let ran = campanile_in(folder.path(), &["probe", target]).await;
        assert_eq!(ran.status.code(), Some(2), "{target}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: ") && ran.stderr.contains(words), "{target}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn check_calls_every_camera_of_the_file() {
    let (good, other, bad) = (ScriptedCamera::start().await, ScriptedCamera::start().await, elsewhere().await);
    let folder = tempfile::tempdir().unwrap();
    let mut file = json!({ "paths": {
        "front": { "source": good.url(), "sub": other.url() },
        "show": { "source": "demo" },
        "~^x$": { "source": "rtsp://127.0.0.1:9/" },
    } });
    let write = |file: &Value| fs::write(folder.path().join("campanile.yaml"), file.to_string()).unwrap();
    write(&file);
    let ran = campanile_in(folder.path(), &["check", "--probe"]).await.success();
    let text = ran.text();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "ok: campanile.yaml");
    assert!(lines[2].starts_with("ok: front: H.264 640×360"), "{text}");
    assert!(lines[3].starts_with("ok: front/sub: H.264 640×360"), "{text}");
    assert_eq!(lines.len(), 4, "{text}");
    file["paths"]["back"] = json!({ "source": bad.url() });
    write(&file);
    let ran = campanile_in(folder.path(), &["check", "--probe"]).await;
    assert_eq!(ran.status.code(), Some(1));
    assert!(ran.stderr.starts_with("error: back: rtsp source ") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    assert!(ran.text().contains("ok: front: "), "{}", ran.text());
    let ran = campanile_in(folder.path(), &["check", "--probe", "--json"]).await;
    let outcome: Value = serde_json::from_str(&ran.text()).unwrap();
    assert_eq!((ran.status.code(), &outcome["ok"]), (Some(1), &json!(false)));
    let cameras = outcome["cameras"].as_array().unwrap();
    assert_eq!(cameras.len(), 3);
    let of = |name: &str| cameras.iter().find(|camera| camera["path"] == name).unwrap();
    assert_eq!(of("front")["report"]["tracks"][0]["codec"], "H.264");
    assert_eq!(of("back")["error"]["code"], "source_not_found");
}
