//! The tracks of one session on one timeline: whose zero lies where. Sans-IO.
//!
//! Each track counts in its own ticks from its own beginning. At first tracks are placed by what `RTP-Info` said of
//! their beginnings, where that agrees with when they arrive, else by when they arrive. Sender reports (RFC 3550 §6.4.1)
//! tell better: the first ones of two tracks put them together exactly, and later ones follow clocks that drift apart.

use crate::{
    base::{Monotonic, WallTime},
    media::MediaTime,
};

/// A place by `RTP-Info` this far from what arrival says is not believed.
const PLAUSIBLE: MediaTime = MediaTime::from_millis(1_000);

/// Reports that put two tracks further apart than this come of two clocks, and say nothing.
const SAME_CLOCK: MediaTime = MediaTime::from_millis(2_000);

/// What nobody hears is left as it is at the first report …
const FINE: MediaTime = MediaTime::from_millis(10);

/// … and later.
const COARSE: MediaTime = MediaTime::from_millis(40);

/// Two reports in a row that agree this well are believed.
const AGREE: MediaTime = MediaTime::from_millis(20);

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    /// What is added to the track's own times.
    offset: Option<MediaTime>,
    /// The wall clock's lead over the track's own times, by its newest report.
    lead: Option<MediaTime>,
    aligned: bool,
    suspect: Option<MediaTime>,
}

/// Places the tracks of a session.
#[derive(Debug)]
pub(super) struct Alignment {
    lanes: Vec<Lane>,
    /// A time on the common timeline, and when it arrived.
    anchor: Option<(MediaTime, Monotonic)>,
}

impl Alignment {
    pub(super) fn new(tracks: usize) -> Self {
        Self { lanes: vec![Lane::default(); tracks], anchor: None }
    }

    /// What to add to the times of a track's unit, of which the first decides until a report comes.
    pub(super) fn offset(&mut self, track: usize, time: MediaTime, arrived: Monotonic) -> MediaTime {
        let Some(lane) = self.lanes.get_mut(track) else { return MediaTime::ZERO };
        if let Some(offset) = lane.offset {
            return offset;
        }
        let offset = match self.anchor {
            None => MediaTime::ZERO,
            Some((anchor, at)) => {
                let expected = anchor + MediaTime::from(arrived.since(at));
                // A track whose first packet stands at its zero was not told of by `RTP-Info`.
                let told = time != MediaTime::ZERO && (time - expected).abs() <= PLAUSIBLE;
                if told { MediaTime::ZERO } else { expected - time }
            }
        };
        lane.offset = Some(offset);
        self.anchor.get_or_insert((time, arrived));
        offset
    }

    /// A sender report of a track: an NTP time and the same moment on the track's own timeline.
    pub(super) fn handle_report(&mut self, track: usize, ntp: u64, time: MediaTime) {
        let Some(lane) = self.lanes.get_mut(track) else { return };
        // §6.4.1: a sender without a wall clock writes zero.
        if ntp == 0 {
            return;
        }
        lane.lead = Some(MediaTime::from_nanos(WallTime::from_ntp(ntp).unix_nanos()) - time);
        let reference = self.lanes.iter().position(|lane| lane.lead.is_some() && lane.offset.is_some());
        let Some(reference) = reference else { return };
        let (Some(lead), Some(offset)) = (self.lanes[reference].lead, self.lanes[reference].offset) else { return };
        for (i, lane) in self.lanes.iter_mut().enumerate() {
            // The track that reported, or all of them if it is the reference.
            if i != reference && (i == track || track == reference) {
                lane.align(offset - lead);
            }
        }
    }
}

