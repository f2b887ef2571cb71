//! What viewers send after their offer: trickled candidates and ICE restarts (`application/trickle-ice-sdpfrag`,
//! RFC 8840 §9). Sans-IO.

use super::lines::{is_ice, lines, media};
use crate::base::Secret;

/// A viewer's fragment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// The ICE user name it belongs to; a new one restarts ICE.
    pub ufrag: Option<String>,
    /// The password that goes with it.
    pub pwd: Option<Secret>,
    /// The candidates' lines, without `a=candidate:`; unread, since we learn addresses from checks.
    pub candidates: Vec<String>,
    /// No further candidate will come.
    pub end_of_candidates: bool,
}

/// The longest fragment, in bytes.
const TEXT_MAX: usize = 32 * 1024;
/// The most candidates of one fragment.
const CANDIDATES_MAX: usize = 128;

/// Why a fragment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// Nothing was sent.
    #[error("the fragment is empty")]
    Empty,
    /// More bytes than any viewer writes.
    #[error("the fragment has {0} bytes, {TEXT_MAX} at most are read")]
    TooLong(usize),
    /// More candidates than any viewer has.
    #[error("the fragment has more than {CANDIDATES_MAX} candidates")]
    TooMany,
    /// A line that cannot be read.
    #[error("line {line} of the fragment: expected {expected}")]
    Line {
        /// Counted from one.
        line: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// Two user names or two passwords: with BUNDLE there is one transport.
    #[error("line {0} of the fragment: other ICE credentials than before, and there is one transport")]
    Credentials(usize),
    /// A user name without password, or a password without user name.
    #[error("the fragment has one of `a=ice-ufrag` and `a=ice-pwd`, and both belong together")]
    Half,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// What is wrong with it, in words for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, FragmentError> {
        if text.len() > TEXT_MAX {
            return Err(FragmentError::TooLong(text.len()));
        }
        let mut found = Self::default();
        let mut empty = true;
        for (number, line) in lines(text) {
            empty = false;
            let wrong = |expected| FragmentError::Line { line: number, expected };
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(wrong("no control characters"));
            }
            match line.split_once('=') {
                Some(("a", attribute)) => found.take(number, attribute)?,
                // §9.1: a media line is there only to hold the mid that follows it.
                Some(("m", value)) if media(value).is_some() => {}
                Some(("m", _)) => return Err(wrong("a media line such as `m=audio 9 UDP/TLS/RTP/SAVPF 0`")),
                // Some send a whole description.
                Some(("v" | "o" | "s" | "t" | "c" | "b", _)) => {}
                _ => return Err(wrong("`a=` and an attribute, or `m=` and a media line")),
            }
        }
        if empty {
            return Err(FragmentError::Empty);
        }
        // §9.1: both or, from stacks that name only the generation, the user name alone.
        if found.pwd.is_some() && found.ufrag.is_none() {
            return Err(FragmentError::Half);
        }
        Ok(found)
    }

    fn take(&mut self, line: usize, attribute: &str) -> Result<(), FragmentError> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let value = value.trim();
        let wrong = |expected| FragmentError::Line { line, expected };
        match name {
            "ice-ufrag" if !is_ice(value, 4) => return Err(wrong("4 to 256 letters and digits in `a=ice-ufrag`")),
            "ice-pwd" if !is_ice(value, 22) => return Err(wrong("22 to 256 letters and digits in `a=ice-pwd`")),
            "ice-ufrag" if self.ufrag.as_ref().is_some_and(|before| before != value) => {
                return Err(FragmentError::Credentials(line));
            }
            "ice-pwd" if self.pwd.as_ref().is_some_and(|before| before.reveal() != value) => {
                return Err(FragmentError::Credentials(line));
            }
            "ice-ufrag" => self.ufrag = Some(value.to_owned()),
            "ice-pwd" => self.pwd = Some(Secret::new(value)),
            // An empty one is how browsers say that there will be no more.
            "candidate" if value.is_empty() => self.end_of_candidates = true,
            "candidate" if self.candidates.len() >= CANDIDATES_MAX => return Err(FragmentError::TooMany),
            "candidate" => self.candidates.push(value.to_owned()),
            "end-of-candidates" => self.end_of_candidates = true,
            _ => {}
        }
        Ok(())
    }
}
