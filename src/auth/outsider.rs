//! Somebody of whom nothing is known here, and about whom a server that decides is asked (`auth.http`): what was shown,
//! how, and what was allowed so far. It is as old as one request, or as one connection of RTSP or of a WebSocket. Sans-IO.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use super::{
    Credential, Permissions, Purpose, Standing, TokenFacts, Way,
    decisions::Verdict,
    question::{Deed, Knock, Question},
};
use crate::{
    base::{Secret, WallTime},
    config::{PermissionConfig, UserName},
};

/// What became of the attempt that a caller's credential may be: not counted, counted as a failure, found to be none.
const UNCOUNTED: u8 = 0;
const COUNTED: u8 = 1;
const SETTLED: u8 = 2;

/// Somebody about whom is asked.
#[derive(Debug)]
pub struct Outsider {
    /// Nothing: they showed nothing.
    credential: Option<Credential>,
    knock: Knock,
    standing: Arc<Standing>,
    said: Mutex<Said>,
    /// One of [`UNCOUNTED`], [`COUNTED`] and [`SETTLED`].
    attempt: AtomicU8,
}

/// What one caller is allowed at once: more paths than a server has.
const DEEDS: usize = 1024;

#[derive(Debug, Default)]
struct Said {
    allowed: Vec<Deed>,
    silent: bool,
}

impl Said {
    fn permissions(&self) -> Vec<PermissionConfig> {
        self.allowed.iter().flat_map(Deed::permissions).collect()
    }
}

impl Outsider {
    /// Somebody who shows this, or nothing. `mark` tells them from others who have no name that is one here.
    pub(super) fn new(credential: Option<Credential>, knock: Knock, mark: &str) -> Option<Self> {
        let named = match &credential {
            Some(Credential::Password { user, .. }) => user.parse::<UserName>().ok(),
            _ => None,
        };
        let name = match named {
            Some(name) => name,
            None => format!("outside-{mark}").parse().ok()?,
        };
        let facts = TokenFacts {
            id: String::new(),
            purpose: Purpose::Foreign,
            until: WallTime::from_unix_nanos(i64::MAX),
            auth_time: 0,
            limit: None,
        };
        let standing = Arc::new(Standing::of_token(name, Permissions::default(), facts));
        Some(Self { credential, knock, standing, said: Mutex::default(), attempt: AtomicU8::new(UNCOUNTED) })
    }

    /// Who it is, once something was allowed: until then the credential may be anybody's invention.
    pub fn known(&self) -> Option<&Arc<Standing>> {
        (!self.said().allowed.is_empty() && !self.standing.is_over()).then_some(&self.standing)
    }

    /// Whether they showed nothing.
    pub const fn shows_nothing(&self) -> bool {
        self.credential.is_none()
    }

    /// Whether it came by a link.
    pub fn came_by_link(&self) -> bool {
        matches!(&self.credential, Some(Credential::Token { way: Way::Link, .. }))
    }

    /// Whether nothing was allowed, and the server that decides said nothing at least once.
    pub(super) fn is_unanswered(&self) -> bool {
        let said = self.said();
        said.silent && said.allowed.is_empty()
    }

    /// Whether this was allowed before.
    pub(super) fn may(&self, deed: &Deed) -> bool {
        let said = self.said();
        // What is allowed on the server as a whole overlaps; on a path each thing is its own.
        let whole = || {
            let server_wide = said.allowed.iter().filter(|one| one.path().is_empty());
            let allowed: Vec<_> = server_wide.flat_map(Deed::permissions).collect();
            deed.permissions().iter().all(|one| allowed.contains(one))
        };
        said.allowed.contains(deed) || (deed.path().is_empty() && whole())
    }

    /// Takes what came of a question. Of too much that is allowed the oldest is so no more, and comes back.
    pub(super) fn take(&self, deed: &Deed, verdict: Verdict) -> Option<Deed> {
        let mut said = self.said();
        match verdict {
            Verdict::Allowed if !said.allowed.contains(deed) => {
                let oldest = (said.allowed.len() >= DEEDS).then(|| said.allowed.remove(0));
                said.allowed.push(deed.clone());
                self.standing.change(Permissions::new(&said.permissions()));
                oldest
            }
            Verdict::Allowed | Verdict::Refused => None,
            Verdict::Silent => {
                said.silent = true;
                None
            }
        }
    }

    /// What was allowed is so no more: whatever was granted for it ends.
    pub(super) fn withdraw(&self, deed: &Deed) {
        let mut said = self.said();
        said.allowed.retain(|allowed| allowed != deed);
        self.standing.change(Permissions::new(&said.permissions()));
    }

    /// Whether this is the first question that may turn out to be a wrong password: one request is one attempt.
    pub(super) fn counts(&self) -> bool {
        self.moves(UNCOUNTED, COUNTED)
    }

    /// Whether with a yes the attempt was none, which it is once.
    pub(super) fn settles(&self) -> bool {
        self.moves(COUNTED, SETTLED)
    }

