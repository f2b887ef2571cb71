//! The key `auth.jwt`: an issuer whose tokens are taken.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpUrl, HumanDuration};

/// An issuer whose tokens are taken: signed with RS256, ES256 or EdDSA, and proved by the keys it publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JwtConfig {
    /// Where it publishes its keys (a JWK set). `http://` only on this machine.
    pub jwks_url: HttpUrl,
    /// What `iss` has to say, to the letter.
    pub issuer: String,
    /// What has to be in `aud`.
    pub audience: String,
    /// By how much its clock may differ from ours; 60 s at most.
    #[serde(default = "leeway")]
    pub leeway: HumanDuration,
    /// The claim that is the user's name here.
    #[serde(default = "name_claim")]
    pub name_claim: String,
    /// A claim that lists groups: those of `auth.groups` give their permissions. Absent: none is looked at.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// The authority that signed its certificate, PEM, instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
}

const fn leeway() -> HumanDuration {
    HumanDuration::from_secs(5)
}

fn name_claim() -> String {
    "sub".to_owned()
}
