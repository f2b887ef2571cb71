//! The delivery directives of a playlist request: `_HLS_msn`, `_HLS_part`, `_HLS_skip` (rfc8216bis §6.2.5). A value; it
//! waits for nothing.

use crate::cmaf::CmafSnapshot;

/// What a client asks of a playlist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// Hold the answer until the playlist has this.
    pub until: Option<Until>,
    /// Leave out the segments that the client has seen.
    pub skip: bool,
    /// What a playlist must have to be any use to the client.
    pub first: FirstAnswer,
}

/// What the first playlist of a stream that has just begun must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FirstAnswer {
    /// Whatever there is: a part is enough for who knows parts, and who does not asks again.
    #[default]
    AtOnce,
    /// A whole segment: ffmpeg up to 7.1 takes a playlist without one for a stream without tracks, and gives up.
    WithSegment,
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The whole segment of this number, or a later one.
    Segment(u64),
    /// This part of the segment of this number, or anything later.
    Part(u64, u64),
}

/// Why a query cannot be obeyed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectiveError {
    /// Not a decimal number.
    #[error("{name} wants a whole number, found {value:?}")]
    Number {
        /// The directive.
        name: &'static str,
        /// What stood there.
        value: String,
    },
    /// `_HLS_skip` has two words.
    #[error("_HLS_skip wants YES or v2, found {0:?}")]
    Skip(String),
    /// The same one twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
    /// §6.2.5.2: a part belongs to a segment.
    #[error("_HLS_part needs _HLS_msn")]
    PartAlone,
    /// §6.2.5.2: beyond what could be published soon.
    #[error("the playlist is not near that yet: it ends in segment {newest}")]
    TooFarAhead {
        /// The number of the newest segment.
        newest: u64,
    },
}

impl Directives {
    /// Reads the query of a URL. Other keys are none of ours; directives that a later draft may add are ignored.
    ///
    /// # Errors
    /// A known directive with a value that it cannot have.
    pub fn parse(query: Option<&str>) -> Result<Self, DirectiveError> {
        let (mut msn, mut part, mut skip) = (None, None, None);
        for (key, value) in query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        {
            match key {
                "_HLS_msn" => once(&mut msn, "_HLS_msn", number("_HLS_msn", value)?)?,
                "_HLS_part" => once(&mut part, "_HLS_part", number("_HLS_part", value)?)?,
                "_HLS_skip" if matches!(value, "YES" | "v2") => once(&mut skip, "_HLS_skip", ())?,
                "_HLS_skip" => return Err(DirectiveError::Skip(value.chars().take(32).collect())),
                _ => {}
            }
        }
        let until = match (msn, part) {
            (Some(msn), Some(part)) => Some(Until::Part(msn, part)),
            (Some(msn), None) => Some(Until::Segment(msn)),
            (None, Some(_)) => return Err(DirectiveError::PartAlone),
            (None, None) => None,
        };
        Ok(Self { until, skip: skip.is_some(), first: FirstAnswer::AtOnce })
    }
}

fn once<T>(place: &mut Option<T>, name: &'static str, value: T) -> Result<(), DirectiveError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(DirectiveError::Twice(name)),
    }
}

fn number(name: &'static str, value: &str) -> Result<u64, DirectiveError> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    let wrong = || DirectiveError::Number { name, value: value.chars().take(32).collect() };
    digits.then(|| value.parse().ok()).flatten().ok_or_else(wrong)
}

impl Until {
    /// Whether a playlist has it.
    pub(super) fn is_in(self, snapshot: &CmafSnapshot) -> bool {
        let complete = snapshot.last_complete();
        match self {
            Self::Segment(msn) => complete.is_some_and(|last| last >= msn),
            Self::Part(msn, part) => {
                let open = snapshot.open.as_ref().map(|open| (open.sequence, open.parts.len() as u64));
                if open.is_some_and(|(sequence, parts)| sequence > msn || sequence == msn && parts > part) {
                    return true;
                }
                // §6.2.5.2: past the last part of a complete segment it means the first part of the next one.
                let parts = snapshot.segment(msn).map(|segment| segment.parts.len() as u64);
                complete.is_some_and(|last| last > msn) || parts.is_some_and(|parts| parts > part)
            }
        }
    }

    /// §6.2.5.2: what is more than two segments, or more parts than three seconds have, ahead of the playlist is
    /// refused.
    pub(super) fn check(self, snapshot: &CmafSnapshot) -> Result<(), DirectiveError> {
        let (sequence, parts) = snapshot.next_part();
        // The newest segment that the playlist shows: the open one, or the last complete one.
        let newest = if parts > 0 { sequence } else { sequence.saturating_sub(1) };
        let (msn, part) = match self {
            Self::Segment(msn) => (msn, 0),
            Self::Part(msn, part) => (msn, part),
        };
        let advance = (3.0 / snapshot.promise.part_target.seconds()).ceil().max(3.0) as u64;
        let shown = if msn == sequence { parts as u64 } else { 0 };
        if msn > newest.saturating_add(2) || msn >= sequence && part > shown.saturating_add(advance) {
            return Err(DirectiveError::TooFarAhead { newest });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Directives, DirectiveError> {
        Directives::parse(Some(query))
    }

    #[test]
    fn directives_are_read_among_other_keys() {
        assert_eq!(Directives::parse(None), Ok(Directives::default()));
        assert_eq!(parse("token=a_HLS_msn=3&x"), Ok(Directives::default()));
        assert_eq!(
            parse("_HLS_msn=7"),
            Ok(Directives { until: Some(Until::Segment(7)), skip: false, ..Directives::default() })
        );
        let all = parse("a=b&_HLS_part=0&_HLS_msn=18446744073709551615&_HLS_skip=v2&_HLS_report=1");
        assert_eq!(all, Ok(Directives { until: Some(Until::Part(u64::MAX, 0)), skip: true, ..Directives::default() }));
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        for query in [
            "_HLS_msn=",
            "_HLS_msn",
            "_HLS_msn=-1",
            "_HLS_msn=+1",
            "_HLS_msn=1.0",
            "_HLS_msn=0x1",
            "_HLS_msn=99999999999999999999",
        ] {
            assert!(matches!(parse(query), Err(DirectiveError::Number { name: "_HLS_msn", .. })), "{query}");
        }
        assert_eq!(parse("_HLS_part=1"), Err(DirectiveError::PartAlone));
        assert_eq!(parse("_HLS_msn=1&_HLS_msn=1"), Err(DirectiveError::Twice("_HLS_msn")));
        assert!(matches!(parse("_HLS_skip=yes"), Err(DirectiveError::Skip(_))));
        assert_eq!(parse("_HLS_skip=YES&_HLS_skip=YES"), Err(DirectiveError::Twice("_HLS_skip")));
    }
}
