//! The text of a media playlist: a snapshot in, lines out (RFC 8216 §4, rfc8216bis §4.4). Nothing here waits or caches.
//!
//! Written by hand: no crate knows the low-latency tags and writes them in their places, and this costs one allocation.

use std::fmt::Write as _;

use super::names::{Piece, PieceName};
use crate::{
    cmaf::{CmafSnapshot, Segment},
    media::MediaTime,
};

/// Where another media playlist of the same path stands (rfc8216bis §4.4.5.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// Its name, relative to this one.
    pub(super) stem: &'static str,
    /// The number of its newest segment.
    pub(super) last_sequence: u64,
    /// The newest part of it, unless it is a gap.
    pub(super) last_part: Option<usize>,
}

impl Report {
    /// What a snapshot has to report.
    pub(super) fn of(stem: &'static str, snapshot: &CmafSnapshot) -> Option<Self> {
        if let Some(open) = &snapshot.open {
            return Some(Self { stem, last_sequence: open.sequence, last_part: open.parts.len().checked_sub(1) });
        }
        let last = snapshot.segments.last()?;
        Some(Self { stem, last_sequence: last.sequence, last_part: last.parts.len().checked_sub(1) })
    }
}

/// How much of a playlist is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it.
    Full,
    /// Without the segments that a client of this playlist has seen (rfc8216bis §6.2.5.1).
    Delta,
}

/// rfc8216bis §4.4.3.8: the skip boundary is six target durations at least.
const SKIP_UNTIL: i64 = 6;

/// rfc8216bis §6.2.2: parts further than three target durations from the end go.
const PARTS_WITHIN: i64 = 3;

/// Complete segments with parts, at least: more would make every answer longer, and no player asks for them. (`hls-parser`
/// takes them for parts that should have gone.)
const SEGMENTS_WITH_PARTS: usize = 2;

fn times(time: MediaTime, n: i64) -> MediaTime {
    MediaTime::from_flicks(time.flicks().saturating_mul(n))
}

/// How many segments a delta update leaves out; without any it would be the full playlist.
pub(super) fn skippable(snapshot: &CmafSnapshot) -> usize {
    // LL-06: a playlist that has ended is always given whole.
    if snapshot.ended {
        return 0;
    }
    let boundary = times(snapshot.promise.target, SKIP_UNTIL);
    let mut behind = open_duration(snapshot);
    let listed = snapshot.playlist();
    for (at, segment) in listed.iter().enumerate().rev() {
        if behind > boundary {
            return at + 1;
        }
        behind += segment.duration;
    }
    0
}

fn open_duration(snapshot: &CmafSnapshot) -> MediaTime {
    snapshot.open.as_ref().map_or(MediaTime::ZERO, |open| open.duration)
}

/// The first listed segment whose parts are listed.
fn with_parts(snapshot: &CmafSnapshot) -> usize {
    let listed = snapshot.playlist();
    let promise = &snapshot.promise;
    let most = times(promise.target, PARTS_WITHIN) - open_duration(snapshot);
    // A player of parts begins at the hold-back from the end, within a part that it finds in a whole segment (hls.js).
    let least = promise.hold_back + promise.part_target;
    let (mut first, mut complete) = (listed.len(), MediaTime::ZERO);
    while first > 0 && (listed.len() - first < SEGMENTS_WITH_PARTS || complete < least) {
        complete += listed[first - 1].duration;
        if complete > most {
            break;
        }
        first -= 1;
    }
    first
}

/// Writes a playlist.
pub(super) fn render(stem: &str, snapshot: &CmafSnapshot, form: Form, reports: &[Report]) -> String {
    let listed = snapshot.playlist();
    let skipped = if form == Form::Delta { skippable(snapshot) } else { 0 };
    let mut writer = Writer { out: String::with_capacity(1024 + listed.len() * 900), stem, snapshot, generation: None };
    writer.head(skipped);
    // What stands in the part that is left out still tells which init segment is in force.
    for segment in &listed[..skipped] {
        writer.generation = segment.init.as_ref().map(|init| init.generation).or(writer.generation);
    }
    let with_parts = with_parts(snapshot).max(skipped);
    for (at, segment) in listed.iter().enumerate().skip(skipped) {
        writer.segment(segment, at >= with_parts);
    }
    writer.tail(reports);
    writer.out
}

struct Writer<'a> {
    out: String,
    stem: &'a str,
    snapshot: &'a CmafSnapshot,
    /// The init segment in force.
    generation: Option<u32>,
}

