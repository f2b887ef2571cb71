//! Sensors from outside: a real broker with users and TLS that dies and comes back, URLs that are fetched, readings that
//! are posted, what Home Assistant is told, and the examples of `docs/sensors.md`.

use std::{fs, process::Command, time::Duration};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    mosquitto::{Mosquitto, USER},
    process::{PATIENCE, run},
    server::Server,
    tls::Identity,
};

impl Server {
    /// Waits until the API says of a URL what `wanted` asks for; 404 is waited over.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            let response = self.get(path).await;
            let found = response.status() == 200;
            let said: Value = response.json().await.unwrap();
            if found && wanted(&said) {
                return said;
            }
            assert!(std::time::Instant::now() < deadline, "GET {path}: {said:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn sensor(&self, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.until(&format!("/api/v1/sensors/{id}"), wanted).await
    }

    async fn broker(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let of = |said: &Value| said["items"].as_array().unwrap().iter().find(|b| b["name"] == name).cloned();
        let said = self.until("/api/v1/mqtt", |said| of(said).is_some_and(|broker| wanted(&broker))).await;
        of(&said).unwrap()
    }

    async fn post(&self, path: &str, kind: &str, body: &str) -> (u16, Value) {
        let request = self.client().post(self.http(path)).header("content-type", kind).body(body.to_owned());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

#[tokio::test]
async fn a_broker_with_users_and_tls_dies_and_comes_back() {
    let mut mosquitto = Mosquitto::start().await;
    let broker = json!({
        "url": format!("mqtts://localhost:{}", mosquitto.tls_port),
        "version": "5",
        "username": USER.0,
        "password": USER.1,
        "tls": { "ca_file": mosquitto.certificate() },
        "presets": ["tasmota", "zigbee2mqtt"],
        "topics": [{ "topic": "home/{room}/climate", "sensor": "{room}-temperature", "value": "/t", "unit": "°F" }],
    });
    let cellar = json!({ "name": "Cellar", "kind": "temperature", "expected_interval": "10s" });
    let config = json!({ "mqtt": { "brokers": { "home": broker } }, "sensors": { "cellar-temperature": cellar } });
    let server = Server::start(config).await;
    server.broker("home", |broker| broker["state"] == "connected").await;
    mosquitto.publish("home/cellar/climate", r#"{"t": 95}"#).await;
    let cellar = server.sensor("cellar-temperature", |sensor| sensor["value"] == 35.0).await;
    assert_eq!(
        (&cellar["unit"], &cellar["source"], &cellar["stale"]),
        (&json!("°C"), &json!("mqtt:home"), &json!(false))
    );
    mosquitto.publish("tele/plug/SENSOR", r#"{"ENERGY":{"Power":42}}"#).await;
    server.sensor("plug.energy.power", |sensor| sensor["value"] == 42.0 && sensor["unit"] == "W").await;
    mosquitto.publish("home/cellar/climate", "{").await;
    let cellar = server.sensor("cellar-temperature", |sensor| sensor["bad_payloads"] == 1).await;
    assert_eq!(
        (&cellar["last_error"]["message"], &cellar["value"]),
        (&json!("not JSON: line 1, column 1"), &json!(35.0))
    );

    mosquitto.kill().await;
    let lost = server.broker("home", |broker| broker["state"] == "lost").await;
    assert!(lost["error"].is_string(), "{lost}");
    let cellar = server.sensor("cellar-temperature", |sensor| sensor["source_error"].is_string()).await;
    assert_eq!(
        (&cellar["stale"], &cellar["value"]),
        (&json!(false), &json!(35.0)),
        "an error is another thing than silence"
    );
    mosquitto.restart().await;
    let back = server.broker("home", |broker| broker["state"] == "connected").await;
    assert_eq!((&back["connections"], &back["bad_payloads"]), (&json!(2), &json!(1)));
    mosquitto.publish("home/cellar/climate", r#"{"t": 32}"#).await;
    server.sensor("cellar-temperature", |sensor| sensor["value"] == 0.0 && sensor["source_error"].is_null()).await;
}

#[tokio::test]
async fn a_broker_that_refuses_us_is_shown_with_its_reason() {
    let mosquitto = Mosquitto::start().await;
    let url = format!("mqtt://127.0.0.1:{}", mosquitto.port);
    let tls = format!("mqtts://localhost:{}", mosquitto.tls_port);
    let wrong =
        |version: &str| json!({ "url": url, "version": version, "username": "me", "password": "wrong-password" });
    let fingerprint = "00".repeat(32);
    let server = Server::start(json!({ "mqtt": { "brokers": {
        "old": wrong("3.1.1"),
        "new": wrong("5"),
        "strange": { "url": tls, "username": USER.0, "password": USER.1, "tls": { "fingerprint": fingerprint } },
    }}}))
    .await;
    let error = |broker: &Value| broker["error"].as_str().unwrap_or_default().to_owned();
    let old = server.broker("old", |broker| broker["state"] == "lost").await;
    assert!(error(&old).starts_with("the broker refuses: "), "{old}");
    let new = server.broker("new", |broker| broker["state"] == "lost").await;
    assert!(error(&new).contains("not authorized"), "{new}");
    let strange = server.broker("strange", |broker| broker["state"] == "lost").await;
    assert!(error(&strange).contains("certificate"), "{strange}");
    assert!(server.log().iter().all(|line| !line.contains("wrong-password") && !line.contains(USER.1)));
}

#[tokio::test]
async fn sensors_that_announce_themselves_appear_and_go() {
    let mosquitto = Mosquitto::start().await;
    let url = format!("mqtt://127.0.0.1:{}", mosquitto.port);
    let broker = json!({ "url": url, "username": USER.0, "password": USER.1, "presets": ["home_assistant"] });
    let announcement = json!({
        "name": "Humidity", "uniq_id": "box_h", "stat_t": "box/state", "avty_t": "box/status", "dev_cla": "humidity",
        "unit_of_meas": "%", "val_tpl": "{{ value_json.h }}", "dev": { "ids": ["box"], "name": "Box" },
    });
    mosquitto.publish_retained("homeassistant/sensor/box/h/config", &announcement.to_string()).await;
    mosquitto.publish_retained("box/state", r#"{"h": 40}"#).await;
    let server = Server::start(json!({ "mqtt": { "brokers": { "home": broker } } })).await;
    let kept = server.sensor("box_h", |sensor| sensor["value"] == 40.0).await;
    assert_eq!((&kept["name"], &kept["flags"]), (&json!("Box Humidity"), &json!(["retained"])));
    mosquitto.publish("box/status", "offline").await;
    server.sensor("box_h", |sensor| sensor["available"] == false && sensor["stale"] == true).await;
    mosquitto.publish_retained("homeassistant/sensor/box/h/config", "").await;
    let gone = server.until("/api/v1/sensors", |said| said["items"].as_array().is_some_and(Vec::is_empty)).await;
    assert_eq!(gone["next"], Value::Null);
}

#[tokio::test]
async fn home_assistant_is_told_of_cameras_and_sensors_and_of_our_end() {
    let mosquitto = Mosquitto::start().await;
    let url = format!("mqtt://127.0.0.1:{}", mosquitto.port);
    let broker = json!({ "url": url, "username": USER.0, "password": USER.1, "announce": {} });
    let config = json!({
        "mqtt": { "brokers": { "home": broker } },
        "sensors": { "cellar": { "kind": "temperature" } },
        "paths": { "gate": { "source": "demo", "on_demand": true, "title": "Gate" } },
    });
    let mut server = Server::start(config.clone()).await;
    assert_eq!(mosquitto.kept("campanile/status", |status| status == "online").await, "online");
    let camera = mosquitto.message("homeassistant/binary_sensor/campanile/camera_gate/config").await;
    let camera: Value = serde_json::from_str(&camera).unwrap();
    assert_eq!((&camera["name"], &camera["device_class"]), (&json!("Gate"), &json!("connectivity")));
    assert_eq!(mosquitto.message(camera["state_topic"].as_str().unwrap()).await, "online");
    let (status, _) = server.post("/api/v1/sensors/cellar/readings", "application/json", "21.5").await;
    assert_eq!(status, 200);
    let sensor = mosquitto.message("homeassistant/sensor/campanile/sensor_cellar/config").await;
    let sensor: Value = serde_json::from_str(&sensor).unwrap();
    mosquitto.kept(sensor["state_topic"].as_str().unwrap(), |state| state == "21.5").await;
    server.terminate().await;
    assert_eq!(mosquitto.kept("campanile/status", |status| status == "offline").await, "offline", "a goodbye");
    let server = Server::start(config).await;
    mosquitto.kept("campanile/status", |status| status == "online").await;
    server.signal("KILL");
    assert_eq!(mosquitto.kept("campanile/status", |status| status == "offline").await, "offline", "the last will");
}

#[tokio::test]
async fn readings_are_fetched_from_a_url_again_and_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/status", listener.local_addr().unwrap());
    let device = tokio::spawn(async move {
        for round in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 2048];
            let length = stream.read(&mut head).await.unwrap();
            let asked = String::from_utf8_lossy(&head[..length]).to_lowercase();
            let answer = match round {
                0 => "HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 13\r\n\r\n{\"t\": \"68.0\"}".to_owned(),
                1 => format!(
                    "HTTP/1.1 {} X\r\nContent-Length: 0\r\n\r\n",
                    if asked.contains("if-none-match: \"1\"") { 304 } else { 400 }
                ),
                2 => "HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n".to_owned(),
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{\"t\": 32}".to_owned(),
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let pull = json!({ "url": url, "interval": "1s", "value": "/t", "unit": "°F" });
    let server = Server::start(json!({ "sensors": { "roof": { "kind": "temperature", "pull": pull } } })).await;
    let roof = server.sensor("roof", |sensor| sensor["value"] == 20.0).await;
    assert_eq!((&roof["expected_interval_ms"], &roof["source"]), (&json!(1000), &json!("pull")));
    let failed = server.sensor("roof", |sensor| sensor["source_error"].is_string()).await;
    assert_eq!((&failed["source_error"], &failed["value"]), (&json!("127.0.0.1: http status 500"), &json!(20.0)));
    server.sensor("roof", |sensor| sensor["value"] == 0.0 && sensor["source_error"].is_null()).await;
    device.abort();
}

/// A device that answers every GET over TLS with one reading; its port.
async fn device_over_tls(identity: &Identity) -> u16 {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = CertificateDer::pem_file_iter(&identity.certificate).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let (acceptor, listener) = (TlsAcceptor::from(std::sync::Arc::new(tls)), TcpListener::bind("127.0.0.1:0").await);
    let listener = listener.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // Whoever does not trust it hangs up.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if stream.read(&mut [0; 2048]).await.is_ok_and(|length| length > 0) {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n21.5").await;
            }
        }
    });
    port
}

#[tokio::test]
async fn readings_are_fetched_over_tls_from_whom_the_machine_trusts_alone() {
    let identity = Identity::new();
    let port = device_over_tls(&identity).await;
    let pull = |host: &str| json!({ "url": format!("https://{host}:{port}/t"), "interval": "1s" });
    let config = json!({ "sensors": {
        "roof": { "kind": "temperature", "pull": pull("localhost") },
        "wrong": { "kind": "temperature", "pull": pull("127.0.0.2") },
    } });
    let server = Server::start(config.clone()).await;
    let stranger = server.sensor("roof", |sensor| sensor["source_error"].is_string()).await;
    let error = stranger["source_error"].as_str().unwrap();
    assert!(error.starts_with("localhost: tls: ") && stranger["value"].is_null(), "{stranger}");
    // An authority of one's own is made known to the machine, as OpenSSL's programs are told too.
    let trusted = [("SSL_CERT_FILE", identity.certificate.to_str().unwrap())];
    let server = Server::start_in(server.into_folder(), config, &trusted).await;
    server.sensor("roof", |sensor| sensor["value"] == 21.5 && sensor["source_error"].is_null()).await;
    let wrong = server.sensor("wrong", |sensor| sensor["source_error"].is_string()).await;
    assert!(wrong["value"].is_null(), "the certificate is for another host: {wrong}");
}

#[tokio::test]
async fn posted_readings_are_there_after_a_restart() {
    let config = json!({ "sensors": { "cellar": { "kind": "temperature" } } });
    let server = Server::start(config.clone()).await;
    let (status, taken) = server
        .post("/api/v1/sensors/cellar/readings", "application/json", r#"[20, {"value": 70, "unit": "°F", "time": 1}]"#)
        .await;
    assert_eq!((status, &taken["accepted"]), (200, &json!(2)), "{taken}");
    // The history is written once a second.
    let history = "/api/v1/sensors/cellar/history?step=3600";
    server.until(history, |said| said["points"][0]["count"] == 2).await;
    let server = server.restart(config).await;
    let said = server.until(history, |said| said["points"].as_array().is_some_and(|points| !points.is_empty())).await;
    let point = said["points"].as_array().unwrap().last().unwrap();
    assert_eq!((&point["min"], &said["unit"]), (&json!(20.0), &json!("°C")));
}

#[tokio::test]
async fn the_examples_of_the_page_work_as_they_stand() {
    let page = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/sensors.md")).unwrap();
    let server = Server::start(json!({})).await;
    let mut tried = 0;
    for block in page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
        if !block.starts_with("curl ") {
            continue;
        }
        let script =
            block.replace("http://127.0.0.1:8080", &server.http("")).replace("curl ", "curl --fail-with-body -s ");
        let ran = run(Command::new("bash").arg("-ec").arg(&script).current_dir(server.folder())).await;
        assert!(ran.status.success(), "{block}\n{}\n{}", ran.text(), ran.stderr);
        tried += 1;
    }
    assert!(tried >= 5, "{tried} examples");
    let cellar = server.json("/api/v1/sensors/cellar").await;
    assert_eq!(cellar["kind"], "temperature", "{cellar}");
}
