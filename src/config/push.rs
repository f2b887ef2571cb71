//! A channel of Web Push, as it is configured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HumanDuration, ServiceTlsConfig};

/// Notifications on the screens of browsers that asked for them (Web Push), also when no page is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PushConfig {
    /// Where push services can reach you if something is wrong: `mailto:you@example.org` or an `https://` URL. Apple's
    /// takes nothing without one. By default `notify.server_url`, if that is `https://`.
    pub contact: Option<String>,
    /// Browsers that may subscribe.
    #[schemars(range(min = 1, max = 1000))]
    pub max_subscriptions: u32,
    /// Push services may stand in a private network or on this machine.
    pub allow_private: bool,
    /// How long a push service may take to answer.
    pub timeout: HumanDuration,
    /// How push services' certificates are judged; by default they must be valid.
    pub tls: ServiceTlsConfig,
}

impl Default for PushConfig {
    fn default() -> Self {
        Self {
            contact: None,
            max_subscriptions: 100,
            allow_private: false,
            timeout: HumanDuration::from_secs(10),
            tls: ServiceTlsConfig::default(),
        }
    }
}
