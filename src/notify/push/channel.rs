//! The channel: keeps the subscriptions, and carries a message to each browser's push service. A subscription is a
//! recipient with a lane of its own; one that the push service does not know any more is forgotten.
//!
//! What people are told is encoded once for a notice; encrypted it must be for each browser, with its key.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::Mutex as Turn;
use tracing::{info, warn};
use url::Url;

use super::{
    content::Content,
    identity,
    message::{Draw, seal},
    subscription::{Brought, Subscription, Wish},
    vapid::Vapid,
};
use crate::{
    base::{Error, Kind, Result, WallTime},
    config::{HttpUrl, PushConfig},
    net::exchange::secret_header,
    notify::{
        Channel, ChannelKind, Delivering, Letter, Outcome,
        courier::{self, Courier},
    },
    store::{DocumentChange, Documents},
};

/// The collection of the store.
const COLLECTION: &str = "push";

/// What a courier has to know of where it goes: all push services are spoken to over TLS (RFC 8030 §8).
const ANY_SERVICE: &str = "https://push.example/";

/// The channel. It is shared by the room and by those who subscribe.
#[derive(Debug)]
pub struct Push {
    vapid: Mutex<Vapid>,
    public: String,
    courier: Courier,
    allow_private: bool,
    most: usize,
    limit: Duration,
    documents: Documents,
    /// By id; held for a look or an insert. What is here lies in the store.
    known: Mutex<BTreeMap<String, Arc<Subscription>>>,
    /// Whoever changes them waits for those before.
    turn: Turn<()>,
    /// What the last notice says, by its id.
    said: Mutex<Option<(String, Arc<Content>)>>,
}

