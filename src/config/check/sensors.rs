//! What types cannot say about sensors and brokers.

use std::collections::BTreeMap;

use super::{Complaints, DAY, HOUR, secs};
use crate::config::{
    BrokerConfig, ByteSize, Config, MqttPreset, SensorKind, ServiceTlsConfig, Unit, mqtt_topic::is_topic_name,
    sensor_kind::Measure, tree::Route,
};

/// Brokers, sensors and topics of a broker, at most.
const BROKERS_MAX: usize = 16;
const SENSORS_MAX: usize = 10_000;
const TOPICS_MAX: usize = 1_000;

impl Config {
    pub(super) fn check_sensors(&self, all: &mut Complaints) {
        if self.sensors.len() > SENSORS_MAX {
            let message = format!("{} sensors, {SENSORS_MAX} at most", self.sensors.len());
            all.add(Route::of(["sensors"]), message);
        }
        for (id, sensor) in &self.sensors {
            let base = Route::of(["sensors", id.as_str()]);
            let at = |key| base.then(key);
            if let Some(interval) = sensor.expected_interval {
                all.range(at("expected_interval"), interval, secs(1)..=secs(7 * 86_400));
            }
            check_unit(sensor.kind.as_ref(), sensor.unit.as_ref(), &base, all);
            let Some(pull) = &sensor.pull else { continue };
            let base = at("pull");
            all.range(base.then("interval"), pull.interval, secs(1)..=DAY);
            if pull.time.is_some() && pull.value.is_none() {
                all.add(base.then("time"), "without `value` there is nothing the time belongs to")
                    .with(base.then("value"));
            }
            check_password(pull.password.is_some(), pull.password_file.is_some(), &base, all);
            check_tls(&pull.tls, &base.then("tls"), all);
            if pull.tls != ServiceTlsConfig::default() && pull.url.url().scheme() != "https" {
                all.add(base.then("tls"), "the URL has no TLS").with(base.then("url")).hint_at("write `https://…`");
            }
            if let (Some(from), Some(to)) = (&pull.unit, target(sensor.kind.as_ref(), sensor.unit.as_ref()))
                && !from.converts_to(&to)
            {
                let message = format!("`{from}` does not convert to the sensor's `{to}`");
                all.add(base.then("unit"), message).with(at("unit")).with(at("kind"));
            }
        }
    }

    pub(super) fn check_mqtt(&self, all: &mut Complaints) {
        let base = Route::of(["mqtt", "brokers"]);
        if self.mqtt.brokers.len() > BROKERS_MAX {
            let message = format!("{} brokers, {BROKERS_MAX} at most", self.mqtt.brokers.len());
            all.add(base.clone(), message);
        }
        // MQTT 3.1.1 §3.1.4: a broker ends the older of two connections of one id.
        let mut clients: BTreeMap<(String, &str), &str> = BTreeMap::new();
        for (name, broker) in &self.mqtt.brokers {
            let base = base.then(name);
            check_broker(name, broker, &base, all);
            let (Some(url), Some(id)) = (&broker.url, &broker.client_id) else { continue };
            if let Some(other) = clients.insert((format!("{}:{}", url.host(), url.port()), id), name) {
                let message =
                    format!("`mqtt.brokers.{other}` has the same at the same broker: one would drive the other out");
                all.add(base.then("client_id"), message).with(Route::of(["mqtt", "brokers", other, "client_id"]));
            }
        }
    }
}

