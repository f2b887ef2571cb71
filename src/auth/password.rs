//! Passwords: hashing (argon2id, RFC 9106), verifying, and making one. It computes for tens of milliseconds and takes
//! 19 MiB while it does: callers run it where that is allowed.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier},
};

use super::credential::PASSWORD_MAX;
use crate::{
    base::{Error, Kind, Result, Secret},
    config::PasswordHash,
};

/// The shortest password that is taken, in bytes. (NIST SP 800-63B-4 §3.1.1.2 asks for eight beside another factor.)
const SHORTEST: usize = 8;

/// What a password is compared with when there is no user of the name: it costs what ours cost, and nothing fits it.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$Y2FtcGFuaWxlLW5vYm9keQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Hashes a password with a salt of its own.
///
/// # Errors
/// [`Kind::InvalidArgument`]: too short, or too long.
pub fn hash(password: &Secret) -> Result<PasswordHash> {
    let length = password.reveal().len();
    if !(SHORTEST..=PASSWORD_MAX).contains(&length) {
        let message = format!("a password has {SHORTEST} to {PASSWORD_MAX} bytes");
        return Err(Error::new(Kind::InvalidArgument, message).with_code("invalid_password"));
    }
    let failed = || Error::new(Kind::Internal, "the password cannot be hashed");
    let hash = Argon2::default().hash_password(password.reveal().as_bytes()).map_err(|_| failed())?;
    hash.to_string().parse().map_err(|_| failed())
}

/// Whether a password is the one. Without a hash it takes as long, and says no.
pub fn verify(password: &Secret, hash: Option<&PasswordHash>) -> bool {
    let against = hash.map_or(NOBODYS, PasswordHash::reveal);
    let right = Argon2::default().verify_password(password.reveal().as_bytes(), against).is_ok();
    right && hash.is_some()
}

/// A password nobody guesses: twenty letters and digits that are not taken for each other, in groups.
pub fn random() -> Secret {
    const SIGNS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let signs = rand::random::<[u8; 20]>().map(|byte| char::from(SIGNS[usize::from(byte % 32)]));
    let groups: Vec<String> = signs.chunks(5).map(|group| group.iter().collect()).collect();
    Secret::new(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_fits_its_hash_and_no_other() {
        let (right, wrong) = (Secret::new("correct horse"), Secret::new("battery staple"));
        let hashed = hash(&right).unwrap();
        assert!(hashed.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hashed.reveal());
        assert!(verify(&right, Some(&hashed)) && !verify(&wrong, Some(&hashed)));
        assert_ne!(hash(&right).unwrap(), hashed, "every hash has its own salt");
        assert!(!verify(&right, None) && NOBODYS.parse::<PasswordHash>().is_ok());
    }

    #[test]
    fn passwords_that_are_too_short_or_too_long_are_refused() {
        for length in [0, 7, 1025] {
            assert_eq!(hash(&Secret::new("a".repeat(length))).unwrap_err().code(), "invalid_password", "{length}");
        }
    }

    #[test]
    fn a_made_password_is_long_and_new() {
        let (one, other) = (random(), random());
        assert_eq!(one.reveal().len(), 23);
        assert_ne!(one, other);
    }
}
