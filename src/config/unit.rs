//! The unit of a sensor's numbers: UCUM's units as people write them, what else they are written as, and the way from
//! one to another. A unit that is not in the table is kept as it is, and converts to nothing.

use std::{fmt, str::FromStr, sync::Arc};

/// A unit.
#[derive(Clone)]
pub enum Unit {
    /// One that is known.
    Known(&'static KnownUnit),
    /// One that is not: a short text.
    Other(Arc<str>),
}

/// A unit of the table. A value in it is `value * factor + offset` in the first unit of its dimension.
#[derive(Debug)]
pub struct KnownUnit {
    symbol: &'static str,
    aliases: &'static [&'static str],
    dimension: Dimension,
    factor: f64,
    offset: f64,
}

/// What a unit measures; only units of one dimension convert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Temperature,
    Fraction,
    Pressure,
    Power,
    ApparentPower,
    ReactivePower,
    Energy,
    Voltage,
    Current,
    Frequency,
    Illuminance,
    Density,
    Share,
    Length,
    Speed,
    Rain,
    Volume,
    Flow,
    Mass,
    Time,
    Sound,
    Signal,
    Angle,
    Dose,
}

/// Why a text is no unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a unit such as `°C`, `%`, `hPa` or `µg/m³`: 1 to {LONGEST} letters, digits and signs")]
pub struct UnitError;

/// Two units that do not measure the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{from}` does not convert to `{to}`")]
pub struct Incompatible {
    from: Unit,
    to: Unit,
}

/// The longest unit, in characters.
const LONGEST: usize = 16;

const fn unit(
    symbol: &'static str,
    aliases: &'static [&'static str],
    dimension: Dimension,
    factor: f64,
    offset: f64,
) -> KnownUnit {
    KnownUnit { symbol, aliases, dimension, factor, offset }
}

