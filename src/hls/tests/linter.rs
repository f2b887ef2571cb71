//! A linter of media playlists over time: the statements of RFC 8216 and rfc8216bis that can be seen from outside, by
//! the numbers of `docs/` (HLS-01 … LL-09, CMAF-02 … 04). It reads text and boxes by itself, not by what wrote them.

use std::collections::{BTreeMap, HashMap};

use mp4_atom::{Any, ReadFrom as _};

use crate::{
    base::Monotonic,
    cmaf::CmafSnapshot,
    hls::{
        names::{FileName, Piece},
        playlist::{self, Form},
    },
};

/// A segment as a playlist shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Entry {
    pub(super) uri: String,
    pub(super) duration: f64,
    pub(super) discontinuity: bool,
    pub(super) map: Option<String>,
    pub(super) time: Option<String>,
    pub(super) gap: bool,
    /// What its parts that are not there last together.
    pub(super) absent: f64,
    pub(super) parts: Vec<(f64, String, bool)>,
}

/// A media playlist as a reader sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parsed {
    pub(super) version: u32,
    pub(super) target: f64,
    pub(super) part_target: f64,
    pub(super) hold_back: f64,
    pub(super) skip_until: f64,
    pub(super) blocks: bool,
    pub(super) sequence: u64,
    pub(super) discontinuities: u64,
    pub(super) skipped: usize,
    pub(super) entries: Vec<Entry>,
    /// The parts after the last segment.
    pub(super) open: Entry,
    pub(super) hints: Vec<String>,
    pub(super) reports: Vec<String>,
    pub(super) ended: bool,
}

fn attribute<'a>(attributes: &'a str, name: &str) -> Option<&'a str> {
    let at = attributes.match_indices(name).find(|(at, found)| {
        let before = attributes[..*at].chars().last();
        before.is_none_or(|c| c == ',') && attributes[at + found.len()..].starts_with('=')
    })?;
    let value = &attributes[at.0 + name.len() + 1..];
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(',').next(),
    }
}

/// Reads a playlist; what it does not know is an error.
pub(super) fn parse(text: &str) -> Parsed {
    let mut parsed = Parsed::default();
    let mut entry = Entry::default();
    let number = |text: &str| text.parse::<f64>().unwrap_or_else(|_| panic!("{text:?} is no number"));
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("#EXTM3U"));
    for line in lines {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        let quoted = |name| attribute(value, name).unwrap_or_else(|| panic!("{line}: no {name}")).to_owned();
        match tag {
            "#EXT-X-VERSION" => parsed.version = value.parse().unwrap(),
            "#EXT-X-TARGETDURATION" => parsed.target = f64::from(value.parse::<u32>().unwrap()),
            "#EXT-X-SERVER-CONTROL" => {
                parsed.blocks = attribute(value, "CAN-BLOCK-RELOAD") == Some("YES");
                parsed.hold_back = number(&quoted("PART-HOLD-BACK"));
                parsed.skip_until = number(&quoted("CAN-SKIP-UNTIL"));
            }
            "#EXT-X-PART-INF" => parsed.part_target = number(&quoted("PART-TARGET")),
            "#EXT-X-MEDIA-SEQUENCE" => parsed.sequence = value.parse().unwrap(),
            "#EXT-X-DISCONTINUITY-SEQUENCE" => parsed.discontinuities = value.parse().unwrap(),
            "#EXT-X-SKIP" => parsed.skipped = quoted("SKIPPED-SEGMENTS").parse().unwrap(),
            "#EXT-X-DISCONTINUITY" => entry.discontinuity = true,
            "#EXT-X-MAP" => entry.map = Some(quoted("URI")),
            "#EXT-X-PROGRAM-DATE-TIME" => entry.time = Some(value.to_owned()),
            "#EXT-X-GAP" => entry.gap = true,
            // rfc8216bis §4.4.4.9: a part that is not there; it belongs to a gap.
            "#EXT-X-PART" if attribute(value, "GAP") == Some("YES") => entry.absent += number(&quoted("DURATION")),
            "#EXT-X-PART" => {
                let independent = attribute(value, "INDEPENDENT") == Some("YES");
                entry.parts.push((number(&quoted("DURATION")), quoted("URI"), independent));
            }
            "#EXTINF" => entry.duration = number(value.strip_suffix(',').expect("RFC 8216 §4.3.2.1: a comma")),
            "#EXT-X-PRELOAD-HINT" => {
                assert_eq!(attribute(value, "TYPE"), Some("PART"));
                parsed.hints.push(quoted("URI"));
            }
            "#EXT-X-RENDITION-REPORT" => parsed.reports.push(value.to_owned()),
            "#EXT-X-ENDLIST" => parsed.ended = true,
            _ if !line.starts_with('#') => {
                assert!(!line.contains('/') && !line.contains(':'), "a relative URI: {line}");
                entry.uri = line.to_owned();
                parsed.entries.push(std::mem::take(&mut entry));
            }
            _ => panic!("an unknown line: {line}"),
        }
    }
    parsed.open = entry;
    parsed
}

