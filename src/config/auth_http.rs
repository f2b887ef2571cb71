//! The key `auth.http`: a server that decides about callers who are not known here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HttpUrl, HumanDuration, ServiceTlsConfig};

/// A server that is asked about callers who are no users of this one: 2xx lets them, anything else does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuthHttpConfig {
    /// Where questions are POSTed. `http://` only on this machine, unless `allow_http` says otherwise.
    pub url: HttpUrl,
    /// How long an answer may take; no answer is a refusal. 100 ms to 30 s.
    #[serde(default = "timeout")]
    pub timeout: HumanDuration,
    /// How long an answer holds for the same question; 0 asks each time, 10 min at most. A refusal holds for 5 s at most.
    #[serde(default = "remember")]
    pub remember: HumanDuration,
    /// How often it is asked again about what goes on because of its yes; `null` never. 1 s to 1 h.
    #[serde(default)]
    pub ask_again: Option<HumanDuration>,
    /// Ask about callers who show nothing, too.
    #[serde(default)]
    pub anonymous: bool,
    /// Passwords may go to another machine in the clear.
    #[serde(default)]
    pub allow_http: bool,
    /// How its certificate is judged, and ours.
    #[serde(default)]
    pub tls: ServiceTlsConfig,
}

const fn timeout() -> HumanDuration {
    HumanDuration::from_secs(5)
}

const fn remember() -> HumanDuration {
    HumanDuration::from_secs(30)
}
