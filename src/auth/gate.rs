//! The decision. Until there are users it knows two callers: those on this machine and those from elsewhere.

use std::net::{IpAddr, SocketAddr};

use super::grant::{Action, Grant, Permission, Subject};
use crate::base::{Error, Kind, PathName, Result};

/// Who asks, as the door saw it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The peer's address.
    pub peer: SocketAddr,
    /// The request came through somebody else: it carries a forwarding header, or names a host that is not this machine.
    pub relayed: bool,
}

impl Caller {
    /// A caller connected directly from `peer`.
    pub const fn direct(peer: SocketAddr) -> Self {
        Self { peer, relayed: false }
    }

    /// Whether the caller is a program on this machine speaking for itself.
    pub fn is_local(&self) -> bool {
        let ip = match self.peer.ip() {
            IpAddr::V6(ip) => ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4),
            ip @ IpAddr::V4(_) => ip,
        };
        ip.is_loopback() && !self.relayed
    }
}

/// What callers from elsewhere may do while there are no users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GatePolicy {
    /// Nothing: every listener is on loopback.
    #[default]
    Closed,
    /// Watch, and read alerts, sensors and statistics: the configuration opened a listener, which the server warns of.
    Watch,
}

/// Decides whether a caller may do something.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    policy: GatePolicy,
}

impl Gate {
    /// A gate with this policy.
    pub const fn new(policy: GatePolicy) -> Self {
        Self { policy }
    }

    /// Whether `caller` may do `P` on `path`.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`], with the same words for paths that exist and paths that do not.
    pub fn check<P: Permission>(&self, caller: &Caller, path: &PathName) -> Result<Grant<P>> {
        self.decide::<P>(caller).map(|subject| Grant::new(subject, Some(path.clone())))
    }

    /// Whether `caller` may do `P` on the server as a whole.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`].
    pub fn check_server<P: Permission>(&self, caller: &Caller) -> Result<Grant<P>> {
        self.decide::<P>(caller).map(|subject| Grant::new(subject, None))
    }

    fn decide<P: Permission>(&self, caller: &Caller) -> Result<Subject> {
        if caller.is_local() {
            return Ok(Subject::Loopback);
        }
        match (self.policy, P::ACTION) {
            (GatePolicy::Watch, Action::View | Action::Alerts | Action::Sensors | Action::Stats) => {
                Ok(Subject::Anonymous)
            }
            _ => Err(Error::new(Kind::Unauthenticated, "this needs a caller on the server's own machine")
                .with_hint("call it through a loopback address, without a proxy in between")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Ack, Admin, Alerts, Control, Publish, Sensors, Stats, View};

    fn caller(address: &str, relayed: bool) -> Caller {
        Caller { peer: address.parse().unwrap(), relayed }
    }

    #[test]
    fn loopback_may_do_everything_and_others_what_the_policy_says() {
        let path: PathName = "cam".parse().unwrap();
        let (closed, watch) = (Gate::default(), Gate::new(GatePolicy::Watch));
        let table = [
            ("127.0.0.1:9", false, true, true, true),
            ("[::1]:9", false, true, true, true),
            ("[::ffff:127.0.0.1]:9", false, true, true, true),
            ("127.0.0.1:9", true, false, true, false),
            ("10.0.0.9:9", false, false, true, false),
        ];
        for (address, relayed, in_closed, in_watch, may_control) in table {
            let caller = caller(address, relayed);
            assert_eq!(closed.check::<View>(&caller, &path).is_ok(), in_closed, "{address} closed");
            assert_eq!(watch.check::<View>(&caller, &path).is_ok(), in_watch, "{address} watch");
            let reads = [
                watch.check_server::<Alerts>(&caller).is_ok(),
                watch.check_server::<Sensors>(&caller).is_ok(),
                watch.check_server::<Stats>(&caller).is_ok(),
            ];
            assert_eq!(reads, [in_watch; 3], "{address} reads");
            let acts = [
                watch.check_server::<Publish>(&caller).is_ok(),
                watch.check_server::<Control>(&caller).is_ok(),
                watch.check_server::<Ack>(&caller).is_ok(),
                watch.check_server::<Admin>(&caller).is_ok(),
            ];
            assert_eq!(acts, [may_control; 4], "{address} acts");
        }
    }

    #[test]
    fn a_grant_holds_for_the_path_it_was_asked_for() {
        let path: PathName = "cam".parse().unwrap();
        let grant = Gate::default().check::<View>(&caller("127.0.0.1:9", false), &path).unwrap();
        assert_eq!(grant.path(), Some(&path));
        grant.ended().cancel();
        let copy = grant.clone();
        assert!(grant.ended().is_cancelled() && copy.ended().is_cancelled());
    }
}
