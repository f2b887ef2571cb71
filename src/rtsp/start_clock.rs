//! The clock of one reader: which span of its own timeline a unit gets. Sans-IO.
//!
//! Instant start over RTSP (measured, `docs/performance.md`): the units between the random access point and the live
//! edge have their timestamps squeezed into the last milliseconds before the live edge, distinct and rising. Players
//! show a picture at once and are live within the first second; with true timestamps they stay a GOP behind.
//!
//! The window is as narrow as distinct timestamps allow, and the burst takes longer to leave than its timestamps span.
//! GStreamer's jitter buffer takes a stream whose timestamps run ahead of its arrival for a fast clock: it gives
//! pictures equal times, its parser drops those, and its decoder then shows each for its full 40 ms, seconds behind for
//! the whole GOP.
//!
//! The timeline is promised before the first unit is known (`RTP-Info`, RFC 2326 §12.33), so it begins where the
//! promise says and the first unit is laid there.

use std::time::Duration;

use crate::{
    hub::Backlog,
    media::{ClockRate, MediaTime},
};

/// What the units before the live edge are squeezed into, at most.
const WINDOW_MAX: Duration = Duration::from_millis(20);
/// What each of them gets, in ticks of the video clock: with less they could share one when they come unevenly.
const TICKS_EACH: usize = 3;
/// The burst takes so much longer than its timestamps say.
const SLOWER: u32 = 2;

/// The clock of one reader, from one `PLAY` to the next `PAUSE`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StartClock {
    /// What was promised: the time of the start on the reader's timeline.
    starts_at: MediaTime,
    /// What there was at the start, if the reader begins before it.
    backlog: Option<Backlog>,
    laid: Option<Laid>,
}

/// Where the first unit was laid.
#[derive(Clone, Copy, Debug)]
struct Laid {
    /// The time on the ring's line that the start stands for.
    origin: MediaTime,
    /// The presentation time of the first unit, if what follows it is squeezed, and into how much.
    squeezed: Option<(MediaTime, MediaTime)>,
}

impl StartClock {
    /// A reader whose timeline begins at `starts_at`, and what lies between it and the live edge.
    pub(super) const fn new(starts_at: MediaTime, backlog: Option<Backlog>) -> Self {
        Self { starts_at, backlog, laid: None }
    }

    /// The place of a unit on the reader's timeline. `leads` says that it belongs to the track that the start burst
    /// is made of; units of other tracks before the start have no place.
    pub(super) fn place(&mut self, pts: MediaTime, leads: bool) -> Option<MediaTime> {
        let laid = *self.laid.get_or_insert_with(|| Self::lay(pts, self.backlog, leads));
        let true_place = match (laid.squeezed, self.backlog) {
            (Some((from, window)), Some(Backlog { edge, .. })) if leads && pts < edge => {
                edge + squeeze(pts - edge, edge - from, window)
            }
            _ => pts,
        };
        let place = true_place - laid.origin;
        // Pictures may be shown before the one they follow; their place is before the start for a moment.
        (leads || place >= MediaTime::ZERO).then(|| self.starts_at + place)
    }

    /// How long after the start a unit of the leading track may leave, so that arrival never runs behind timestamps.
    pub(super) fn leaves_after(&mut self, pts: MediaTime) -> Duration {
        if self.is_true(pts) {
            return Duration::ZERO;
        }
        let place = self.place(pts, true).map_or(MediaTime::ZERO, |place| place - self.starts_at);
        place.duration().min(WINDOW_MAX) * SLOWER
    }

    /// Moves a time of the ring onto the reader's timeline without squeezing; for reports.
    pub(super) fn true_place(&self, pts: MediaTime) -> Option<MediaTime> {
        self.laid.map(|laid| self.starts_at + (pts - laid.origin))
    }

    /// Whether `pts` lies at or after the live edge of the start: from there on places are true.
    pub(super) fn is_true(&self, pts: MediaTime) -> bool {
        self.backlog.is_none_or(|backlog| pts >= backlog.edge)
    }

    fn lay(first: MediaTime, backlog: Option<Backlog>, leads: bool) -> Laid {
        if let Some(Backlog { edge, units }) = backlog
            && leads
        {
            let ticks = i64::try_from(units.saturating_mul(TICKS_EACH)).unwrap_or(i64::MAX);
            let window = MediaTime::from_ticks(ticks, ClockRate::VIDEO).min(WINDOW_MAX.into());
            if edge - first > window {
                return Laid { origin: edge - window, squeezed: Some((first, window)) };
            }
        }
        // Nothing to squeeze, or a track that is not part of the burst came first.
        Laid { origin: first, squeezed: None }
    }
}

