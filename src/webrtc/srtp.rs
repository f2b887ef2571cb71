//! SRTP (RFC 3711, RFC 7714), sans-IO: sealing in place what we send, opening the SRTCP that viewers send.
//!
//! It owns session keys, derived once, and the counters of SRTCP. It keeps no packet and chooses no number: an index
//! comes from whoever numbers packets. Master keys come from DTLS ([`super::dtls`]); there is one of them for a
//! session, no re-keying and no key derivation rate (RFC 5764 §4.1.2 knows neither). It is long by two ciphers side by
//! side.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey},
    constant_time::verify_slices_are_equal,
    hmac,
    iv::FixedLength,
};

use super::reseal::Watch;

/// How packets are protected (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`.
    Aes128CmHmacSha1_80,
}

impl Profile {
    /// How many bytes of master salt a side has.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 12,
            Self::Aes128CmHmacSha1_80 => 14,
        }
    }

    /// How many bytes of tag a packet gets.
    const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm => 16,
            Self::Aes128CmHmacSha1_80 => 10,
        }
    }
}

/// The master key and salt of one direction. It does not show them, and wipes them when it goes.
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
        // Without it the compiler may leave out what nobody reads again.
        std::hint::black_box((&self.key, &self.salt));
    }
}

/// What a session key is for (RFC 3711 §4.3.1): the label of RTP; that of RTCP is three more.
#[derive(Clone, Copy)]
enum Label {
    Cipher = 0,
    Authentication = 1,
    Salt = 2,
}

/// Whether a key protects RTP or RTCP.
#[derive(Clone, Copy)]
enum Kind {
    Rtp = 0,
    Rtcp = 3,
}

const SEALS: &str = "AES should take a packet of any length UDP can carry";
const KEY_LEN: &str = "AES-128 should take a key of 16 bytes";

fn counter_mode(key: &[u8; 16]) -> EncryptingKey {
    EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, key).expect(KEY_LEN)).expect(KEY_LEN)
}

fn crypt(key: &EncryptingKey, iv: [u8; 16], data: &mut [u8]) {
    key.less_safe_encrypt(data, EncryptionContext::Iv128(FixedLength::from(iv))).expect(SEALS);
}

/// RFC 3711 §4.3.3: AES in counter mode over zeroes, from the master salt with the label in its eighth byte.
fn derive<const LEN: usize>(master: &EncryptingKey, keys: &MediaKeys, kind: Kind, label: Label) -> [u8; LEN] {
    let mut iv = [0; 16];
    // RFC 7714 §11: the shorter salt of GCM is padded with zeroes on the right.
    let salt_len = keys.profile.salt_len();
    iv[..salt_len].copy_from_slice(&keys.salt[..salt_len]);
    iv[7] ^= kind as u8 + label as u8;
    let mut derived = [0; LEN];
    crypt(master, iv, &mut derived);
    derived
}

/// The session keys of one direction, for RTP or for RTCP.
enum Cipher {
    Gcm {
        key: LessSafeKey,
        salt: [u8; 12],
    },
    /// Large, and rare.
    CounterMode(Box<CounterMode>),
}

struct CounterMode {
    key: EncryptingKey,
    authentication: hmac::Key,
    salt: [u8; 14],
}

impl Cipher {
    fn derive(keys: &MediaKeys, kind: Kind) -> Self {
        let master = counter_mode(&keys.key);
        let key = derive::<16>(&master, keys, kind, Label::Cipher);
        match keys.profile {
            Profile::AeadAes128Gcm => Self::gcm(&key, derive(&master, keys, kind, Label::Salt)),
            Profile::Aes128CmHmacSha1_80 => {
                let authentication = derive::<20>(&master, keys, kind, Label::Authentication);
                Self::CounterMode(Box::new(CounterMode {
                    key: counter_mode(&key),
                    authentication: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication),
                    salt: derive(&master, keys, kind, Label::Salt),
                }))
            }
        }
    }

    fn gcm(key: &[u8; 16], salt: [u8; 12]) -> Self {
        Self::Gcm { key: LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect(KEY_LEN)), salt }
    }
}

/// RFC 7714 §8.1 and §9.1: two zeroes, the SSRC and the index, 48 bits, over the salt. The index of SRTCP has 31 bits.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
    nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in nonce.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 3711 §4.1.1: the salt, the SSRC from byte 4, the index from byte 8, and a counter of blocks.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[4..8].copy_from_slice(&ssrc.to_be_bytes());
    iv[8..14].copy_from_slice(&index.to_be_bytes()[2..]);
    for (byte, salt) in iv.iter_mut().zip(salt) {
        *byte ^= salt;
    }
    iv
}

