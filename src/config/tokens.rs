//! The key `auth.tokens`: how this server signs tokens of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::HumanDuration;

/// How this server signs tokens of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokensConfig {
    /// The algorithm of keys from now on; those that were made before go on proving.
    pub algorithm: TokenAlgorithm,
    /// How long a key signs before another one is made; 1 h to 365 d. It proves until its tokens are over.
    pub rotate: HumanDuration,
}

impl Default for TokensConfig {
    fn default() -> Self {
        Self { algorithm: TokenAlgorithm::default(), rotate: HumanDuration::from_secs(30 * 86_400) }
    }
}

/// By what a token is signed (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256: whoever proves a token could have signed it.
    #[default]
    #[serde(rename = "HS256")]
    Hs256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}
