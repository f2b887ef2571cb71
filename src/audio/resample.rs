//! Samples at a rate that Opus takes (RFC 6716 §2: 8, 12, 16, 24 or 48 kHz). Sans-IO.

use rubato::{Fft, FixedSync, Resampler as _, audioadapter_buffers::direct::InterleavedSlice};

use super::transcode::AudioError;

/// The rates that the encoder takes as they are.
const OWN: [u32; 5] = [8_000, 12_000, 16_000, 24_000, 48_000];

/// Brings samples of one rate to another.
pub(super) struct Resampler {
    rate: u32,
    channels: usize,
    work: Option<Work>,
}

struct Work {
    fft: Box<Fft<f32>>,
    pending: Vec<f32>,
    made: Vec<f32>,
}

impl Resampler {
    /// From `rate`; what the encoder takes stays as it is, everything else becomes 48 kHz.
    pub(super) fn new(rate: u32, channels: usize) -> Result<Self, AudioError> {
        if OWN.contains(&rate) {
            return Ok(Self { rate, channels, work: None });
        }
        let chunk = rate as usize / 50;
        let fft = Fft::new(rate as usize, 48_000, chunk, channels, FixedSync::Input);
        let fft = Box::new(fft.map_err(|_| AudioError::Unsupported)?);
        let made = vec![0.0; fft.output_frames_max() * channels];
        Ok(Self { rate: 48_000, channels, work: Some(Work { fft, pending: Vec::new(), made }) })
    }

    /// The rate of what comes out.
    pub(super) const fn rate(&self) -> u32 {
        self.rate
    }

    /// By how many samples of the new rate what comes out is late.
    pub(super) fn delay(&self) -> usize {
        self.work.as_ref().map_or(0, |work| work.fft.output_delay())
    }

    /// Takes samples in and appends those that are ready.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        let Some(work) = &mut self.work else {
            out.extend_from_slice(samples);
            return;
        };
        work.pending.extend_from_slice(samples);
        loop {
            let wanted = work.fft.input_frames_next();
            let have = work.pending.len() / self.channels;
            if have < wanted {
                return;
            }
            let room = work.made.len() / self.channels;
            let taken = {
                let input = InterleavedSlice::new(&work.pending[..], self.channels, have);
                let output = InterleavedSlice::new_mut(&mut work.made[..], self.channels, room);
                let (Ok(input), Ok(mut output)) = (input, output) else { return };
                work.fft.process_into_buffer(&input, &mut output, None)
            };
            let Ok((took, gave)) = taken else { return };
            out.extend_from_slice(&work.made[..gave * self.channels]);
            work.pending.drain(..took * self.channels);
        }
    }

    /// Forgets what came before.
    pub(super) fn reset(&mut self) {
        if let Some(work) = &mut self.work {
            work.fft.reset();
            work.pending.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_keeps_its_pitch_and_length_at_every_rate() {
        for rate in [8_000_u32, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000] {
            let tone = |i: u32| (f64::from(i) * 400.0 * std::f64::consts::TAU / f64::from(rate)).sin() as f32;
            let mut resampler = Resampler::new(rate, 1).unwrap();
            let mut out = Vec::new();
            let samples: Vec<f32> = (0..rate * 2).map(tone).collect();
            for piece in samples.chunks(317) {
                resampler.push(piece, &mut out);
            }
            let seconds = out.len() as f64 / f64::from(resampler.rate());
            assert!((1.95..=2.0).contains(&seconds), "{rate} Hz: {seconds} s");
            let settled = &out[out.len() / 4..];
            let crossings = settled.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
            let pitch = crossings as f64 * f64::from(resampler.rate()) / settled.len() as f64;
            assert!((pitch - 400.0).abs() < 4.0, "{rate} Hz: {pitch}");
        }
    }
}