/// What is known of a segment that was in a playlist.
#[derive(Clone, Debug)]
struct Known {
    entry: Entry,
    discontinuities: u64,
    map: Option<String>,
}

/// Watches one playlist, over the restarts of what makes it.
#[derive(Debug, Default)]
pub(super) struct Linter {
    last: Option<Parsed>,
    known: BTreeMap<u64, Known>,
    /// When a segment last appeared.
    appeared: Option<Monotonic>,
    /// Parts whose tags have gone, and when; segments likewise, and how long the playlist lasted then.
    gone_parts: Vec<(u64, usize, Monotonic)>,
    gone_segments: Vec<(u64, f64, Monotonic)>,
    hint: Option<String>,
    /// The first number of this life.
    first: Option<u64>,
    /// Where the next sample of each track has to begin, within a discontinuity.
    ends: HashMap<u32, u64>,
    checked_parts: HashMap<u64, usize>,
    /// Parts a single sample of which is longer than the target.
    pub(super) overlong: usize,
    /// All but the last of a segment that do not fill 85 % of the target.
    pub(super) short: usize,
    /// Segments without a random access point.
    pub(super) dependent: usize,
    /// Parts that were hinted at and never came.
    pub(super) broken_hints: usize,
    pub(super) gaps: usize,
    pub(super) discontinuities: usize,
    pub(super) playlists: usize,
    pub(super) parts: usize,
}

/// Rounding of a written duration.
const ROUNDING: f64 = 0.000_011;

impl Linter {
    /// The muxer starts anew, and the player stays.
    pub(super) fn restart(&mut self) {
        (self.last, self.hint, self.appeared, self.first) = (None, None, None, None);
        self.gone_parts.clear();
        self.gone_segments.clear();
        self.ends.clear();
    }

    /// A playlist was published at `now`.
    pub(super) fn check(&mut self, snapshot: &CmafSnapshot, now: Monotonic) {
        let text = playlist::render("main", snapshot, Form::Full, &[]);
        let parsed = parse(&text);
        self.playlists += 1;
        self.head(&parsed, &text);
        self.delta(snapshot, &parsed);
        self.sequence(&parsed, now, &text);
        self.entries(&parsed, &text);
        self.kept(&parsed, snapshot, now);
        self.hints(&parsed, snapshot, &text);
        self.media(&parsed, snapshot);
        self.last = Some(parsed);
    }

    fn head(&self, parsed: &Parsed, text: &str) {
        let gaps = parsed.entries.iter().any(|entry| entry.gap);
        assert_eq!(parsed.version, if gaps { 8 } else { 6 }, "HLS-06: {text}");
        assert!(parsed.blocks && parsed.part_target > 0.0, "LL-01: {text}");
        assert!(parsed.hold_back >= 3.0 * parsed.part_target - 3.0 * ROUNDING, "LL-01: {text}");
        assert!(parsed.skip_until >= 6.0 * parsed.target, "LL-06: {text}");
        assert!(!text.contains("PLAYLIST-TYPE"), "HLS-05");
        if let Some(last) = &self.last {
            let promised = |p: &Parsed| (p.target, p.part_target, p.hold_back);
            assert_eq!(promised(last), promised(parsed), "promises do not change");
        }
    }

