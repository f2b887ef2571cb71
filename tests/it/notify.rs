//! Alerts' ways out: receivers, mail servers and their moods against the real server, kills among them.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{
    mail_server::{LOGIN, MailServer},
    process::{PATIENCE, run},
    receiver::{Letter, Receiver},
    server::Server,
};

/// A sensor that is too warm above 35 °C, and these channels.
fn house(channels: &Value) -> Value {
    json!({
        "sensors": { "attic": { "kind": "temperature" } },
        "rules": [{ "preset": "temperature", "above": { "warning": 35, "critical": 50 } }],
        "notify": { "channels": channels },
    })
}

impl Server {
    /// Gives a reading, and waits until the alert is as it says: rules look at the newest one only.
    async fn read(&self, celsius: f64) {
        let url = self.http("/api/v1/sensors/attic/readings");
        let response = self.client().post(url).json(&json!({ "value": celsius })).send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.status());
        let severity = if celsius > 50.0 { "critical" } else { "warning" };
        let as_it_says = |items: &[Value]| match items {
            [] => celsius <= 35.0,
            [alert, ..] => celsius > 35.0 && alert["severity"] == severity,
        };
        self.list_until("/api/v1/alerts?state=active", as_it_says).await;
    }

    /// Waits until a list of the API says what `wanted` asks for.
    async fn list_until(&self, path: &str, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = self.json(path).await;
            let items = said["items"].as_array().unwrap();
            if wanted(items) {
                return items.clone();
            }
            assert!(Instant::now() < deadline, "GET {path}: {said:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn order(&self, method: reqwest::Method, path: &str) -> (u16, Value) {
        let response = self.client().request(method, self.http(path)).send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }
}

fn kinds(letters: &[Letter]) -> Vec<(u16, String)> {
    letters.iter().map(|letter| (letter.status, letter.json()["type"].as_str().unwrap().to_owned())).collect()
}

fn kind(status: u16, reason: &str) -> (u16, String) {
    (status, format!("campanile.alert.{reason}"))
}

#[tokio::test]
async fn a_webhook_gets_signed_cloud_events_in_order_whatever_it_answers() {
    let receiver = Receiver::answering(&[500, 503, 200]).await;
    let secret = "correct horse battery staple";
    let hook = json!({ "url": receiver.url(), "secret": secret, "token": "let-me-in" });
    let server = Server::start(house(&json!({ "ops": { "webhook": hook } }))).await;
    server.read(40.0).await;
    server.read(60.0).await;
    server.read(20.0).await;
    let letters = receiver.until(5).await;
    let expected = [kind(500, "raised"), kind(503, "raised"), kind(200, "raised")];
    assert_eq!(kinds(&letters), [&expected[..], &[kind(200, "worsened"), kind(200, "cleared")]].concat());
    let ids: Vec<_> = letters.iter().map(|letter| letter.json()["id"].clone()).collect();
    assert!(ids[0] == ids[1] && ids[1] == ids[2] && ids[2] != ids[3] && ids[3] != ids[4], "{ids:?}");

    let (first, event) = (&letters[2], letters[2].json());
    assert_eq!(first.line, "POST /hook?x=1 HTTP/1.1");
    assert!(first.headers["content-type"].starts_with("application/cloudevents+json"));
    assert_eq!(first.headers["authorization"], "Bearer let-me-in");
    assert_eq!((&event["specversion"], &event["data"]["severity"]), (&json!("1.0"), &json!("warning")));
    let alert = &event["data"]["alerts"][0];
    assert_eq!((&alert["sensor"], &alert["value"], &alert["state"]), (&json!("attic"), &json!(40.0), &json!("active")));
    assert_eq!(event["subject"], alert["fingerprint"]);

    // The receiver's side as the page shows it.
    let page = fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/notifications.md"));
    let page = page.unwrap();
    let verify = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let body = server.folder().join("body");
    fs::write(&body, &first.body).unwrap();
    for (secret, expected) in [(secret, "True"), ("another", "False")] {
        let call = format!(
            "{verify}\nimport json\nprint(verify(sys.argv[1], json.loads(sys.argv[2]), open(sys.argv[3], 'rb').read()))"
        );
        let headers = serde_json::to_string(&first.headers).unwrap();
        let mut python = Command::new("/usr/bin/python3");
        let ran = run(python.args(["-c", &call, secret, &headers]).arg(&body)).await.success();
        assert_eq!(ran.text().trim(), expected, "{}", ran.stderr);
    }
    let ops = server.list_until("/api/v1/channels", |items| items[0]["delivered"] == 3).await;
    assert_eq!(
        (&ops[0]["failed"], &ops[0]["last_error"], &ops[0]["type"]),
        (&json!(2), &Value::Null, &json!("webhook"))
    );
    let metrics = server.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("campanile_notify_delivered_total{type=\"webhook\"} 3"), "{metrics}");
    assert!(server.log().iter().all(|line| !line.contains(secret) && !line.contains("let-me-in")));
}