impl Lane {
    /// `reference` is the reference's offset less its lead: what the track's own should be, too.
    fn align(&mut self, reference: MediaTime) {
        let (Some(lead), Some(offset)) = (self.lead, self.offset) else { return };
        let error = reference + lead - offset;
        if error.abs() > SAME_CLOCK {
            self.suspect = None;
            return;
        }
        let confirmed = self.suspect.is_some_and(|suspect| (suspect - error).abs() <= AGREE);
        if !self.aligned {
            self.aligned = true;
            if error.abs() > FINE {
                self.offset = Some(offset + error);
            }
        } else if error.abs() > COARSE && confirmed {
            self.offset = Some(offset + error);
            self.suspect = None;
        } else {
            self.suspect = Some(error).filter(|error| error.abs() > COARSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIDEO: usize = 0;
    const SOUND: usize = 1;
    const NTP: i64 = 1_795_169_700_000;

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    fn at(millis: u64) -> Monotonic {
        Monotonic::from_nanos(millis * 1_000_000)
    }

    fn ntp(millis: i64) -> u64 {
        WallTime::from_unix_nanos((NTP + millis) * 1_000_000).to_ntp()
    }

    fn rounded(time: MediaTime) -> i64 {
        (time + MediaTime::from_nanos(500_000)).millis()
    }

    #[test]
    fn beginnings_that_agree_with_arrival_are_believed() {
        let mut tracks = Alignment::new(2);
        assert_eq!(tracks.offset(VIDEO, ms(400), at(1000)), ms(0));
        assert_eq!(tracks.offset(SOUND, ms(380), at(1010)), ms(0));
    }

    #[test]
    fn beginnings_that_nobody_told_or_that_cannot_be_are_placed_by_arrival() {
        for first in [0, 3_600_000, -50_000] {
            let mut tracks = Alignment::new(2);
            tracks.offset(VIDEO, ms(0), at(1000));
            assert_eq!(tracks.offset(SOUND, ms(first), at(1300)), ms(300 - first));
            assert_eq!(tracks.offset(SOUND, ms(first + 20), at(1900)), ms(300 - first), "the first one decides");
        }
    }

    #[test]
    fn the_first_reports_put_tracks_together() {
        let mut tracks = Alignment::new(2);
        tracks.offset(VIDEO, ms(0), at(1000));
        tracks.offset(SOUND, ms(0), at(1300));
        tracks.handle_report(VIDEO, ntp(0), ms(0));
        // The sound's zero is 100 ms after the picture's by the camera's clock, not 300.
        tracks.handle_report(SOUND, ntp(1100), ms(1000));
        assert_eq!(rounded(tracks.offset(SOUND, ms(9), at(0))), 100);
        assert_eq!(tracks.offset(VIDEO, ms(9), at(0)), ms(0));
    }

    #[test]
    fn clocks_that_drift_apart_are_followed_once_two_reports_agree() {
        let mut tracks = Alignment::new(2);
        tracks.offset(VIDEO, ms(0), at(0));
        tracks.offset(SOUND, ms(0), at(0));
        let (mut offsets, mut steps) = (Vec::new(), 0);
        for second in 0..100_i64 {
            tracks.handle_report(VIDEO, ntp(second * 1000), ms(second * 1000));
            // The sound's clock runs 0.1 % fast.
            tracks.handle_report(SOUND, ntp(second * 1000), ms(second * 1001));
            let error = second * 1001 + rounded(tracks.offset(SOUND, ms(1), at(0))) - second * 1000;
            assert!(error.abs() <= 45, "{error} ms apart after {second} s");
            offsets.push(rounded(tracks.offset(SOUND, ms(1), at(0))));
        }
        steps += offsets.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert!((1..=3).contains(&steps), "{steps} steps");
    }

    #[test]
    fn one_wrong_report_and_clocks_of_their_own_change_nothing() {
        let mut tracks = Alignment::new(2);
        tracks.offset(VIDEO, ms(0), at(0));
        tracks.offset(SOUND, ms(0), at(0));
        tracks.handle_report(VIDEO, ntp(0), ms(0));
        tracks.handle_report(SOUND, ntp(0), ms(0));
        tracks.handle_report(SOUND, ntp(1_700), ms(1000));
        tracks.handle_report(SOUND, ntp(2_000), ms(2000));
        tracks.handle_report(SOUND, ntp(3_600_000), ms(3000));
        tracks.handle_report(SOUND, ntp(3_601_000), ms(4000));
        tracks.handle_report(SOUND, 0, ms(5000));
        assert_eq!(tracks.offset(SOUND, ms(1), at(0)), ms(0));
        tracks.handle_report(9, ntp(0), ms(0));
    }
}
