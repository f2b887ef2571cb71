//! Which packets of a transport arrived, and when: the transport-wide feedback of a receiver
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1). Sans-IO.

/// Packets of which one feedback is read; what more it claims to know is not looked at.
pub const PACKETS_MAX: usize = 4096;
/// A tick of an arrival, in microseconds.
const TICK: i64 = 250;
/// A tick of the reference time, in microseconds.
const REFERENCE: i64 = 64_000;

/// The packets that arrived: their numbers, and when, in microseconds of the receiver's clock. Ends where a feedback is
/// cut short.
pub fn arrivals(control: &[u8]) -> impl Iterator<Item = (u16, i64)> {
    let (head, rest) = control.split_first_chunk::<8>().unwrap_or((&[0; 8], &[]));
    let &[b0, b1, c0, c1, r0, r1, r2, _] = head;
    let (base, count) = (u16::from_be_bytes([b0, b1]), usize::from(u16::from_be_bytes([c0, c1])));
    // 24 bits with a sign.
    let reference = i64::from(i32::from_be_bytes([r0, r1, r2, 0]) >> 8);
    let (words, _) = rest.as_chunks::<2>();
    let chunks = || words.iter().map(|word| u16::from_be_bytes(*word));
    let mut missing = count;
    let needed = |chunk: &u16| {
        let needed = missing > 0;
        missing = missing.saturating_sub(length(*chunk));
        needed
    };
    let used = chunks().take_while(needed).count();
    let mut deltas = &rest[2 * used..];
    let mut time = reference * REFERENCE;
    let symbols = chunks().take(used).flat_map(symbols).take(count.min(PACKETS_MAX));
    let numbered = (0_u16..).map(move |place| base.wrapping_add(place)).zip(symbols);
    numbered
        .map_while(move |(number, symbol)| {
            let (delta, size) = match (symbol, deltas) {
                (1, [delta, ..]) => (i64::from(*delta), 1),
                (2, [d0, d1, ..]) => (i64::from(i16::from_be_bytes([*d0, *d1])), 2),
                (1 | 2, _) => return None,
                // Not received, or reserved.
                _ => return Some(None),
            };
            deltas = &deltas[size..];
            time += delta * TICK;
            Some(Some((number, time)))
        })
        .flatten()
}

/// How many packets a chunk speaks of (§3.1.3, §3.1.4).
const fn length(chunk: u16) -> usize {
    match chunk >> 14 {
        0 | 1 => (chunk & 0x1fff) as usize,
        2 => 14,
        _ => 7,
    }
}

/// What a chunk says of each of them.
fn symbols(chunk: u16) -> impl Iterator<Item = u16> {
    (0..length(chunk)).map(move |place| match chunk >> 14 {
        0 | 1 => chunk >> 13,
        2 => chunk >> (13 - place) & 1,
        _ => chunk >> (12 - 2 * place) & 3,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn read(text: &str) -> Vec<(u16, i64)> {
        arrivals(&hex(text)).collect()
    }

    #[test]
    fn arrivals_are_those_of_runs_and_of_vectors() {
        // Three that came one millisecond apart, two that did not come, one that came late.
        assert_eq!(
            read("0005 0006 000001 00  2003 0002 4001  04 04 04 0400"),
            [(5, 65_000), (6, 66_000), (7, 67_000), (10, 323_000)]
        );
        // One bit each: the first, the third and the last of fourteen; the chunk is longer than the feedback.
        assert_eq!(read("fffe 0003 000000 00  a800  01 02"), [(0xfffe, 250), (0, 750)]);
        // Two bits each, one of which runs back.
        assert_eq!(read("0000 0007 ffffff 07  d200  08 fffc 00"), [(0, -62_000), (2, -63_000)]);
    }

    #[test]
    fn a_feedback_that_is_cut_short_tells_what_it_has() {
        assert_eq!(read("0000 0003 000000 00 2003 04"), [(0, 1_000)]);
        assert_eq!(read("0000 0003 000000 00"), []);
        assert_eq!(read("0000 0003 00"), []);
        assert_eq!(read("0000 ffff 000000 00 1fff 1fff 1fff 1fff 1fff 1fff 1fff 1fff 2001 04"), [], "beyond the bound");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic_and_within_the_bound(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(arrivals(&bytes).count() <= PACKETS_MAX.min(bytes.len()));
        }
    }
}
