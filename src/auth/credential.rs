//! What a client shows of itself, read from the header `Authorization`: Basic (RFC 7617) or Bearer (RFC 6750 §2.1).
//! Sans-IO.

use base64::{Engine, engine::general_purpose};

use super::{ApiToken, Way};
use crate::base::Secret;

/// What a client shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password.
    Password {
        /// The name as it was sent.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token.
    Token {
        /// The token.
        token: Secret,
        /// How it came.
        way: Way,
    },
}

/// The header is none that is read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the credential cannot be read")]
pub struct Malformed;

/// The longest name, the longest password and the longest token that are looked at, in bytes.
const USER_MAX: usize = 64;
/// See [`USER_MAX`].
pub(super) const PASSWORD_MAX: usize = 1024;
const TOKEN_MAX: usize = 4096;

impl Credential {
    /// Reads the header's value.
    ///
    /// # Errors
    /// Another scheme, or not what its scheme asks for.
    pub fn of_header(value: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(value).map_err(|_| Malformed)?;
        // RFC 9110 §11.1, §11.4: the scheme in any case, then spaces.
        let (scheme, rest) = text.split_once(' ').ok_or(Malformed)?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("Basic") {
            return Self::basic(rest);
        }
        if scheme.eq_ignore_ascii_case("Bearer") {
            return Self::of_token(rest, Way::Header);
        }
        Err(Malformed)
    }

    /// RFC 7617 §2: the name ends at the first colon.
    fn basic(text: &str) -> Result<Self, Malformed> {
        if text.len() > (USER_MAX + 1 + TOKEN_MAX).div_ceil(3) * 4 {
            return Err(Malformed);
        }
        let bytes = general_purpose::STANDARD.decode(text).map_err(|_| Malformed)?;
        let pair = String::from_utf8(bytes).map_err(|_| Malformed)?;
        let (user, password) = pair.split_once(':').ok_or(Malformed)?;
        // Players ask for a password and nothing else: a token may stand there, whatever the name beside it.
        if is_token(password) || ApiToken::is_one(password) {
            return Self::of_token(password, Way::Header);
        }
        Self::of_password(user, password)
    }

    /// A name and a password that came by another way.
    ///
    /// # Errors
    /// They are longer than any can be.
    pub fn of_password(user: &str, password: &str) -> Result<Self, Malformed> {
        if user.len() > USER_MAX || password.len() > PASSWORD_MAX {
            return Err(Malformed);
        }
        Ok(Self::Password { user: user.to_owned(), password: Secret::new(password) })
    }

    /// The name that was shown, if one was.
    pub(super) fn user(&self) -> Option<&str> {
        match self {
            Self::Password { user, .. } => Some(user),
            Self::Token { .. } => None,
        }
    }

    /// The same as it comes in a message.
    #[must_use]
    pub fn by_message(self) -> Self {
        match self {
            Self::Token { token, .. } => Self::Token { token, way: Way::Message },
            password @ Self::Password { .. } => password,
        }
    }

    /// Whether it is a token.
    pub const fn is_token(&self) -> bool {
        matches!(self, Self::Token { .. })
    }

    /// RFC 6750 §2.1: letters, digits and `-._~+/`, then `=`.
    ///
    /// # Errors
    /// It is none, or too long.
    pub fn of_token(text: &str, way: Way) -> Result<Self, Malformed> {
        let sign = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
        let body = text.trim_end_matches('=');
        if body.is_empty() || text.len() > TOKEN_MAX || !body.bytes().all(sign) {
            return Err(Malformed);
        }
        Ok(Self::Token { token: Secret::new(text), way })
    }
}

/// Whether a password is a JWT: three parts of base64url, the first of which begins an object.
fn is_token(password: &str) -> bool {
    password.len() > 100 && password.starts_with("eyJ") && password.split('.').count() == 3
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.into(), password: Secret::new(password) })
    }

    #[test]
    fn names_passwords_and_tokens_are_read_and_anything_else_is_refused() {
        let token = |text: &str| Some(Credential::Token { token: Secret::new(text), way: Way::Header });
        let table = [
            ("Basic YW5uYTpwYXNz", password("anna", "pass")),
            ("bAsIc  YW5uYTpwYXNz ", password("anna", "pass")),
            ("Basic YW5uYTpwYTpzcw==", password("anna", "pa:ss")),
            ("Basic OnBhc3M=", password("", "pass")),
            ("Basic YW5uYTpww6Rzcw==", password("anna", "päss")),
            ("Basic YW5uYQ==", None),
            ("Basic YW5uYTpw5HNz", None),
            ("Basic !!!", None),
            ("Basic", None),
            ("Basic ", None),
            ("Bearer abc.def-_~+/==", token("abc.def-_~+/==")),
            ("bearer abc", token("abc")),
            ("Bearer a b", None),
            ("Bearer ===", None),
            ("Bearer ä", None),
            ("Digest username=\"anna\"", None),
            ("", None),
        ];
        for (header, expected) in table {
            assert_eq!(Credential::of_header(header.as_bytes()).ok(), expected, "{header}");
        }
        let jwt = format!("eyJ{}.{}.x", "a".repeat(60), "b".repeat(1200));
        let as_password = format!("Basic {}", general_purpose::STANDARD.encode(format!("whoever:{jwt}")));
        assert_eq!(Credential::of_header(as_password.as_bytes()).ok(), token(&jwt));
        let long = format!("Basic {}", general_purpose::STANDARD.encode(format!("anna:{}", "a".repeat(1025))));
        assert_eq!(Credential::of_header(long.as_bytes()), Err(Malformed));
        assert_eq!(Credential::of_header(format!("Bearer {}", "a".repeat(4097)).as_bytes()), Err(Malformed));
        assert_eq!(Credential::of_header(b"Bearer \xff"), Err(Malformed));
    }

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let shown = format!("{:?}", Credential::of_header(b"Basic YW5uYTpwYXNz").unwrap());
        assert!(!shown.contains("pass\""), "{shown}");
    }

    proptest! {
        #[test]
        fn any_header_is_read_or_refused(value in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Credential::of_header(&value);
            let _ = Credential::of_header(&[b"Basic ", &value[..]].concat());
            let _ = Credential::of_header(&[b"Bearer ", &value[..]].concat());
        }
    }
}