/// The table. UCUM's own codes (`Cel`, `[degF]`, `ug/m3`) are among the aliases.
static UNITS: &[KnownUnit] = {
    use Dimension as D;
    &[
        unit("°C", &["C", "Cel", "degC", "℃", "celsius"], D::Temperature, 1.0, 0.0),
        unit("°F", &["F", "[degF]", "degF", "℉", "fahrenheit"], D::Temperature, 5.0 / 9.0, -160.0 / 9.0),
        unit("K", &["kelvin"], D::Temperature, 1.0, -273.15),
        unit("%", &["%RH", "%rh", "percent"], D::Fraction, 1.0, 0.0),
        unit("hPa", &["mbar", "hpa"], D::Pressure, 1.0, 0.0),
        unit("Pa", &[], D::Pressure, 0.01, 0.0),
        unit("kPa", &["kpa"], D::Pressure, 10.0, 0.0),
        unit("bar", &[], D::Pressure, 1000.0, 0.0),
        unit("psi", &["[psi]"], D::Pressure, 68.947_572_931_68, 0.0),
        unit("mmHg", &["mm[Hg]"], D::Pressure, 1.333_223_874_15, 0.0),
        unit("inHg", &["[in_i'Hg]"], D::Pressure, 33.863_886_403_41, 0.0),
        unit("W", &[], D::Power, 1.0, 0.0),
        unit("mW", &[], D::Power, 0.001, 0.0),
        unit("kW", &[], D::Power, 1000.0, 0.0),
        unit("VA", &[], D::ApparentPower, 1.0, 0.0),
        unit("var", &["VAr", "VAR"], D::ReactivePower, 1.0, 0.0),
        unit("kWh", &["kW.h", "kW·h"], D::Energy, 1.0, 0.0),
        unit("Wh", &["W.h", "W·h"], D::Energy, 0.001, 0.0),
        unit("MWh", &["MW.h"], D::Energy, 1000.0, 0.0),
        unit("J", &[], D::Energy, 1.0 / 3_600_000.0, 0.0),
        unit("kJ", &[], D::Energy, 1.0 / 3_600.0, 0.0),
        unit("MJ", &[], D::Energy, 1.0 / 3.6, 0.0),
        unit("V", &["volt"], D::Voltage, 1.0, 0.0),
        unit("mV", &[], D::Voltage, 0.001, 0.0),
        unit("kV", &[], D::Voltage, 1000.0, 0.0),
        unit("A", &["amp"], D::Current, 1.0, 0.0),
        unit("mA", &[], D::Current, 0.001, 0.0),
        unit("Hz", &[], D::Frequency, 1.0, 0.0),
        unit("kHz", &[], D::Frequency, 1000.0, 0.0),
        unit("MHz", &[], D::Frequency, 1_000_000.0, 0.0),
        unit("lx", &["lux", "lm/m2"], D::Illuminance, 1.0, 0.0),
        unit("µg/m³", &["μg/m³", "ug/m3", "µg/m3", "μg/m3", "ug/m³"], D::Density, 1.0, 0.0),
        unit("mg/m³", &["mg/m3"], D::Density, 1000.0, 0.0),
        unit("ppm", &["[ppm]"], D::Share, 1.0, 0.0),
        unit("ppb", &["[ppb]"], D::Share, 0.001, 0.0),
        unit("m", &["meter", "metre"], D::Length, 1.0, 0.0),
        unit("mm", &[], D::Length, 0.001, 0.0),
        unit("cm", &[], D::Length, 0.01, 0.0),
        unit("km", &[], D::Length, 1000.0, 0.0),
        unit("in", &["[in_i]", "inch"], D::Length, 0.0254, 0.0),
        unit("ft", &["[ft_i]"], D::Length, 0.3048, 0.0),
        unit("m/s", &[], D::Speed, 1.0, 0.0),
        unit("km/h", &["kmh", "kph"], D::Speed, 1.0 / 3.6, 0.0),
        unit("mph", &["[mi_i]/h"], D::Speed, 0.447_04, 0.0),
        unit("kn", &["[kn_i]", "kt"], D::Speed, 1852.0 / 3600.0, 0.0),
        unit("mm/h", &[], D::Rain, 1.0, 0.0),
        unit("in/h", &[], D::Rain, 25.4, 0.0),
        unit("L", &["l", "liter", "litre"], D::Volume, 1.0, 0.0),
        unit("mL", &["ml"], D::Volume, 0.001, 0.0),
        unit("m³", &["m3"], D::Volume, 1000.0, 0.0),
        unit("gal", &["[gal_us]"], D::Volume, 3.785_411_784, 0.0),
        unit("L/min", &["l/min"], D::Flow, 1.0, 0.0),
        unit("L/h", &["l/h"], D::Flow, 1.0 / 60.0, 0.0),
        unit("m³/h", &["m3/h"], D::Flow, 1000.0 / 60.0, 0.0),
        unit("kg", &[], D::Mass, 1.0, 0.0),
        unit("g", &[], D::Mass, 0.001, 0.0),
        unit("lb", &["[lb_av]"], D::Mass, 0.453_592_37, 0.0),
        unit("s", &["sec"], D::Time, 1.0, 0.0),
        unit("ms", &[], D::Time, 0.001, 0.0),
        unit("min", &[], D::Time, 60.0, 0.0),
        unit("h", &["hr"], D::Time, 3600.0, 0.0),
        unit("d", &["day"], D::Time, 86_400.0, 0.0),
        unit("dB", &["dBA", "dB(A)"], D::Sound, 1.0, 0.0),
        unit("dBm", &["dB[mW]"], D::Signal, 1.0, 0.0),
        unit("°", &["deg"], D::Angle, 1.0, 0.0),
        unit("µSv/h", &["μSv/h", "uSv/h"], D::Dose, 1.0, 0.0),
    ]
};

impl Unit {
    /// Every known one.
    #[cfg(test)]
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        UNITS.iter().map(Self::Known)
    }

    /// The unit as people read it.
    pub fn symbol(&self) -> &str {
        match self {
            Self::Known(known) => known.symbol,
            Self::Other(text) => text,
        }
    }

    /// Whether numbers in this unit can be told in the other one.
    pub fn converts_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Known(from), Self::Known(to)) => from.dimension == to.dimension,
            _ => self == other,
        }
    }

    /// A number of this unit in another one.
    ///
    /// # Errors
    /// [`Incompatible`], if they do not measure the same.
    pub fn convert(&self, value: f64, to: &Self) -> Result<f64, Incompatible> {
        if self == to {
            return Ok(value);
        }
        match (self, to) {
            (Self::Known(from), Self::Known(into)) if from.dimension == into.dimension => {
                let converted = (value * from.factor + from.offset - into.offset) / into.factor;
                // 95 °F is 35 °C, not 35.00000000000001: what binary fractions add is far below any sensor.
                let rounded = (converted * 1e9).round() / 1e9;
                Ok(if rounded.is_finite() { rounded } else { converted })
            }
            _ => Err(Incompatible { from: self.clone(), to: to.clone() }),
        }
    }
}

