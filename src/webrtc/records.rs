//! Which DTLS records are let in, sans-IO: a bound on what a peer may make the DTLS library keep and compute.
//!
//! `rtc-dtls` keeps every record of the epoch to come and up to two megabytes of handshake fragments, and walks fragments
//! recursively. A viewer's handshake is a dozen records of a few hundred bytes; this lets through some dozens of that,
//! and after the handshake only what a viewer that is connected has reason to send (RFC 6347 §4.1, §4.2.3).

/// The longest datagram: nothing of DTLS passes an Ethernet frame, jumbo frames aside.
const DATAGRAM_MAX: usize = 2048;
/// The longest handshake message: a certificate with a large RSA key has less than half.
const MESSAGE_MAX: u32 = 8192;
/// Handshake fragments of one handshake: eight flights sent again, with certificates in pieces.
const FRAGMENTS_MAX: u32 = 256;
/// Bytes of one handshake.
const BYTES_MAX: usize = 96 * 1024;
/// Repetitions of the last flight that are answered after the handshake.
const REPEATS_MAX: u32 = 32;

const RECORD_HEADER: usize = 13;
const FRAGMENT_HEADER: usize = 12;

mod content {
    pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(super) const ALERT: u8 = 21;
    pub(super) const HANDSHAKE: u8 = 22;
    pub(super) const APPLICATION_DATA: u8 = 23;
}

/// What was let in so far.
#[derive(Debug, Default)]
pub(super) struct Screen {
    fragments: u32,
    bytes: usize,
    repeats: u32,
}

impl Screen {
    /// Whether a datagram may reach the library.
    pub(super) fn admits(&mut self, datagram: &[u8], is_connected: bool) -> bool {
        if datagram.len() > DATAGRAM_MAX {
            return false;
        }
        let Some((fragments, plain)) = look(datagram, is_connected) else { return false };
        if is_connected {
            // RFC 6347 §4.2.4: a flight that is repeated is answered with our last one.
            self.repeats += u32::from(plain);
            return !plain || self.repeats <= REPEATS_MAX;
        }
        self.fragments = self.fragments.saturating_add(fragments);
        self.bytes = self.bytes.saturating_add(datagram.len());
        self.fragments <= FRAGMENTS_MAX && self.bytes <= BYTES_MAX
    }
}

/// The handshake fragments of a datagram and whether it has records that are not encrypted; `None` for one with anything
/// in it that has no business there.
fn look(mut datagram: &[u8], is_connected: bool) -> Option<(u32, bool)> {
    let (mut fragments, mut plain) = (0, false);
    while !datagram.is_empty() {
        let (header, rest) = datagram.split_at_checked(RECORD_HEADER)?;
        let epoch = u16::from_be_bytes([header[3], header[4]]);
        let (body, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([header[11], header[12]])))?;
        // RFC 6347 §4.1: 1.0 in the first message, 1.2 after it.
        if header[1] != 0xfe || !matches!(header[2], 0xff | 0xfd) {
            return None;
        }
        match (epoch, header[0]) {
            (0, content::HANDSHAKE) => {
                plain = true;
                fragments += look_at_fragments(body)?;
            }
            (0, content::CHANGE_CIPHER_SPEC) if !is_connected => plain = true,
            // A fatal alert that nobody has signed ends a handshake, never a connection; warnings say nothing.
            (0, content::ALERT) if !is_connected && matches!(body, [2, _]) => plain = true,
            (1, content::HANDSHAKE | content::ALERT | content::APPLICATION_DATA) => {}
            // Repeated with the flight before it.
            (0, content::CHANGE_CIPHER_SPEC) => plain = true,
            _ => return None,
        }
        datagram = rest;
    }
    Some((fragments.max(1), plain))
}

