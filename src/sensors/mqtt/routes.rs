//! What a broker's messages mean: which topics to ask for, and what to make of each. Sans-IO.
//!
//! Presets and topics of the file are there from the beginning; what announces itself to Home Assistant adds its topics,
//! within a bound, and takes them back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    config::{BrokerConfig, MqttPreset, TopicConfig, TopicFormat},
    events::payload::ReadingValue,
    sensors::formats::{
        FormatError, Report, Sample, esphome, frigate,
        home_assistant::{self, Announced, Announcement},
        json::Entry,
        line_protocol::{self, Precision},
        pointer, shelly, tasmota, zigbee2mqtt,
    },
};

/// Sensors that may announce themselves through one broker.
pub const ANNOUNCED_MAX: usize = 2_000;

/// What a message means.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Something was reported.
    Report(Report),
    /// A sensor announced itself: all of a sample that is known before the first value, and how often it reports.
    Announced(Sample, Option<Duration>),
    /// A sensor took itself back.
    Withdrawn(String),
    /// The message could not be read. The sensor it would have been of, if that is known.
    Fault(Option<String>, String),
    /// Topics to ask for from now on.
    Subscribe(Vec<String>),
    /// Topics of no interest any more.
    Unsubscribe(Vec<String>),
}

/// A system, and where its topics begin.
#[derive(Debug)]
struct Preset {
    preset: MqttPreset,
    /// With its slash at the end, or empty.
    prefix: String,
    filters: Vec<String>,
}

/// What the messages of one broker mean.
#[derive(Debug)]
pub struct Routes {
    presets: Vec<Preset>,
    topics: Vec<TopicConfig>,
    /// Where our own announcements begin: they are no news to us.
    own: Option<String>,
    /// By what was announced.
    announced: BTreeMap<String, Vec<Announced>>,
    count: usize,
    /// Which announcements a topic is for.
    uses: HashMap<String, BTreeSet<String>>,
}

impl Routes {
    /// What the file says of a broker.
    pub fn new(config: &BrokerConfig) -> Self {
        let preset = |preset: &MqttPreset| {
            let given = config.prefixes.get(preset).map(|prefix| prefix.as_str());
            let prefix = given.or_else(|| preset.prefix()).map_or_else(String::new, |prefix| format!("{prefix}/"));
            let filters = filters(*preset).iter().map(|filter| format!("{prefix}{filter}")).collect();
            Preset { preset: *preset, prefix, filters }
        };
        Self {
            presets: config.presets.iter().map(preset).collect(),
            topics: config.topics.clone(),
            own: config.announce.as_ref().map(|announce| format!("{}/", announce.prefix.as_str())),
            announced: BTreeMap::new(),
            count: 0,
            uses: HashMap::new(),
        }
    }

    /// The topics to ask for.
    pub fn filters(&self) -> Vec<String> {
        let presets = self.presets.iter().flat_map(|preset| preset.filters.iter().cloned());
        let topics = self.topics.iter().map(|topic| topic.topic.filter());
        let all: BTreeSet<String> = presets.chain(topics).chain(self.uses.keys().cloned()).collect();
        all.into_iter().collect()
    }

    /// A message.
    pub fn handle_message(&mut self, topic: &str, payload: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for config in &self.topics {
            let Some(captured) = config.topic.captures(topic) else { continue };
            let sensor = config.sensor.fill(&captured);
            match of_topic(config, &sensor, payload) {
                Ok(entries) => heard.extend(entries.into_iter().map(|entry| match entry {
                    Ok(sample) => Heard::Report(Report::Sample(Sample {
                        kind: sample.kind.or_else(|| config.kind.clone()),
                        unit: sample.unit.or_else(|| config.unit.clone()),
                        ..sample
                    })),
                    Err(error) => Heard::Fault(Some(sensor.clone()), error.to_string()),
                })),
                Err(error) => heard.push(Heard::Fault(Some(sensor), error.to_string())),
            }
        }
        let mut announcements = Vec::new();
        for preset in &self.presets {
            if !preset.filters.iter().any(|filter| matches(filter, topic)) {
                continue;
            }
            let below = topic.strip_prefix(preset.prefix.as_str()).unwrap_or(topic);
            let read = match preset.preset {
                MqttPreset::Zigbee2mqtt => zigbee2mqtt::read(below, payload),
                MqttPreset::Tasmota => tasmota::read(below, payload),
                MqttPreset::Esphome => esphome::read(below, payload),
                MqttPreset::Shelly => shelly::read(below, payload),
                MqttPreset::Frigate => frigate::read(below, payload),
                MqttPreset::HomeAssistant => home_assistant::read(below, payload).map(|announcement| {
                    announcements.extend(announcement);
                    Vec::new()
                }),
            };
            match read {
                Ok(reports) => heard.extend(reports.into_iter().map(Heard::Report)),
                Err(error) => heard.push(Heard::Fault(None, error.to_string())),
            }
        }
        for announcement in announcements {
            self.announce(announcement, &mut heard);
        }
        self.hear_announced(topic, payload, &mut heard);
        heard
    }