impl FromStr for Unit {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let text = text.trim();
        if let Some(known) = UNITS.iter().find(|unit| unit.symbol == text || unit.aliases.contains(&text)) {
            return Ok(Self::Known(known));
        }
        let fits = |c: char| c.is_alphanumeric() || "%°/.*^-+·²³[]{}()'".contains(c);
        let good = (1..=LONGEST).contains(&text.chars().count()) && text.chars().all(fits);
        if good { Ok(Self::Other(text.into())) } else { Err(UnitError) }
    }
}

impl PartialEq for Unit {
    fn eq(&self, other: &Self) -> bool {
        self.symbol() == other.symbol()
    }
}

impl Eq for Unit {}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.symbol())
    }
}

super::text::text_value!(Unit, name: "Unit",
expects: "a unit such as `°C`, `%`, `hPa` or `µg/m³`",
schema: {
    "description": "The unit of a sensor's numbers.",
    "type": "string",
    "maxLength": LONGEST,
    "examples": ["°C", "%", "hPa", "lx", "W", "kWh", "ppm", "µg/m³"]
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unit(text: &str) -> Unit {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_go_from_unit_to_unit() {
        let table = [
            (95.0, "°F", "°C", 35.0),
            (-40.0, "°F", "°C", -40.0),
            (35.0, "C", "[degF]", 95.0),
            (273.15, "K", "Cel", 0.0),
            (750.0, "mmHg", "hPa", 999.917_905_613),
            (29.92, "inHg", "hPa", 1_013.207_481_19),
            (1500.0, "Wh", "kWh", 1.5),
            (3.6, "MJ", "kWh", 1.0),
            (3100.0, "mV", "V", 3.1),
            (1200.0, "ppb", "ppm", 1.2),
            (36.0, "km/h", "m/s", 10.0),
        ];
        for (value, from, to, expected) in table {
            assert_eq!(unit(from).convert(value, &unit(to)), Ok(expected), "{value} {from} in {to}");
        }
    }

    #[test]
    fn what_measures_something_else_does_not_convert() {
        for (from, to) in [("lx", "°C"), ("W", "kWh"), ("widgets", "°C"), ("widgets", "gadgets")] {
            let error = unit(from).convert(1.0, &unit(to)).unwrap_err();
            assert_eq!(error.to_string(), format!("`{from}` does not convert to `{to}`"));
        }
        assert_eq!(unit("widgets").convert(7.0, &unit("widgets")), Ok(7.0));
    }

    #[test]
    fn no_word_stands_for_two_units() {
        let mut words: Vec<&str> =
            UNITS.iter().flat_map(|unit| unit.aliases.iter().copied().chain([unit.symbol])).collect();
        let count = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), count);
        for bad in ["", " ", "a b", "°C\n", "<b>", &"x".repeat(17)] {
            assert!(bad.trim().is_empty() || bad.trim() == "°C" || bad.parse::<Unit>().is_err(), "{bad:?}");
        }
        assert!("".parse::<Unit>().is_err());
    }

    proptest! {
        #[test]
        fn there_and_back_is_where_it_began(value in -1e5..1e5_f64, from in 0..UNITS.len(), to in 0..UNITS.len()) {
            let (from, to) = (Unit::Known(&UNITS[from]), Unit::Known(&UNITS[to]));
            if let Ok(there) = from.convert(value, &to) {
                let back = to.convert(there, &from).unwrap();
                // Rounding to nine places on the way costs what the factor makes of them: 3.6e9 between J and MWh.
                let lost = (to.convert(5e-10, &from).unwrap() - to.convert(0.0, &from).unwrap()).abs();
                prop_assert!((back - value).abs() <= value.abs() * 1e-6 + 1e-2 + lost, "{value} {from} {to} {there} {back}");
            }
        }
    }
}
