//! Digest logins (RFC 7616, RFC 2069), as RTSP's players do them: the header taken apart, and the answer worked out.
//! Sans-IO.

use aws_lc_rs::{constant_time::verify_slices_are_equal, digest};
use md5::{Digest as _, Md5};

use super::{DigestKeys, Malformed};
use crate::base::Secret;

/// The hashes that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// What every player has.
    Md5,
    /// What it should have.
    Sha256,
}

/// What a client shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestAnswer {
    /// The name.
    pub user: String,
    /// The number it answers to.
    pub nonce: String,
    algorithm: DigestAlgorithm,
    realm: String,
    uri: String,
    response: Secret,
    /// `nc` and `cnonce`, with `qop=auth`.
    counted: Option<(String, String)>,
}

/// The longest header that is looked at, and the longest of its values, in bytes.
const LONGEST: usize = 4096;
const VALUE_MAX: usize = 1024;

impl DigestAnswer {
    /// Reads what stands after `Digest`.
    ///
    /// # Errors
    /// A part is missing, stands there twice, or asks for what is not taken (`auth-int`, `-sess`, a hashed name).
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > LONGEST {
            return Err(Malformed);
        }
        let mut found: [Option<String>; 9] = Default::default();
        const NAMES: [&str; 9] = ["username", "realm", "nonce", "uri", "response", "algorithm", "qop", "nc", "cnonce"];
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once('=').ok_or(Malformed)?;
            let (value, after) = value(after.trim_start())?;
            let place = NAMES.iter().position(|known| name.trim().eq_ignore_ascii_case(known));
            if place.is_some_and(|place| found[place].replace(value).is_some()) {
                return Err(Malformed);
            }
            rest = match after.trim_start() {
                "" => "",
                after => after.strip_prefix(',').ok_or(Malformed)?.trim_start(),
            };
        }
        let [user, realm, nonce, uri, response, algorithm, qop, nc, cnonce] = found;
        let algorithm = match algorithm {
            None => DigestAlgorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("MD5") => DigestAlgorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => DigestAlgorithm::Sha256,
            Some(_) => return Err(Malformed),
        };
        let counted = match qop {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some((nc.ok_or(Malformed)?, cnonce.ok_or(Malformed)?)),
            Some(_) => return Err(Malformed),
        };
        let (user, nonce) = (user.ok_or(Malformed)?, nonce.ok_or(Malformed)?);
        let (realm, uri) = (realm.ok_or(Malformed)?, uri.ok_or(Malformed)?);
        Ok(Self { user, nonce, algorithm, realm, uri, response: Secret::new(response.ok_or(Malformed)?), counted })
    }

    /// Whether it is right for these keys. Without keys it takes as long, and is not. The URI is not compared with the
    /// request's: players write it relative, or that of another track; the number is this connection's alone.
    pub fn is_right(&self, method: &str, keys: Option<&DigestKeys>) -> bool {
        let nobody = Secret::new("0".repeat(64));
        let of = |keys: &DigestKeys| match self.algorithm {
            DigestAlgorithm::Md5 => keys.md5.clone(),
            DigestAlgorithm::Sha256 => keys.sha256.clone(),
        };
        let key = keys.map_or(nobody, of);
        let what = self.hash(&format!("{method}:{}", self.uri));
        let expected = match &self.counted {
            Some((nc, cnonce)) => format!("{}:{}:{nc}:{cnonce}:auth:{what}", key.reveal(), self.nonce),
            None => format!("{}:{}:{what}", key.reveal(), self.nonce),
        };
        let expected = self.hash(&expected);
        let right =
            verify_slices_are_equal(expected.as_bytes(), self.response.reveal().to_ascii_lowercase().as_bytes())
                .is_ok();
        right && keys.is_some() && self.realm == super::REALM
    }

    fn hash(&self, text: &str) -> String {
        match self.algorithm {
            DigestAlgorithm::Md5 => super::user::hexadecimal(&Md5::digest(text)),
            DigestAlgorithm::Sha256 => {
                super::user::hexadecimal(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
            }
        }
    }
}

