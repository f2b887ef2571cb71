//! The section `http`, and the limits that hold for it, as the room takes them.

use std::{num::NonZeroU32, time::Duration};

use super::{certificates::Kept, events};
use crate::{
    config::{Config, Hsts, LimitsConfig},
    http::{HstsPolicy, HttpOptions, RequestLimits},
};

/// How the listener treats its clients.
pub(super) fn options(config: &Config, certificate: Option<&Kept>) -> HttpOptions {
    let http = &config.http;
    HttpOptions {
        origins: http.allowed_origins.clone(),
        proxies: http.trusted_proxies.clone(),
        max_connections: http.max_connections as usize,
        header_timeout: http.header_timeout.duration(),
        max_header: http.max_header_size.as_usize(),
        max_body: http.max_body_size.bytes(),
        idle_timeout: http.idle_timeout.duration(),
        write_timeout: http.write_timeout.duration(),
        events: events::doors(config),
        graphql: events::graphql(config),
        requests: request_limits(&config.limits),
        secure: http.tls.is_some(),
        hsts: hsts(http.hsts, certificate),
    }
}

/// A year, unless nobody vouches for the certificate: a browser that insists on TLS lets nobody go on past a warning.
fn hsts(wanted: Hsts, certificate: Option<&Kept>) -> HstsPolicy {
    const YEAR: Duration = Duration::from_secs(365 * 86_400);
    match (wanted, certificate) {
        (Hsts::For(span), _) => HstsPolicy::Everywhere(span.duration()),
        (Hsts::Auto, Some(kept)) if kept.is_vouched_for() => HstsPolicy::OnStandardPort(YEAR),
        (Hsts::Auto | Hsts::Off, _) => HstsPolicy::Never,
    }
}

fn request_limits(limits: &LimitsConfig) -> RequestLimits {
    let [per_address, per_user] = [limits.requests_per_address, limits.requests_per_user]
        .map(|most| NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN));
    RequestLimits { per_address, per_user }
}