    fn delta(&self, snapshot: &CmafSnapshot, full: &Parsed) {
        if playlist::skippable(snapshot) == 0 {
            return;
        }
        let delta = parse(&playlist::render("main", snapshot, Form::Delta, &[]));
        assert_eq!((delta.version, delta.sequence, delta.discontinuities), (9, full.sequence, full.discontinuities));
        assert!(delta.skipped > 0 && !delta.ended, "LL-06");
        let behind = |at: usize| full.entries[at + 1..].iter().map(|e| e.duration).sum::<f64>() + open_duration(full);
        assert!(behind(delta.skipped - 1) > full.skip_until - ROUNDING, "LL-06: nothing within the skip boundary goes");
        let merged = full.entries[..delta.skipped].iter().chain(&delta.entries).cloned().collect::<Vec<_>>();
        assert_eq!((merged, &delta.open, &delta.hints), (full.entries.clone(), &full.open, &full.hints), "LL-06");
    }

    fn sequence(&mut self, parsed: &Parsed, now: Monotonic, text: &str) {
        let end = parsed.sequence + parsed.entries.len() as u64;
        let known_end = self.known.last_key_value().map_or(parsed.sequence, |(last, _)| last + 1);
        let known_end = known_end.max(self.first.unwrap_or(0));
        if let Some(last) = &self.last {
            assert!(parsed.sequence >= last.sequence, "HLS-02: never falls: {text}");
            assert!(parsed.sequence <= known_end, "HLS-02: rises by what was removed: {text}");
            let lasted = last.entries.iter().map(|e| e.duration).sum::<f64>();
            for gone in last.sequence..parsed.sequence {
                self.gone_segments.push((gone, lasted, now));
            }
            let with_parts = |p: &Parsed, at: usize| p.entries.get(at).is_some_and(|e| !e.parts.is_empty());
            for (at, entry) in last.entries.iter().enumerate() {
                let sequence = last.sequence + at as u64;
                let still = sequence >= parsed.sequence && with_parts(parsed, (sequence - parsed.sequence) as usize);
                if !still {
                    let parts = entry.parts.iter().enumerate();
                    self.gone_parts.extend(parts.map(|(index, _)| (sequence, index, now)));
                }
            }
        } else {
            assert!(parsed.sequence >= known_end, "HLS-02: no number is used twice: {text}");
            if let Some((_, last)) = self.known.last_key_value() {
                assert!(parsed.discontinuities > last.discontinuities, "HLS-04: another life, another number: {text}");
            }
        }
        if end > known_end || self.appeared.is_none() {
            if let Some(appeared) = self.appeared {
                let waited = now.since(appeared).as_secs_f64();
                assert!(waited <= 1.5 * parsed.target, "HLS-01: {waited} s: {text}");
            }
            self.appeared = Some(now);
        }
    }

