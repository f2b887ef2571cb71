//! Three sensors that need no device, beside the demo camera: a temperature that drifts over 35 °C now and then, motion,
//! a leak. A machine: the seconds since the start go in, samples come out.

use std::{f64::consts::TAU, time::Duration};

use super::formats::Sample;
use crate::{
    base::{PathName, SensorId},
    config::{HumanDuration, SensorConfig},
    events::payload::ReadingValue,
};

/// How often they read.
pub const INTERVAL: Duration = Duration::from_secs(5);

/// The ids, the names, the kinds.
const SENSORS: [(&str, &str, &str); 3] = [
    ("demo-temperature", "Demo temperature", "temperature"),
    ("demo-motion", "Demo motion", "motion"),
    ("demo-leak", "Demo leak", "water"),
];

/// The sensors as a configuration would name them; they belong to `path`.
pub fn configured(path: Option<&PathName>) -> Vec<(SensorId, SensorConfig)> {
    let sensor = |(id, name, kind): (&str, &str, &str)| {
        let config = SensorConfig {
            name: Some(name.to_owned()),
            kind: kind.parse().ok(),
            expected_interval: Some(HumanDuration::from_secs(INTERVAL.as_secs())),
            path: path.cloned(),
            ..SensorConfig::default()
        };
        Some((id.parse().ok()?, config))
    };
    SENSORS.into_iter().filter_map(sensor).collect()
}

/// What they read this many seconds after the start.
pub fn samples(seconds: u64) -> [Sample; 3] {
    // Between 23.5 and 36.5 °C in four minutes: above 35 for about forty seconds.
    let warm = 30.0 + 6.5 * (seconds as f64 * TAU / 240.0).sin();
    let [temperature, motion, leak] = SENSORS.map(|(id, ..)| id);
    [
        Sample::new(temperature, ReadingValue::Number((warm * 10.0).round() / 10.0)),
        Sample::new(motion, ReadingValue::Flag(seconds % 60 >= 50)),
        Sample::new(leak, ReadingValue::Flag(seconds % 300 >= 270)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temperature_drifts_over_35_now_and_then_and_the_others_come_and_go() {
        let read = |of: usize| -> Vec<ReadingValue> {
            (0..600).step_by(5).map(|second| samples(second)[of].value.clone()).collect()
        };
        let hot = read(0).iter().filter(|value| matches!(value, ReadingValue::Number(n) if *n > 35.0)).count();
        assert!((10..40).contains(&hot), "{hot} of 120");
        for of in [1, 2] {
            let on = read(of).iter().filter(|value| **value == ReadingValue::Flag(true)).count();
            assert!((5..60).contains(&on), "{on} of 120");
        }
        assert_eq!(configured(None).len(), 3);
    }
}