#[tokio::test]
async fn what_was_not_delivered_when_the_server_was_killed_is_delivered_once_after_it() {
    let receiver = Receiver::answering(&[503]).await;
    let config = house(&json!({ "ops": { "webhook": { "url": receiver.url() } } }));
    let mut server = Server::start(config.clone()).await;
    server.read(40.0).await;
    let before = receiver.until(1).await;
    server.signal("KILL");
    server.ended(PATIENCE).await.expect("killed");
    receiver.answer(200);
    let tried = receiver.letters().len();
    let server = Server::start_in(server.into_folder(), config, &[]).await;
    let after = receiver.until(tried + 1).await;
    assert_eq!(after[tried].json()["id"], before[0].json()["id"], "the same notice");
    server.list_until("/api/v1/channels", |items| items[0]["queued"] == 0 && items[0]["delivered"] == 1).await;
    // The alert goes on and is not told as new; its end is, and after that nothing is left.
    server.read(41.0).await;
    server.read(20.0).await;
    let after = receiver.until(tried + 2).await;
    assert_eq!(kinds(&after[tried..]), [kind(200, "raised"), kind(200, "cleared")]);
}

#[tokio::test]
async fn a_channel_that_hangs_harms_no_other_and_no_alert() {
    let (silent, good) = (Receiver::answering(&[0]).await, Receiver::answering(&[204]).await);
    let channels = json!({
        "deaf": { "webhook": { "url": silent.url(), "timeout": "60s" } },
        "good": { "webhook": { "url": good.url() } },
        "dead": { "webhook": { "url": "http://127.0.0.1:1/" } },
    });
    let server = Server::start(house(&channels)).await;
    for celsius in [40.0, 20.0, 40.0, 20.0] {
        server.read(celsius).await;
    }
    let reasons = ["raised", "cleared", "raised", "cleared"].map(|reason| kind(204, reason));
    assert_eq!(kinds(&good.until(4).await), reasons);
    assert_eq!(silent.until(1).await.len(), 1, "one at a time");
    let channels = server.list_until("/api/v1/channels", |items| items[0]["last_error"].is_string()).await;
    let states: Vec<_> = channels.iter().map(|channel| (&channel["name"], &channel["queued"])).collect();
    assert_eq!(states, [(&json!("dead"), &json!(4)), (&json!("deaf"), &json!(4)), (&json!("good"), &json!(0))]);
    assert_eq!(channels[0]["last_error"], "127.0.0.1:1: connection refused");
    assert_eq!(channels[1]["state"], "sending");
}

#[tokio::test]
async fn a_further_level_is_told_when_nobody_took_note() {
    let (first, second) = (Receiver::answering(&[200]).await, Receiver::answering(&[200]).await);
    let mut config = house(&json!({
        "first": { "webhook": { "url": first.url() } },
        "second": { "level": 1, "webhook": { "url": second.url() } },
    }));
    config["rules"][0]["escalate_after"] = json!(["10s"]);
    let server = Server::start(config).await;
    server.read(40.0).await;
    let told = second.until(1).await;
    assert_eq!(kinds(&told), [kind(200, "escalated")]);
    assert_eq!(told[0].json()["data"]["level"], 1);
    server.read(20.0).await;
    assert_eq!(kinds(&second.until(2).await)[1], kind(200, "cleared"), "whoever was told is told");
    assert_eq!(kinds(&first.until(2).await), [kind(200, "raised"), kind(200, "cleared")]);
}

