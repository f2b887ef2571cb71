//! Hours of cameras as they are, in simulated time: the linter looks at every playlist.

use std::{sync::Arc, time::Duration};

use super::linter::Linter;
use crate::{
    base::{Monotonic, Rendition},
    cmaf::{
        CmafPolicy, CmafSnapshot, Recalled, Selection,
        testing::{self, Camera, Studio, wall},
    },
    media::{MediaTime, TrackDescription},
};

const POLICY: CmafPolicy = CmafPolicy {
    part: Duration::from_millis(200),
    segment: Duration::from_secs(2),
    segments: 8,
    max_bytes: 64 << 20,
    close_after: None,
};

/// A camera, what is made of it, and a strict eye on it.
struct Hour {
    camera: Camera,
    studio: Studio,
    linter: Linter,
    selection: Selection,
    now: Monotonic,
    last: Option<Arc<CmafSnapshot>>,
    published: u64,
}

impl Hour {
    fn new(camera: Camera, selection: Selection, policy: CmafPolicy, target: u64) -> Self {
        let recalled = Recalled {
            next_sequence: 0,
            discontinuity_sequence: 0,
            known: false,
            target_duration: Duration::from_secs(target),
        };
        let studio = Studio::new(policy, selection, &camera.set, recalled);
        Self {
            camera,
            studio,
            linter: Linter::default(),
            selection,
            now: Monotonic::default(),
            last: None,
            published: 0,
        }
    }

    /// So long of the camera as it is.
    fn play(&mut self, seconds: i64) {
        self.play_with(seconds, |_, _| true);
    }

    /// So long of the camera, without the units that `comes` keeps out.
    fn play_with(&mut self, seconds: i64, mut comes: impl FnMut(&mut testing::Sent, u64) -> bool) {
        let until = self.camera.time() + MediaTime::from_millis(seconds * 1000);
        while self.camera.time() < until {
            let mut sent = self.camera.next_sent();
            let number = self.camera.frames;
            self.pass(sent.arrived());
            if comes(&mut sent, number) {
                let unit = sent.into_unit();
                self.studio.production.push(&unit, wall(unit.arrived));
                self.look();
            }
        }
    }

    /// So long of the camera is in the ring already.
    fn backlog(&mut self, seconds: i64) {
        let until = self.camera.time() + MediaTime::from_millis(seconds * 1000);
        while self.camera.time() < until {
            let unit = self.camera.next_unit();
            self.studio.production.push(&unit, wall(unit.arrived));
            self.now = unit.arrived;
        }
        self.look();
    }

    /// Time passes.
    fn pass(&mut self, now: Monotonic) {
        while let Some(deadline) = self.studio.production.poll_deadline().filter(|deadline| *deadline <= now) {
            assert!(deadline >= self.now || self.now == Monotonic::default(), "time goes on");
            self.now = deadline;
            self.studio.production.handle_timeout(deadline);
            self.look();
        }
        self.now = self.now.max(now);
    }

    fn look(&mut self) {
        if let Some(progress) = self.studio.production.poll_progress()
            && let Some(snapshot) = progress.snapshot
        {
            self.published += 1;
            // Every part is listed long enough to be seen a few playlists later.
            if progress.segments || self.published < 200 || self.published.is_multiple_of(6) {
                self.linter.check(&snapshot, self.now);
            }
            self.last = Some(snapshot);
        }
    }

    /// The source is away for so long; it comes back at a random access point of another run.
    fn away(&mut self, seconds: i64) {
        self.camera.away(MediaTime::from_millis(seconds * 1000));
        self.pass(self.camera.arrives());
        let mut first = [true; 2];
        self.play_with(1, |sent, _| {
            let place = usize::from(sent.track().0);
            sent.spliced(std::mem::take(&mut first[place]));
            true
        });
    }

    /// The server crashed: numbers go on above what was written down ahead.
    fn crash(&mut self) {
        let (next, era) = self.studio.production.numbers();
        let recalled = Recalled {
            next_sequence: next + 300,
            discontinuity_sequence: era + 20,
            known: true,
            target_duration: self.studio.target,
        };
        self.studio = Studio::new(self.studio.policy, self.selection, &self.camera.set, recalled);
        self.linter.restart();
        self.camera.restart_gop();
    }
}