/// HMAC-SHA1 over pieces, cut to the 80 bits of the profile (RFC 3711 §4.2.1).
fn authenticate(key: &hmac::Key, pieces: [&[u8]; 2]) -> [u8; 10] {
    let mut context = hmac::Context::with_key(key);
    pieces.into_iter().for_each(|piece| context.update(piece));
    let mut tag = [0; 10];
    tag.copy_from_slice(&context.sign().as_ref()[..10]);
    tag
}

/// The part of an RTCP packet that stays readable: the first header and its SSRC (RFC 3711 §3.4).
const RTCP_CLEAR: usize = 8;
/// The word with the E bit and the index.
const RTCP_INDEX: usize = 4;
/// The E bit: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;

fn ssrc_of_rtcp(packet: &[u8]) -> u32 {
    u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]])
}

/// Seals packets in place, with session keys derived once. Nothing is allocated, but by `buffer` when it is full.
pub struct Sealer {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    /// The index of the next SRTCP packet, 31 bits.
    rtcp_index: u32,
    watch: Watch,
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("profile", &self.profile).finish_non_exhaustive()
    }
}

impl Sealer {
    /// Derives the session keys (RFC 3711 §4.3).
    pub fn new(keys: &MediaKeys) -> Self {
        Self {
            profile: keys.profile,
            rtp: Cipher::derive(keys, Kind::Rtp),
            rtcp: Cipher::derive(keys, Kind::Rtcp),
            rtcp_index: 0,
            watch: Watch::default(),
        }
    }

    /// How many bytes sealing appends to an RTP packet.
    pub const fn overhead(&self) -> usize {
        self.profile.tag_len()
    }

    /// How many bytes sealing appends to an RTCP packet.
    pub const fn overhead_rtcp(&self) -> usize {
        self.profile.tag_len() + RTCP_INDEX
    }

    /// Seals the packet that ends `buffer` in place: `buffer[start..]` is the header, `header_len` bytes with its
    /// extensions, and the payload. The tag is appended. `index` is the roll-over counter and the sequence number,
    /// `ROC << 16 | SEQ`. One index of an SSRC is for one content: another one would give both away, and the key of
    /// GCM's tags with them. An index that is not new is counted ([`super::reseal`]); debug builds end there.
    ///
    /// # Panics
    /// `buffer[start..]` is shorter than its header; in debug builds, an index is used for another content.
    pub fn seal(&mut self, buffer: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) {
        self.watch.sealing(ssrc, index, &buffer[start..]);
        let (header, payload) = buffer[start..].split_at_mut(header_len);
        match &self.rtp {
            Cipher::Gcm { key, salt } => {
                let nonce = gcm_nonce(salt, ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload).expect(SEALS);
                buffer.extend_from_slice(tag.as_ref());
            }
            Cipher::CounterMode(cipher) => {
                let CounterMode { key, authentication, salt } = &**cipher;
                crypt(key, counter_iv(salt, ssrc, index), payload);
                // RFC 3711 §4.2: the tag covers the packet and its roll-over counter.
                let roc = (index >> 16) as u32;
                let tag = authenticate(authentication, [&buffer[start..], &roc.to_be_bytes()]);
                buffer.extend_from_slice(&tag);
            }
        }
    }

    /// Seals the compound RTCP packet `buffer[start..]` in place, under the next SRTCP index (RFC 3711 §3.4,
    /// RFC 7714 §9).
    ///
    /// # Panics
    /// `buffer[start..]` is shorter than the eight bytes every RTCP packet has.
    pub fn seal_rtcp(&mut self, buffer: &mut Vec<u8>, start: usize) {
        let index = self.rtcp_index;
        // 2³¹ packets last for decades at any rate reports are sent at.
        self.rtcp_index = (index + 1) & !ENCRYPTED;
        let ssrc = ssrc_of_rtcp(&buffer[start..]);
        let word = (ENCRYPTED | index).to_be_bytes();
        match &self.rtcp {
            Cipher::Gcm { key, salt } => {
                let mut clear = [0; RTCP_CLEAR + RTCP_INDEX];
                clear[..RTCP_CLEAR].copy_from_slice(&buffer[start..start + RTCP_CLEAR]);
                clear[RTCP_CLEAR..].copy_from_slice(&word);
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let secret = &mut buffer[start + RTCP_CLEAR..];
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&clear), secret).expect(SEALS);
                buffer.extend_from_slice(tag.as_ref());
                buffer.extend_from_slice(&word);
            }
            Cipher::CounterMode(cipher) => {
                let CounterMode { key, authentication, salt } = &**cipher;
                crypt(key, counter_iv(salt, ssrc, u64::from(index)), &mut buffer[start + RTCP_CLEAR..]);
                buffer.extend_from_slice(&word);
                let tag = authenticate(authentication, [&buffer[start..], &[]]);
                buffer.extend_from_slice(&tag);
            }
        }
    }
}

