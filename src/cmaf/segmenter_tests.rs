//! Tests of the segmenter: what is cut where.

use super::*;
use crate::cmaf::testing::{self, Camera, wall};

const SECOND: MediaTime = MediaTime::from_millis(1000);

fn policy() -> SegmentPolicy {
    let ms = MediaTime::from_millis;
    SegmentPolicy { part: ms(200), segment: ms(2000), target: ms(4000), bytes: 1 << 20 }
}

fn segmenter(camera: &Camera, selection: Selection) -> Segmenter {
    Segmenter::new(policy(), selection, &camera.set, MediaTime::ZERO).unwrap()
}

/// A segment as it came out.
#[derive(Debug, Default)]
struct Seen {
    parts: Vec<Part>,
    discontinuity: bool,
    independent: bool,
    gap: Option<MediaTime>,
    complete: bool,
    captured: Option<WallTime>,
}

impl Seen {
    fn duration(&self) -> MediaTime {
        self.gap.unwrap_or_else(|| self.parts.iter().fold(MediaTime::ZERO, |sum, part| sum + part.duration))
    }
}

fn collect(seen: &mut Vec<Seen>, steps: Vec<Step>) {
    for step in steps {
        match step {
            Step::Open { captured, discontinuity, independent, .. } => {
                assert!(seen.last().is_none_or(|last| last.complete), "one segment is open at a time");
                seen.push(Seen { discontinuity, independent, captured: Some(captured), ..Seen::default() });
            }
            Step::Part(part) => seen.last_mut().unwrap().parts.push(part),
            Step::Close => seen.last_mut().unwrap().complete = true,
            Step::Gap { duration, captured, .. } => {
                seen.push(Seen { gap: Some(duration), complete: true, captured: Some(captured), ..Seen::default() });
            }
        }
    }
}

/// As [`run_all`], without the lead-in.
fn run(segmenter: &mut Segmenter, camera: &mut Camera, until: MediaTime) -> Vec<Seen> {
    let starts = segmenter.end.is_none();
    run_all(segmenter, camera, until).split_off(usize::from(starts))
}

/// Feeds the camera's units up to a time on its timeline; timeouts are handled as they fall due.
fn run_all(segmenter: &mut Segmenter, camera: &mut Camera, until: MediaTime) -> Vec<Seen> {
    let mut seen = Vec::new();
    loop {
        let mut ahead = camera.clone();
        let unit = ahead.next_unit();
        if unit.dts >= until {
            return seen;
        }
        *camera = ahead;
        while let Some(deadline) = segmenter.poll_deadline().filter(|deadline| *deadline <= unit.arrived) {
            segmenter.handle_timeout(deadline);
        }
        segmenter.push(&unit, wall(unit.arrived));
        collect(&mut seen, segmenter.poll_steps());
    }
}

#[test]
fn segments_begin_at_random_access_points_around_the_wanted_length() {
    for (gop, expected_ms) in [(50, 2000), (25, 2000), (10, 2000), (30, 2400), (75, 3000), (100, 4000), (48, 1920)] {
        let mut camera = Camera::new(vec![testing::h264(), testing::aac(48_000)], 25.0, gop);
        let mut segmenter = segmenter(&camera, Selection::Muxed);
        let seen = run(&mut segmenter, &mut camera, SECOND + SECOND + MediaTime::from_millis(40_000));
        let complete: Vec<_> = seen.iter().filter(|segment| segment.complete).collect();
        assert!(complete.len() >= 7);
        for segment in complete {
            assert_eq!(segment.duration().millis(), expected_ms, "GOP of {gop}");
            assert!(segment.independent && !segment.discontinuity && segment.gap.is_none());
            assert!(segment.parts[0].independent);
        }
    }
}

#[test]
fn parts_keep_within_the_target_and_fill_it() {
    for fps in [25.0, 24.0, 30_000.0 / 1001.0, 12.0, 15.0, 50.0, 7.0] {
        let mut camera = Camera::new(vec![testing::h264()], fps, (fps * 2.0) as u64);
        let mut segmenter = segmenter(&camera, Selection::Muxed);
        let seen = run(&mut segmenter, &mut camera, MediaTime::from_millis(50_000));
        let target = segmenter.part_target().unwrap();
        for segment in seen.iter().filter(|segment| segment.complete) {
            let (_, all_but_last) = segment.parts.split_last().unwrap();
            for part in all_but_last {
                let least = MediaTime::from_flicks((target.flicks() as f64 * 0.85) as i64);
                assert!(
                    part.duration <= target && part.duration >= least,
                    "{fps} fps: {:?} of {target:?}",
                    part.duration
                );
            }
            assert!(segment.parts.last().unwrap().duration <= target);
        }
    }
}