impl Push {
    /// The channel as it is configured, with the key and the subscriptions that were kept. `server` is where people reach
    /// this server.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`]: the key or a file of `tls` cannot be read or written, or holds nothing of its kind.
    pub async fn start(
        config: &PushConfig,
        server: Option<&HttpUrl>,
        documents: Documents,
        state_dir: &Path,
    ) -> Result<Self> {
        let server = server.map(|server| server.url().to_string()).filter(|url| url.starts_with("https://"));
        let vapid = identity::kept(state_dir)?.with_contact(config.contact.clone().or(server));
        let public = vapid.public().to_owned();
        let known = documents.all(COLLECTION).await.unwrap_or_else(|error| {
            warn!("push subscriptions cannot be read from the store: {}", error.chain());
            Vec::new()
        });
        let read = |(id, body): (String, String)| match serde_json::from_str::<Subscription>(&body) {
            // RFC 8292 §4.2: what belongs to another key is of no use; the page subscribes anew.
            Ok(subscription) if subscription.server_key != public => None,
            Ok(subscription) => Some((id, Arc::new(subscription))),
            Err(error) => {
                warn!("push subscription {id} is left out: {error}");
                None
            }
        };
        let known = known.into_iter().filter_map(read).collect();
        let service = Url::parse(ANY_SERVICE)
            .map_err(|error| Error::new(Kind::Internal, "push: the URL of a service").caused_by(error))?;
        Ok(Self {
            vapid: Mutex::new(vapid),
            courier: Courier::new(&service, &config.tls, config.allow_private)?,
            public,
            allow_private: config.allow_private,
            most: config.max_subscriptions as usize,
            limit: config.timeout.duration(),
            documents,
            known: Mutex::new(known),
            turn: Turn::new(()),
            said: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Subscription>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Our public key, base64url: what a browser subscribes with.
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// How many browsers may subscribe.
    pub const fn most(&self) -> usize {
        self.most
    }

    /// Every subscription, by id.
    pub fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.known().values().cloned().collect()
    }

    /// Takes a subscription, or a new wish of one that is known; whether it is new. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] naming the field; [`Kind::FailedPrecondition`]: there are too many; the store's.
    pub async fn subscribe(
        &self,
        brought: Brought<'_>,
        wish: Wish,
        now: WallTime,
    ) -> Result<(Arc<Subscription>, bool)> {
        let mut subscription = Subscription::new(brought, wish, &self.public, self.allow_private, now)?;
        let _turn = self.turn.lock().await;
        let before = self.known().get(&subscription.id).cloned();
        if let Some(before) = &before {
            subscription.since = before.since;
            if **before == subscription {
                return Ok((before.clone(), false));
            }
        } else if self.known().len() >= self.most {
            let message = format!("{} browsers have subscribed, which is as many as may", self.most);
            return Err(Error::new(Kind::FailedPrecondition, message)
                .with_code("too_many_subscriptions")
                .with_hint("`max_subscriptions` of the channel, or remove one of those that are listed"));
        }
        let subscription = Arc::new(subscription);
        self.keep(&subscription.id, serde_json::to_string(&*subscription).ok()).await?;
        self.known().insert(subscription.id.clone(), subscription.clone());
        Ok((subscription, before.is_none()))
    }

    /// Forgets a subscription.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the store's.
    pub async fn unsubscribe(&self, id: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        if !self.known().contains_key(id) {
            return Err(Error::new(Kind::NotFound, "there is no such subscription").with_code("subscription_not_found"));
        }
        self.keep(id, None).await?;
        self.known().remove(id);
        Ok(())
    }

    async fn keep(&self, id: &str, body: Option<String>) -> Result<()> {
        self.documents.apply(vec![DocumentChange { collection: COLLECTION, key: id.to_owned(), body }]).await
    }

    /// What a notice says, worked out for the first of its recipients.
    fn content(&self, letter: &Letter) -> Arc<Content> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &*said {
            Some((id, content)) if *id == letter.notice.id => content.clone(),
            _ => {
                let content = Arc::new(Content::of(&letter.notice));
                *said = Some((letter.notice.id.clone(), content.clone()));
                content
            }
        }
    }

    async fn push(&self, subscription: &Subscription, content: &Content, now: WallTime) -> Result<courier::Answer> {
        let (endpoint, receiver) = (subscription.endpoint()?, subscription.receiver()?);
        let sealed = Draw::random().and_then(|draw| seal(&content.json, &receiver, draw));
        let body = sealed.map_err(|error| Error::new(Kind::Internal, format!("push message: {error}")))?;
        let vapid = self.vapid.lock().unwrap_or_else(PoisonError::into_inner).authorization(&endpoint, now)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, secret_header(&vapid)?);
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("aes128gcm"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert("ttl", HeaderValue::from(content.ttl));
        headers.insert("urgency", HeaderValue::from_static(content.urgency));
        headers
            .extend(HeaderValue::try_from(&content.topic).map(|topic| (http::HeaderName::from_static("topic"), topic)));
        self.courier.post(&endpoint, headers, body, now).await
    }
}

impl Channel for Push {
    fn kind(&self) -> ChannelKind {
        ChannelKind::Push
    }

    fn recipients(&self) -> Vec<String> {
        self.known().keys().cloned().collect()
    }

    fn deliver<'a>(&'a self, letter: &'a Letter, now: WallTime) -> Delivering<'a> {
        Box::pin(async move {
            let subscription = self.known().get(&letter.recipient).cloned();
            let Some(subscription) = subscription else {
                return Outcome::Gone { why: "the browser has unsubscribed".to_owned() };
            };
            if !subscription.wants(&letter.notice) {
                return Outcome::Delivered;
            }
            let content = self.content(letter);
            let answer = self.push(&subscription, &content, now).await;
            // RFC 8030 §7.3: the subscription has expired. Push services say it by either status.
            let gone = |status: StatusCode| matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
            if answer.as_ref().is_ok_and(|answer| gone(answer.status)) {
                info!(id = %subscription.id, service = %subscription.service, "a browser has unsubscribed");
                match self.unsubscribe(&subscription.id).await {
                    Err(error) if error.kind() != Kind::NotFound => {
                        warn!("push subscription {} cannot be removed: {}", subscription.id, error.chain());
                    }
                    _ => {}
                }
                return Outcome::Gone { why: "the browser has unsubscribed".to_owned() };
            }
            courier::judge(&subscription.service, answer)
        })
    }

    fn limit(&self) -> Duration {
        self.limit
    }
}
