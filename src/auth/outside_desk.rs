//! A server that decides about callers, at work: what it said of late, whoever waits for an answer, and how often it was
//! asked. Who sends the questions stands above: [`Decide`].
//!
//! Equal questions at the same time are one. Few are on their way at once, and few more may wait for that; what comes on top
//! is told to come back. Whatever goes wrong is a no. If that is wanted, what somebody stands on is asked again
//! ([`AskedAgain`]), by a task of whoever started this.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::hmac;
use futures_util::{
    future::{BoxFuture, FutureExt, Shared, WeakShared},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{
    Credential, TryLater,
    asked_again::{AskedAgain, Withdrawn},
    decisions::{Answered, Decisions, QuestionKey, Verdict},
    outsider::Outsider,
    question::{Deed, Knock, Question},
    user::hexadecimal,
};
use crate::base::{Clock, Monotonic, Result};

/// Questions on their way at once, and those that may wait for that.
const ASKED: usize = 16;
const WAITING: usize = 256;
/// Of those on their way, how many at most are asked again: callers wait for the others.
const AGAIN: usize = 8;

/// Whoever sends questions.
pub trait Decide: fmt::Debug + Send + Sync {
    /// Asks; yes or no comes back, in a bounded time.
    ///
    /// # Errors
    /// There is no answer.
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<bool>>;
}

/// How a server that decides is asked.
#[derive(Clone, Copy, Debug)]
pub struct OutsideOptions {
    /// How long a yes holds for those who come with the same question.
    pub remember: Duration,
    /// There are questions about callers who show nothing.
    pub anonymous: bool,
    /// How often the question is asked again on whose yes somebody stands; never, if absent.
    pub ask_again: Option<Duration>,
    /// What an answer takes at most.
    pub timeout: Duration,
}

type Answer = BoxFuture<'static, Answered>;

/// A server that decides, at work.
#[derive(Debug)]
pub struct OutsideDesk {
    decide: Box<dyn Decide>,
    anonymous: bool,
    key: hmac::Key,
    decisions: Mutex<Decisions>,
    again: Option<Mutex<AskedAgain>>,
    running: Mutex<HashMap<QuestionKey, WeakShared<Answer>>>,
    asked: Semaphore,
    waiting: Semaphore,
    clock: Clock,
    counts: [AtomicU64; OUTCOMES.len()],
}

/// What comes of questions, as the metrics say it.
const OUTCOMES: [&str; 5] = ["allowed", "refused", "silent", "remembered", "busy"];

#[derive(Clone, Copy)]
enum Outcome {
    Allowed,
    Refused,
    Silent,
    Remembered,
    Busy,
}

impl OutsideDesk {
    /// Questions go by `decide`.
    pub fn new(decide: Box<dyn Decide>, options: OutsideOptions, clock: Clock) -> Self {
        let OutsideOptions { remember, anonymous, ask_again, timeout } = options;
        Self {
            decide,
            anonymous,
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            // Nobody new comes in on a yes that would have to be asked about again by now.
            decisions: Mutex::new(Decisions::new(ask_again.map_or(remember, |every| remember.min(every)))),
            again: ask_again.map(|every| Mutex::new(AskedAgain::new(every, timeout))),
            running: Mutex::default(),
            asked: Semaphore::new(ASKED),
            waiting: Semaphore::new(WAITING),
            clock,
            counts: Default::default(),
        }
    }

    /// Somebody who shows this, or nothing, if there are questions about such.
    pub(super) fn receive(&self, credential: Option<&Credential>, knock: Knock) -> Option<Outsider> {
        if credential.is_none() && !self.anonymous {
            return None;
        }
        let mut context = hmac::Context::with_key(&self.key);
        match credential {
            Some(Credential::Token { token, .. }) => context.update(token.reveal().as_bytes()),
            Some(Credential::Password { user, .. }) => context.update(user.as_bytes()),
            None => context.update(knock.from.to_string().as_bytes()),
        }
        let mark = hexadecimal(&context.sign().as_ref()[..4]);
        Outsider::new(credential.cloned(), knock, &mark)
    }

    /// What was said to this question of late.
    pub(super) fn recall(&self, key: &QuestionKey, now: Monotonic) -> Option<Answered> {
        let found = self.decisions().find(key, now);
        found.inspect(|_| self.count(Outcome::Remembered))
    }

    /// Whether this caller was allowed anything of late, and so shows nothing that is made up.
    pub(super) fn is_proven(&self, outsider: &Outsider, now: Monotonic) -> bool {
        let found = self.decisions().find(&self.key_of(outsider, None), now);
        found.is_some_and(|answered| answered.verdict == Verdict::Allowed)
    }

    /// Whether what somebody stands on is asked again.
    pub(super) const fn asks_again(&self) -> bool {
        self.again.is_some()
    }

    /// Lets a caller know what was said, and asks again from now on if they stand on it.
    ///
    /// # Errors
    /// There is too much that would have to be asked again.
    pub(super) fn tell(
        &self,
        outsider: &Arc<Outsider>,
        deed: &Deed,
        answered: Answered,
    ) -> std::result::Result<(), TryLater> {
        let oldest = outsider.take(deed, answered.verdict);
        let (Verdict::Allowed, Some(again)) = (answered.verdict, &self.again) else { return Ok(()) };
        if let Some(oldest) = oldest {
            locked(again).leave(&self.key_of(outsider, Some(&oldest)), outsider);
        }
        let key = self.key_of(outsider, Some(deed));
        if locked(again).enter(key, deed, outsider, answered) {
            return Ok(());
        }
        outsider.withdraw(deed);
        self.count(Outcome::Busy);
        Err(TryLater { after: Duration::from_secs(1) })
    }

    /// The digest of a question; without a deed, of whom it is about. With a key of this process: what lies in memory fits
    /// nothing elsewhere.
    pub(super) fn key_of(&self, outsider: &Outsider, deed: Option<&Deed>) -> QuestionKey {
        let (user, secret) = outsider.shown();
        let knock = outsider.knock();
        let (kind, secret) = (if secret.is_some() { "shown" } else { "" }, secret.map_or("", |secret| secret.reveal()));
        let (word, path) = deed.map_or(("", ""), |deed| (deed.word(), deed.path()));
        // What a query says may decide, but not who somebody is.
        let query = deed.map_or("", |_| knock.query.reveal());
        let ip = knock.from.to_canonical().to_string();
        let mut context = hmac::Context::with_key(&self.key);
        for part in [kind, user, secret, &ip, word, path, knock.protocol, query] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        key
    }

    /// Asks, or waits with whoever asked the same.
    ///
    /// # Errors
    /// Too many wait.
    pub(super) async fn ask(
        self: Arc<Self>,
        outsider: &Outsider,
        deed: &Deed,
    ) -> std::result::Result<Answered, TryLater> {
        let Ok(_place) = self.waiting.try_acquire() else {
            self.count(Outcome::Busy);
            return Err(TryLater { after: Duration::from_secs(1) });
        };
        let key = self.key_of(outsider, Some(deed));
        let answer = self.join(key, || outsider.question(deed.clone()));
        let answered = answer.await;
        if answered.verdict == Verdict::Allowed {
            let whom = self.key_of(outsider, None);
            self.decisions().keep(whom, answered);
        }
        Ok(answered)
    }

    /// Asks again what somebody stands on, until it is to stop. Without this, and if that is not wanted, nothing is.
    pub async fn ask_again(self: Arc<Self>, stopping: CancellationToken) {
        let Some(again) = &self.again else { return };
        let pace = locked(again).pace();
        let mut ticks = tokio::time::interval(pace);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked = FuturesUnordered::new();
        loop {
            while asked.len() < AGAIN
                && let Some((key, question)) = { locked(again).poll_question() }
            {
                asked.push(self.join(key, || question));
            }
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                Some(_) = asked.next() => {}
                _ = ticks.tick() => {
                    let over = locked(again).handle_timeout(self.clock.now());
                    over.into_iter().for_each(|over| withdraw(over, "no answer"));
                }
            }
        }
    }

    /// The answer that is on its way, or will be. Whoever waits for it moves it on; it ends with the last of them.
    fn join(self: &Arc<Self>, key: QuestionKey, question: impl FnOnce() -> Question) -> Shared<Answer> {
        let mut running = locked(&self.running);
        if let Some(answer) = running.get(&key).and_then(WeakShared::upgrade) {
            return answer;
        }
        running.retain(|_, answer| answer.upgrade().is_some());
        let (desk, question) = (self.clone(), question());
        let answer = async move { desk.settle(key, question).await }.boxed().shared();
        if let Some(weak) = answer.downgrade() {
            running.insert(key, weak);
        }
        answer
    }

    async fn settle(&self, key: QuestionKey, question: Question) -> Answered {
        // It is never closed.
        let _turn = self.asked.acquire().await;
        let (verdict, outcome) = match self.decide.ask(question).await {
            Ok(true) => (Verdict::Allowed, Outcome::Allowed),
            Ok(false) => (Verdict::Refused, Outcome::Refused),
            Err(_) => (Verdict::Silent, Outcome::Silent),
        };
        self.count(outcome);
        let answered = Answered { verdict, at: self.clock.now() };
        self.decisions().keep(key, answered);
        let over = self.again.as_ref().and_then(|again| locked(again).handle_answer(&key, answered));
        over.into_iter().for_each(|over| withdraw(over, "it was refused"));
        answered
    }

    /// What came of questions since the start, by name.
    pub(super) fn figures(&self) -> Vec<(&'static str, u64)> {
        OUTCOMES.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed))).collect()
    }

    fn count(&self, outcome: Outcome) {
        self.counts[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn decisions(&self) -> MutexGuard<'_, Decisions> {
        locked(&self.decisions)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn withdraw(Withdrawn { deed, from }: Withdrawn, why: &str) {
    info!(action = deed.word(), path = deed.path(), callers = from.len(), "auth.http: no longer allowed: {why}");
    from.iter().for_each(|outsider| outsider.withdraw(&deed));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::Way, base::PathName};

    /// Answers once it is let, and counts.
    #[derive(Debug)]
    struct Slow {
        asked: Arc<AtomicU64>,
        gate: Arc<Semaphore>,
        answer: Option<bool>,
    }

    impl Decide for Slow {
        fn ask(&self, _: Question) -> BoxFuture<'static, Result<bool>> {
            let (asked, gate, answer) = (self.asked.clone(), self.gate.clone(), self.answer);
            async move {
                asked.fetch_add(1, Ordering::Relaxed);
                gate.acquire().await.unwrap().forget();
                let none = || crate::base::Error::new(crate::base::Kind::Unavailable, "down");
                answer.ok_or_else(none)
            }
            .boxed()
        }
    }

    const OPTIONS: OutsideOptions = OutsideOptions {
        remember: Duration::from_secs(30),
        anonymous: false,
        ask_again: None,
        timeout: Duration::from_secs(5),
    };

    fn verdict(answer: std::result::Result<Answered, TryLater>) -> std::result::Result<Verdict, TryLater> {
        answer.map(|answered| answered.verdict)
    }

    fn desk(answer: Option<bool>) -> (Arc<OutsideDesk>, Arc<AtomicU64>, Arc<Semaphore>) {
        let (asked, gate) = (Arc::<AtomicU64>::default(), Arc::new(Semaphore::new(0)));
        let slow = Slow { asked: asked.clone(), gate: gate.clone(), answer };
        (Arc::new(OutsideDesk::new(Box::new(slow), OPTIONS, Clock)), asked, gate)
    }

    fn outsider(desk: &OutsideDesk, password: &str, from: u8) -> Outsider {
        let shown = Credential::of_password("anna", password).unwrap();
        desk.receive(Some(&shown), Knock::from([10, 0, 0, from].into())).unwrap()
    }

    fn front() -> Deed {
        Deed::Read("front".parse::<PathName>().unwrap())
    }

    #[tokio::test]
    async fn equal_questions_at_the_same_time_are_one_and_the_answer_is_remembered() {
        let (desk, asked, gate) = desk(Some(true));
        let anna = outsider(&desk, "pass", 9);
        let deed = front();
        let mut all: Vec<_> = (0..20).map(|_| desk.clone().ask(&anna, &deed).boxed()).collect();
        for one in &mut all {
            assert!(one.now_or_never().is_none());
        }
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        gate.add_permits(1);
        for one in all {
            assert_eq!(verdict(one.await), Ok(Verdict::Allowed));
        }
        let key = desk.key_of(&anna, Some(&deed));
        assert_eq!(desk.recall(&key, Clock.now()).unwrap().verdict, Verdict::Allowed);
        assert!(desk.is_proven(&anna, Clock.now()));
        for (other, deed) in [
            (outsider(&desk, "Pass", 9), front()),
            (outsider(&desk, "pass", 10), front()),
            (outsider(&desk, "pass", 9), Deed::Api),
        ] {
            assert_eq!(desk.recall(&desk.key_of(&other, Some(&deed)), Clock.now()), None, "{deed:?}");
        }
        assert_eq!(desk.figures()[..4], [("allowed", 1), ("refused", 0), ("silent", 0), ("remembered", 1)]);
    }

    #[tokio::test]
    async fn a_question_that_everybody_gave_up_is_asked_anew_and_no_answer_is_a_no() {
        let (desk, asked, gate) = desk(None);
        let (anna, deed) = (outsider(&desk, "pass", 9), front());
        let mut first = desk.clone().ask(&anna, &deed).boxed();
        assert!((&mut first).now_or_never().is_none());
        drop(first);
        gate.add_permits(1);
        assert_eq!(verdict(desk.clone().ask(&anna, &deed).await), Ok(Verdict::Silent));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert!(!desk.is_proven(&anna, Clock.now()));
    }

    #[tokio::test]
    async fn more_than_may_wait_are_told_to_come_back() {
        let (desk, asked, _gate) = desk(Some(true));
        let anna = outsider(&desk, "pass", 9);
        let deeds: Vec<Deed> = (0..=WAITING).map(|i| Deed::Read(format!("c{i}").parse().unwrap())).collect();
        let mut all: Vec<_> = deeds.iter().map(|deed| desk.clone().ask(&anna, deed).boxed()).collect();
        let pending = all.iter_mut().filter_map(|one| one.now_or_never()).collect::<Vec<_>>();
        assert_eq!(pending, [Err::<Answered, _>(TryLater { after: Duration::from_secs(1) })]);
        assert_eq!(asked.load(Ordering::Relaxed), ASKED as u64);
    }

    #[test]
    fn whoever_shows_nothing_is_asked_about_only_where_that_is_wanted() {
        let (desk, ..) = desk(Some(true));
        let knock = || Knock::from([10, 0, 0, 9].into());
        assert!(desk.receive(None, knock()).is_none());
        assert!(desk.receive(Credential::of_token("abc", Way::Link).ok().as_ref(), knock()).is_some());
    }
}
