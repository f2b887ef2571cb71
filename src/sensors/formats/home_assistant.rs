//! What announces itself to Home Assistant: `{prefix}/{component}/[{node}/]{object}/config` for one entity,
//! `{prefix}/device/[{node}/]{object}/config` for a device with all of its own. An empty payload takes it back.
//!
//! Of the components, `sensor` and `binary_sensor` are sensors; others are passed over. Of the templates, those that
//! only pick a value out of JSON are understood (`{{ value_json.a.b | round(1) }}`): that is what devices send.

use serde_json::{Map, Value};

use super::{FormatError, document, part, text, value};
use crate::{
    config::{JsonPointer, SensorKind, Unit, mqtt_topic::is_topic_name},
    events::payload::ReadingValue,
};

/// Entities of one announcement, at most.
const COMPONENTS_MAX: usize = 100;

/// What one announcement says.
#[derive(Clone, Debug, PartialEq)]
pub struct Announcement {
    /// What is announced, so that a later message can replace it: the topic below the prefix, without `/config`.
    pub key: String,
    /// The sensors of it; none if it is taken back.
    pub sensors: Vec<Announced>,
    /// Entities that are no sensors we know.
    pub passed_over: usize,
    /// Entities that cannot be used, and why.
    pub refused: Vec<String>,
}

/// A sensor that announced itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Announced {
    /// The sensor, by the device's words.
    pub sensor: String,
    /// The device it is part of.
    pub device: String,
    /// What it is called.
    pub name: Option<String>,
    /// What it measures.
    pub kind: Option<SensorKind>,
    /// The unit its numbers come in.
    pub unit: Option<Unit>,
    /// It is yes or no.
    pub flag: bool,
    /// Seconds without a message after which it says nothing any more.
    pub expire_after: Option<u64>,
    /// Where its values come.
    pub state: Place,
    /// The words for yes and no.
    pub words: (String, String),
    /// Where it is said whether it is there, and the words for that.
    pub availability: Vec<(Place, String, String)>,
}

/// A topic, and where in its JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The topic; it holds no wildcard.
    pub topic: String,
    /// Where in the JSON, if it is JSON.
    pub pointer: Option<JsonPointer>,
}

/// Reads an announcement; `topic` begins after the prefix.
///
/// # Errors
/// [`FormatError`], if it is none.
pub fn read(topic: &str, payload: &[u8]) -> Result<Option<Announcement>, FormatError> {
    let Some(key) = topic.strip_suffix("/config") else { return Ok(None) };
    let levels: Vec<&str> = key.split('/').collect();
    let (component, object) = match levels.as_slice() {
        [component, object] | [component, _, object] => (*component, *object),
        _ => return Ok(None),
    };
    let mut announcement =
        Announcement { key: key.to_owned(), sensors: Vec::new(), passed_over: 0, refused: Vec::new() };
    if payload.is_empty() {
        return Ok(Some(announcement));
    }
    if component != "device" && !is_sensor(component) {
        announcement.passed_over = 1;
        return Ok(Some(announcement));
    }
    let Value::Object(mut root) = document(payload)? else { return Err(FormatError::Shape("an object")) };
    spell_out(&mut root);
    if component != "device" {
        let entity = Entity { component, object, own: &root, shared: None };
        announcement.add(entity.read());
        return Ok(Some(announcement));
    }
    let Some(Value::Object(mut components)) = root.remove("components") else {
        return Err(FormatError::Shape("`components` to be an object"));
    };
    if components.len() > COMPONENTS_MAX {
        return Err(FormatError::TooMany);
    }
    for (object, own) in &mut components {
        let Value::Object(own) = own else { continue };
        spell_out(own);
        let platform = own.get("platform").and_then(Value::as_str).unwrap_or_default().to_owned();
        // A component of which only the platform is left is taken back.
        if own.len() <= 1 || !is_sensor(&platform) {
            announcement.passed_over += usize::from(own.len() > 1);
            continue;
        }
        announcement.add(Entity { component: &platform, object, own, shared: Some(&root) }.read());
    }
    Ok(Some(announcement))
}

fn is_sensor(component: &str) -> bool {
    matches!(component, "sensor" | "binary_sensor")
}

impl Announcement {
    fn add(&mut self, read: Result<Announced, String>) {
        match read {
            Ok(sensor) => self.sensors.push(sensor),
            Err(why) => self.refused.push(why),
        }
    }
}

