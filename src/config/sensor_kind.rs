//! What a sensor measures: a word. Those that are known have a unit, or are yes or no; any other is kept as it is.

use std::{fmt, str::FromStr, sync::Arc};

use super::Unit;

/// The kind of a sensor.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SensorKind(Arc<str>);

/// What is known of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// A number in this unit, or in one that converts to it.
    Number(&'static str),
    /// Yes or no.
    Flag,
    /// A number without a unit, or a word.
    Plain,
}

/// Why a text is no kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a kind such as `temperature` or `motion`: 1 to {LONGEST} lower-case letters, digits and `_`")]
pub struct SensorKindError;

/// The longest kind, in bytes.
const LONGEST: usize = 40;

/// The words of Home Assistant's device classes, but for `water` (its `moisture`) and `air` (its `aqi`).
const KINDS: &[(&str, Measure)] = {
    use Measure::{Flag, Number, Plain};
    &[
        ("air", Plain),
        ("apparent_power", Number("VA")),
        ("battery", Number("%")),
        ("battery_low", Flag),
        ("carbon_dioxide", Number("ppm")),
        ("carbon_monoxide", Flag),
        ("connectivity", Flag),
        ("current", Number("A")),
        ("distance", Number("m")),
        ("door", Flag),
        ("energy", Number("kWh")),
        ("frequency", Number("Hz")),
        ("gas", Flag),
        ("humidity", Number("%")),
        ("illuminance", Number("lx")),
        ("motion", Flag),
        ("occupancy", Flag),
        ("opening", Flag),
        ("pm1", Number("µg/m³")),
        ("pm10", Number("µg/m³")),
        ("pm25", Number("µg/m³")),
        ("power", Number("W")),
        ("precipitation", Number("mm")),
        ("pressure", Number("hPa")),
        ("problem", Flag),
        ("reactive_power", Number("var")),
        ("safety", Flag),
        ("signal_strength", Number("dBm")),
        ("smoke", Flag),
        ("sound", Flag),
        ("sound_pressure", Number("dB")),
        ("speed", Number("m/s")),
        ("tamper", Flag),
        ("temperature", Number("°C")),
        ("vibration", Flag),
        ("volatile_organic_compounds", Number("µg/m³")),
        ("voltage", Number("V")),
        ("volume", Number("L")),
        ("water", Flag),
        ("weight", Number("kg")),
        ("wind_speed", Number("m/s")),
        ("window", Flag),
    ]
};

/// Other words for the same.
const ALIASES: &[(&str, &str)] = &[
    ("air_quality", "air"),
    ("aqi", "air"),
    ("atmospheric_pressure", "pressure"),
    ("co", "carbon_monoxide"),
    ("co2", "carbon_dioxide"),
    ("contact", "opening"),
    ("flood", "water"),
    ("illuminance_lux", "illuminance"),
    ("leak", "water"),
    ("lux", "illuminance"),
    ("moisture", "water"),
    ("pm2_5", "pm25"),
    ("presence", "occupancy"),
    ("rssi", "signal_strength"),
    ("voc", "volatile_organic_compounds"),
    ("water_leak", "water"),
];

impl SensorKind {
    /// The kind as a word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Every known one.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        KINDS.iter().map(|(name, _)| Self((*name).into()))
    }

    /// What is known of it; nothing, of a kind that is not in the table.
    pub fn measure(&self) -> Option<Measure> {
        KINDS.iter().find(|(name, _)| *name == &*self.0).map(|(_, measure)| *measure)
    }

    /// The unit its numbers are kept in, if none was asked for.
    pub fn unit(&self) -> Option<Unit> {
        match self.measure()? {
            Measure::Number(symbol) => symbol.parse().ok(),
            Measure::Flag | Measure::Plain => None,
        }
    }

    /// It is yes or no.
    pub fn is_flag(&self) -> bool {
        self.measure() == Some(Measure::Flag)
    }

    /// The kind that a device's own word for a property means, if it is a known one.
    pub fn known(word: &str) -> Option<Self> {
        word.to_ascii_lowercase().parse::<Self>().ok().filter(|kind| kind.measure().is_some())
    }
}

impl FromStr for SensorKind {
    type Err = SensorKindError;

    fn from_str(text: &str) -> Result<Self, SensorKindError> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if !(1..=LONGEST).contains(&text.len()) || !text.bytes().all(known) {
            return Err(SensorKindError);
        }
        let meant = ALIASES.iter().find(|(alias, _)| *alias == text).map_or(text, |(_, meant)| meant);
        Ok(Self(meant.into()))
    }
}

impl fmt::Display for SensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SensorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

super::text::text_value!(SensorKind, name: "SensorKind",
expects: "a kind such as `temperature` or `motion`",
schema: {
    "description": "What a sensor measures. A word that is not known is kept as it is.",
    "type": "string",
    "pattern": "^[a-z0-9_]{1,40}$",
    "examples": ["temperature", "humidity", "motion", "smoke", "water", "door", "power", "air"]
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_units_that_are_known_and_aliases_lead_to_kinds() {
        for (name, measure) in KINDS {
            let kind: SensorKind = name.parse().unwrap();
            assert_eq!(kind.as_str(), *name);
            if let Measure::Number(_) = measure {
                assert!(matches!(kind.unit(), Some(Unit::Known(_))), "{name}");
            }
        }
        for (alias, meant) in ALIASES {
            assert_eq!(alias.parse::<SensorKind>().unwrap().as_str(), *meant);
            assert!(KINDS.iter().any(|(name, _)| name == meant), "{meant}");
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_kept_and_what_is_no_word_refused() {
        let radon: SensorKind = "radon".parse().unwrap();
        assert_eq!((radon.as_str(), radon.measure(), radon.unit()), ("radon", None, None));
        assert_eq!(SensorKind::known("Temperature").unwrap().as_str(), "temperature");
        assert_eq!(SensorKind::known("radon"), None);
        for bad in ["", "Motion", "a b", "a-b", &"x".repeat(41)] {
            assert_eq!(bad.parse::<SensorKind>(), Err(SensorKindError), "{bad}");
        }
    }
}
