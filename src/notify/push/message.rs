//! Encryption of a push message: RFC 8291 over the content coding `aes128gcm` of RFC 8188. Sans-IO.
//!
//! The push service carries the message and cannot read it: the key comes from an exchange between a key pair of ours,
//! made for this one message, and that of the browser. A message is one record (RFC 8291 §4).

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey, agree},
    hmac::{self, HMAC_SHA256},
    rand,
};
use bytes::{BufMut, Bytes, BytesMut};

/// The longest content: a push service need not take a body of more than 4096 bytes (RFC 8030 §7.2), of which header,
/// padding delimiter and tag take 103 (RFC 8291 §4).
pub const CONTENT_MAX: usize = 4096 - HEADER - 1 - TAG;

/// RFC 8188 §2.1: salt, record size, length of the key's name, and the name, which is our public key.
const HEADER: usize = SALT + 4 + 1 + POINT;
const SALT: usize = 16;
/// An uncompressed point of P-256 (RFC 8291 §3.1).
pub(super) const POINT: usize = 65;
/// The secret that a browser gives beside its key (RFC 8291 §3.2).
pub(super) const AUTH: usize = 16;
const TAG: usize = 16;
const RECORD_SIZE: u32 = 4096;
/// RFC 8188 §2: what ends the content of the last record.
const LAST_RECORD: u8 = 2;

/// Why a message cannot be sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Longer than [`CONTENT_MAX`].
    #[error("content is longer than {CONTENT_MAX} bytes")]
    TooLong,
    /// No point of P-256, uncompressed.
    #[error("key is no point of P-256")]
    Key,
    /// The cipher provider refuses.
    #[error("cipher provider failed")]
    Provider,
}

/// A browser's keys, checked.
#[derive(Clone, Debug)]
pub struct Receiver {
    key: ParsedPublicKey,
    point: [u8; POINT],
    auth: [u8; AUTH],
}

impl Receiver {
    /// The keys of a subscription.
    ///
    /// # Errors
    /// [`SealError::Key`].
    pub fn new(point: &[u8], auth: [u8; AUTH]) -> Result<Self, SealError> {
        let point: [u8; POINT] = point.try_into().map_err(|_| SealError::Key)?;
        let key = UnparsedPublicKey::new(&ECDH_P256, point);
        // A point that is not on the curve is found out here and not with the first alert.
        let key: ParsedPublicKey = (&key).try_into().map_err(|_| SealError::Key)?;
        Ok(Self { key, point, auth })
    }
}

/// What is drawn for one message: the salt and our key pair. No two messages share them (RFC 8291 §3.1, RFC 8188 §2.1).
#[derive(Debug)]
pub struct Draw {
    salt: [u8; SALT],
    key: PrivateKey,
}

impl Draw {
    /// A new one.
    ///
    /// # Errors
    /// [`SealError::Provider`].
    pub fn random() -> Result<Self, SealError> {
        let mut salt = [0; SALT];
        rand::fill(&mut salt).map_err(|_| SealError::Provider)?;
        Ok(Self { salt, key: PrivateKey::generate(&ECDH_P256).map_err(|_| SealError::Provider)? })
    }
}

/// The body of the request to the push service.
///
/// # Errors
/// [`SealError`].
pub fn seal(content: &[u8], receiver: &Receiver, draw: Draw) -> Result<Bytes, SealError> {
    if content.len() > CONTENT_MAX {
        return Err(SealError::TooLong);
    }
    let ours = draw.key.compute_public_key().map_err(|_| SealError::Provider)?;
    let keying = agree(&draw.key, receiver.key.clone(), SealError::Key, |shared| {
        Ok(input_keying(shared, &receiver.auth, &receiver.point, ours.as_ref()))
    })?;
    let mut body = BytesMut::with_capacity(HEADER + content.len() + 1 + TAG);
    body.put_slice(&draw.salt);
    body.put_u32(RECORD_SIZE);
    body.put_u8(POINT as u8);
    body.put_slice(ours.as_ref());
    let mut record = body.split_off(body.len());
    record.put_slice(content);
    record.put_u8(LAST_RECORD);
    let (key, nonce) = record_key(&draw.salt, &keying)?;
    let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), &mut record).map_err(|_| SealError::Provider)?;
    record.put_slice(tag.as_ref());
    body.unsplit(record);
    Ok(body.freeze())
}

