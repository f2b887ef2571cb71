//! STUN binding requests and their answers (RFC 8489), as far as ICE-lite needs them, sans-IO.

/// The user name fragment of ours that a datagram asks for, if it is a STUN request with a user name: where a viewer
/// that nobody has heard of yet belongs. Nothing is verified.
pub fn asked_ufrag(datagram: &[u8]) -> Option<&str> {
    let _ = datagram;
    None
}
