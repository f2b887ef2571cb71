//! ICE-lite (RFC 8445 §2.5): we answer checks, the viewer chooses the way.

use crate::base::Secret;

/// One side's half of an ICE session (RFC 8839 §5.4).
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name fragment.
    pub ufrag: String,
    /// The password.
    pub pwd: Secret,
}
