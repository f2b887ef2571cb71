//! `retina`'s depacketizer, beside its packets. Its public API gives packets or frames of a session, never both, and we
//! need both: packets for tracks that nobody can take apart, frames of those it can. What it uses here is hidden in
//! retina's documentation, so the version is pinned, all of it stands in this file, and a test holds it.
//!
//! It goes when retina makes `Depacketizer::push` public again, or when we take JPEG apart ourselves.

use std::num::{NonZeroU16, NonZeroU32};

use bytes::Bytes;
use retina::{
    PacketContext, Timestamp,
    codec::{CodecItem, Depacketizer, FrameFormat},
    rtp::PacketMeta,
    testutil::DepacketizeBuf,
};

/// Bytes of a frame that the buffer holds before it grows.
const BUFFER: usize = 64 * 1024;

/// One frame.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) timestamp: i64,
    pub(super) payload: Bytes,
    pub(super) after_loss: bool,
}

/// Takes the packets of one track apart.
pub(super) struct FrameDepacketizer {
    inner: Depacketizer,
    buffer: DepacketizeBuf,
    clock_rate: NonZeroU32,
}

impl std::fmt::Debug for FrameDepacketizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameDepacketizer").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl FrameDepacketizer {
    /// For what an SDP announces; `None` if retina has nothing for it.
    pub(super) fn new(
        media: &str,
        encoding: &str,
        clock_rate: NonZeroU32,
        channels: Option<NonZeroU16>,
        fmtp: Option<&str>,
    ) -> Option<Self> {
        let mut inner = Depacketizer::new(media, encoding, clock_rate.get(), channels, fmtp).ok()?;
        inner.set_frame_format(FrameFormat::MP4);
        Some(Self { inner, buffer: DepacketizeBuf::new(BUFFER), clock_rate })
    }

    /// Takes the next packet.
    ///
    /// # Errors
    /// The packet is of no use; the next ones are taken as ever.
    pub(super) fn push(&mut self, timestamp: i64, marker: bool, lost: u16, payload: &[u8]) -> Result<(), String> {
        // A depacketizer must be empty before it is given more.
        while self.pull().is_some() {}
        let timestamp = Timestamp::new(timestamp, self.clock_rate, 0).ok_or_else(|| "no timestamp".to_owned())?;
        let meta = PacketMeta {
            ctx: PacketContext::dummy(),
            stream_id: 0,
            timestamp,
            sequence_number: 0,
            ssrc: 0,
            mark: marker,
            loss: lost,
        };
        self.buffer.push(&mut self.inner, meta, payload)
    }

    /// The next frame.
    pub(super) fn pull(&mut self) -> Option<Result<Frame, String>> {
        let item = match self.inner.pull()? {
            Ok(item) => item,
            Err(error) => return Some(Err(format!("{error:?}"))),
        };
        Some(Ok(match item {
            CodecItem::VideoFrame(frame) => {
                let (timestamp, after_loss) = (frame.timestamp().elapsed(), frame.loss() > 0);
                Frame { timestamp, after_loss, payload: frame.into_data().into() }
            }
            CodecItem::AudioFrame(frame) => Frame {
                timestamp: frame.timestamp().elapsed(),
                after_loss: frame.loss() > 0,
                payload: Bytes::copy_from_slice(frame.data()),
            },
            _ => return None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_retina_hides_does_what_is_needed_of_it() {
        let rate = NonZeroU32::new(8000).unwrap();
        let mut sound = FrameDepacketizer::new("audio", "pcma", rate, NonZeroU16::new(1), None).unwrap();
        sound.push(160, false, 0, &[0xd5; 160]).unwrap();
        let frame = sound.pull().unwrap().unwrap();
        assert_eq!((frame.timestamp, frame.payload.len(), frame.after_loss), (160, 160, false));
        sound.push(480, false, 1, &[0xd5; 160]).unwrap();
        assert!(sound.pull().unwrap().unwrap().after_loss);
        assert!(sound.pull().is_none());
        assert!(FrameDepacketizer::new("audio", "opus", rate, None, None).is_none());
    }

    #[test]
    fn packets_that_nobody_pulled_are_given_up_without_a_panic() {
        let rate = NonZeroU32::new(90_000).unwrap();
        let mut picture = FrameDepacketizer::new("video", "h264", rate, None, None).unwrap();
        for i in 0..5 {
            let _ = picture.push(i * 3600, true, 0, &[0x65, 0x88, 1]);
        }
        let mut jpeg = FrameDepacketizer::new("video", "jpeg", rate, None, None).unwrap();
        for len in 0..40 {
            let _ = jpeg.push(0, true, 0, &vec![1; len]);
        }
    }
}
