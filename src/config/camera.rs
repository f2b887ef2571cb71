//! How a camera is spoken to: transport, trust in its certificate, and allowances for firmware that errs.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a camera sends its media over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceTransport {
    /// TCP, and UDP when the camera refuses TCP (RTSP 461).
    #[default]
    Auto,
    /// TCP only: nothing is lost on the way.
    Tcp,
    /// UDP only, for cameras on a quiet network: packets that arrive out of order are lost.
    Udp,
}

/// How the certificate of an `rtsps://` camera is judged. Without either key it must be valid for the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CameraTlsConfig {
    /// Accept any certificate. Whoever stands between can then read and change everything; prefer `fingerprint`.
    pub insecure: bool,
    /// Accept exactly the certificate with this SHA-256 fingerprint, whoever signed it and whatever its names.
    pub fingerprint: Option<Fingerprint>,
}

/// The SHA-256 of a certificate in DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons")]
pub struct FingerprintError;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        let mut bytes = [0; 32];
        let digits: Vec<u32> = text
            .chars()
            .filter(|c| !matches!(c, ':' | ' '))
            .map(|c| c.to_digit(16).ok_or(FingerprintError))
            .collect::<Result<_, _>>()?;
        if digits.len() != 64 {
            return Err(FingerprintError);
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = (pair[0] << 4 | pair[1]) as u8;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

super::text::text_value!(Fingerprint, name: "Fingerprint",
expects: "a SHA-256 fingerprint: 64 hexadecimal digits, with or without colons",
schema: {
    "description": "The SHA-256 fingerprint of a certificate: 64 hexadecimal digits, with or without colons.",
    "type": "string",
    "pattern": "^([0-9A-Fa-f]{2}[: ]?){32}$"
});

/// Allowances for cameras that break the protocol. The defaults suit nearly all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuirksConfig {
    /// The camera changes its session id from track to track: `strict` refuses that, `first` goes on with the first id.
    pub session_id: SessionIdQuirk,
    /// Reports come from a sender that was never announced: `drop` them, `accept` them as the announced one's, or
    /// `reconnect`.
    pub unknown_sender: UnknownSenderQuirk,
    /// Data comes on a channel that was never set up: `ignore` it, take it for the rest of a `stale_session`,
    /// `reconnect`, or decide by the camera's software (`auto`).
    pub stray_data: StrayDataQuirk,
}

/// What to do when a camera changes its session id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionIdQuirk {
    /// The session fails.
    #[default]
    Strict,
    /// The first id is used throughout.
    First,
}

/// What to do with RTCP of an unknown SSRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownSenderQuirk {
    /// It is not read.
    #[default]
    Drop,
    /// It is read as if it were the announced sender's.
    Accept,
    /// The session ends and is set up anew.
    Reconnect,
}

/// What to do with data on an interleaved channel nobody set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StrayDataQuirk {
    /// `stale_session` for software known to mix up sessions, else `ignore`.
    #[default]
    Auto,
    /// It is not read.
    Ignore,
    /// It belongs to an earlier session the camera has not ended: wait for its end, then connect anew.
    StaleSession,
    /// The session ends and is set up anew.
    Reconnect,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let plain = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
        let fingerprint: Fingerprint = plain.parse().unwrap();
        assert_eq!(fingerprint.0[..3], [0x00, 0x11, 0x22]);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint), "with colons, upper case");
        for bad in ["", "0011", &plain[1..], &plain.replace('a', "g"), &format!("{plain}00")] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(FingerprintError), "{bad}");
        }
    }
}