/// Home Assistant's abbreviations, as far as they matter here, and the base topic `~`.
fn spell_out(object: &mut Map<String, Value>) {
    const WORDS: [(&str, &str); 23] = [
        ("avty", "availability"),
        ("avty_t", "availability_topic"),
        ("avty_tpl", "availability_template"),
        ("cmps", "components"),
        ("def_ent_id", "default_entity_id"),
        ("dev", "device"),
        ("dev_cla", "device_class"),
        ("exp_aft", "expire_after"),
        ("ids", "identifiers"),
        ("mf", "manufacturer"),
        ("mdl", "model"),
        ("obj_id", "object_id"),
        ("p", "platform"),
        ("pl_avail", "payload_available"),
        ("pl_not_avail", "payload_not_available"),
        ("pl_off", "payload_off"),
        ("pl_on", "payload_on"),
        ("stat_t", "state_topic"),
        ("t", "topic"),
        ("uniq_id", "unique_id"),
        ("unit_of_meas", "unit_of_measurement"),
        ("val_tpl", "value_template"),
        ("json_attr_t", "json_attributes_topic"),
    ];
    for (short, long) in WORDS {
        if let Some(found) = object.remove(short) {
            object.entry(long).or_insert(found);
        }
    }
    for key in ["availability", "device"] {
        match object.get_mut(key) {
            Some(Value::Object(inner)) => spell_out(inner),
            Some(Value::Array(list)) => list.iter_mut().filter_map(Value::as_object_mut).for_each(spell_out),
            _ => {}
        }
    }
    let Some(base) = object.get("~").and_then(Value::as_str).map(str::to_owned) else { return };
    for key in ["state_topic", "availability_topic"] {
        if let Some(Value::String(topic)) = object.get_mut(key) {
            *topic = with_base(topic, &base);
        }
    }
    if let Some(Value::Array(list)) = object.get_mut("availability") {
        for entry in list {
            if let Some(Value::String(topic)) = entry.get_mut("topic") {
                *topic = with_base(topic, &base);
            }
        }
    }
}

/// `~` at the beginning or the end of a topic stands for the base.
fn with_base(topic: &str, base: &str) -> String {
    match (topic.strip_prefix('~'), topic.strip_suffix('~')) {
        (Some(rest), _) => format!("{base}{rest}"),
        (_, Some(rest)) => format!("{rest}{base}"),
        _ => topic.to_owned(),
    }
}

struct Entity<'a> {
    component: &'a str,
    object: &'a str,
    own: &'a Map<String, Value>,
    /// What a device says for all of its entities.
    shared: Option<&'a Map<String, Value>>,
}

impl Entity<'_> {
    fn find(&self, key: &str) -> Option<&Value> {
        self.own.get(key).or_else(|| self.shared?.get(key))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.find(key).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn read(&self) -> Result<Announced, String> {
        let flag = self.component == "binary_sensor";
        let state =
            self.place(self.text("state_topic").ok_or("the key `state_topic` is missing")?, "value_template")?;
        let class = self.text("device_class");
        let unit = match self.text("unit_of_measurement") {
            Some(unit) if !flag => Some(unit.parse().map_err(|error| format!("`unit_of_measurement`: {error}"))?),
            _ => None,
        };
        let device = self.find("device").and_then(Value::as_object);
        let told = |key: &str| device.and_then(|device| device.get(key)).and_then(Value::as_str);
        let id = self
            .text("unique_id")
            .or_else(|| self.text("default_entity_id"))
            .or_else(|| self.text("object_id"))
            .unwrap_or(self.object);
        let name = self.own.get("name").and_then(Value::as_str);
        let name = match (told("name"), name.or(class)) {
            (Some(device), Some(name)) if name != device => Some(format!("{device} {}", name.replace('_', " "))),
            (device, name) => device.or(name).map(str::to_owned),
        };
        let word = |key: &str, usual: &str| self.text(key).unwrap_or(usual).to_owned();
        Ok(Announced {
            sensor: part(id),
            device: identifier(device).unwrap_or(id).to_owned(),
            name: name.map(|name| name.chars().take(100).collect()),
            kind: class.and_then(|class| kind(class, flag)),
            unit,
            flag,
            expire_after: self.find("expire_after").and_then(Value::as_u64).filter(|seconds| *seconds > 0),
            state,
            words: (word("payload_on", "ON"), word("payload_off", "OFF")),
            availability: self.availability()?,
        })
    }

    fn availability(&self) -> Result<Vec<(Place, String, String)>, String> {
        let word = |entry: &Value, key: &str, usual: &str| {
            let own = entry.get(key).and_then(Value::as_str).or_else(|| self.text(key));
            own.unwrap_or(usual).to_owned()
        };
        let mut found = Vec::new();
        if let Some(topic) = self.text("availability_topic") {
            let place = self.place(topic, "availability_template")?;
            let none = Value::Null;
            found.push((
                place,
                word(&none, "payload_available", "online"),
                word(&none, "payload_not_available", "offline"),
            ));
        }
        let list = match self.find("availability") {
            Some(Value::Array(list)) => list.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => &[],
        };
        for entry in list.iter().take(8) {
            let topic = entry.get("topic").and_then(Value::as_str).unwrap_or_default();
            let template = entry.get("value_template").and_then(Value::as_str);
            let place = Place { topic: checked(topic)?, pointer: template.map(pointer).transpose()?.flatten() };
            found.push((
                place,
                word(entry, "payload_available", "online"),
                word(entry, "payload_not_available", "offline"),
            ));
        }
        Ok(found)
    }

    fn place(&self, topic: &str, template: &str) -> Result<Place, String> {
        let pointer = self.text(template).map(pointer).transpose()?.flatten();
        Ok(Place { topic: checked(topic)?, pointer })
    }
}

