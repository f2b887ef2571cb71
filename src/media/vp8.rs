//! What a VP8 frame says of itself (RFC 6386 §9.1).

use super::track::PictureSize;

/// Whether a decoder can start at this frame.
pub fn is_key_frame(frame: &[u8]) -> bool {
    // §9.1: the lowest bit of the frame tag is clear in key frames.
    matches!(frame, [tag, ..] if tag & 1 == 0)
}

/// The size that a key frame gives.
pub fn picture_size(frame: &[u8]) -> Option<PictureSize> {
    let [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] = *frame else { return None };
    // The upper two bits of each are a scaling that players ignore.
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let size = PictureSize { width: side(w0, w1), height: side(h0, h1) };
    (tag & 1 == 0 && size.width > 0 && size.height > 0).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::testing::hex;

    #[test]
    fn a_key_frame_tells_its_size() {
        let key = hex("706e009d012a4001f0000007088585");
        assert!(is_key_frame(&key));
        assert_eq!(picture_size(&key), Some(PictureSize { width: 320, height: 240 }));
        let inter = hex("b10200001a0518");
        assert!(!is_key_frame(&inter) && !is_key_frame(&[]));
        assert_eq!(picture_size(&inter), None);
    }
}
