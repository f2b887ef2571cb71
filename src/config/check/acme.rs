//! The section `acme`, and the listeners that say `tls: acme`: neither without the other, and a way for the authority to ask.

use super::{
    super::{Config, TlsConfig, tree::Route},
    Complaints,
};

/// Names in one certificate: as many as Let's Encrypt takes.
const DOMAINS_MAX: usize = 100;

impl Config {
    pub(super) fn check_acme(&self, all: &mut Complaints) {
        let (at, acme) = (|key| Route::of(["acme", key]), &self.acme);
        let says = |tls: &Option<TlsConfig>| *tls == Some(TlsConfig::Acme);
        let [by_http, by_rtsp] = [says(&self.http.tls), says(&self.rtsp.tls)];
        if acme.domains.len() > DOMAINS_MAX {
            all.add(at("domains"), format!("{} of them, {DOMAINS_MAX} at most", acme.domains.len()));
        }
        if acme.email.as_ref().is_some_and(|email| !email.contains('@')) {
            all.add(at("email"), "expected an address such as `anna@example.org`");
        }
        match (by_http, by_rtsp, acme.domains.is_empty()) {
            (false, false, false) => {
                let complaint = all.add(at("domains"), "the certificate is used nowhere");
                complaint.hint_at("write `tls: acme` in `http`, in `rtsp` or in both");
            }
            (true, _, true) | (_, true, true) => {
                let section = if by_http { "http" } else { "rtsp" };
                let complaint = all.add(Route::of([section, "tls"]), "`acme` needs the names the certificate is for");
                complaint.with(at("domains")).hint_at("such as `acme: { domains: [cams.example.org] }`");
            }
            (false, true, false) if acme.http_address.is_off() => {
                let complaint = all.add(at("http_address"), "the authority has no way to ask");
                complaint
                    .with(Route::of(["http", "tls"]))
                    .hint_at("write `tls: acme` in `http` too, or an address that the world reaches as port 80");
            }
            _ => {}
        }
    }
}
