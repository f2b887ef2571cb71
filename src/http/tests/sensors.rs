//! The doors of sensors.

use super::super::testing::{House, Reply};

const JSON: &str = "application/json";
const LINES: &str = "application/vnd.influx.lineprotocol";

impl House {
    async fn post(&self, url: &str, kind: &str, body: &'static str) -> Reply {
        self.send("POST", url, &[("content-type", kind)], body.into()).await
    }
}

#[tokio::test(start_paused = true)]
async fn readings_come_in_by_every_form_and_are_told() {
    let house = House::new();
    let post = async |url: &str, kind: &str, body: &'static str| {
        let reply = house.post(url, kind, body).await;
        (reply.status.as_u16(), reply.json())
    };
    let url = "/api/v1/sensors/cellar/readings";
    let (status, taken) =
        post(url, JSON, r#"{"value": 95, "unit": "°F", "kind": "temperature", "name": "Cellar"}"#).await;
    assert_eq!((status, &taken["accepted"], &taken["refused"]), (200, &1.into(), &0.into()), "{taken}");
    let (_, taken) = post(url, JSON, r#"[{"value": 1, "time": 1}, {"value": "warm"}, {}]"#).await;
    assert_eq!((&taken["accepted"], &taken["refused"]), (&1.into(), &2.into()), "{taken}");
    assert_eq!(taken["errors"][0], serde_json::json!({ "index": 1, "message": "expected a number, found `warm`" }));
    let (status, _) = post(url, "text/plain", "22.5").await;
    assert_eq!(status, 200);
    let (_, taken) = post("/api/v1/sensors/meter/readings?precision=s", LINES, "m value=7,power=8 1").await;
    assert_eq!(taken["accepted"], 2, "{taken}");
    let list = house.get("/api/v1/sensors").await.json();
    let ids: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|sensor| sensor["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, ["cellar", "meter", "meter.power"]);
    let cellar = house.get("/api/v1/sensors/cellar").await.json();
    assert_eq!((&cellar["value"], &cellar["unit"], &cellar["name"]), (&22.5.into(), &"°C".into(), &"Cellar".into()));
    assert_eq!((&cellar["bad_payloads"], &cellar["source"]), (&1.into(), &"http".into()));
    assert_eq!(house.get("/api/v1/sensors/meter").await.json()["flags"], serde_json::json!(["time_too_old"]));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_reading_is_a_problem_and_is_remembered() {
    let house = House::new();
    let url = "/api/v1/sensors/cellar/readings";
    assert_eq!(house.post(url, JSON, "21").await.status, 200);
    for (kind, body, code) in [
        (JSON, "{", "invalid_reading"),
        (JSON, "{}", "invalid_reading"),
        (JSON, "[[]]", "invalid_reading"),
        (LINES, "m", "invalid_reading"),
        ("text/plain", "a\u{7}", "invalid_reading"),
    ] {
        assert_eq!(house.post(url, kind, body).await.problem(400), code, "{body}");
    }
    assert_eq!(house.post(url, "image/png", "x").await.problem(415), "unsupported_media_type");
    assert_eq!(house.post(&format!("{url}?precision=h"), LINES, "m v=1").await.problem(400), "invalid_reading");
    assert_eq!(house.post("/api/v1/sensors/a%20b/readings", JSON, "1").await.problem(400), "invalid_sensor_id");
    assert_eq!(house.get("/api/v1/sensors/attic").await.problem(404), "sensor_not_found");
    assert_eq!(house.get("/api/v1/sensors/attic/history").await.problem(404), "sensor_not_found");
    let cellar = house.get("/api/v1/sensors/cellar").await.json();
    assert!(cellar["last_error"]["message"].is_string(), "{cellar}");
    for number in 0..9 {
        assert_eq!(house.post(&format!("/api/v1/sensors/s{number}/readings"), JSON, "1").await.status, 200);
    }
    assert_eq!(house.post("/api/v1/sensors/more/readings", JSON, "1").await.problem(400), "invalid_reading");
}

#[tokio::test(start_paused = true)]
async fn pollers_get_what_they_have_not_got() {
    let house = House::new();
    house.post("/api/v1/sensors/cellar/readings", JSON, "21").await;
    for url in ["/api/v1/sensors", "/api/v1/sensors?limit=1", "/api/v1/sensors/cellar"] {
        let first = house.get(url).await;
        let tag = first.header("etag").to_owned();
        assert_eq!(first.header("cache-control"), "private, max-age=2", "{url}");
        let again = house.ask("GET", url, &[("if-none-match", &tag)]).await;
        assert_eq!((again.status.as_u16(), again.body.len(), again.header("etag")), (304, 0, tag.as_str()), "{url}");
        house.post("/api/v1/sensors/cellar/readings", JSON, "22").await;
        let new = house.ask("GET", url, &[("if-none-match", &tag)]).await;
        assert_eq!(new.status.as_u16(), 200, "{url}");
    }
}

#[tokio::test]
async fn the_past_is_summed_up_and_comes_as_a_table_too() {
    let house = House::new();
    let body = r#"[{"value": 20, "kind": "temperature"}, {"value": 30, "time": 1}]"#;
    house.post("/api/v1/sensors/cellar/readings", JSON, body).await;
    let url = "/api/v1/sensors/cellar/history?step=3600";
    let deadline = std::time::Duration::from_secs(30);
    let waiting = async {
        loop {
            let history = house.get(url).await.json();
            // Nothing is there before the first write.
            let points = history["points"].as_array().cloned().unwrap_or_default();
            let count: u64 = points.iter().map(|point| point["count"].as_u64().unwrap()).sum();
            if count == 2 {
                return history;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let history = tokio::time::timeout(deadline, waiting).await.unwrap();
    assert_eq!((&history["step_ms"], &history["unit"]), (&3_600_000.into(), &"°C".into()));
    let avg = house.get(&format!("{url}&agg=avg")).await.json();
    assert!(avg["points"][0]["avg"].is_number() && avg["points"][0]["min"].is_null(), "{avg}");
    let table = house.get(&format!("{url}&format=csv")).await;
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    assert!(
        table.text().starts_with("time,min,avg,max,count,unit\r\n") && table.text().ends_with(",°C\r\n"),
        "{}",
        table.text()
    );
    let asked = "/api/v1/sensors/cellar/history?from=2026-11-01T00:00:00%2B01:00&to=2026-11-02T00:00:00Z";
    let past = house.get(asked).await;
    let again = house.ask("GET", asked, &[("if-none-match", past.header("etag"))]).await;
    assert_eq!((past.json()["points"].as_array().unwrap().len(), again.status.as_u16()), (0, 304));
    for bad in
        ["from=noon", "to=1&from=2", "step=0", "step=1&from=0", "agg=sum", "format=xml", "from=2026-11-20T10:15:00"]
    {
        let code = house.get(&format!("/api/v1/sensors/cellar/history?{bad}")).await.problem(400);
        assert_eq!(code, "invalid_history", "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_see_sensors_says_nothing_for_them() {
    let mut house = House::new();
    house.post("/api/v1/sensors/cellar/readings", JSON, "21").await;
    let urls = ["/api/v1/sensors", "/api/v1/sensors/cellar"];
    house.log_in_from_elsewhere(&[("sensors", "*"), ("stats", "*")]);
    for url in urls.into_iter().chain(["/api/v1/mqtt"]) {
        assert_eq!(house.get(url).await.status, 200, "{url}");
    }
    assert_eq!(house.post("/api/v1/sensors/cellar/readings", JSON, "22").await.status.as_u16(), 403);
    house.credential = None;
    for url in urls {
        assert_eq!(house.get(url).await.status, 401, "{url}");
    }
}