#[test]
fn a_gop_beyond_the_target_is_cut_without_a_random_access_point_and_says_so() {
    let mut camera = Camera::new(vec![testing::h264()], 25.0, 250);
    let mut segmenter = segmenter(&camera, Selection::Muxed);
    let seen = run(&mut segmenter, &mut camera, MediaTime::from_millis(40_000));
    let shape: Vec<_> = seen.iter().take(6).map(|s| (s.duration().millis(), s.independent, s.discontinuity)).collect();
    assert_eq!(
        shape,
        [
            (4000, true, false),
            (4000, false, false),
            (2000, false, false),
            (4000, true, false),
            (4000, false, false),
            (2000, false, false)
        ]
    );
}

#[test]
fn silence_becomes_gaps_in_time_and_the_source_comes_back_with_a_discontinuity() {
    let mut camera = Camera::new(vec![testing::h264(), testing::opus()], 25.0, 50);
    let mut segmenter = segmenter(&camera, Selection::Muxed);
    let mut seen = run(&mut segmenter, &mut camera, MediaTime::from_millis(15_000));
    // Twenty seconds of nothing.
    let mut now = testing::ms(15_000);
    let (mut published, mut longest) = (testing::ms(14_000), Duration::ZERO);
    while let Some(deadline) = segmenter.poll_deadline().filter(|deadline| *deadline < testing::ms(35_000)) {
        assert!(deadline > now, "time goes on");
        now = deadline;
        segmenter.handle_timeout(now);
        longest = longest.max(now.since(published));
        published = now;
        collect(&mut seen, segmenter.poll_steps());
    }
    assert!(longest <= Duration::from_secs(6), "1.5 target durations: {longest:?}");
    assert!(seen.iter().filter(|segment| segment.gap.is_some()).count() >= 4);
    // It is back, 20 s later on its timeline too, as the hub splices it.
    camera.away(MediaTime::from_millis(20_000));
    seen.extend(run(&mut segmenter, &mut camera, MediaTime::from_millis(40_000)));
    let back = seen.iter().position(|segment| segment.discontinuity).unwrap();
    assert!(seen[back].independent && seen[..back].iter().all(|segment| segment.complete));
    // Playlist time and wall time agree over the gap.
    let playlist: i64 = seen[..back].iter().map(|segment| segment.duration().nanos()).sum();
    let wall_clock = seen[back].captured.unwrap().nanos_since(seen[0].captured.unwrap());
    assert!((playlist - wall_clock).abs() <= 500_000_000, "{playlist} {wall_clock}");
    assert!(seen.iter().all(|segment| segment.duration() <= policy().target));
}

#[test]
fn the_first_unit_of_another_run_begins_a_discontinuity_at_once() {
    let mut camera = Camera::new(vec![testing::h264()], 25.0, 50);
    let mut segmenter = segmenter(&camera, Selection::Muxed);
    let mut seen = run(&mut segmenter, &mut camera, MediaTime::from_millis(11_000));
    camera.away(SECOND);
    let mut sent = camera.next_sent();
    sent.spliced(true);
    segmenter.push(&sent.into_unit(), testing::EPOCH);
    collect(&mut seen, segmenter.poll_steps());
    let shape: Vec<_> = seen.iter().map(|s| (s.duration().millis(), s.complete, s.discontinuity)).collect();
    assert_eq!(shape, [(1000, true, false), (1000, true, false), (0, false, true)]);
}

#[test]
fn other_parameters_bring_another_init_segment_and_a_discontinuity() {
    let mut camera = Camera::new(vec![testing::h264(), testing::aac(48_000)], 25.0, 50);
    let mut segmenter = segmenter(&camera, Selection::Muxed);
    let mut seen = run(&mut segmenter, &mut camera, MediaTime::from_millis(13_000));
    let other = testing::track_set(vec![testing::h265(), testing::aac(44_100)]);
    segmenter.handle_tracks(&other).unwrap();
    camera.set = Arc::new(other);
    camera.restart_gop();
    for _ in 0..100 {
        segmenter.push(&camera.next_unit(), testing::EPOCH);
    }
    let steps = segmenter.poll_steps();
    let init = steps.iter().rev().find_map(|step| match step {
        Step::Open { init, discontinuity: true, .. } => Some(init.clone()),
        _ => None,
    });
    let init = init.unwrap();
    assert_eq!((init.generation, init.tracks.len()), (1, 2));
    assert!(init.body.windows(4).any(|window| window == b"hvc1"));
    collect(&mut seen, steps);
    assert!(seen.iter().all(|segment| segment.complete || segment.discontinuity));
}

