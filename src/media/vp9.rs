//! What a VP9 frame says of itself in its uncompressed header (VP9 bitstream specification §6.2, §7.2), and its level
//! (annex A).

use super::{
    bits::{BitReader, BitstreamError},
    track::{PictureSize, Vp9Parameters},
};

/// Whether a decoder can start at this frame, or at the first frame of this superframe.
pub fn is_key_frame(frame: &[u8]) -> bool {
    read_start(&mut BitReader::new(frame)).is_ok_and(|start| start.is_some_and(|(_, key)| key))
}

/// The profile, and whether the frame is a key frame; nothing for a frame that only shows an earlier one.
fn read_start(r: &mut BitReader<'_>) -> Result<Option<(u8, bool)>, BitstreamError> {
    if r.bits(2)? != 2 {
        return Err(r.invalid("frame_marker"));
    }
    let (low, high) = (r.bits(1)?, r.bits(1)?);
    let profile = (high << 1 | low) as u8;
    if profile == 3 && r.flag()? {
        return Err(r.invalid("reserved_zero"));
    }
    if r.flag()? {
        return Ok(None); // show_existing_frame
    }
    let key = !r.flag()?; // frame_type: 0 is KEY_FRAME
    Ok(Some((profile, key)))
}

impl Vp9Parameters {
    /// Parameters from a key frame; nothing for any other frame.
    pub fn parse(frame: &[u8]) -> Result<Option<Self>, BitstreamError> {
        const SYNC_CODE: u32 = 0x49_83_42;
        const CS_RGB: u32 = 7;
        let r = &mut BitReader::new(frame);
        let Some((profile, true)) = read_start(r)? else { return Ok(None) };
        r.skip(2)?; // show_frame, error_resilient_mode
        if r.bits(24)? != SYNC_CODE {
            return Err(r.invalid("frame_sync_code"));
        }
        // §6.2.2 color_config
        let bit_depth = match profile {
            0 | 1 => 8,
            _ if r.flag()? => 12,
            _ => 10,
        };
        if r.bits(3)? == CS_RGB {
            if profile & 1 == 0 {
                return Err(r.invalid("color_space"));
            }
            r.skip(1)?; // reserved_zero
        } else {
            // color_range; in odd profiles two subsampling bits and a reserved one
            r.skip(if profile & 1 == 1 { 4 } else { 1 })?;
        }
        let size = PictureSize { width: r.bits(16)? + 1, height: r.bits(16)? + 1 };
        Ok(Some(Self { profile, bit_depth, size: Some(size) }))
    }

    /// The least level (times ten) that holds pictures of this size at 30 frames a second (annex A).
    pub fn level(&self) -> u8 {
        const LEVELS: [(u8, u32); 9] = [
            (10, 36_864 / 4 * 3), // 829 440 samples a second are the tighter bound
            (11, 73_728),
            (20, 122_880),
            (21, 245_760),
            (30, 552_960),
            (31, 983_040),
            (40, 2_228_224),
            (50, 8_912_896),
            (60, 35_651_584),
        ];
        let samples = self.size.map_or(0, |size| size.width.saturating_mul(size.height));
        LEVELS.iter().find(|(_, most)| samples <= *most).map_or(62, |(level, _)| *level)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::testing::hex;

    #[test]
    fn a_key_frame_tells_profile_depth_and_size() {
        let key = hex("82498342 0013f00ef60238241c1842");
        let parameters = Vp9Parameters::parse(&key).unwrap().unwrap();
        assert_eq!((parameters.profile, parameters.bit_depth, parameters.level()), (0, 8, 20));
        assert_eq!(parameters.size, Some(PictureSize { width: 320, height: 240 }));
        assert!(is_key_frame(&key));
    }

    #[test]
    fn inter_frames_and_frames_shown_again_are_not_key_frames() {
        for frame in ["8600408092", "8a", "88", ""] {
            assert!(!is_key_frame(&hex(frame)), "{frame}");
        }
        assert_eq!(Vp9Parameters::parse(&hex("8600408092")), Ok(None));
        assert!(Vp9Parameters::parse(&hex("82498343")).is_err());
    }

    #[test]
    fn levels_grow_with_the_picture() {
        let level =
            |width, height| Vp9Parameters { size: Some(PictureSize { width, height }), ..<_>::default() }.level();
        assert_eq!([level(640, 360), level(1280, 720), level(1920, 1080), level(3840, 2160)], [21, 31, 40, 50]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let _ = Vp9Parameters::parse(&bytes);
        }
    }
}
