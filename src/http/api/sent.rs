//! What clients of the API send: JSON of a bounded size, and what its fields hold.

use std::{borrow::Cow, sync::Arc};

use axum::{
    RequestExt,
    extract::{FromRequest, Request},
};
use http::{StatusCode, header};
use serde::de::DeserializeOwned;

use super::super::{body, caller::Asking, front::Front, problem::Problem};
use crate::{
    auth::Subject,
    base::{Error, Kind, WallTime},
};

/// The most bytes of a body.
const MOST: usize = 64 << 10;

/// A body of JSON from somebody who may do something here: nobody else's is looked at. An empty one is an object without
/// fields.
#[derive(Debug)]
pub(in crate::http) struct Sent<T>(pub(in crate::http) T);

/// The same from anybody: to log in.
#[derive(Debug)]
pub(super) struct SentByAnybody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Front>> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(mut request: Request, front: &Arc<Front>) -> Result<Self, Problem> {
        let Asking(caller) = request.extract_parts().await?;
        let gate = &front.rooms.gate;
        if gate.subject(&caller).is_none() {
            return Err(gate.nobody(&caller).into());
        }
        let SentByAnybody(sent) = SentByAnybody::from_request(request, front).await?;
        Ok(Self(sent))
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Front>> for SentByAnybody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Arc<Front>) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let named = parts.headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let bytes = body::whole(&parts.headers, body, MOST).await?;
        let bytes: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        // RFC 8259 §11; a structured suffix (RFC 6839 §3.1) is JSON too. Without a name it is taken for what it should be.
        let media = named.map(|named| named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        if media.is_some_and(|media| media != "application/json" && !media.ends_with("+json")) {
            let message = "this URL takes application/json";
            return Err(Problem::of_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
        }
        serde_json::from_slice(bytes).map(Self).map_err(|error| invalid(error.to_string()).into())
    }
}

/// A body, or a field of it, is not what it should be.
pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_body")
}

/// A field of a body cannot be what it says.
pub(super) fn unfit(field: &str) -> Error {
    invalid(format!("{field}: this cannot be one"))
}

/// A field of a body, read.
pub(super) fn read<T>(
    field: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    text.map(|text| parse(text).ok_or_else(|| unfit(field))).transpose()
}

/// A moment of a body, RFC 3339.
pub(super) fn moment(field: &str, text: Option<&str>) -> Result<Option<WallTime>, Error> {
    let read = |text: &str| text.parse::<WallTime>().map_err(|error| invalid(format!("{field}: {error}")));
    text.map(read).transpose()
}

/// A note of a body: one that is not too long.
pub(in crate::http) fn note(text: Option<String>) -> Result<Option<String>, Error> {
    const NOTE_MOST: usize = 1000;
    match text {
        Some(text) if text.len() > NOTE_MOST => Err(invalid(format!("note: it has at most {NOTE_MOST} bytes"))),
        text => Ok(text.filter(|text| !text.is_empty())),
    }
}

/// Who did something, as the audit and others read it.
pub(in crate::http) fn name_of(subject: &Subject) -> String {
    match subject {
        Subject::Loopback => "local".to_owned(),
        Subject::Anonymous => "anonymous".to_owned(),
        Subject::User(name) => name.to_string(),
        Subject::House(reason) => (*reason).to_owned(),
    }
}