    fn entries(&mut self, parsed: &Parsed, text: &str) {
        let mut discontinuities = parsed.discontinuities;
        let mut map = None;
        let total: f64 = parsed.entries.iter().map(|e| e.duration).sum::<f64>() + open_duration(parsed);
        let mut before = 0.0;
        for (at, entry) in parsed.entries.iter().enumerate() {
            let sequence = parsed.sequence + at as u64;
            discontinuities += u64::from(entry.discontinuity);
            if let Some(new) = &entry.map {
                assert!(
                    map.is_none() || entry.discontinuity,
                    "HLS-04: another init segment is a discontinuity: {text}"
                );
                map = Some(new.clone());
            }
            assert!(entry.duration.round() <= parsed.target, "the target duration holds: {text}");
            assert!(entry.time.is_some(), "LL-09: {text}");
            assert!(map.is_some(), "every segment has an init segment: {text}");
            let beyond = total - before - 3.0 * parsed.target;
            let slack = 100.0 * ROUNDING;
            assert!(beyond < slack || entry.parts.is_empty(), "HLS-03: parts far from the end are not listed: {text}");
            let after = total - open_duration(parsed) - before - entry.duration;
            let few = at + 2 >= parsed.entries.len() || after < parsed.hold_back + parsed.part_target - slack;
            assert!(
                !few || beyond > -slack || entry.gap || !entry.parts.is_empty(),
                "HLS-03: the last are listed: {text}"
            );
            assert!(few || entry.parts.is_empty(), "HLS-03: and no others: {text}");
            let absent = (entry.absent - entry.duration).abs() < slack;
            assert_eq!(absent, entry.gap && few && beyond <= -slack, "HLS-03: so with the parts of a gap: {text}");
            assert!(entry.absent == 0.0 || absent, "a gap is its parts: {text}");
            before += entry.duration;
            self.parts_of(entry, parsed, true, text);
            let known = Known { entry: entry.clone(), discontinuities, map: map.clone() };
            if let Some(old) = self.known.get(&sequence) {
                // Parts go, and a map is written once; all else stays as it was.
                let same = |k: &Known| {
                    let e = &k.entry;
                    (
                        e.uri.clone(),
                        e.duration,
                        e.discontinuity,
                        e.time.clone(),
                        e.gap,
                        k.discontinuities,
                        k.map.clone(),
                    )
                };
                assert_eq!(same(old), same(&known), "segment {sequence} changed: {text}");
            } else {
                self.gaps += usize::from(entry.gap);
                self.discontinuities += usize::from(entry.discontinuity);
                if let Some((_, last)) = self.known.last_key_value() {
                    assert!(
                        discontinuities >= last.discontinuities,
                        "HLS-04: discontinuity numbers never fall: {text}"
                    );
                    self.times(&last.entry, entry, text);
                }
                self.known.insert(sequence, known);
            }
        }
        self.parts_of(&parsed.open, parsed, false, text);
        let first = *self.first.get_or_insert(parsed.sequence);
        if parsed.sequence > first {
            assert!(total >= 3.0 * parsed.target, "three target durations are kept: {text}");
        }
        while self.known.len() > 64 {
            self.known.pop_first();
        }
    }

    /// LL-09: the wall clock of a segment is that of the one before plus its duration.
    fn times(&self, last: &Entry, next: &Entry, text: &str) {
        if next.discontinuity || self.last.is_none() {
            return;
        }
        let at = |entry: &Entry| entry.time.as_ref().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let passed = (at(next) - at(last)) as f64 / 1000.0;
        assert!((passed - last.duration).abs() < 0.1, "LL-09: {passed} s for {} s: {text}", last.duration);
    }

    fn parts_of(&self, entry: &Entry, parsed: &Parsed, complete: bool, text: &str) {
        if entry.parts.is_empty() {
            return;
        }
        let sum: f64 = entry.parts.iter().map(|(duration, ..)| duration).sum();
        if complete {
            let slack = ROUNDING * (entry.parts.len() + 1) as f64;
            assert!((sum - entry.duration).abs() <= slack, "a segment is its parts: {sum}: {text}");
        }
        assert!(sum <= parsed.target + 0.5, "{text}");
    }

    fn kept(&mut self, parsed: &Parsed, snapshot: &CmafSnapshot, now: Monotonic) {
        self.gone_parts.retain(|(sequence, index, gone)| {
            let wanted = now.since(*gone).as_secs_f64() < 3.0 * parsed.target;
            assert!(!wanted || snapshot.part(*sequence, *index).is_some(), "HLS-03: part {sequence}.{index} is kept");
            wanted
        });
        self.gone_segments.retain(|(sequence, lasted, gone)| {
            let wanted = now.since(*gone).as_secs_f64() < *lasted;
            assert!(!wanted || snapshot.segment(*sequence).is_some(), "HLS-02: segment {sequence} is kept");
            wanted
        });
    }

    /// LL-07
    fn hints(&mut self, parsed: &Parsed, snapshot: &CmafSnapshot, text: &str) {
        assert!(parsed.hints.len() <= 1, "LL-07: {text}");
        assert!(!parsed.ended || parsed.hints.is_empty(), "HLS-05: {text}");
        if let Some(hint) = self.hint.take() {
            let came = match FileName::parse(&hint) {
                Some(FileName::Media(_, _, _, Piece::Part(sequence, index))) => {
                    snapshot.part(sequence, index).is_some()
                }
                other => panic!("LL-07: {other:?}: {text}"),
            };
            // Allowed, and a wasted request: it is answered with 404.
            self.broken_hints += usize::from(!came && !parsed.hints.contains(&hint));
        }
        self.hint = parsed.hints.first().cloned();
        if let Some(hint) = &self.hint {
            assert!(matches!(FileName::parse(hint), Some(FileName::Media(.., Piece::Part(..)))), "{hint}");
        } else {
            assert!(parsed.ended || parsed.open.parts.is_empty(), "LL-07: a part is on its way, and hinted at: {text}");
        }
    }