fn muxed() -> Vec<TrackDescription> {
    vec![testing::h264(), testing::aac(48_000)]
}

#[test]
fn an_hour_of_a_camera_as_it_should_be() {
    let mut hour = Hour::new(Camera::new(muxed(), 25.0, 50), Selection::Muxed, POLICY, 4);
    hour.play(3600);
    let linter = &hour.linter;
    assert!(hour.published > 17_000 && linter.parts > 17_000, "{} {}", hour.published, linter.parts);
    assert_eq!((linter.gaps, linter.discontinuities, linter.dependent), (0, 0, 0));
    assert_eq!((linter.overlong, linter.short, linter.broken_hints), (0, 0, 0));
}

#[test]
fn an_hour_of_trouble() {
    let mut camera = Camera::new(muxed(), 25.0, 48);
    camera.reorder = vec![1, 3, 0, 0];
    let mut hour = Hour::new(camera, Selection::Muxed, POLICY, 4);
    for round in 0..10_u64 {
        hour.play(60);
        // Loss: every seventh picture of ten seconds, then a hole of half a second.
        hour.play_with(10, |_, number| number % 7 != 0);
        hour.play_with(1, |sent, number| sent.track().0 == 1 || number % 25 < 12);
        hour.play(20);
        // Sound stutters, and is gone for a while.
        hour.play_with(20, |sent, number| sent.track().0 == 0 || number % 50 < 25);
        hour.play_with(5, |sent, _| sent.track().0 == 0);
        // Longer GOPs than the target duration.
        hour.camera.gop = 250;
        hour.play(60);
        hour.camera.gop = 48;
        hour.play(20);
        // Away for a moment, for a while, for long.
        for seconds in [1, 7, 33 + round as i64] {
            hour.away(seconds);
            hour.play(30);
        }
        if round % 3 == 2 {
            hour.crash();
        }
    }
    let linter = &hour.linter;
    assert!(linter.gaps > 100 && linter.discontinuities >= 30, "{linter:?}");
    assert!(linter.dependent > 0, "long GOPs are cut");
    assert!(linter.broken_hints <= 3, "LL-07: {}", linter.broken_hints);
    assert!(linter.overlong <= 40, "{}", linter.overlong);
}

#[test]
fn ten_minutes_of_every_rhythm_and_selection() {
    for (tracks, fps, gop, selection) in [
        (muxed(), 30_000.0 / 1001.0, 60, Selection::Muxed),
        (muxed(), 24.0, 48, Selection::Muxed),
        (muxed(), 12.0, 12, Selection::Muxed),
        (muxed(), 15.0, 30, Selection::Video),
        (muxed(), 50.0, 75, Selection::Muxed),
        (muxed(), 1.0, 2, Selection::Muxed),
        (muxed(), 25.0, 50, Selection::Audio),
        (vec![testing::h265(), testing::opus()], 20.0, 80, Selection::Muxed),
        (vec![testing::h264(), testing::aac(44_100)], 25.0, 13, Selection::Muxed),
        (vec![testing::aac(16_000)], 1.0, 1, Selection::Muxed),
        (vec![testing::opus()], 1.0, 1, Selection::Muxed),
    ] {
        let name = format!("{fps} fps, GOP {gop}, {selection:?}");
        let mut hour = Hour::new(Camera::new(tracks, fps, gop), selection, POLICY, 4);
        hour.play(600);
        let linter = &hour.linter;
        assert_eq!((linter.discontinuities, linter.dependent, linter.overlong, linter.short), (0, 0, 0, 0), "{name}");
        assert_eq!((linter.gaps, linter.broken_hints), (0, 0), "{name}");
    }
}

#[test]
fn a_long_window_is_skipped_in_delta_updates() {
    let policy = CmafPolicy { segments: 60, ..POLICY };
    let mut hour = Hour::new(Camera::new(muxed(), 25.0, 50), Selection::Muxed, policy, 4);
    hour.play(300);
    assert!(hour.linter.parts > 1400);
}

