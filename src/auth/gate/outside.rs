//! Callers who are not known here, at the gate: whoever they are, a server that decides is asked about what they want; and
//! whom the gate refuses is remembered, for those who are to hear of it.

use super::*;

impl Gate {
    /// Callers who are not known here are asked about from now on.
    pub fn set_outside(&self, desk: Arc<OutsideDesk>) {
        // Whoever comes second is not the start.
        let _ = self.outside.set(desk);
    }

    /// Whether callers are asked about elsewhere.
    pub fn asks_outside(&self) -> bool {
        self.outside.get().is_some()
    }

    /// Whether somebody may come who proves nothing by an answer to a challenge, but by the password itself: it is a server
    /// elsewhere that knows it, an issuer's token, or known here by its hash alone.
    pub fn needs_passwords(&self) -> bool {
        self.asks_outside() || self.logins.needs_passwords()
    }

    /// What came of questions to the server that decides, by name; nothing where there is none.
    pub fn outside_figures(&self) -> Vec<(&'static str, u64)> {
        self.outside.get().map(|desk| desk.figures()).unwrap_or_default()
    }

    /// [`Gate::recall`] for somebody at a door: who is not known here may be known elsewhere.
    pub fn meet_at_once(
        &self,
        credential: &Credential,
        from: IpAddr,
        knock: impl FnOnce() -> Knock,
        now: Moment,
    ) -> Option<Identity> {
        match self.recall(credential, from, now) {
            Some(Identity::Refused) if self.asks_outside() => {
                Some(self.receive(Some(credential), knock).unwrap_or(Identity::Refused))
            }
            Some(Identity::Refused) => {
                self.saw_refused(from, credential.user(), now);
                Some(Identity::Refused)
            }
            None if self.logins.is_strange(credential) => self.receive(Some(credential), knock),
            known => known,
        }
    }

    /// [`Gate::identify`] for somebody at a door.
    ///
    /// # Errors
    /// As [`Gate::identify`].
    pub async fn meet(
        &self,
        credential: &Credential,
        knock: Knock,
        now: Moment,
    ) -> std::result::Result<Identity, TryLater> {
        if let Some(met) = self.meet_at_once(credential, knock.from, || knock.clone(), now) {
            return Ok(met);
        }
        match self.identify(credential, knock.from, now).await? {
            Identity::Refused if credential.is_token() => {
                Ok(self.receive(Some(credential), || knock).unwrap_or(Identity::Refused))
            }
            met => Ok(met),
        }
    }

    /// Somebody who shows nothing.
    pub fn meet_nobody(&self, caller: &Caller, knock: impl FnOnce() -> Knock) -> Identity {
        let here = caller.is_local() && self.trusts_this_machine();
        if !self.asks_outside() || self.is_off() || here {
            return Identity::Nobody;
        }
        self.receive(None, knock).unwrap_or(Identity::Nobody)
    }

    fn receive(&self, credential: Option<&Credential>, knock: impl FnOnce() -> Knock) -> Option<Identity> {
        let outsider = self.outside.get()?.receive(credential, knock())?;
        Some(Identity::Outside(Arc::new(outsider)))
    }

    /// Asks about a deed, if that is to be asked elsewhere: what is checked next knows the answer. Whatever is not asked
    /// first is refused to callers from outside.
    ///
    /// # Errors
    /// They have to wait first: they failed too often, or too many ask at the same time.
    pub async fn ask(&self, caller: &Caller, deed: &Deed, now: Moment) -> std::result::Result<(), TryLater> {
        let (Identity::Outside(outsider), Some(desk)) = (&caller.identity, self.outside.get()) else { return Ok(()) };
        if outsider.may(deed) {
            return Ok(());
        }
        let answered = match desk.recall(&desk.key_of(outsider, Some(deed)), now.monotonic) {
            Some(answered) => answered,
            None => {
                let (user, secret) = outsider.shown();
                // Who shows nothing guesses nothing, and who is known lacks a right at most.
                let guesses = secret.is_some() && !desk.is_proven(outsider, now.monotonic);
                if guesses && outsider.counts() {
                    self.logins.may_try(user, caller.peer.ip(), now.monotonic)?;
                }
                let answered = desk.clone().ask(outsider, deed).await?;
                let from = caller.peer.ip();
                match answered.verdict {
                    Verdict::Allowed if outsider.settles() => self.logins.tried_well(user, from),
                    // That nobody answers is no fault of theirs, and proves nothing.
                    Verdict::Silent if outsider.recounts() => self.logins.tried_in_vain(user, from),
                    Verdict::Refused if guesses => self.saw_refused(from, Some(user), now),
                    Verdict::Allowed | Verdict::Refused | Verdict::Silent => {}
                }
                answered
            }
        };
        desk.tell(outsider, deed, answered)
    }

