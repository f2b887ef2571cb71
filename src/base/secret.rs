//! A value that never shows itself: it prints and serialises as `***`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A secret text. `Debug`, `Display` and `Serialize` give `***`; only [`Secret::reveal`] gives the text.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

/// What stands for a secret wherever it would be shown.
pub const MASK: &str = "***";

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Call it where the secret is used, never where something is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // What it is instead, an error of the format would show.
        String::deserialize(deserializer).map(Self).map_err(|_| D::Error::custom("expected a text"))
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(MASK)
    }
}

/// A text that may be a URL, without what may be credentials: what stands before an `@`, and [`without_passwords`].
pub fn without_credentials(text: &str) -> String {
    match text.rfind('@') {
        Some(at) => {
            let from = text[..at].find("://").map_or(0, |scheme| scheme + 3);
            without_passwords(&format!("{}{MASK}{}", &text[..from], &text[at..]))
        }
        None => without_passwords(text),
    }
}

/// A URL without the values of parameters that are named like passwords, in the query (`?password=…`) or in the path
/// (`/user=admin_password=…_channel=1`), where XiongMai cameras have them.
pub fn without_passwords(url: &str) -> String {
    let mut shown = String::with_capacity(url.len());
    let mut rest = url;
    while let Some(equals) = rest.find('=') {
        let (before, value) = rest.split_at(equals + 1);
        shown.push_str(before);
        rest = value;
        if names_a_secret(before) {
            let end = end_of_value(value);
            if end > 0 {
                shown.push_str(MASK);
            }
            rest = &value[end..];
        }
    }
    shown + rest
}

/// Whether what ends with `name=` names a secret.
fn names_a_secret(before: &str) -> bool {
    const WORDS: [&str; 9] = ["pass", "pwd", "psw", "token", "secret", "key", "auth", "credential", "sig"];
    let name = before.trim_end_matches('=').rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let name = name.to_ascii_lowercase();
    name == "pw" || WORDS.iter().any(|word| name.contains(word))
}

/// Where a parameter's value ends: at a separator, or where `_name=` begins the next one.
fn end_of_value(value: &str) -> usize {
    let end = value.find(|c: char| "&;#/? \"'`".contains(c) || c.is_whitespace()).unwrap_or(value.len());
    // Looked for once, at the first `=`: a text may be long.
    let next = value[..end].find('=').and_then(|equals| {
        let name = value[..equals].bytes().rev().take_while(u8::is_ascii_alphanumeric).count();
        (name > 0).then(|| value[..equals - name].strip_suffix('_').map(str::len)).flatten()
    });
    next.unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_masked_in_one_pass() {
        let text = format!("pass={}", "_".repeat(4 << 20));
        assert_eq!(without_passwords(&text), "pass=***");
    }

    #[test]
    fn a_url_is_shown_without_what_may_be_credentials() {
        let table = [
            ("rtsp://admin:pa@ss@10.0.0.5/a", "rtsp://***@10.0.0.5/a"),
            ("rtsp:/admin:pass@10.0.0.5", "***@10.0.0.5"),
            ("rtsp://cam/x?password=hunter2", "rtsp://cam/x?password=***"),
            ("rtsp://cam/x?user=a&Pwd=hunter2&channel=1#t", "rtsp://cam/x?user=a&Pwd=***&channel=1#t"),
            (
                "rtsp://cam/user=admin_password=hunter2_channel=1_stream=0.sdp",
                "rtsp://cam/user=admin_password=***_channel=1_stream=0.sdp",
            ),
            ("rtsp://cam/user=admin&password=hun_ter2&channel=1", "rtsp://cam/user=admin&password=***&channel=1"),
            ("rtsp://cam/user=admin_password=_channel=1", "rtsp://cam/user=admin_password=_channel=1"),
            ("rtsp://cam/x?access_token=a=b&n=1", "rtsp://cam/x?access_token=***&n=1"),
            ("rtsp://cam/x?pw=ä#1", "rtsp://cam/x?pw=***#1"),
            ("rtsp://cam/äpass=ä_ä=1", "rtsp://cam/äpass=***"),
            ("rtsp://cam/stream?channel=1&subtype=0", "rtsp://cam/stream?channel=1&subtype=0"),
            ("2 s", "2 s"),
        ];
        for (text, shown) in table {
            assert_eq!(without_credentials(text), shown, "{text}");
        }
    }

    #[test]
    fn a_secret_never_shows_itself() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(shown, "*** *** \"***\"");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn what_should_have_been_a_secret_text_is_not_told_either() {
        assert_eq!(serde_json::from_str::<Secret>("\"hunter2\"").unwrap().reveal(), "hunter2");
        for text in ["12345678", "[12345678]", "{\"12345678\":1}", "12345678.5"] {
            let error = serde_json::from_str::<Secret>(text).unwrap_err().to_string();
            assert!(!error.contains("12345678"), "{error}");
        }
    }
}
