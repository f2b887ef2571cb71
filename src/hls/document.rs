//! A playlist as it goes out, made once per update and shared by all who ask: the text, and the text compressed.

use std::{io::Write as _, sync::OnceLock};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

/// A rendered playlist.
#[derive(Debug)]
pub struct Document {
    body: Bytes,
    etag: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Document {
    /// A text, and what tells it from any other of its URL, without quotes.
    pub(super) fn new(text: String, tag: &str) -> Self {
        Self { body: text.into(), etag: format!("W/\"{tag}\"").into(), gzip: OnceLock::new() }
    }

    /// The text.
    pub fn body(&self) -> Bytes {
        self.body.clone()
    }

    /// The text compressed with gzip (RFC 1952), by whoever asks first.
    pub fn gzip(&self) -> Bytes {
        self.gzip.get_or_init(|| compress(&self.body)).clone()
    }

    /// The entity tag (RFC 9110 §8.8.3) as it goes out. It is a weak one: one tag for both encodings.
    pub fn etag(&self) -> &Bytes {
        &self.etag
    }
}

fn compress(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(1024), Compression::new(LEVEL));
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.expect("compressing in memory should not fail").into()
}

/// Lines repeat so much that more effort saves a few bytes only.
const LEVEL: u32 = 4;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn both_encodings_carry_the_same_text() {
        let text = "#EXTM3U\n".repeat(200);
        let document = Document::new(text.clone(), "a-1");
        let mut read = String::new();
        flate2::read::GzDecoder::new(&document.gzip()[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        assert_eq!(document.gzip().as_ptr(), document.gzip().as_ptr(), "compressed once");
        assert!(document.gzip().len() < text.len() / 10);
    }
}