    /// Whether without an answer the attempt is to be counted another time.
    pub(super) fn recounts(&self) -> bool {
        self.moves(COUNTED, UNCOUNTED)
    }

    fn moves(&self, from: u8, to: u8) -> bool {
        self.attempt.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(super) const fn knock(&self) -> &Knock {
        &self.knock
    }

    /// The name and the secret that were shown.
    pub(super) fn shown(&self) -> (&str, Option<&Secret>) {
        match &self.credential {
            Some(Credential::Password { user, password }) => (user, Some(password)),
            Some(Credential::Token { token, .. }) => ("", Some(token)),
            None => ("", None),
        }
    }

    /// The question about a deed.
    pub(super) fn question(&self, deed: Deed) -> Question {
        let none = Secret::default;
        let (user, password, token) = match &self.credential {
            Some(Credential::Password { user, password }) => (user.clone(), password.clone(), none()),
            Some(Credential::Token { token, .. }) => (String::new(), none(), token.clone()),
            None => (String::new(), none(), none()),
        };
        Question { user, password, token, deed, knock: self.knock.clone() }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Action;

    fn outsider(credential: Option<Credential>) -> Outsider {
        Outsider::new(credential, Knock::from([10, 0, 0, 9].into()), "0011aabb").unwrap()
    }

    #[test]
    fn an_outsider_is_nobody_until_something_was_allowed_and_then_no_more_than_that() {
        let front: crate::base::PathName = "front".parse().unwrap();
        let back: crate::base::PathName = "back".parse().unwrap();
        let anna = outsider(Credential::of_password("anna", "pass").ok());
        anna.take(&Deed::Read(back.clone()), Verdict::Refused);
        assert!(anna.known().is_none() && !anna.is_unanswered());
        anna.take(&Deed::Read(back.clone()), Verdict::Silent);
        assert!(anna.known().is_none() && anna.is_unanswered());
        anna.take(&Deed::Read(front.clone()), Verdict::Allowed);
        let known = anna.known().unwrap();
        assert_eq!(known.name().as_str(), "anna");
        let may = known.permissions();
        assert!(may.allow(Action::View, &front) && !may.allow(Action::View, &back));
        assert!(anna.may(&Deed::Read(front)) && !anna.may(&Deed::Read(back)) && !anna.may(&Deed::Api));
        assert!(!anna.is_unanswered(), "somebody known lacks a right");
        assert!(anna.counts() && !anna.counts());
    }

    #[test]
    fn what_is_withdrawn_ends_and_what_else_was_allowed_goes_on() {
        let [front, back]: [crate::base::PathName; 2] = ["front", "back"].map(|name| name.parse().unwrap());
        let anna = outsider(Credential::of_password("anna", "pass").ok());
        for deed in [Deed::Read(front.clone()), Deed::Read(back.clone()), Deed::Api, Deed::Metrics] {
            anna.take(&deed, Verdict::Allowed);
        }
        let standing = anna.known().unwrap().clone();
        let may = standing.permissions();
        let issued = [
            standing.issue(Action::View, Some(&front), &may),
            standing.issue(Action::View, Some(&back), &may),
            standing.issue(Action::Stats, None, &may),
            standing.issue(Action::Ack, None, &may),
        ];
        let ended = || issued.each_ref().map(tokio_util::sync::CancellationToken::is_cancelled);
        anna.withdraw(&Deed::Read(front.clone()));
        assert_eq!((ended(), anna.may(&Deed::Read(front))), ([true, false, false, false], false));
        anna.withdraw(&Deed::Api);
        assert_eq!(ended(), [true, false, false, true], "the metrics are allowed still");
        anna.withdraw(&Deed::Metrics);
        anna.withdraw(&Deed::Read(back));
        assert_eq!((ended(), anna.known().is_some()), ([true; 4], false));
    }

    #[test]
    fn what_one_caller_is_allowed_at_once_is_bounded_and_the_oldest_of_it_ends() {
        let anna = outsider(Credential::of_password("anna", "pass").ok());
        let path = |number: usize| -> crate::base::PathName { format!("cam-{number}").parse().unwrap() };
        let deed = |number: usize| Deed::Read(path(number));
        anna.take(&deed(0), Verdict::Allowed);
        let standing = anna.known().unwrap().clone();
        let first = standing.issue(Action::View, Some(&path(0)), &standing.permissions());
        for number in 1..DEEDS + 10 {
            anna.take(&deed(number), Verdict::Allowed);
        }
        assert_eq!(standing.permissions().list().count(), DEEDS);
        assert!(first.is_cancelled() && !anna.may(&deed(0)) && anna.may(&deed(DEEDS)));
    }

    #[test]
    fn names_that_are_none_here_get_one() {
        for shown in
            [None, Credential::of_token("abc", Way::Header).ok(), Credential::of_password("anna smith", "x").ok()]
        {
            let outsider = outsider(shown);
            outsider.take(&Deed::Metrics, Verdict::Allowed);
            assert_eq!(outsider.known().unwrap().name().as_str(), "outside-0011aabb");
        }
    }
}