/// How many fragments a record has; `None` if one of them lies about its place.
fn look_at_fragments(mut body: &[u8]) -> Option<u32> {
    let mut count = 0;
    while !body.is_empty() {
        let (header, rest) = body.split_at_checked(FRAGMENT_HEADER)?;
        let number = |at: usize| u32::from_be_bytes([0, header[at], header[at + 1], header[at + 2]]);
        let (length, offset, fragment_length) = (number(1), number(6), number(9));
        // RFC 6347 §4.2.3.
        if length > MESSAGE_MAX || offset + fragment_length > length || (fragment_length == 0 && length != 0) {
            return None;
        }
        body = rest.get(fragment_length as usize..)?;
        count += 1;
    }
    Some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut record = vec![kind, 0xfe, 0xfd, 0, epoch, 0, 0, 0, 0, 0, 1];
        record.extend_from_slice(&(body.len() as u16).to_be_bytes());
        record.extend_from_slice(body);
        record
    }

    fn fragment(length: u32, offset: u32, bytes: usize) -> Vec<u8> {
        let three = |number: u32| number.to_be_bytes()[1..].to_vec();
        [vec![1], three(length), vec![0, 0], three(offset), three(bytes as u32), vec![0; bytes]].concat()
    }

    #[test]
    fn before_the_handshake_is_done_handshakes_pass_and_nothing_else_in_clear() {
        let hello = fragment(100, 0, 100);
        for (datagram, passes) in [
            (record(22, 0, &hello), true),
            (record(22, 0, &[fragment(10, 0, 10), fragment(4000, 100, 50)].concat()), true),
            ([record(22, 0, &hello), record(20, 0, &[1]), record(22, 1, b"sealed")].concat(), true),
            (record(21, 0, &[2, 42]), true),
            (record(21, 0, &[1, 0]), false),
            (record(23, 0, b"data"), false),
            (record(22, 2, b"sealed"), false),
            (record(24, 1, b"sealed"), false),
            (record(22, 0, &fragment(9000, 0, 10)), false),
            (record(22, 0, &fragment(100, 95, 10)), false),
            (record(22, 0, &fragment(100, 0, 0)), false),
            (record(22, 0, &hello[..50]), false),
            (record(22, 0, &hello)[..50].to_vec(), false),
            (record(22, 0, &[]), true),
            (vec![22], false),
            ([record(22, 0, &hello), vec![0]].concat(), false),
        ] {
            assert_eq!(Screen::default().admits(&datagram, false), passes, "{datagram:02x?}");
        }
        let mut tls = record(22, 0, &hello);
        tls[1] = 3;
        assert!(!Screen::default().admits(&tls, false));
    }

    #[test]
    fn after_it_only_sealed_records_and_a_repeated_flight_pass() {
        let repeat = [record(22, 0, &fragment(100, 0, 100)), record(20, 0, &[1])].concat();
        for (datagram, passes) in [
            (repeat.clone(), true),
            (record(21, 1, b"sealed"), true),
            (record(23, 1, b"sealed"), true),
            (record(21, 0, &[2, 42]), false),
            (record(22, 2, b"sealed"), false),
        ] {
            assert_eq!(Screen::default().admits(&datagram, true), passes, "{datagram:02x?}");
        }
        let mut screen = Screen::default();
        assert_eq!((0..100).filter(|_| screen.admits(&repeat, true)).count(), REPEATS_MAX as usize);
        assert!(screen.admits(&record(21, 1, b"sealed"), true));
    }

    #[test]
    fn a_handshake_that_never_ends_is_cut_off() {
        let mut screen = Screen::default();
        let tiny: Vec<u8> = (0..50).flat_map(|offset| fragment(100, offset, 1)).collect();
        let tiny = record(22, 0, &tiny);
        assert_eq!((0..100).filter(|_| screen.admits(&tiny, false)).count(), 256 / 50);
        let (mut screen, large) = (Screen::default(), record(22, 0, &fragment(1400, 0, 1400)));
        assert_eq!((0..1000).filter(|_| screen.admits(&large, false)).count(), BYTES_MAX / large.len());
    }
}
