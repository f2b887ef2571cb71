//! A stream in gzip (RFC 1952) whose pieces are compressed once for all streams: each record is a run of deflate blocks
//! (RFC 1951 §3.2.3) that ends on a byte and looks back at nothing before itself, so that runs follow each other in any
//! order. A stream itself holds a checksum, and no window.

use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Compress, Compression, Crc, FlushCompress};

/// RFC 1952 §2.3: deflate, no flags, no time, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// What a stream knows of what it sent.
#[derive(Debug, Default)]
pub(super) struct Gzip(Crc);

impl Gzip {
    /// What a stream begins with.
    pub(super) fn header(&self) -> Bytes {
        Bytes::from_static(&HEADER)
    }

    /// A record that was deflated already goes out.
    pub(super) fn note(&mut self, record: &[u8]) {
        self.0.update(record);
    }

    /// A record for this stream alone, as it is: RFC 1951 §3.2.4. An empty block ends it, as it ends every flush of zlib:
    /// Go's reader, and with it Caddy and Traefik, hands out what stands in a block when the next one begins.
    pub(super) fn stored(&mut self, record: &[u8]) -> Bytes {
        self.note(record);
        let mut out = BytesMut::with_capacity(record.len() + 10);
        for piece in record.chunks(usize::from(u16::MAX)) {
            put_stored(&mut out, false, piece);
        }
        put_stored(&mut out, false, &[]);
        out.freeze()
    }

    /// What a stream ends with: an empty last block, the checksum, the size.
    pub(super) fn trailer(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(13);
        put_stored(&mut out, true, &[]);
        out.put_u32_le(self.0.sum());
        out.put_u32_le(self.0.amount());
        out.freeze()
    }
}

fn put_stored(out: &mut BytesMut, last: bool, piece: &[u8]) {
    let length = piece.len() as u16;
    out.put_u8(u8::from(last));
    out.put_u16_le(length);
    out.put_u16_le(!length);
    out.put_slice(piece);
}

/// A record as deflate blocks that end on a byte.
pub(super) fn deflate(record: &[u8]) -> Bytes {
    let mut deflater = Compress::new(Compression::fast(), false);
    let mut out = Vec::with_capacity(record.len() + 64);
    loop {
        let before = deflater.total_in() as usize;
        let done = deflater.compress_vec(&record[before..], &mut out, FlushCompress::Sync);
        // With room left in the output everything is flushed.
        if done.is_err() || (deflater.total_in() as usize == record.len() && out.len() < out.capacity()) {
            return out.into();
        }
        out.reserve(record.len() / 2 + 64);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use flate2::{read::GzDecoder, write};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_record_can_be_read_as_soon_as_it_is_there() {
        let mut gzip = Gzip::default();
        let mut reader = write::GzDecoder::new(Vec::new());
        reader.write_all(&gzip.header()).unwrap();
        let record = b"event: alert\ndata: {}\n\n";
        let packed = deflate(record);
        for number in 1..=3 {
            gzip.note(record);
            reader.write_all(&packed).unwrap();
            reader.flush().unwrap();
            assert_eq!(reader.get_ref().len(), number * record.len());
        }
        let beat = gzip.stored(b": beat\n\n");
        // What readers take for a flush.
        assert!([&beat, &packed].iter().all(|run| run.ends_with(&[0, 0, 0xff, 0xff])));
        reader.write_all(&beat).unwrap();
        reader.flush().unwrap();
        assert!(reader.get_ref().ends_with(b": beat\n\n"));
        reader.write_all(&gzip.trailer()).unwrap();
        reader.finish().unwrap();
    }

    proptest! {
        #[test]
        fn runs_in_any_order_are_one_whole_gzip(records in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..3000)), 0..12)) {
            let (mut gzip, mut sent, mut whole) = (Gzip::default(), Vec::new(), Vec::new());
            sent.extend_from_slice(&gzip.header());
            for (shared, record) in &records {
                if *shared {
                    gzip.note(record);
                    sent.extend_from_slice(&deflate(record));
                } else {
                    sent.extend_from_slice(&gzip.stored(record));
                }
                whole.extend_from_slice(record);
            }
            sent.extend_from_slice(&gzip.trailer());
            let mut read = Vec::new();
            GzDecoder::new(&sent[..]).read_to_end(&mut read).unwrap();
            prop_assert_eq!(read, whole);
        }
    }
}