    /// Takes an announcement in the place of the one before it.
    fn announce(&mut self, announcement: Announcement, heard: &mut Vec<Heard>) {
        let Announcement { key, sensors, refused, .. } = announcement;
        heard.extend(refused.into_iter().map(|why| Heard::Fault(None, format!("{key}: {why}"))));
        let foreign = |sensor: &Announced| self.own.as_ref().is_none_or(|own| !sensor.state.topic.starts_with(own));
        let mut sensors: Vec<Announced> = sensors.into_iter().filter(foreign).collect();
        let before = self.announced.remove(&key).unwrap_or_default();
        self.count -= before.len();
        if self.count + sensors.len() > ANNOUNCED_MAX {
            heard.push(Heard::Fault(None, format!("{key}: {ANNOUNCED_MAX} sensors announced themselves already")));
            sensors.clear();
        }
        let known: BTreeSet<String> = self.uses.keys().cloned().collect();
        for topic in before.iter().flat_map(topics) {
            if let Some(keys) = self.uses.get_mut(topic) {
                keys.remove(&key);
                if keys.is_empty() {
                    self.uses.remove(topic);
                }
            }
        }
        for topic in sensors.iter().flat_map(topics) {
            self.uses.entry(topic.to_owned()).or_default().insert(key.clone());
        }
        for gone in before.iter().filter(|gone| sensors.iter().all(|sensor| sensor.sensor != gone.sensor)) {
            heard.push(Heard::Withdrawn(gone.sensor.clone()));
        }
        for sensor in &sensors {
            let expected = sensor.expire_after.map(Duration::from_secs);
            // The value is of no account: it is what is known of the sensor.
            heard.push(Heard::Announced(sample(sensor, ReadingValue::Flag(false)), expected));
        }
        let now: BTreeSet<String> = self.uses.keys().cloned().collect();
        let (new, old): (Vec<_>, Vec<_>) =
            (now.difference(&known).cloned().collect(), known.difference(&now).cloned().collect());
        if !new.is_empty() {
            heard.push(Heard::Subscribe(new));
        }
        if !old.is_empty() {
            heard.push(Heard::Unsubscribe(old));
        }
        self.count += sensors.len();
        if !sensors.is_empty() {
            self.announced.insert(key, sensors);
        }
    }

    /// A message on a topic that somebody announced.
    fn hear_announced(&self, topic: &str, payload: &[u8], heard: &mut Vec<Heard>) {
        let Some(keys) = self.uses.get(topic) else { return };
        for sensor in keys.iter().filter_map(|key| self.announced.get(key)).flatten() {
            if sensor.state.topic == topic {
                match sensor.value(payload) {
                    Ok(Some(value)) => heard.push(Heard::Report(Report::Sample(sample(sensor, value)))),
                    Ok(None) => {}
                    Err(error) => heard.push(Heard::Fault(Some(sensor.sensor.clone()), error.to_string())),
                }
            }
            for (place, yes, no) in sensor.availability.iter().filter(|(place, ..)| place.topic == topic) {
                let Ok(Some(word)) = place.value(payload) else { continue };
                let word = word.to_string();
                if word == *yes || word == *no {
                    let report = Report::Availability { device: sensor.device.clone(), online: word == *yes };
                    let report = Heard::Report(report);
                    if heard.last() != Some(&report) {
                        heard.push(report);
                    }
                }
            }
        }
    }
}