/// A topic we are told to subscribe to: a name, not a filter, and not the broker's own (MQTT 5 §4.7.2). A device that
/// could write wildcards here would have us read everything.
fn checked(topic: &str) -> Result<String, String> {
    let good = is_topic_name(topic) && !topic.starts_with('$');
    if good { Ok(topic.to_owned()) } else { Err("a topic has no `+`, `#` and no `$` at its beginning".to_owned()) }
}

fn identifier(device: Option<&Map<String, Value>>) -> Option<&str> {
    match device?.get("identifiers")? {
        Value::String(one) => Some(one),
        Value::Array(list) => list.first()?.as_str(),
        _ => None,
    }
}

/// The kind of a device class. `moisture` is a leak if it is yes or no, else how wet something is; `carbon_monoxide` and
/// `gas` are amounts if they are numbers.
fn kind(class: &str, flag: bool) -> Option<SensorKind> {
    let word = match (class, flag) {
        ("moisture", true) => "water",
        ("moisture", false) => "humidity",
        ("battery", true) => "battery_low",
        ("carbon_monoxide" | "gas", false) => return format!("{class}_amount").parse().ok(),
        ("atmospheric_pressure", _) => "pressure",
        ("volume_storage", _) => "volume",
        (class, _) => class,
    };
    word.parse().ok()
}

/// Where a template picks its value: nothing for the whole payload. Filters that only shape a number are passed over.
///
/// # Errors
/// What cannot be understood.
fn pointer(template: &str) -> Result<Option<JsonPointer>, String> {
    let refuse = || format!("the template `{}` is not understood", template.chars().take(80).collect::<String>());
    let inner = template.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).ok_or_else(refuse)?;
    let inner = inner.trim_start_matches('-').trim_end_matches('-');
    let mut pipeline = inner.split('|').map(str::trim);
    let expression = pipeline.next().unwrap_or_default();
    let harmless = |filter: &str| {
        ["float", "int", "round", "default", "lower", "upper"].iter().any(|known| filter.starts_with(known))
    };
    if !pipeline.all(harmless) {
        return Err(refuse());
    }
    if expression == "value" {
        return Ok(None);
    }
    let mut rest = expression.strip_prefix("value_json").ok_or_else(refuse)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (step, after) = if let Some(after) = rest.strip_prefix('.') {
            after.split_at(after.find(['.', '[']).unwrap_or(after.len()))
        } else {
            let (inside, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(refuse)?;
            (inside.trim().trim_matches(['\'', '"']), after)
        };
        if step.is_empty() || step.contains([' ', '(', '{', '\'']) || steps.len() > 16 {
            return Err(refuse());
        }
        steps.push(step);
        rest = after;
    }
    Ok(Some(JsonPointer::through(steps)))
}

impl Announced {
    /// The value of a message on its topic; nothing if the message says that there is none.
    ///
    /// # Errors
    /// [`FormatError`], if it is none.
    pub fn value(&self, payload: &[u8]) -> Result<Option<ReadingValue>, FormatError> {
        let Some(value) = self.state.value(payload)? else { return Ok(None) };
        if !self.flag {
            return Ok(Some(value));
        }
        let shown = value.to_string();
        match shown {
            word if word == self.words.0 => Ok(Some(ReadingValue::Flag(true))),
            word if word == self.words.1 => Ok(Some(ReadingValue::Flag(false))),
            _ => value::flag(&value)
                .map(|flag| Some(ReadingValue::Flag(flag)))
                .ok_or(FormatError::Shape("the payload for on or for off")),
        }
    }
}

impl Place {
    /// The value that stands here in a message.
    ///
    /// # Errors
    /// [`FormatError`], if the message is not JSON where it should be, or holds no value.
    pub fn value(&self, payload: &[u8]) -> Result<Option<ReadingValue>, FormatError> {
        let Some(pointer) = &self.pointer else {
            let text = text(payload)?;
            let value = value::of_text(text);
            return match value {
                None if !value::is_nothing(text) => Err(FormatError::Shape("a short text")),
                value => Ok(value),
            };
        };
        let document = document(payload)?;
        match pointer.find(&document) {
            // Not every message of a topic that entities share has a value for each.
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if value::is_nothing(text) => Ok(None),
            Some(found) => value::of_json(found).map(Some).ok_or_else(|| FormatError::NoValue(pointer.to_string())),
        }
    }
}