#[test]
fn a_remembered_long_gop_is_not_cut() {
    let mut hour = Hour::new(Camera::new(muxed(), 25.0, 250), Selection::Muxed, POLICY, 10);
    hour.play(600);
    assert_eq!((hour.linter.dependent, hour.linter.overlong), (0, 0));
}

#[test]
fn jittery_timestamps_keep_the_rules() {
    let mut camera = Camera::new(muxed(), 25.0, 50);
    camera.jitter = MediaTime::from_millis(6);
    let mut hour = Hour::new(camera, Selection::Muxed, POLICY, 4);
    hour.backlog(2);
    hour.play(600);
    let linter = &hour.linter;
    assert_eq!((linter.dependent, linter.overlong), (0, 0));
    assert!(linter.short * 20 < linter.parts, "{} of {}", linter.short, linter.parts);
}

#[test]
fn a_picture_that_lasts_a_little_longer_shortens_no_part_after_it() {
    // A file that is sent over and over: its last picture lasts until its sound has ended.
    let mut hour = Hour::new(Camera::new(muxed(), 25.0, 100), Selection::Muxed, POLICY, 4);
    hour.backlog(3);
    for _ in 0..20 {
        hour.play(12);
        hour.camera.away(MediaTime::from_millis(5));
    }
    let linter = &hour.linter;
    assert_eq!((linter.dependent, linter.discontinuities, linter.overlong), (0, 0, 0));
    assert!(linter.short <= 20, "{}", linter.short);
}

#[test]
fn a_camera_that_slows_down_at_night_keeps_playing() {
    let mut hour = Hour::new(Camera::new(muxed(), 25.0, 50), Selection::Muxed, POLICY, 4);
    hour.play(120);
    hour.camera.change_rhythm(5.0, 10);
    hour.play(300);
    hour.camera.change_rhythm(25.0, 50);
    hour.play(120);
    let linter = &hour.linter;
    assert_eq!((linter.gaps, linter.discontinuities, linter.overlong), (0, 0, 0));
}

#[test]
fn two_renditions_keep_one_count_of_discontinuities_and_one_timeline() {
    let studio = |rendition, line: &testing::SharedLine, camera: &Camera| {
        let recalled = Recalled {
            next_sequence: 0,
            discontinuity_sequence: 0,
            known: false,
            target_duration: Duration::from_secs(4),
        };
        Studio::on_line(line, rendition, POLICY, Selection::Muxed, camera, recalled)
    };
    let line = testing::SharedLine::default();
    let main_camera = Camera::new(muxed(), 25.0, 50);
    let mut main = Hour {
        studio: studio(Rendition::Main, &line, &main_camera),
        camera: main_camera,
        linter: Linter::default(),
        selection: Selection::Muxed,
        now: Monotonic::default(),
        last: None,
        published: 0,
    };
    main.play(95);
    // The smaller one is opened later, by somebody on a thin line: its own timeline begins where all do.
    let mut sub_camera = Camera::new(vec![testing::h264()], 10.0, 20);
    sub_camera.starts_at(main.camera.time());
    let mut sub = Hour {
        studio: studio(Rendition::Sub, &line, &sub_camera),
        camera: sub_camera,
        linter: Linter::default(),
        selection: Selection::Muxed,
        now: main.now,
        last: None,
        published: 0,
    };
    for round in 0..6 {
        main.play(11);
        sub.play(11);
        match round {
            1 => main.away(3),
            3 => {
                main.away(5);
                sub.away(5);
            }
            _ => {}
        }
    }
    main.play(8);
    sub.play(8);
    let newest = |hour: &Hour| hour.last.as_ref().unwrap().segments.last().unwrap().discontinuity_sequence;
    assert_eq!(newest(&main), newest(&sub));
    assert!(newest(&main) >= 2, "{}", newest(&main));
    // LL-09: the same moment has the same time on both.
    let zero = |hour: &Hour| {
        let (arrived, time) = hour.studio.production.newest().unwrap();
        time.seconds() - arrived.as_nanos() as f64 / 1e9
    };
    assert!((zero(&main) - zero(&sub)).abs() < 0.2, "{} {}", zero(&main), zero(&sub));
}