/// Why an SRTCP packet was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Too short for a header, an index and a tag.
    #[error("packet is too short")]
    Short,
    /// The E bit is clear: RFC 8827 §6.5 wants everything encrypted.
    #[error("packet is not encrypted")]
    Clear,
    /// The tag is another one.
    #[error("tag does not fit")]
    Forged,
    /// It was opened before, or is older than what is remembered.
    #[error("packet came before")]
    Replayed,
}

/// Opens the SRTCP of the other side, each packet once.
pub struct RtcpOpener {
    cipher: Cipher,
    tag_len: usize,
    /// What came, by sender (RFC 3711 §3.3.2), the newest first.
    seen: Vec<Seen>,
}

/// Which indices of a sender came: the highest, and the 64 below it.
struct Seen {
    ssrc: u32,
    highest: u32,
    window: u64,
}

/// Senders that are told apart. A browser has one for each media line.
const SENDERS: usize = 8;

impl fmt::Debug for RtcpOpener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtcpOpener").field("senders", &self.seen.len()).finish_non_exhaustive()
    }
}

impl RtcpOpener {
    /// Derives the session keys of the other side's SRTCP.
    pub fn new(keys: &MediaKeys) -> Self {
        Self { cipher: Cipher::derive(keys, Kind::Rtcp), tag_len: keys.profile.tag_len(), seen: Vec::new() }
    }

    /// Opens a packet in place and gives the compound RTCP packet in it.
    ///
    /// # Errors
    /// [`OpenError`]; the packet's bytes are then of no use.
    pub fn open<'packet>(&mut self, packet: &'packet mut [u8]) -> Result<&'packet [u8], OpenError> {
        let plain_len = packet.len().checked_sub(self.tag_len + RTCP_INDEX).filter(|len| *len >= RTCP_CLEAR);
        let plain_len = plain_len.ok_or(OpenError::Short)?;
        let ssrc = ssrc_of_rtcp(packet);
        let word_at = match self.cipher {
            Cipher::Gcm { .. } => plain_len + self.tag_len,
            Cipher::CounterMode(_) => plain_len,
        };
        let mut word = [0; RTCP_INDEX];
        word.copy_from_slice(&packet[word_at..word_at + RTCP_INDEX]);
        let (encrypted, index) = (u32::from_be_bytes(word) & ENCRYPTED != 0, u32::from_be_bytes(word) & !ENCRYPTED);
        if !encrypted {
            return Err(OpenError::Clear);
        }
        if self.came_before(ssrc, index) {
            return Err(OpenError::Replayed);
        }
        match &self.cipher {
            Cipher::Gcm { key, salt } => {
                let mut clear = [0; RTCP_CLEAR + RTCP_INDEX];
                clear[..RTCP_CLEAR].copy_from_slice(&packet[..RTCP_CLEAR]);
                clear[RTCP_CLEAR..].copy_from_slice(&word);
                let nonce = gcm_nonce(salt, ssrc, u64::from(index));
                let secret = &mut packet[RTCP_CLEAR..plain_len + self.tag_len];
                key.open_in_place(nonce, Aad::from(&clear), secret).map_err(|_| OpenError::Forged)?;
            }
            Cipher::CounterMode(cipher) => {
                let CounterMode { key, authentication, salt } = &**cipher;
                let (authentic, tag) = packet.split_at_mut(plain_len + RTCP_INDEX);
                let expected = authenticate(authentication, [authentic, &[]]);
                verify_slices_are_equal(&expected, tag).map_err(|_| OpenError::Forged)?;
                crypt(key, counter_iv(salt, ssrc, u64::from(index)), &mut authentic[RTCP_CLEAR..plain_len]);
            }
        }
        self.remember(ssrc, index);
        Ok(&packet[..plain_len])
    }

    fn came_before(&self, ssrc: u32, index: u32) -> bool {
        let Some(seen) = self.seen.iter().find(|seen| seen.ssrc == ssrc) else { return false };
        match seen.highest.checked_sub(index) {
            Some(age @ 0..64) => seen.window >> age & 1 == 1,
            Some(_) => true,
            None => false,
        }
    }

    fn remember(&mut self, ssrc: u32, index: u32) {
        let at = self.seen.iter().position(|seen| seen.ssrc == ssrc);
        let mut seen = at.map_or(Seen { ssrc, highest: index, window: 0 }, |at| self.seen.remove(at));
        if let Some(ahead @ 1..) = index.checked_sub(seen.highest) {
            seen.window = seen.window.checked_shl(ahead).unwrap_or(0);
            seen.highest = index;
        }
        seen.window |= 1 << (seen.highest - index).min(63);
        self.seen.insert(0, seen);
        self.seen.truncate(SENDERS);
    }
}

#[cfg(test)]
#[path = "srtp_tests.rs"]
mod tests;
