//! The scripted camera's logins: Basic (RFC 7617) and Digest with MD5 or SHA-256 (RFC 7616, without qop as cameras do).

use md5::Digest as _;

use super::bitstream::base64;

/// A login scheme. The user is `admin`, the password `s3cret:@ !` (each character of it has broken something once).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    Basic,
    Md5,
    Sha256,
}

pub const USER: &str = "admin";
pub const PASSWORD: &str = "s3cret:@ !";
const REALM: &str = "scripted";

impl Login {
    /// The challenge of a 401.
    pub fn challenge(self, nonce: &str) -> String {
        match self {
            Self::Basic => format!("Basic realm=\"{REALM}\""),
            Self::Md5 => format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\""),
            Self::Sha256 => format!("Digest realm=\"{REALM}\", nonce=\"{nonce}\", algorithm=SHA-256"),
        }
    }

    /// Whether the `Authorization` of a request is right.
    pub fn accepts(self, method: &str, nonce: &str, authorization: &str) -> bool {
        if self == Self::Basic {
            return authorization == format!("Basic {}", base64(format!("{USER}:{PASSWORD}").as_bytes()));
        }
        let field = |name: &str| {
            let fields = authorization.strip_prefix("Digest ")?.split(',');
            let mut pairs = fields.filter_map(|field| field.trim().split_once('='));
            pairs.find(|(key, _)| *key == name).map(|(_, value)| value.trim_matches('"').to_owned())
        };
        let (Some(uri), Some(response), Some(used)) = (field("uri"), field("response"), field("nonce")) else {
            return false;
        };
        let secret = self.hash(&format!("{USER}:{REALM}:{PASSWORD}"));
        let request = self.hash(&format!("{method}:{uri}"));
        let expected = match (field("qop"), field("nc"), field("cnonce")) {
            (Some(qop), Some(nc), Some(cnonce)) => {
                self.hash(&format!("{secret}:{nonce}:{nc}:{cnonce}:{qop}:{request}"))
            }
            _ => self.hash(&format!("{secret}:{nonce}:{request}")),
        };
        used == nonce && response == expected
    }

    fn hash(self, text: &str) -> String {
        let bytes = match self {
            Self::Sha256 => sha2::Sha256::digest(text).to_vec(),
            _ => md5::Md5::digest(text).to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