/// RFC 8291 §3.3 and §3.4: what both sides know, from the exchange, the secret and both public keys.
fn input_keying(shared: &[u8], auth: &[u8], receiver: &[u8], sender: &[u8]) -> [u8; 32] {
    let extracted = hash(auth, &[shared]);
    hash(&extracted, &[b"WebPush: info\0", receiver, sender, &[1]])
}

/// RFC 8188 §2.2 and §2.3: the key, and the nonce of the first record, which is exclusive-or'd with zero.
fn record_key(salt: &[u8], keying: &[u8]) -> Result<(LessSafeKey, Nonce), SealError> {
    let extracted = hash(salt, &[keying]);
    let key = hash(&extracted, &[b"Content-Encoding: aes128gcm\0", &[1]]);
    let nonce = hash(&extracted, &[b"Content-Encoding: nonce\0", &[1]]);
    let key = UnboundKey::new(&AES_128_GCM, &key[..16]).map_err(|_| SealError::Provider)?;
    let nonce = Nonce::try_assume_unique_for_key(&nonce[..12]).map_err(|_| SealError::Provider)?;
    Ok((LessSafeKey::new(key), nonce))
}

/// HMAC-SHA-256: both steps of HKDF, when one block is enough (RFC 5869 §2).
fn hash(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    parts.iter().for_each(|part| context.update(part));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.sign().as_ref());
    hash
}

/// The browser's side.
#[cfg(test)]
pub(super) fn open(body: &[u8], private: &PrivateKey, auth: &[u8]) -> Option<Vec<u8>> {
    let (header, rest) = body.split_at_checked(SALT + 5)?;
    let (name, record) = rest.split_at_checked(usize::from(header[SALT + 4]))?;
    let public = private.compute_public_key().ok()?;
    let keying = agree(private, UnparsedPublicKey::new(&ECDH_P256, name), (), |shared| {
        Ok(input_keying(shared, auth, public.as_ref(), name))
    })
    .ok()?;
    open_record(&header[..SALT], &keying, record)
}