    /// The caller, if what is granted to it is asked about again.
    pub(super) fn holder(&self, caller: &Caller) -> Option<Arc<Outsider>> {
        match &caller.identity {
            Identity::Outside(outsider) if self.outside.get().is_some_and(|desk| desk.asks_again()) => {
                Some(outsider.clone())
            }
            _ => None,
        }
    }

    /// Whom callers were refused of late, for those who are to hear of it. To be called once a second or so.
    pub fn sightings(&self, now: Monotonic) -> Vec<Sighting> {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).poll(now)
    }

    pub(super) fn saw_refused(&self, from: IpAddr, user: Option<&str>, now: Moment) {
        self.sightings.lock().unwrap_or_else(PoisonError::into_inner).note(from, user, now.monotonic);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::FutureExt;

    use super::*;
    use crate::{
        auth::{Decide, OutsideOptions, Question},
        base::Clock,
    };

    /// Knows no password, and says nothing where the query asks for it.
    #[derive(Debug)]
    struct Moody;

    impl Decide for Moody {
        fn ask(&self, question: Question) -> BoxFuture<'static, Result<bool>> {
            let asked = String::from_utf8(question.to_json()).unwrap();
            let said = if asked.contains("trouble") {
                Err(Error::new(Kind::Unavailable, "http status 500"))
            } else {
                Ok(asked.contains("right"))
            };
            std::future::ready(said).boxed()
        }
    }

    fn gate() -> Gate {
        let gate = Gate::default();
        let options = OutsideOptions {
            remember: Duration::ZERO,
            anonymous: false,
            ask_again: None,
            timeout: Duration::from_secs(5),
        };
        gate.set_outside(Arc::new(OutsideDesk::new(Box::new(Moody), options, Clock)));
        gate
    }

    /// A request that shows this password, and asks about all of these.
    async fn request(gate: &Gate, password: &str, query: &str, deeds: &[Deed]) -> std::result::Result<(), TryLater> {
        let from: IpAddr = [10, 0, 0, 9].into();
        let now = Moment { monotonic: Monotonic::from_nanos(1_000_000_000), wall: WallTime::from_unix_nanos(0) };
        let shown = Credential::of_password("anna", password).unwrap();
        let knock = Knock { query: Secret::new(query), ..Knock::from(from) };
        let identity = gate.meet(&shown, knock, now).await?;
        let caller = Caller { identity, ..Caller::direct(SocketAddr::new(from, 5000)) };
        for deed in deeds {
            gate.ask(&caller, deed, now).await?;
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_server_that_is_in_trouble_with_some_questions_forgives_no_guesses() {
        let gate = gate();
        let mut guesses = 0;
        for number in 0..40 {
            let guessed = request(&gate, &format!("guess-{number}"), "", &[Deed::Api]).await;
            guesses += usize::from(guessed.is_ok());
            let _ = request(&gate, "guess", "trouble", &[Deed::Api, Deed::Metrics]).await;
        }
        assert!(guesses <= 11, "{guesses} guesses at once");
        // And one that is away is no fault of anybody's.
        let gate = self::gate();
        for _ in 0..40 {
            assert!(request(&gate, "right", "trouble", &[Deed::Api]).await.is_ok());
        }
    }

    #[tokio::test]
    async fn whoever_is_right_in_many_questions_of_one_request_is_right_once() {
        let gate = gate();
        let paths: Vec<Deed> = (0..10).map(|n| Deed::Read(format!("cam-{n}").parse().unwrap())).collect();
        let mut guesses = 0;
        for name in 0..150 {
            let shown = format!("guess-{name}");
            // Each guess for another name: what counts is the address.
            let (user, from): (_, IpAddr) = (format!("user-{name}"), [10, 0, 0, 9].into());
            let now = Moment { monotonic: Monotonic::from_nanos(1_000_000_000), wall: WallTime::from_unix_nanos(0) };
            let credential = Credential::of_password(&user, &shown).unwrap();
            let identity = gate.meet(&credential, Knock::from(from), now).await.unwrap();
            let caller = Caller { identity, ..Caller::direct(SocketAddr::new(from, 5000)) };
            guesses += usize::from(gate.ask(&caller, &Deed::Api, now).await.is_ok());
            let _ = request(&gate, "right", "", &paths).await;
        }
        assert!(guesses <= 101, "{guesses} guesses at once");
    }
}
