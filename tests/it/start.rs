//! How the server begins, and what it says when it cannot.

use std::{net::TcpListener, time::Duration};

use serde_json::json;

use crate::support::{
    clients::ffprobe,
    process::{PATIENCE, Process, run},
    relay, scale,
    scripted_camera::Behaviour,
    server::{Server, campanile, command, config_file},
};

#[tokio::test]
async fn without_a_configuration_the_demo_camera_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = campanile(folder.path());
    for (key, value) in [
        ("CAMPANILE_STATE_DIR", folder.path().join("state").to_str().unwrap()),
        ("CAMPANILE_HTTP__ADDRESS", "127.0.0.1:0"),
        ("CAMPANILE_RTSP__ADDRESS", "127.0.0.1:0"),
        ("CAMPANILE_RTSP__UDP_PORTS", "[0, 0]"),
        ("CAMPANILE_WEBRTC__ADDRESS", "127.0.0.1:0"),
    ] {
        command.env(key, value);
    }
    let mut process = Process::spawn("demo", &mut command);
    let line = process.line(|line| line.contains("ready in ")).await;
    assert!(line.contains(" s"), "{line}");
    process.line(|line| line.contains("rtsp://")).await;
    let printed = |output: &[String], scheme: &str, end: &str| {
        let mut words = output.iter().flat_map(|line| line.split_whitespace());
        words.rfind(|word| word.starts_with(scheme) && word.ends_with(end)).map(str::to_owned)
    };
    let url = printed(&process.output(), "rtsp://", "/demo").unwrap_or_else(|| panic!("{:#?}", process.output()));
    assert_eq!(ffprobe(&url, Some("tcp")).await.codecs, ["h264", "opus"]);
    let url = printed(&process.output(), "http://", "/demo/").unwrap_or_else(|| panic!("{:#?}", process.output()));
    let page = reqwest::Client::builder().no_proxy().build().unwrap().get(&url).send().await.unwrap();
    assert_eq!(page.status(), 200, "the page to open is there: {url}");
    let sensors = reqwest::Client::builder().no_proxy().build().unwrap();
    let sensors = sensors.get(url.replace("/demo/", "/api/v1/sensors")).send().await.unwrap();
    let sensors: serde_json::Value = sensors.json().await.unwrap();
    let ids: Vec<_> =
        sensors["items"].as_array().unwrap().iter().map(|sensor| sensor["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["demo-leak", "demo-motion", "demo-temperature"], "and sensors beside the camera");
    process.signal("TERM");
    assert_eq!(process.ended(PATIENCE).await.and_then(|status| status.code()), Some(0));
}

#[tokio::test]
async fn port_that_is_taken_is_named_with_its_option() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (section, option) in [("http", "http.address"), ("rtsp", "rtsp.address")] {
        let folder = tempfile::tempdir().unwrap();
        let ran = run(&mut command(folder.path(), &json!({ section: { "address": address } }), &[])).await;
        assert_eq!(ran.status.code(), Some(1), "{ran:?}");
        let line = ran.stderr.lines().find(|line| line.starts_with("error:")).unwrap_or_default();
        assert!(line.contains(option) && line.contains(&address), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn server_is_quick_to_start_and_healthy() {
    let (_camera, mut server) = relay(Behaviour::default()).await;
    let line = server.log_line(|line| line.contains("ready in ")).await;
    let line = line.split_once("ready in ").unwrap().1;
    let seconds: f64 = line.split_whitespace().next().unwrap().parse().unwrap();
    // 0.3 s is the gate of the benchmark.
    assert!(seconds < 3.0, "{seconds}");
    for url in ["/healthz", "/readyz"] {
        assert_eq!(server.get(url).await.status(), 200, "{url}");
    }
    let healthcheck = |folder: &std::path::Path| {
        let mut command = campanile(folder);
        command.args(["healthcheck", "--config"]).arg(folder.join("campanile.yaml"));
        command
    };
    run(&mut healthcheck(server.folder())).await.success();
    let empty = tempfile::tempdir().unwrap();
    config_file(empty.path(), &json!({}));
    assert_eq!(run(&mut healthcheck(empty.path())).await.status.code(), Some(1), "nobody is there");
}

#[tokio::test]
async fn opening_a_listener_to_the_world_is_warned_about() {
    let config = json!({ "http": { "address": "0.0.0.0:0" }, "paths": { "cam": { "source": "demo" } } });
    Server::start(config).await.log_line(|line| line.contains("WARN") && line.contains("open")).await;
}

#[tokio::test]
async fn log_in_json_is_json() {
    let mut server =
        Server::start(json!({ "log": { "format": "json" }, "paths": { "cam": { "source": "demo" } } })).await;
    server.json("/api/v1/paths").await;
    server.log_line(|line| line.contains("ready in ")).await;
    let log = server.log();
    let lines: Vec<_> = log.iter().filter(|line| line.starts_with('{')).collect();
    assert!(!lines.is_empty(), "{log:#?}");
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test]
async fn memory_and_descriptors_return_after_many_visits() {
    let (_camera, server) = relay(Behaviour::default()).await;
    let visit = async |rounds: usize| {
        for _ in 0..rounds {
            let reader = crate::support::rtsp_client::RtspReader::play(&server.rtsp("cam")).await;
            reader.more(3).await;
            drop(reader);
            assert_eq!(server.get("/cam/index.m3u8").await.status(), 200);
        }
        server.path_until("cam", "without RTSP readers", |path| path["readers"]["rtsp"] == 0).await;
    };
    visit(20).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (memory, descriptors) = (server.resident_bytes(), server.descriptors());
    visit(40 * scale()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.descriptors() <= descriptors + 4, "{descriptors} → {}", server.descriptors());
    let grown = server.resident_bytes().saturating_sub(memory);
    // The ring still fills in the first half minute: sixteen megabytes at most.
    assert!(grown < 24 * 1024 * 1024, "{grown} bytes more after {} visits", 40 * scale());
}