#[cfg(test)]
fn open_record(salt: &[u8], keying: &[u8], record: &[u8]) -> Option<Vec<u8>> {
    let (key, nonce) = record_key(salt, keying).ok()?;
    let mut record = record.to_vec();
    let plain = key.open_in_place(nonce, Aad::empty(), &mut record).ok()?;
    // RFC 8188 §2: zeros behind the delimiter are padding.
    let end = plain.iter().rposition(|byte| *byte != 0)?;
    (plain[end] == LAST_RECORD).then(|| plain[..end].to_vec())
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    fn private(text: &str) -> PrivateKey {
        PrivateKey::from_private_key(&ECDH_P256, &bytes(text)).unwrap()
    }

    /// RFC 8291 §5 and appendix A: keys, salt, content and body.
    const RECEIVER: &str = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    const RECEIVER_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
    const SENDER: &str = "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
    const SENDER_PRIVATE: &str = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw";
    const AUTH_SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";
    const SALT_USED: &str = "DGv6ra1nlYgDCS1FRnbzlw";
    const WORDS: &[u8] = b"When I grow up, I want to be a watermelon";
    const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml\
                        mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
                        pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

    #[test]
    fn the_example_of_rfc_8291_comes_out_byte_for_byte() {
        let receiver = Receiver::new(&bytes(RECEIVER), bytes(AUTH_SECRET).try_into().unwrap()).unwrap();
        let key = private(SENDER_PRIVATE);
        assert_eq!(key.compute_public_key().unwrap().as_ref(), bytes(SENDER));
        let draw = Draw { salt: bytes(SALT_USED).try_into().unwrap(), key };
        let body = seal(WORDS, &receiver, draw).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&body), BODY);
        assert_eq!(open(&body, &private(RECEIVER_PRIVATE), &bytes(AUTH_SECRET)).unwrap(), WORDS);
    }

    #[test]
    fn the_steps_between_are_those_of_rfc_8291_appendix_a() {
        let shared = bytes("kyrL1jIIOHEzg3sM2ZWRHDRB62YACZhhSlknJ672kSs");
        assert_eq!(hash(&bytes(AUTH_SECRET), &[&shared])[..], bytes("Snr3JMxaHVDXHWJn5wdC52WjpCtd2EIEGBykDcZW32k"));
        let keying = input_keying(&shared, &bytes(AUTH_SECRET), &bytes(RECEIVER), &bytes(SENDER));
        assert_eq!(keying[..], bytes("S4lYMb_L0FxCeq0WhDx813KgSYqU26kOyzWUdsXYyrg"));
        let extracted = hash(&bytes(SALT_USED), &[&keying]);
        assert_eq!(extracted[..], bytes("09_eUZGrsvxChDCGRCdkLiDXrReGOEVeSCdCcPBSJSc"));
        let key = hash(&extracted, &[b"Content-Encoding: aes128gcm\0", &[1]]);
        assert_eq!(key[..16], bytes("oIhVW04MRdy2XN9CiKLxTg"));
        let nonce = hash(&extracted, &[b"Content-Encoding: nonce\0", &[1]]);
        assert_eq!(nonce[..12], bytes("4h_95klXJ5E_qnoN"));
    }

    #[test]
    fn the_example_of_rfc_8188_opens() {
        // §3.1: a record size of 4096, a key without a name.
        let body = bytes("I1BsxtFttlv3u_Oo94xnmwAAEAAA-NAVub2qFgBEuQKRapoZu-IxkIva3MEB1PD-ly8Thjg");
        assert_eq!(body[SALT..SALT + 5], [0, 0, 16, 0, 0]);
        let opened = open_record(&body[..SALT], &bytes("yqdlZ-tYemfogSmv7Ws5PQ"), &body[SALT + 5..]);
        assert_eq!(opened.unwrap(), b"I am the walrus");
    }

    fn somebody() -> (PrivateKey, Receiver) {
        let key = PrivateKey::generate(&ECDH_P256).unwrap();
        let receiver = Receiver::new(key.compute_public_key().unwrap().as_ref(), [7; AUTH]).unwrap();
        (key, receiver)
    }

    #[test]
    fn the_longest_content_fills_what_a_push_service_takes() {
        let (key, receiver) = somebody();
        let content = vec![b'x'; CONTENT_MAX];
        let body = seal(&content, &receiver, Draw::random().unwrap()).unwrap();
        assert_eq!((CONTENT_MAX, body.len()), (3993, 4096));
        assert_eq!(open(&body, &key, &[7; AUTH]).unwrap(), content);
        let long = vec![b'x'; CONTENT_MAX + 1];
        assert_eq!(seal(&long, &receiver, Draw::random().unwrap()), Err(SealError::TooLong));
    }

    #[test]
    fn no_two_messages_share_a_salt_or_a_key() {
        let (_, receiver) = somebody();
        let one = seal(b"", &receiver, Draw::random().unwrap()).unwrap();
        let two = seal(b"", &receiver, Draw::random().unwrap()).unwrap();
        assert_ne!(one[..SALT], two[..SALT]);
        assert_ne!(one[SALT + 5..HEADER], two[SALT + 5..HEADER]);
    }

    #[test]
    fn what_is_no_point_of_the_curve_is_refused() {
        let mut off = bytes(RECEIVER);
        off[64] ^= 1;
        let mut compressed = bytes(RECEIVER);
        compressed[0] = 2;
        for point in [&off[..], &compressed, &[], &[4; 64], &[0; 65]] {
            assert_eq!(Receiver::new(point, [0; AUTH]).unwrap_err(), SealError::Key);
        }
    }
}