impl<'a> Writer<'a> {
    /// Appends formatted text; writing to a string cannot fail.
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.out.write_fmt(text);
    }

    fn head(&mut self, skipped: usize) {
        let CmafSnapshot { promise, .. } = self.snapshot;
        let first = self.snapshot.playlist().first().map(|segment| &**segment).or(self.snapshot.open.as_ref());
        let sequence = first.map_or(self.snapshot.next_sequence, |first| first.sequence);
        // The first segment's own tag counts for itself.
        let discontinuities = first.map_or(0, |first| first.discontinuity_sequence - u64::from(first.discontinuity));
        // rfc8216bis §8: EXT-X-MAP takes 6, EXT-X-GAP 8, EXT-X-SKIP 9.
        let gaps = self.snapshot.playlist().iter().any(|segment| segment.gap.is_some());
        let version = if skipped > 0 { 9 } else { 6 + 2 * u8::from(gaps) };
        self.put(format_args!(
            "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.5},CAN-SKIP-UNTIL={:.1}\n\
             #EXT-X-PART-INF:PART-TARGET={:.5}\n\
             #EXT-X-MEDIA-SEQUENCE:{sequence}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuities}\n",
            promise.target.millis() / 1000,
            promise.hold_back.seconds(),
            times(promise.target, SKIP_UNTIL).seconds(),
            promise.part_target.seconds(),
        ));
        if skipped > 0 {
            self.put(format_args!("#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}\n"));
        }
    }

    fn segment(&mut self, segment: &Segment, with_parts: bool) {
        self.before(segment);
        match (with_parts, segment.gap.is_some()) {
            (true, true) => self.gap_parts(segment),
            (true, false) => self.parts(segment),
            (false, _) => {}
        }
        if segment.gap.is_some() {
            self.out.push_str("#EXT-X-GAP\n");
        }
        let name = self.name(Piece::Segment(segment.sequence));
        self.put(format_args!("#EXTINF:{:.5},\n{name}\n", segment.duration.seconds()));
    }

    /// The tags that stand before the first part of a segment.
    fn before(&mut self, segment: &Segment) {
        if segment.discontinuity {
            self.out.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if let Some(init) = &segment.init
            && self.generation != Some(init.generation)
        {
            self.generation = Some(init.generation);
            let name = self.name(Piece::Init(init.generation));
            self.put(format_args!("#EXT-X-MAP:URI=\"{name}\"\n"));
        }
        self.put(format_args!("#EXT-X-PROGRAM-DATE-TIME:{}\n", segment.captured));
    }

    fn parts(&mut self, segment: &Segment) {
        for (index, part) in segment.parts.iter().enumerate() {
            let name = self.name(Piece::Part(segment.sequence, index));
            let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
            let duration = part.duration.seconds();
            self.put(format_args!("#EXT-X-PART:DURATION={duration:.5},URI=\"{name}\"{independent}\n"));
        }
    }

    /// The parts of a segment that is not there. hls.js (1.7, `shouldLoadParts`) takes a part only when the first one of the
    /// list is at least the open segment's length before it: without these a young stream, which has nothing whole yet,
    /// would not start before its first segment is complete.
    fn gap_parts(&mut self, segment: &Segment) {
        let target = self.snapshot.promise.part_target;
        let mut rest = segment.duration;
        let mut index = 0;
        while rest > MediaTime::ZERO && target > MediaTime::ZERO {
            let length = rest.min(target);
            let name = self.name(Piece::Part(segment.sequence, index));
            self.put(format_args!("#EXT-X-PART:DURATION={:.5},URI=\"{name}\",GAP=YES\n", length.seconds()));
            rest = rest - length;
            index += 1;
        }
    }

    fn tail(&mut self, reports: &[Report]) {
        let snapshot = self.snapshot;
        if let Some(open) = &snapshot.open {
            self.before(open);
            self.parts(open);
        }
        if snapshot.ended {
            // HLS-05: no hint behind the end.
            self.out.push_str("#EXT-X-ENDLIST\n");
            return;
        }
        // LL-07: a part is hinted at only if it will come; a silent source makes none.
        if !snapshot.silent {
            let (sequence, index) = snapshot.next_part();
            let name = self.name(Piece::Part(sequence, index));
            self.put(format_args!("#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"{name}\"\n"));
        }
        for Report { stem, last_sequence, last_part } in reports {
            self.put(format_args!("#EXT-X-RENDITION-REPORT:URI=\"{stem}.m3u8\",LAST-MSN={last_sequence}"));
            if let Some(last_part) = last_part {
                self.put(format_args!(",LAST-PART={last_part}"));
            }
            self.out.push('\n');
        }
    }

    fn name(&self, piece: Piece) -> PieceName<'a> {
        PieceName { stem: self.stem, run: self.snapshot.run, piece }
    }
}
