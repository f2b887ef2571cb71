//! The sound of the demo camera: a hum so quiet that nobody minds it, and a bell at every full second, so that sound and
//! picture can be compared. One second is computed once and read round.

/// Samples per second.
pub(super) const RATE: usize = 48_000;
/// Samples in 20 ms.
pub(super) const FRAME: usize = RATE / 50;

/// One second that joins its own beginning: all its frequencies are whole numbers.
#[derive(Debug)]
pub(super) struct Tone {
    second: Vec<i16>,
}

impl Tone {
    pub(super) fn new() -> Self {
        Self { second: (0..RATE).map(sample).collect() }
    }

    /// 20 ms of sound from the moment `unix_millis` on.
    pub(super) fn frame(&self, unix_millis: i64) -> [i16; FRAME] {
        let from = unix_millis.rem_euclid(1000) as usize * (RATE / 1000);
        std::array::from_fn(|i| self.second[(from + i) % RATE])
    }
}

fn sample(i: usize) -> i16 {
    const TURN: f32 = std::f32::consts::TAU;
    let t = i as f32 / RATE as f32;
    let hum = 0.004 * (TURN * 220.0 * t).sin();
    // A rise of 2 ms, so that the stroke does not click.
    let stroke = (t / 0.002).min(1.0) * (-7.0 * t).exp();
    let bell = 0.05 * stroke * ((TURN * 880.0 * t).sin() + 0.5 * (TURN * 2112.0 * t).sin());
    ((hum + bell) * f32::from(i16::MAX)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sound_is_quiet_and_loudest_after_the_full_second() {
        let tone = Tone::new();
        let loudest = |frame: [i16; FRAME]| frame.into_iter().map(i16::unsigned_abs).max().unwrap();
        let (stroke, before) = (loudest(tone.frame(5_000)), loudest(tone.frame(4_980)));
        assert!(stroke > 1000 && stroke < 3000, "{stroke}");
        assert!(before < 200, "{before}");
    }

    #[test]
    fn frames_join_without_a_step() {
        let tone = Tone::new();
        let (last, first) = (tone.frame(980)[FRAME - 1], tone.frame(1000)[0]);
        assert!(i32::from(last).abs_diff(i32::from(first)) < 60);
    }
}
