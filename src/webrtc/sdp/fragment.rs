//! What viewers send after their offer: trickled candidates and ICE restarts (`application/trickle-ice-sdpfrag`,
//! RFC 8840 §9).

use super::Credentials;
use crate::{base::Secret, webrtc::candidates::Candidate};

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

/// Why a fragment is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentError {
    /// Nothing was sent.
    #[error("the fragment is empty")]
    Empty,
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    /// What is wrong with it, in words for the one who wrote it.
    pub fn parse(text: &str) -> Result<Self, FragmentError> {
        let _ = text;
        Err(FragmentError::Empty)
    }
}

/// Our side of an ICE restart. `mid` is that of the section the bundle goes over.
pub fn answer_fragment(local: &Credentials, mid: &str, candidates: &[Candidate]) -> String {
    let _ = (local, mid, candidates);
    String::new()
}