/// A value, quoted or not, and what follows it (RFC 9110 §5.6.4).
fn value(text: &str) -> Result<(String, &str), Malformed> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return if value.len() <= VALUE_MAX { Ok((value.trim_end().to_owned(), rest)) } else { Err(Malformed) };
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next().ok_or(Malformed)?.1),
            c if c.is_control() => return Err(Malformed),
            c => value.push(c),
        }
        if value.len() > VALUE_MAX {
            return Err(Malformed);
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = r#"username="anna", realm="campanile", nonce="n", uri="rtsp://h/cam", response="r""#;

    fn keys() -> DigestKeys {
        DigestKeys::new(&"anna".parse().unwrap(), &Secret::new("password"))
    }

    /// As a client works it out.
    fn answer(algorithm: &str, qop: bool) -> String {
        let hash = |text: String| match algorithm {
            "MD5" => super::super::user::hexadecimal(&Md5::digest(text)),
            _ => super::super::user::hexadecimal(digest::digest(&digest::SHA256, text.as_bytes()).as_ref()),
        };
        let (who, what) = (hash("anna:campanile:password".into()), hash("DESCRIBE:rtsp://h/cam".into()));
        let (response, more) = if qop {
            (hash(format!("{who}:n:00000001:c:auth:{what}")), ", qop=auth, nc=00000001, cnonce=\"c\"")
        } else {
            (hash(format!("{who}:n:{what}")), "")
        };
        let text = BASE.replace("\"r\"", &format!("\"{response}\""));
        format!("{text}, algorithm={algorithm}{more}")
    }

    #[test]
    fn rt_11_md5_and_sha_256_with_and_without_qop_are_right() {
        for algorithm in ["MD5", "SHA-256"] {
            for qop in [false, true] {
                let shown = DigestAnswer::parse(&answer(algorithm, qop)).unwrap();
                assert!(shown.is_right("DESCRIBE", Some(&keys())), "{algorithm} {qop}");
                assert!(!shown.is_right("SETUP", Some(&keys())) && !shown.is_right("DESCRIBE", None));
                let other = DigestKeys::new(&"anna".parse().unwrap(), &Secret::new("Password"));
                assert!(!shown.is_right("DESCRIBE", Some(&other)), "{algorithm} {qop}");
            }
        }
        let elsewhere = answer("MD5", false).replace("campanile", "other");
        assert!(!DigestAnswer::parse(&elsewhere).unwrap().is_right("DESCRIBE", Some(&keys())), "another realm");
    }

    /// With all that goes into it, an answer is what a password is tried against at home.
    #[test]
    fn an_answer_shows_itself_to_nobody() {
        let shown = DigestAnswer::parse(&BASE.replace("\"r\"", "\"0123456789abcdef\"")).unwrap();
        assert!(!format!("{shown:?}").contains("0123456789abcdef"), "{shown:?}");
    }

    #[test]
    fn what_is_missing_twice_or_not_taken_is_refused() {
        assert!(DigestAnswer::parse(BASE).is_ok());
        assert_eq!(DigestAnswer::parse(&BASE.replace("anna", "a\\\"b, c")).unwrap().user, "a\"b, c");
        let twice = format!("{BASE}, username=\"boss\"");
        let table = [
            "",
            "username",
            "username=\"anna",
            twice.as_str(),
            &BASE.replace("response", "answer"),
            &format!("{BASE}, algorithm=MD5-sess"),
            &format!("{BASE}, qop=auth-int, nc=1, cnonce=\"c\""),
            &format!("{BASE}, qop=auth"),
            &format!("{BASE} x"),
            &BASE.replace("anna", &"a".repeat(1100)),
        ];
        for text in table {
            assert_eq!(DigestAnswer::parse(text), Err(Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z=\", \\\\\\PC]{0,80}") {
            let _ = DigestAnswer::parse(&text);
            let _ = DigestAnswer::parse(&format!("{BASE},{text}"));
        }
    }
}