/// What is known of a sensor that announced itself, with a value.
fn sample(sensor: &Announced, value: ReadingValue) -> Sample {
    Sample {
        device: Some(sensor.device.clone()),
        name: sensor.name.clone(),
        kind: sensor.kind.clone(),
        unit: sensor.unit.clone(),
        ..Sample::new(sensor.sensor.clone(), value)
    }
}

fn topics(sensor: &Announced) -> impl Iterator<Item = &str> {
    let availability = sensor.availability.iter().map(|(place, ..)| place.topic.as_str());
    availability.chain([sensor.state.topic.as_str()])
}

fn of_topic(config: &TopicConfig, sensor: &str, payload: &[u8]) -> Result<Vec<Entry>, FormatError> {
    match config.format {
        TopicFormat::Reading => pointer::read(sensor, config.value.as_ref(), config.time.as_ref(), payload),
        TopicFormat::LineProtocol => line_protocol::read(sensor, Precision::default(), payload),
    }
}

/// The topics of a system, below its prefix.
const fn filters(preset: MqttPreset) -> &'static [&'static str] {
    match preset {
        MqttPreset::Zigbee2mqtt => &["#"],
        MqttPreset::Tasmota => &["tele/+/SENSOR", "tele/+/LWT", "stat/+/STATUS8", "stat/+/STATUS10"],
        MqttPreset::Esphome => &["+/status", "+/sensor/+/state", "+/binary_sensor/+/state", "+/text_sensor/+/state"],
        MqttPreset::Shelly => &["shellies/+/#", "+/events/rpc", "+/status/+", "+/online"],
        MqttPreset::HomeAssistant => &["+/+/config", "+/+/+/config"],
        MqttPreset::Frigate => &["reviews", "events", "+/motion", "+/status/+"],
    }
}