fn check_broker(name: &str, broker: &BrokerConfig, base: &Route, all: &mut Complaints) {
    let at = |key| base.then(key);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !(1..=40).contains(&name.len()) || !name.bytes().all(plain) {
        all.add(base.clone(), "the name of a broker has 1 to 40 letters, digits, `_` and `-`");
    }
    match &broker.url {
        None => all.add(base.clone(), "the key `url` is missing").with(at("url")).hint_at("such as `mqtt://10.0.0.2`"),
        Some(url) => {
            let tls = &broker.tls;
            let used =
                tls.insecure || tls.fingerprint.is_some() || tls.ca_file.is_some() || tls.certificate_file.is_some();
            if used && !url.is_tls() {
                all.add(at("tls"), "the broker's URL has no TLS").with(at("url")).hint_at("write `mqtts://…`");
            }
        }
    }
    check_tls(&broker.tls, &at("tls"), all);
    check_password(broker.password.is_some(), broker.password_file.is_some(), base, all);
    if (broker.password.is_some() || broker.password_file.is_some()) && broker.username.is_none() {
        // MQTT 3.1.1 §3.1.2.9: no password without a user.
        all.add(base.clone(), "a password needs a `username`").with(at("username"));
    }
    if let Some(id) = &broker.client_id
        && (id.is_empty() || id.len() > 64 || !is_topic_name(id))
    {
        all.add(at("client_id"), "expected 1 to 64 characters without `+` and `#`");
    }
    all.range(at("keep_alive"), broker.keep_alive, secs(5)..=HOUR);
    all.range(at("max_packet_size"), broker.max_packet_size, ByteSize::from_kib(1)..=ByteSize::from_mib(16));
    for preset in broker.prefixes.keys() {
        let route = at("prefixes").then(preset.name());
        if !broker.presets.contains(preset) {
            all.add(route, format!("`presets` does not name `{}`", preset.name())).with(at("presets"));
        } else if *preset == MqttPreset::Shelly {
            all.add(route, "every Shelly has a prefix of its own: there is none to give");
        }
    }
    if broker.topics.len() > TOPICS_MAX {
        all.add(at("topics"), format!("{} topics, {TOPICS_MAX} at most", broker.topics.len()));
    }
    for (index, topic) in broker.topics.iter().enumerate() {
        let base = at("topics").then_index(index);
        let known: Vec<&str> = topic.topic.names().collect();
        if let Some(unknown) = topic.sensor.names().find(|name| !known.contains(name)) {
            let complaint = all.add(base.then("sensor"), format!("the topic has no level `{{{unknown}}}`"));
            complaint.with(base.then("topic"));
        }
        if topic.time.is_some() && topic.value.is_none() {
            let complaint = all.add(base.then("time"), "without `value` there is nothing the time belongs to");
            complaint.with(base.then("value"));
        }
        check_unit(topic.kind.as_ref(), topic.unit.as_ref(), &base, all);
    }
}

/// What is wrong with how a server's certificate is judged.
pub(super) fn check_tls(tls: &ServiceTlsConfig, at: &Route, all: &mut Complaints) {
    if tls.certificate_file.is_some() != tls.key_file.is_some() {
        let message = "`certificate_file` and `key_file` belong together";
        all.add(at.clone(), message).with(at.then("certificate_file")).with(at.then("key_file"));
    }
    let ways = [tls.insecure, tls.fingerprint.is_some(), tls.ca_file.is_some()];
    if ways.into_iter().filter(|given| *given).count() > 1 {
        let message = "`ca_file`, `fingerprint` and `insecure` are three ways to judge one certificate: one of them";
        all.add(at.clone(), message);
    }
}

fn check_password(password: bool, file: bool, base: &Route, all: &mut Complaints) {
    if password && file {
        all.add(base.then("password_file"), "`password` is given as well: one of the two").with(base.then("password"));
    }
}

/// The unit a sensor's numbers end in.
fn target(kind: Option<&SensorKind>, unit: Option<&Unit>) -> Option<Unit> {
    unit.cloned().or_else(|| kind.and_then(SensorKind::unit))
}

fn check_unit(kind: Option<&SensorKind>, unit: Option<&Unit>, base: &Route, all: &mut Complaints) {
    let (Some(kind), Some(unit)) = (kind, unit) else { return };
    let message = match kind.measure() {
        Some(Measure::Flag) => format!("`{kind}` is yes or no: it has no unit"),
        Some(Measure::Number(usual)) if !usual.parse().is_ok_and(|usual| unit.converts_to(&usual)) => {
            format!("`{kind}` is not measured in `{unit}`")
        }
        _ => return,
    };
    let complaint = all.add(base.then("unit"), message);
    complaint.with(base.then("kind"));
    if let Some(usual) = kind.unit() {
        complaint.hint_at(format!("such as `{usual}`"));
    }
}
