//! The description of the API: OpenAPI 3.1, made of the types and handlers themselves.
//!
//! `docs/openapi.json` is a copy for people and generators; a test holds it equal.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, header};
use utoipa::{OpenApi, openapi::RefOr};

use super::{
    super::{events, health, metrics, problem::ProblemBody, whep},
    alerts, auth, channels, config_paths, info, paths, push, rules, sensor_history, sensor_readings, sensors, sessions,
    silences, statistics, tokens, users, ws,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Campanile",
        description = "The HTTP API of a Campanile server. Durations are numbers with their unit in the name, times are \
                       RFC 3339 with milliseconds, rates are in bits a second. An error is a problem (RFC 9457) with a \
                       stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    paths(
        auth::log_in,
        auth::log_out,
        auth::refresh,
        auth::who_am_i,
        auth::events_ticket,
        auth::media_token,
        config_paths::list,
        config_paths::show,
        config_paths::put,
        config_paths::remove,
        users::list,
        users::add,
        users::change_password,
        users::change_rights,
        users::remove,
        users::preferences,
        users::prefer,
        tokens::list,
        tokens::add,
        tokens::remove,
        info::show,
        paths::list,
        paths::show,
        alerts::list,
        alerts::acknowledge,
        alerts::silence,
        silences::list,
        silences::add,
        silences::remove,
        rules::list,
        rules::add,
        rules::change,
        rules::remove,
        channels::list,
        channels::test,
        channels::dead,
        channels::retry,
        channels::discard,
        push::show,
        push::list,
        push::add,
        push::remove,
        sessions::list,
        sessions::kick,
        statistics::show,
        statistics::history,
        sensors::list,
        sensors::show,
        sensor_readings::take,
        sensor_history::history,
        sensors::brokers,
        events::list,
        events::take,
        events::events,
        events::system_status,
        ws::status,
        health::alive,
        health::ready,
        metrics::show,
        whep::open,
        whep::patch,
        whep::close,
    ),
    components(schemas(ProblemBody)),
    tags(
        (name = "server", description = "The server itself."),
        (name = "auth", description = "Logging in and out, and tokens. `docs/users.md` says who may do what."),
        (name = "paths", description = "Cameras: how they are and what they send."),
        (name = "alerts", description = "What wants attention: alerts, silences, the rules that raise them, and who is told."),
        (name = "sessions", description = "Who watches."),
        (name = "statistics", description = "How the server and its cameras do, now and over time."),
        (name = "sensors", description = "What sensors show, and how their readings come in. `docs/sensors.md` has examples."),
        (name = "events", description = "What happens: in, and out by any door. `docs/events.md` has the shapes."),
        (name = "whep", description = "WebRTC for viewers (draft-ietf-wish-whep-03). `OPTIONS` never needs a credential."),
        (name = "health", description = "For supervisors and monitoring."),
    )
)]
struct Document;

/// The document, pretty-printed, with a newline at its end.
pub(super) static JSON: LazyLock<Bytes> = LazyLock::new(|| {
    let text = guarded(Document::openapi()).to_pretty_json().unwrap_or_default();
    Bytes::from(text + "\n")
});

/// Whatever may ask for a credential may also refuse the one it gets, and a request that cannot be understood; whatever
/// takes a body, one that it cannot read: said here once for all.
fn guarded(mut document: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    const REFUSALS: [(&str, &str); 3] = [
        ("400", "The request names no host, or its URL or its body is not what can be."),
        ("403", "The credential does not let do this."),
        ("429", "Too many logins failed, or too much is sent; `Retry-After` says when to come back."),
    ];
    const BODIES: [(&str, &str); 3] = [
        ("408", "The body did not come to its end in time."),
        ("413", "The body is too large."),
        ("415", "The body is of another type, or packed."),
    ];
    for item in document.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            let responses = &mut operation.responses.responses;
            let Some(RefOr::T(unknown)) = responses.get("401").cloned() else { continue };
            let bodies = operation.request_body.iter().flat_map(|_| BODIES);
            for (status, description) in REFUSALS.into_iter().chain(bodies) {
                let mut refusal = unknown.clone();
                refusal.description = description.to_owned();
                responses.entry(status.to_owned()).or_insert(RefOr::T(refusal));
            }
        }
    }
    document
}

/// `/api/openapi.json`
pub(super) async fn show() -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.oai.openapi+json;version=3.1")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, JSON.clone()).into_response()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, env, fs, path::Path};

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_committed_document_is_that_of_the_types() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
        let committed = fs::read(&file).unwrap_or_default();
        if committed != *JSON {
            fs::write(&file, &*JSON).unwrap();
            panic!("docs/openapi.json was not up to date; it is now: commit it");
        }
    }

    #[test]
    fn every_operation_names_its_errors_and_every_reference_leads_somewhere() {
        let document: Value = serde_json::from_slice(&JSON).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        let (mut operations, mut ids) = (0, BTreeSet::new());
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                operations += 1;
                assert!(operation["summary"].is_string(), "{method} {path} says what it does");
                assert!(ids.insert(operation["operationId"].to_string()), "{method} {path} has an id of its own");
                for (status, response) in operation["responses"].as_object().unwrap() {
                    let said = response["description"].as_str().is_some_and(|text| !text.is_empty());
                    assert!(said, "{method} {path} {status}");
                }
                let guarded = path.starts_with("/api/") || path == "/metrics" || path.starts_with("/{path}/whep");
                let guarded = guarded || path.starts_with("/stream/");
                assert_eq!(operation["responses"]["401"].is_object(), guarded, "{method} {path}");
            }
        }
        assert!(operations >= 8);
        let text = std::str::from_utf8(&JSON).unwrap();
        for reference in text.split("\"$ref\": \"#/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
        }
    }
}