/// Whether a filter takes a topic (MQTT 5 §4.7).
fn matches(filter: &str, topic: &str) -> bool {
    // §4.7.2: a wildcard at the beginning does not take the broker's own topics.
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for level in filter.split('/') {
        match (level, levels.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(found)) if level == found => {}
            _ => return false,
        }
    }
    levels.next().is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn routes(config: serde_json::Value) -> Routes {
        Routes::new(&serde_json::from_value(config).unwrap())
    }

    fn told(heard: &[Heard]) -> Vec<String> {
        let one = |heard: &Heard| match heard {
            Heard::Report(Report::Sample(sample)) => format!("{} = {}", sample.sensor, sample.value),
            Heard::Report(Report::Availability { device, online }) => format!("{device} online {online}"),
            Heard::Report(Report::Camera(report)) => format!("{} {}", report.camera, report.kind),
            Heard::Announced(sample, expected) => {
                format!("announced {} {:?} {:?}", sample.sensor, sample.kind, expected.map(|span| span.as_secs()))
            }
            Heard::Withdrawn(sensor) => format!("withdrawn {sensor}"),
            Heard::Fault(sensor, message) => format!("fault {sensor:?} {message}"),
            Heard::Subscribe(topics) => format!("subscribe {topics:?}"),
            Heard::Unsubscribe(topics) => format!("unsubscribe {topics:?}"),
        };
        heard.iter().map(one).collect()
    }

    #[test]
    fn topics_of_the_file_name_their_sensors() {
        let mut routes = routes(json!({ "topics": [
            { "topic": "home/{room}/climate", "sensor": "{room}-temperature", "value": "/t", "kind": "temperature", "unit": "°F" },
            { "topic": "meter", "sensor": "meter", "format": "line_protocol" },
        ]}));
        assert_eq!(routes.filters(), ["home/+/climate", "meter"]);
        let heard = routes.handle_message("home/attic/climate", br#"{"t": 70}"#);
        assert_eq!(told(&heard), ["attic-temperature = 70"]);
        let Heard::Report(Report::Sample(sample)) = &heard[0] else { panic!("{heard:?}") };
        assert_eq!(
            (sample.unit.as_ref().unwrap().symbol(), sample.kind.as_ref().unwrap().as_str()),
            ("°F", "temperature")
        );
        assert_eq!(
            told(&routes.handle_message("home/attic/climate", b"{}")),
            ["fault Some(\"attic-temperature\") nothing stands at `/t`"]
        );
        assert_eq!(told(&routes.handle_message("meter", b"m power=7")), ["meter = 7"]);
        assert!(routes.handle_message("home/attic/other", b"1").is_empty());
    }

    #[test]
    fn presets_read_below_their_prefix() {
        let mut routes = routes(json!({
            "presets": ["zigbee2mqtt", "shelly"], "prefixes": { "zigbee2mqtt": "home/z" }
        }));
        assert_eq!(routes.filters(), ["+/events/rpc", "+/online", "+/status/+", "home/z/#", "shellies/+/#"]);
        assert_eq!(
            told(&routes.handle_message("home/z/hall/door", br#"{"contact": false}"#)),
            ["hall.door.contact = true"]
        );
        assert_eq!(told(&routes.handle_message("home/z/hall/door", b"[]")), ["fault None expected an object"]);
        assert!(routes.handle_message("$SYS/online", b"true").is_empty());
    }

    #[test]
    fn what_announces_itself_is_subscribed_to_and_withdrawn() {
        let mut routes = routes(json!({ "presets": ["home_assistant"], "announce": {} }));
        let config = json!({
            "name": "Temperature", "uniq_id": "ab12_t", "stat_t": "~/state", "~": "dev/ab12", "avty_t": "~/status",
            "dev_cla": "temperature", "unit_of_meas": "°C", "val_tpl": "{{ value_json.t }}", "exp_aft": 60,
            "dev": { "ids": ["ab12"], "name": "Box" }
        });
        let heard = routes.handle_message("homeassistant/sensor/ab12/t/config", config.to_string().as_bytes());
        assert_eq!(
            told(&heard),
            ["announced ab12_t Some(temperature) Some(60)", "subscribe [\"dev/ab12/state\", \"dev/ab12/status\"]"]
        );
        assert_eq!(told(&routes.handle_message("dev/ab12/state", br#"{"t": 21.5}"#)), ["ab12_t = 21.5"]);
        assert_eq!(told(&routes.handle_message("dev/ab12/status", b"offline")), ["ab12 online false"]);
        assert!(routes.filters().contains(&"dev/ab12/state".to_owned()), "a new connection asks for them again");
        let heard = routes.handle_message("homeassistant/sensor/ab12/t/config", b"");
        assert_eq!(told(&heard), ["withdrawn ab12_t", "unsubscribe [\"dev/ab12/state\", \"dev/ab12/status\"]"]);
        assert!(routes.handle_message("dev/ab12/state", br#"{"t": 21.5}"#).is_empty());
    }

    #[test]
    fn names_do_not_widen_what_is_read() {
        let mut routes = routes(json!({ "presets": ["home_assistant"], "announce": {} }));
        for topic in ["#", "a/+/b", "$SYS/broker", ""] {
            let config = json!({ "uniq_id": "x", "stat_t": topic }).to_string();
            let heard = told(&routes.handle_message("homeassistant/sensor/x/config", config.as_bytes()));
            assert!(heard.iter().all(|heard| heard.starts_with("fault None sensor/x: ")), "{topic}: {heard:?}");
            assert_eq!(heard.len(), 1, "{topic}");
        }
        let own = json!({ "uniq_id": "x", "stat_t": "campanile/sensor/x" }).to_string();
        assert!(routes.handle_message("homeassistant/sensor/x/config", own.as_bytes()).is_empty(), "our own");
    }

    #[test]
    fn announcements_have_a_bound() {
        let mut routes = routes(json!({ "presets": ["home_assistant"] }));
        for number in 0..=ANNOUNCED_MAX {
            let config = json!({ "uniq_id": format!("s{number}"), "stat_t": "shared" }).to_string();
            let heard = routes.handle_message(&format!("homeassistant/sensor/s{number}/config"), config.as_bytes());
            let fault = heard.iter().any(|heard| matches!(heard, Heard::Fault(..)));
            assert_eq!(fault, number == ANNOUNCED_MAX, "{number}");
        }
    }
}