#[test]
fn a_set_without_anything_to_carry_leaves_gaps_until_another_one_comes() {
    let mut camera = Camera::new(vec![testing::h264()], 25.0, 50);
    let mut segmenter = segmenter(&camera, Selection::Muxed);
    run(&mut segmenter, &mut camera, MediaTime::from_millis(13_000));
    segmenter.handle_tracks(&testing::track_set(vec![testing::g711()])).unwrap();
    assert!(segmenter.carried().tracks.is_empty());
    let mut seen = Vec::new();
    collect(&mut seen, segmenter.poll_steps().split_off(2));
    let mut now = testing::ms(13_000);
    for _ in 0..3 {
        now = segmenter.poll_deadline().unwrap();
        segmenter.handle_timeout(now);
    }
    collect(&mut seen, segmenter.poll_steps());
    assert!(seen.iter().filter(|segment| segment.gap.is_some()).count() >= 2);
    assert!(now < testing::ms(25_000));
}

#[test]
fn sound_alone_is_cut_like_pictures() {
    let mut camera = Camera::new(vec![testing::aac(44_100)], 1.0, 1);
    let mut segmenter = segmenter(&camera, Selection::Muxed);
    let seen = run_all(&mut segmenter, &mut camera, MediaTime::from_millis(30_000));
    let complete: Vec<_> = seen.iter().filter(|segment| segment.complete).collect();
    assert!(complete.len() >= 8, "{}", complete.len());
    for segment in complete {
        assert!((1900..=2100).contains(&segment.duration().millis()), "{:?}", segment.duration());
        assert!(segment.parts.iter().all(|part| part.independent));
    }
}

#[test]
fn two_pictures_at_one_time_and_a_slow_camera_are_no_trouble() {
    let mut camera = Camera::new(vec![testing::h264()], 1.0, 5);
    let mut slow = segmenter(&camera, Selection::Muxed);
    let seen = run(&mut slow, &mut camera, MediaTime::from_millis(60_000));
    assert_eq!(slow.part_target(), Some(SECOND));
    assert!(seen.iter().all(|segment| segment.gap.is_none() && !segment.discontinuity));
    assert!(seen.len() > 8);

    let mut camera = Camera::new(vec![testing::h264()], 25.0, 50);
    let mut twice = segmenter(&camera, Selection::Muxed);
    let mut parts = 0;
    for _ in 0..200 {
        let unit = camera.next_unit();
        twice.push(&unit, testing::EPOCH);
        if !unit.random_access {
            twice.push(&unit, testing::EPOCH);
        }
        parts += twice.poll_steps().iter().filter(|step| matches!(step, Step::Part(_))).count();
    }
    assert!(parts > 30, "{parts}");
}

#[test]
fn a_flood_of_bytes_is_cut_before_it_fills_the_memory() {
    let mut camera = Camera::new(vec![testing::h264()], 25.0, 10_000);
    let policy = SegmentPolicy { bytes: 50_000, ..policy() };
    let mut segmenter = Segmenter::new(policy, Selection::Muxed, &camera.set, MediaTime::ZERO).unwrap();
    let seen = run(&mut segmenter, &mut camera, MediaTime::from_millis(20_000));
    for segment in &seen {
        let bytes: usize = segment.parts.iter().map(|part| part.body.len()).sum();
        assert!(bytes < 60_000, "{bytes}");
    }
}

#[test]
fn the_first_picture_stands_still_in_silence_before_it_moves() {
    for (sound, packet) in [(testing::aac(48_000), &[0x21, 0x00][..]), (testing::opus(), &[0xfc, 0xff])] {
        let mut camera = Camera::new(vec![testing::h264(), sound], 25.0, 50);
        let mut segmenter = segmenter(&camera, Selection::Muxed);
        let seen = run_all(&mut segmenter, &mut camera, MediaTime::from_millis(13_000));
        let (still, first) = (&seen[0], &seen[1]);
        assert!(still.complete && still.independent && !first.discontinuity);
        assert_eq!((still.duration(), still.parts.len()), (SECOND, 5));
        assert_eq!(first.captured.unwrap().nanos_since(still.captured.unwrap()), 1_000_000_000);
        for part in &still.parts {
            assert!(part.independent && part.body.windows(packet.len()).any(|window| window == packet));
        }
    }
    // A picture that others may not follow twice is not shown twice, nor is sound.
    for mut camera in [Camera::new(vec![testing::h264()], 25.0, 50), Camera::new(vec![testing::opus()], 25.0, 50)] {
        let mut segmenter = segmenter(&camera, Selection::Muxed);
        camera.recovery_points = true;
        assert!(run_all(&mut segmenter, &mut camera, MediaTime::from_millis(13_000))[0].parts.len() > 5);
    }
}