    /// Reads every part once: sizes, times, random access.
    fn media(&mut self, parsed: &Parsed, snapshot: &CmafSnapshot) {
        let complete = parsed.entries.iter().enumerate().map(|(at, e)| (parsed.sequence + at as u64, e, true));
        let open = (parsed.sequence + parsed.entries.len() as u64, &parsed.open, false);
        for (sequence, entry, complete) in complete.chain([open]) {
            let seen = self.checked_parts.entry(sequence).or_default();
            let fresh: Vec<_> = entry.parts.iter().enumerate().skip(*seen).collect();
            *seen = (*seen).max(entry.parts.len());
            let last = entry.parts.len().saturating_sub(1);
            for (index, (duration, _, independent)) in &fresh {
                if *index == 0 && entry.discontinuity {
                    self.ends.clear();
                }
                self.parts += 1;
                let part = snapshot.part(sequence, *index).expect("a listed part should be there");
                let (samples, random_access) = self.part(&part.body, sequence, *index);
                assert_eq!(random_access, *independent, "LL-02: {sequence}.{index}");
                if *duration > parsed.part_target + ROUNDING {
                    assert_eq!(samples, 1, "LL-02: {duration} s of {samples} samples");
                    self.overlong += 1;
                }
                // Whether it is the last is known when the segment is complete, or another part has come.
                if *index < last && *duration < 0.85 * parsed.part_target - ROUNDING {
                    self.short += 1;
                }
            }
            if complete && !fresh.is_empty() && !entry.parts.iter().any(|(_, _, independent)| *independent) {
                self.dependent += 1;
            }
        }
        self.checked_parts.retain(|sequence, _| *sequence >= parsed.sequence);
    }

    /// Samples of the first track, and whether one of them is a random access point.
    fn part(&mut self, body: &[u8], sequence: u64, index: usize) -> (usize, bool) {
        let mut rest = body;
        let Some(Any::Moof(moof)) = Option::<Any>::read_from(&mut rest).unwrap() else { panic!("CMAF-02: a moof") };
        let Some(Any::Mdat(mdat)) = Option::<Any>::read_from(&mut rest).unwrap() else { panic!("CMAF-02: an mdat") };
        assert!(rest.is_empty(), "CMAF-02: nothing else");
        let mut shape = None;
        let mut bytes = 0;
        for traf in &moof.traf {
            assert!(traf.tfhd.default_base_is_moof && traf.tfhd.base_data_offset.is_none(), "CMAF-02");
            let mut time = traf.tfdt.as_ref().expect("CMAF-02: a tfdt").base_media_decode_time;
            let end = self.ends.entry(traf.tfhd.track_id).or_insert(time);
            // CMAF-03; the sound may have a hole, a picture lasts until the next one.
            let sound = traf.tfhd.default_sample_flags.is_some();
            assert!(time == *end || sound && time > *end, "CMAF-03: {sequence}.{index}: {time} after {end}");
            let mut random_access = false;
            for entry in traf.trun[0].samples.iter() {
                assert!(entry.duration.unwrap() > 0, "a sample lasts");
                time += u64::from(entry.duration.unwrap());
                bytes += entry.size.unwrap() as usize;
                random_access |= entry.flags.or(traf.tfhd.default_sample_flags) == Some(0x0200_0000);
            }
            *end = time;
            shape.get_or_insert((traf.trun[0].samples.len(), random_access));
        }
        assert_eq!(bytes, mdat.data.len(), "CMAF-02: samples fill the mdat");
        shape.expect("a part should have samples")
    }
}

fn open_duration(parsed: &Parsed) -> f64 {
    parsed.open.parts.iter().map(|(duration, ..)| duration).sum()
}