/// A span before the edge, negative, shrunk so that `whole` becomes `window`.
fn squeeze(before: MediaTime, whole: MediaTime, window: MediaTime) -> MediaTime {
    let shrunk = i128::from(before.flicks()) * i128::from(window.flicks()) / i128::from(whole.flicks().max(1));
    MediaTime::from_flicks(i64::try_from(shrunk).unwrap_or(i64::MIN))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::ClockRate;

    fn ms(millis: i64) -> MediaTime {
        MediaTime::from_millis(millis)
    }

    fn backlog(edge: i64, units: usize) -> Option<Backlog> {
        Some(Backlog { edge: ms(edge), units })
    }

    #[test]
    fn a_backlog_of_ten_seconds_ends_some_milliseconds_after_it_begins() {
        let first = ms(1_000_000);
        let mut clock = StartClock::new(MediaTime::ZERO, backlog(1_010_000, 251));
        let ticks: Vec<i64> =
            (0..=252).map(|n| clock.place(first + ms(n * 40), true).unwrap().ticks(ClockRate::VIDEO)).collect();
        assert_eq!((ticks[0], ticks[250]), (0, 753));
        assert!(ticks[..=250].windows(2).all(|pair| pair[0] < pair[1]), "distinct and rising");
        assert_eq!(ticks[250..], [753, 753 + 3600, 753 + 7200], "true from the live edge on");
    }

    #[test]
    fn a_short_backlog_keeps_its_times() {
        let mut clock = StartClock::new(ms(5), backlog(101, 60));
        assert_eq!([100, 101, 150].map(|t| clock.place(ms(t), true).unwrap().millis()), [5, 6, 55]);
    }

    #[test]
    fn sound_has_true_times_and_no_place_before_the_start() {
        // The widest window, 20 ms.
        let mut clock = StartClock::new(MediaTime::ZERO, backlog(10_000, 1000));
        assert_eq!(clock.place(ms(0), true), Some(ms(0)));
        assert_eq!(clock.place(ms(9_970), false), None);
        assert_eq!(clock.place(ms(9_985), false), Some(ms(5)));
        assert_eq!(clock.place(ms(10_006), false), Some(ms(26)));
        assert_eq!(clock.place(ms(10_040), true), Some(ms(60)));
    }

    #[test]
    fn a_start_at_the_live_edge_begins_with_the_first_unit_of_any_track() {
        let mut clock = StartClock::new(ms(700), None);
        assert_eq!(clock.place(ms(50), false), Some(ms(700)));
        assert_eq!(clock.place(ms(1050), true), Some(ms(1700)));
        assert_eq!(clock.true_place(ms(60)), Some(ms(710)));
    }

    #[test]
    fn reports_speak_of_the_true_line() {
        let mut clock = StartClock::new(MediaTime::ZERO, backlog(10_000, 1000));
        assert_eq!(clock.true_place(ms(0)), None);
        clock.place(ms(0), true);
        assert!(!clock.is_true(ms(9_999)) && clock.is_true(ms(10_000)));
        assert_eq!(clock.true_place(ms(10_040)), Some(ms(60)));
    }

    #[test]
    fn the_burst_leaves_slower_than_its_timestamps_run() {
        let mut clock = StartClock::new(ms(77), backlog(10_000, 251));
        let places: Vec<_> = (0..=250).map(|n| clock.place(ms(n * 40), true).unwrap() - ms(77)).collect();
        let leaves: Vec<_> = (0..=250).map(|n| MediaTime::from(clock.leaves_after(ms(n * 40)))).collect();
        assert!(places.iter().zip(&leaves).take(250).all(|(place, leaves)| *leaves >= *place + *place - ms(1)));
        assert!(leaves.iter().all(|leaves| *leaves < ms(25)), "{:?}", leaves.last());
        assert_eq!(clock.leaves_after(ms(10_040)), Duration::ZERO, "what is live never waits");
    }

    proptest! {
        #[test]
        fn places_keep_the_order_of_the_units(
            span in 1_i64..60_000,
            times in proptest::collection::vec(0_i64..120_000, 1..60),
        ) {
            let mut clock = StartClock::new(MediaTime::ZERO, backlog(span, 250));
            prop_assert_eq!(clock.place(ms(0), true), Some(ms(0)));
            let mut times = times;
            times.sort_unstable();
            let places: Vec<_> = times.iter().map(|t| clock.place(ms(*t), true).unwrap()).collect();
            prop_assert!(places.windows(2).zip(times.windows(2)).all(|(p, t)| (t[0] < t[1]) == (p[0] < p[1])));
        }
    }
}
