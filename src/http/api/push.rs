//! `/api/v1/push`: browsers that want notifications.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    super::{
        caller::Asking,
        front::Front,
        grant::{Named, OnServer},
        problem::{Problem, ProblemBody},
        refusals::{BadRequest, NeedsCredential, NoneThere, TooMuchAtOnce},
    },
    listing::{Listing, PageOf},
    momentary,
    sent::{Sent, read, unfit},
};
use crate::{
    auth::Alerts,
    base::{Error, Kind, PathName, Severity, WallTime},
    notify::push::{Brought, Push, Subscription, Wish},
};

/// Whether browsers may subscribe, and with which key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PushInfo {
    /// The configuration has a channel of Web Push.
    enabled: bool,
    /// What a browser subscribes with (`applicationServerKey`), base64url.
    #[schema(example = "BA1Hxzyi1RUM1b5wjxsn7nGxAszw2u61m164i3MrAIxHF6YK5h4SDYic-dRuU_RCPCfA5aq9ojSwk5Y2EmClBPs")]
    public_key: Option<String>,
    /// Browsers that have subscribed.
    subscriptions: usize,
    /// Browsers that may.
    max_subscriptions: usize,
}

/// A browser that wants notifications. Its endpoint is a secret of its own and not shown.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PushSubscriber {
    /// Its name: the same whenever the browser brings the same endpoint.
    #[schema(example = "5d2b1c1e7b0a4f0e")]
    id: String,
    /// Its push service.
    #[schema(example = "https://updates.push.services.mozilla.com")]
    service: String,
    /// What people call the device.
    label: Option<String>,
    /// It hears of nothing milder than this.
    #[schema(example = "warning")]
    severity: &'static str,
    /// It hears of these cameras; of everything if there are none.
    paths: Vec<String>,
    /// When it came.
    #[schema(format = DateTime)]
    since: String,
}

/// What a browser's `PushSubscription` says, and what it wants to hear of.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PushOptions {
    /// Where its push service takes messages.
    #[schema(example = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAA")]
    endpoint: String,
    /// Its keys.
    keys: PushKeys,
    /// Nothing milder than this: `info`, `warning`, `critical`.
    severity: Option<String>,
    /// Only of these cameras.
    #[serde(default)]
    paths: Vec<String>,
    /// What people call the device.
    label: Option<String>,
}

/// The keys of a browser.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct PushKeys {
    /// Its public key, base64url.
    p256dh: String,
    /// Its secret, base64url.
    auth: String,
}

fn door(front: &Front) -> Result<&Arc<Push>, Error> {
    front.rooms.push.as_ref().ok_or_else(|| {
        Error::new(Kind::NotFound, "the configuration has no channel of Web Push")
            .with_code("push_disabled")
            .with_hint("`notify: { channels: { phones: { push: {} } } }` makes one")
    })
}

/// Whether browsers may subscribe, and with which key.
#[utoipa::path(get, path = "/api/v1/push", tag = "alerts", operation_id = "show_push", responses(
    (status = 200, description = "How it is.", body = PushInfo),
    NeedsCredential,
))]
pub(super) async fn show(State(front): State<Arc<Front>>, _: OnServer<Alerts>) -> Response {
    let push = front.rooms.push.as_ref();
    momentary(&PushInfo {
        enabled: push.is_some(),
        public_key: push.map(|push| push.public_key().to_owned()),
        subscriptions: push.map_or(0, |push| push.subscriptions().len()),
        max_subscriptions: push.map_or(0, |push| push.most()),
    })
}

/// Every browser that wants notifications.
#[utoipa::path(get, path = "/api/v1/push/subscriptions", tag = "alerts", operation_id = "list_push_subscriptions", params(PageOf), responses(
    (status = 200, description = "A page of subscriptions.", body = Listing<PushSubscriber>),
    BadRequest,
    NeedsCredential,
    (status = 404, description = "The configuration has no channel of Web Push.", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(front): State<Arc<Front>>,
    _: OnServer<Alerts>,
    page: PageOf,
) -> Result<Response, Problem> {
    let (entries, next) = page.cut(door(&front)?.subscriptions(), |subscription| subscription.id.clone());
    let items: Vec<_> = entries.iter().map(|subscription| describe(subscription)).collect();
    Ok(momentary(&Listing { items, next }))
}

/// Adds a browser, or changes what one wants to hear of.
#[utoipa::path(post, path = "/api/v1/push/subscriptions", tag = "alerts", operation_id = "add_push_subscription",
    request_body = PushOptions,
    responses(
        (status = 200, description = "It was there already; what it wants was taken.", body = PushSubscriber),
        (status = 201, description = "It gets notifications from now on.", body = PushSubscriber),
        BadRequest,
        NeedsCredential,
        (status = 404, description = "The configuration has no channel of Web Push.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "There are as many as may be.", body = ProblemBody, content_type = "application/problem+json"),
        (status = 503, description = "The store cannot be written.", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn add(
    State(front): State<Arc<Front>>,
    _: OnServer<Alerts>,
    Asking(caller): Asking,
    Sent(options): Sent<PushOptions>,
) -> Result<Response, Problem> {
    front.rooms.gate.check_server::<Alerts>(&caller)?;
    let severity = read("severity", options.severity.as_deref(), Severity::parse)?;
    let paths: Result<Vec<PathName>, _> =
        options.paths.iter().map(|path| path.parse().map_err(|_| unfit("paths"))).collect();
    let wish = Wish { severity: severity.unwrap_or_default(), paths: paths?, label: options.label };
    let PushKeys { p256dh, auth } = &options.keys;
    let brought = Brought { endpoint: &options.endpoint, p256dh, auth };
    let (subscription, new) = door(&front)?.subscribe(brought, wish, front.rooms.clock.wall()).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(describe(&subscription))).into_response())
}

/// Removes a browser.
#[utoipa::path(delete, path = "/api/v1/push/subscriptions/{id}", tag = "alerts", operation_id = "remove_push_subscription",
    params(("id" = String, Path, description = "The subscription's id.")),
    responses(
        (status = 204, description = "It gets no notifications any more."),
        NeedsCredential,
        NoneThere,
        TooMuchAtOnce,
    )
)]
pub(super) async fn remove(
    State(front): State<Arc<Front>>,
    Asking(caller): Asking,
    Named(id): Named,
) -> Result<Response, Problem> {
    front.rooms.gate.check_server::<Alerts>(&caller)?;
    door(&front)?.unsubscribe(&id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn describe(subscription: &Subscription) -> PushSubscriber {
    PushSubscriber {
        id: subscription.id.clone(),
        service: subscription.service.clone(),
        label: subscription.label.clone(),
        severity: subscription.severity.name(),
        paths: subscription.paths.iter().map(ToString::to_string).collect(),
        since: WallTime::from_unix_nanos(subscription.since).to_string(),
    }
}
