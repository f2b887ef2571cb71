//! What a blocked request waits for (rfc8216bis §6.2.5.2), held against every snapshot of a stream.

use std::{sync::Arc, time::Duration};

use crate::{
    cmaf::{
        CmafPolicy, CmafSnapshot, Recalled, Selection,
        testing::{self, Camera, Studio, wall},
    },
    hls::directive::{DirectiveError, Until},
    media::MediaTime,
};

/// Every snapshot of so many seconds of a camera; then it is silent.
fn snapshots(seconds: i64) -> Vec<Arc<CmafSnapshot>> {
    let policy = CmafPolicy {
        part: Duration::from_millis(200),
        segment: Duration::from_secs(2),
        segments: 8,
        max_bytes: 64 << 20,
        close_after: None,
    };
    let mut camera = Camera::new(vec![testing::h264(), testing::aac(48_000)], 25.0, 50);
    let recalled =
        Recalled { next_sequence: 1, discontinuity_sequence: 0, known: false, target_duration: Duration::from_secs(4) };
    let mut production = Studio::new(policy, Selection::Muxed, &camera.set, recalled).production;
    let mut seen = Vec::new();
    let until = camera.time() + MediaTime::from_millis(seconds * 1000);
    while camera.time() < until {
        let unit = camera.next_unit();
        production.push(&unit, wall(unit.arrived));
        seen.extend(production.poll_progress().and_then(|progress| progress.snapshot));
    }
    for _ in 0..4 {
        production.handle_timeout(production.poll_deadline().unwrap());
        seen.extend(production.poll_progress().and_then(|progress| progress.snapshot));
    }
    seen
}

/// Whether a playlist shows a part of this index or a later one of this segment, or anything of a later segment.
fn shows(snapshot: &CmafSnapshot, msn: u64, part: u64) -> bool {
    let segments = snapshot.segments.iter().map(|segment| &**segment).chain(&snapshot.open);
    let mut newer = segments.filter(|segment| segment.sequence >= msn);
    newer.any(|segment| segment.sequence > msn || segment.parts.len() as u64 > part)
}

#[test]
fn a_part_past_the_last_of_a_segment_is_the_first_of_the_next() {
    let seen = snapshots(13);
    // The lead-in is segment 1, those after it have ten parts.
    for snapshot in &seen {
        assert_eq!(Until::Part(3, 10).is_in(snapshot), shows(snapshot, 4, 0), "one past the last");
        assert_eq!(Until::Part(3, 14).is_in(snapshot), shows(snapshot, 4, 0), "some past the last");
        assert_eq!(Until::Part(3, u64::MAX).is_in(snapshot), shows(snapshot, 4, 0));
        assert_eq!(Until::Part(3, 9).is_in(snapshot), shows(snapshot, 3, 9), "the last");
        assert_eq!(Until::Part(4, 0).is_in(snapshot), shows(snapshot, 4, 0));
    }
    let between = |snapshot: &&Arc<CmafSnapshot>| snapshot.last_complete() == Some(3) && snapshot.open.is_none();
    assert_eq!(seen.iter().filter(between).count(), 1, "complete, and nothing of the next");
}

#[test]
fn a_part_asked_of_a_complete_segment_is_never_too_far_ahead() {
    for snapshot in snapshots(13) {
        let Some(complete) = snapshot.last_complete() else { continue };
        assert_eq!(Until::Part(complete, 10).check(&snapshot), Ok(()));
        assert_eq!(Until::Part(complete, u64::MAX).check(&snapshot), Ok(()));
        let (next, parts) = snapshot.next_part();
        assert_eq!(Until::Part(next, parts as u64 + 15).check(&snapshot), Ok(()), "three seconds of parts");
        let too_far = |until: Until| matches!(until.check(&snapshot), Err(DirectiveError::TooFarAhead { .. }));
        assert!(too_far(Until::Part(next, parts as u64 + 16)) && too_far(Until::Segment(next + 3)));
    }
}

#[test]
fn a_gap_ends_the_wait_for_the_parts_it_took_the_place_of() {
    let seen = snapshots(5);
    let gap = seen.last().unwrap().segments.iter().find(|segment| segment.gap.is_some()).unwrap().sequence;
    for snapshot in &seen {
        assert_eq!(Until::Part(gap - 1, 10_000).is_in(snapshot), snapshot.last_complete() >= Some(gap));
        assert_eq!(Until::Segment(gap).is_in(snapshot), snapshot.last_complete() >= Some(gap));
    }
    assert!(seen.last().unwrap().last_complete() > Some(gap), "gaps go on");
}