#[tokio::test]
async fn what_is_refused_is_a_dead_letter_that_can_be_sent_again_or_forgotten() {
    let receiver = Receiver::answering(&[400, 302, 200]).await;
    let server = Server::start(house(&json!({ "ops": { "webhook": { "url": receiver.url() } } }))).await;
    server.read(40.0).await;
    server.read(20.0).await;
    let dead = server.list_until("/api/v1/dead-letters", |items| items.len() == 2).await;
    let why: Vec<_> = dead.iter().map(|letter| letter["why"].as_str().unwrap()).collect();
    let redirects = "127.0.0.1: http status 302: redirects are not followed";
    assert_eq!(why, ["127.0.0.1: http status 400: so", redirects]);
    assert_eq!(
        (&dead[0]["reason"], &dead[0]["channel"], &dead[0]["attempts"]),
        (&json!("raised"), &json!("ops"), &json!(1))
    );
    let of = |letter: &Value| format!("/api/v1/dead-letters/{}", letter["id"].as_str().unwrap());
    assert_eq!(server.order(reqwest::Method::POST, &format!("{}/retry", of(&dead[0]))).await.0, 204);
    assert_eq!(kinds(&receiver.until(3).await)[2], kind(200, "raised"));
    assert_eq!(server.order(reqwest::Method::DELETE, &of(&dead[1])).await.0, 204);
    let gone = server.order(reqwest::Method::DELETE, &of(&dead[1])).await;
    assert_eq!((gone.0, &gone.1["code"]), (404, &json!("letter_not_found")));
    server.list_until("/api/v1/dead-letters", <[Value]>::is_empty).await;
    assert_eq!(receiver.letters().len(), 3, "the redirect led nowhere");

    let test = server.order(reqwest::Method::POST, "/api/v1/channels/ops/test").await;
    let expected =
        json!({ "delivered": true, "results": [{ "recipient": null, "outcome": "delivered", "error": null }] });
    assert_eq!(test, (200, expected));
    assert_eq!(receiver.until(4).await[3].json()["type"], "campanile.test");
    receiver.answer(410);
    let (_, test) = server.order(reqwest::Method::POST, "/api/v1/channels/ops/test").await;
    assert_eq!((&test["delivered"], &test["results"][0]["outcome"]), (&json!(false), &json!("gone")));
    let unknown = server.order(reqwest::Method::POST, "/api/v1/channels/none/test").await;
    assert_eq!((unknown.0, &unknown.1["code"]), (404, &json!("channel_not_found")));
}

#[tokio::test]
async fn an_alertmanager_is_told_what_goes_on_and_what_is_over() {
    let receiver = Receiver::answering(&[200]).await;
    let manager = json!({ "url": receiver.base(), "labels": { "site": "north" }, "username": "u", "password": "p" });
    let server = Server::start(house(&json!({ "am": { "alertmanager": manager } }))).await;
    server.read(40.0).await;
    let first = receiver.until(1).await[0].clone();
    assert_eq!(first.line, "POST /api/v2/alerts HTTP/1.1");
    assert_eq!(first.headers["authorization"], "Basic dTpw");
    server.read(20.0).await;
    let ends = |letter: &Letter| letter.json()[0]["endsAt"].as_str().unwrap().to_owned();
    // Between the two it may be told how things stand.
    let (mut count, mut over) = (2, None);
    while over.is_none() {
        let told = receiver.until(count).await;
        over = told.into_iter().find(|letter| ends(letter) < ends(&first));
        count += 1;
    }
    let (going, ended) = (first.json(), over.unwrap().json());
    assert_eq!(
        (&going[0]["labels"]["alertname"], &going[0]["labels"]["site"]),
        (&json!("temperature"), &json!("north"))
    );
    assert_eq!(going[0]["labels"], ended[0]["labels"], "known by its labels");
    assert_eq!(going[0]["startsAt"], ended[0]["startsAt"]);
}

#[tokio::test]
async fn a_mail_goes_over_tls_to_whoever_shows_the_certificate_that_was_named() {
    let (mails, plain) = (MailServer::start(true).await, MailServer::start(false).await);
    let mail = |server: &MailServer, to: &str, fingerprint: String| {
        json!({ "email": {
            "server": "127.0.0.1", "port": server.address.port(), "username": LOGIN.0, "password": LOGIN.1,
            "from": "Campanile <alerts@example.org>", "to": [to], "tls": { "fingerprint": fingerprint },
        }})
    };
    let server = Server::start(house(&json!({
        "ann": mail(&mails, "ann@example.org", mails.identity.fingerprint()),
        "nobody": mail(&mails, "nobody@example.org", mails.identity.fingerprint()),
        "plain": mail(&plain, "ann@example.org", plain.identity.fingerprint()),
        "strange": mail(&mails, "ann@example.org", "00".repeat(32)),
    })))
    .await;
    server.read(40.0).await;
    let came = mails.until(1).await;
    assert_eq!((came[0].to.as_slice(), came[0].trusted), (&["<ann@example.org>".to_owned()][..], true));
    for line in ["Auto-Submitted: auto-generated", "To: ann@example.org"] {
        assert!(came[0].text.lines().any(|written| written == line), "{line}\n{}", came[0].text);
    }
    let wrong = |items: &[Value]| items[1..].iter().all(|item| item["last_error"].is_string());
    let channels = server.list_until("/api/v1/channels", wrong).await;
    let error = |i: usize| channels[i]["last_error"].as_str().unwrap();
    assert!(error(1).contains("no such mailbox"), "{}", error(1));
    assert!(error(2).contains("it does not offer TLS"), "{}", error(2));
    assert!(error(3).contains("certificate"), "{}", error(3));
    assert_eq!(server.list_until("/api/v1/dead-letters", |items| items.len() == 1).await[0]["channel"], "nobody");
    assert_eq!(mails.until(1).await.len(), 1);
    assert!(server.log().iter().all(|line| !line.contains(LOGIN.1)));
}
