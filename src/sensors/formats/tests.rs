//! Every captured message, and what it means; and that nothing a device may send brings a reader down.

use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;

fn captured(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sensors").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One report in a line: `sensor kind value unit time`.
fn told(report: &Report) -> String {
    match report {
        Report::Sample(sample) => {
            let kind = sample.kind.as_ref().map_or("-", |kind| kind.as_str());
            let unit = sample.unit.as_ref().map_or("-", |unit| unit.symbol());
            let time = match sample.time {
                None => "-",
                Some(Stated::Utc(_)) => "utc",
                Some(Stated::Local(_)) => "local",
            };
            format!("{} {kind} {} {unit} {time}", sample.sensor, sample.value)
        }
        Report::Availability { device, online } => format!("{device} online={online}"),
        Report::Camera(report) => {
            format!("{} {} {}", report.camera, report.kind, Value::Object(report.details.clone()))
        }
    }
}

type Read = fn(&str, &[u8]) -> Result<Vec<Report>, FormatError>;

fn reports(read: Read, topic: &str, payload: &[u8]) -> Vec<String> {
    let reports = read(topic, payload).unwrap_or_else(|error| panic!("{topic}: {error}"));
    reports.iter().map(told).collect()
}

#[test]
fn zigbee2mqtt_says_what_its_devices_measure() {
    assert_eq!(
        reports(zigbee2mqtt::read, "attic/climate", &captured("zigbee2mqtt_climate.json")),
        [
            "attic.climate.battery battery 97 - utc",
            "attic.climate.humidity humidity 44.72 - utc",
            "attic.climate.pressure pressure 978.4 - utc",
            "attic.climate.temperature temperature 27.34 - utc",
            "attic.climate.voltage voltage 2995 mV utc",
        ]
    );
    assert_eq!(
        reports(zigbee2mqtt::read, "front door", &captured("zigbee2mqtt_door.json")),
        [
            "front_door.battery battery 100 - -",
            "front_door.contact opening true - -",
            "front_door.device_temperature temperature 26 - -",
            "front_door.voltage voltage 3015 mV -",
        ]
    );
    let leak = reports(zigbee2mqtt::read, "cellar", &captured("zigbee2mqtt_leak.json"));
    assert!(leak.contains(&"cellar.water_leak water true - -".to_owned()), "{leak:?}");
    assert!(leak.contains(&"cellar.battery_low battery_low false - -".to_owned()), "{leak:?}");
    assert_eq!(reports(zigbee2mqtt::read, "cellar/availability", br#"{"state":"offline"}"#), ["cellar online=false"]);
    assert_eq!(reports(zigbee2mqtt::read, "cellar/availability", b"online"), ["cellar online=true"]);
    for silent in ["bridge/devices", "bridge/state", "cellar/set"] {
        assert_eq!(zigbee2mqtt::read(silent, b"[]"), Ok(Vec::new()), "{silent}");
    }
}

#[test]
fn tasmota_says_what_its_chips_measure_and_in_which_units() {
    assert_eq!(
        reports(tasmota::read, "tele/attic/SENSOR", &captured("tasmota_am2301.json")),
        [
            "attic.am2301.dewpoint temperature 15.8 °C local",
            "attic.am2301.humidity humidity 58.2 % local",
            "attic.am2301.temperature temperature 24.6 °C local",
        ]
    );
    assert_eq!(
        reports(tasmota::read, "tele/roof/SENSOR", &captured("tasmota_fahrenheit.json")),
        [
            "roof.bme280.dewpoint temperature 67.5 °F local",
            "roof.bme280.humidity humidity 40.1 % local",
            "roof.bme280.pressure pressure 29.92 inHg local",
            "roof.bme280.temperature temperature 95 °F local",
        ]
    );
    let energy = reports(tasmota::read, "tele/plug/SENSOR", &captured("tasmota_energy.json"));
    for line in
        ["plug.energy.power power 42 W local", "plug.energy.total energy 12.345 kWh local", "plug.switch1 - ON - local"]
    {
        assert!(energy.contains(&line.to_owned()), "{line}: {energy:?}");
    }
    let several = reports(tasmota::read, "tele/tank/SENSOR", &captured("tasmota_ds18b20.json"));
    assert_eq!(several, ["tank.ds18b20_1.temperature temperature 20.7 °C local"], "a chip that fails says null");
    assert_eq!(reports(tasmota::read, "tele/plug/LWT", b"Offline"), ["plug online=false"]);
    assert_eq!(tasmota::read("tele/plug/LWT", b"?").unwrap_err().to_string(), "expected `Online` or `Offline`");
    let on_demand = br#"{"StatusSNS":{"Time":"2026-11-20T11:15:00","SI7021":{"Temperature":21.0}}}"#;
    assert_eq!(reports(tasmota::read, "stat/t/STATUS10", on_demand), ["t.si7021.temperature temperature 21 °C local"]);
}

#[test]
fn esphome_says_plain_values() {
    let table: &[(&str, &str, &[&str])] = &[
        ("hall/sensor/hall_temperature/state", "21.5", &["hall.hall_temperature temperature 21.5 - -"]),
        ("hall/sensor/uptime/state", "17", &["hall.uptime - 17 - -"]),
        ("hall/sensor/hall_temperature/state", "nan", &[]),
        ("hall/binary_sensor/hall_motion/state", "ON", &["hall.hall_motion motion true - -"]),
        ("hall/text_sensor/version/state", "2026.10", &["hall.version - 2026.10 - -"]),
        ("hall/status", "offline", &["hall online=false"]),
        ("hall/status", "{\"x\":1}", &[]),
        ("hall/light/lamp/state", "{}", &[]),
    ];
    for (topic, payload, expected) in table {
        assert_eq!(reports(esphome::read, topic, payload.as_bytes()), *expected, "{topic} {payload}");
    }
    let refused = esphome::read("hall/sensor/co2/state", b"much").unwrap_err();
    assert_eq!(refused.to_string(), "expected a number");
}

#[test]
fn shelly_of_both_generations_is_understood() {
    assert_eq!(
        reports(shelly::read, "shellyplusht-a1/events/rpc", &captured("shelly_ht_full.json")),
        [
            "shellyplusht_a1.devicepower_0 battery 86 % utc",
            "shellyplusht_a1.humidity_0 humidity 42.2 % utc",
            "shellyplusht_a1.temperature_0 temperature 19.8 °C utc",
        ]
    );
    assert_eq!(
        reports(shelly::read, "plug/events/rpc", &captured("shelly_plug_status.json")),
        [
            "plug.switch_0.power power 63.4 W utc",
            "plug.switch_0.current current 0.31 A utc",
            "plug.switch_0.energy energy 7341.52 Wh utc",
        ]
    );
    let table: &[(&str, &str, &[&str])] = &[
        ("plug/online", "true", &["plug online=true"]),
        ("plug/status/temperature:100", "{\"id\":100,\"tC\":null,\"errors\":[\"read\"]}", &[]),
        ("plug/status/flood:0", "{\"id\":0,\"alarm\":true}", &["plug.flood_0 water true - -"]),
        ("plug/events/rpc", "{\"method\":\"NotifyEvent\",\"params\":{}}", &[]),
        ("shellies/ht/sensor/temperature", "21.37", &["ht.temperature temperature 21.37 °C -"]),
        ("shellies/ht/sensor/temperature", "999", &[]),
        ("shellies/dw/sensor/state", "open", &["dw.state opening open - -"]),
        ("shellies/plug/relay/0/power", "42.10", &["plug.relay.0.power power 42.1 W -"]),
        ("shellies/plug/relay/0/energy", "120", &["plug.relay.0.energy energy 2 Wh -"]),
        ("shellies/plug/relay/0", "on", &[]),
        ("shellies/plug/online", "false", &["plug online=false"]),
    ];
    for (topic, payload, expected) in table {
        assert_eq!(reports(shelly::read, topic, payload.as_bytes()), *expected, "{topic} {payload}");
    }
}

#[test]
fn home_assistants_announcements_create_sensors() {
    let read = |topic: &str, name: &str| home_assistant::read(topic, &captured(name)).unwrap().unwrap();
    let zigbee = read("sensor/0x00158d0001a2b3c4/temperature/config", "home_assistant_sensor.json");
    let sensor = &zigbee.sensors[0];
    assert_eq!(sensor.sensor, "0x00158d0001a2b3c4_temperature_zigbee2mqtt");
    assert_eq!(
        (sensor.name.as_deref(), sensor.device.as_str()),
        (Some("attic temperature"), "zigbee2mqtt_0x00158d0001a2b3c4")
    );
    assert_eq!((sensor.unit.as_ref().unwrap().symbol(), sensor.kind.as_ref().unwrap().as_str()), ("°C", "temperature"));
    assert_eq!((sensor.availability.len(), sensor.state.topic.as_str()), (2, "zigbee2mqtt/attic"));
    assert_eq!(sensor.value(br#"{"temperature":21.5,"humidity":40}"#), Ok(Some(ReadingValue::Number(21.5))));
    assert_eq!(sensor.value(br#"{"humidity":40}"#), Ok(None));
    let esphome = read("binary_sensor/hall/hall_motion/config", "home_assistant_binary.json");
    let motion = &esphome.sensors[0];
    assert!(motion.flag && motion.name.as_deref() == Some("hall Hall Motion"), "{motion:?}");
    assert_eq!(motion.value(b"ON"), Ok(Some(ReadingValue::Flag(true))));
    assert_eq!(motion.value(b"perhaps").unwrap_err().to_string(), "expected the payload for on or for off");
    let device = read("device/0AFFD2/bla/config", "home_assistant_device.json");
    let ids: Vec<_> = device.sensors.iter().map(|sensor| sensor.sensor.as_str()).collect();
    assert_eq!((ids, device.passed_over), (vec!["temp01ae_t", "temp01ae_h"], 1));
    assert_eq!(device.refused, ["the template `{{ states('sun.sun') }}` is not understood"]);
    assert_eq!(device.sensors[1].value(br#"{"humidity":55}"#), Ok(Some(ReadingValue::Number(55.0))));
    let gone = home_assistant::read("sensor/x/config", b"").unwrap().unwrap();
    assert_eq!((gone.key.as_str(), gone.sensors.len()), ("sensor/x", 0));
    assert_eq!(home_assistant::read("light/x/config", b"{}").unwrap().unwrap().passed_over, 1);
}

#[test]
fn frigates_reviews_and_events_are_camera_events() {
    let new = reports(frigate::read, "events", &captured("frigate_event_new.json"));
    assert!(new[0].starts_with("front_door person_detected {"), "{new:?}");
    assert!(new[0].contains(r#""entered_zones":["yard","driveway"]"#), "{new:?}");
    let face = reports(frigate::read, "events", &captured("frigate_event_face.json"));
    assert!(
        face[0].starts_with("front_door face_detected {") && face[0].contains(r#""person_name":"Jane""#),
        "{face:?}"
    );
    let review = reports(frigate::read, "reviews", &captured("frigate_review_raised.json"));
    assert!(review[0].starts_with("front_door review_raised {"), "{review:?}");
    assert!(review[0].contains(r#""review_severity":"alert""#), "{review:?}");
    let motion = reports(frigate::read, "yard/motion", b"ON");
    assert_eq!(motion, [r#"yard motion {"active":true,"source":"frigate"}"#]);
    assert_eq!(
        reports(frigate::read, "yard/status/detect", b"offline"),
        [r#"yard offline {"role":"detect","source":"frigate"}"#]
    );
    assert_eq!(frigate::read("yard/status/detect", b"disabled"), Ok(Vec::new()));
    let unchanged = br#"{"type":"update","before":{"severity":"alert"},"after":{"camera":"a","severity":"alert"}}"#;
    assert_eq!(frigate::read("reviews", unchanged), Ok(Vec::new()), "an update that is no news");
}

#[test]
fn telegrafs_lines_are_read() {
    let entries =
        line_protocol::read("nas", line_protocol::Precision::default(), &captured("influx_telegraf.txt")).unwrap();
    let told: Vec<_> = entries.into_iter().map(|entry| told(&Report::Sample(entry.unwrap()))).collect();
    assert_eq!(
        told,
        [
            "nas - 47.25 - utc",
            "nas - 1204 - utc",
            "nas.total - 511574241280 - utc",
            "nas.used_percent - 36.42 - utc",
            "nas.mode - rw,relatime - utc",
        ]
    );
}

proptest! {
    #[test]
    fn nothing_a_device_sends_brings_a_reader_down(topic in "[a-z/+#:$]{0,40}", payload in prop::collection::vec(any::<u8>(), 0..300)) {
        read_all(&topic, &payload);
    }

    #[test]
    fn nor_do_broken_messages(file in 0..12_usize, cut in 0..2000_usize, flip in 0..2000_usize, byte in any::<u8>()) {
        let names = [
            "zigbee2mqtt_climate.json", "zigbee2mqtt_leak.json", "tasmota_energy.json", "tasmota_ds18b20.json",
            "shelly_ht_full.json", "shelly_plug_status.json", "home_assistant_sensor.json", "home_assistant_device.json",
            "frigate_event_new.json", "frigate_event_face.json", "frigate_review_raised.json", "influx_telegraf.txt",
        ];
        let mut payload = captured(names[file]);
        let place = flip % payload.len();
        payload[place] = byte;
        payload.truncate(cut.max(1));
        for topic in ["a/b", "tele/a/SENSOR", "a/events/rpc", "a/status/switch:0", "sensor/a/config", "device/a/config", "events", "reviews"] {
            read_all(topic, &payload);
        }
    }
}

fn read_all(topic: &str, payload: &[u8]) {
    for read in [zigbee2mqtt::read as Read, tasmota::read, esphome::read, shelly::read, frigate::read] {
        if let Ok(reports) = read(topic, payload) {
            assert!(reports.len() <= REPORTS_MAX + 100, "{}", reports.len());
        }
    }
    if let Ok(Some(announcement)) = home_assistant::read(topic, payload) {
        for sensor in &announcement.sensors {
            assert!(crate::config::mqtt_topic::is_topic_name(&sensor.state.topic));
            let _ = sensor.value(payload);
        }
    }
    let _ = json::read_any("s", payload);
    let _ = line_protocol::read("s", line_protocol::Precision::Seconds, payload);
}
