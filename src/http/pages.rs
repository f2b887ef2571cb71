//! The pages: the entry page at `/` and at every `/{path}/`, and the files it is made of. The files themselves are
//! [`super::assets`]'; this one knows headers.

use std::borrow::Cow;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};

use super::{
    assets::{self, CACHE_REVALIDATE},
    front::Front,
    grant::Named,
    problem::Problem,
    shield::Frames,
};

/// The entry page. It is the same for every name: what the caller may know of a path it asks the API.
pub(super) fn entry(front: &Front, parts: &Parts, frames: Frames) -> Response {
    let page = assets::page(parts.uri.path());
    let body = match page.body {
        Cow::Borrowed(html) => Body::from(html),
        Cow::Owned(html) => Body::from(html),
    };
    let mut response = if is_known(&parts.headers, &page.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(body)
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_REVALIDATE));
    front.shield.stamp_page(headers, frames);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.extend(HeaderValue::try_from(page.etag).map(|etag| (header::ETAG, etag)));
    response
}

/// A file below `/assets/`.
pub(super) async fn asset(Named(file): Named, headers: HeaderMap) -> Response {
    let Some(asset) = assets::find(&format!("assets/{file}")) else { return Problem::not_found().into_response() };
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (encoding, bytes) = asset.negotiate(accepted);
    let mut response = if is_known(&headers, asset.etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        Response::new(Body::from(bytes))
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(asset.cache_control()));
    headers.insert(header::ETAG, HeaderValue::from_static(asset.etag));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.extend(encoding.header().map(|coding| (header::CONTENT_ENCODING, HeaderValue::from_static(coding))));
    response
}

/// RFC 9110 §13.1.2: whether the client has what this tag stands for. The comparison is the weak one.
pub(super) fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let bare = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|list| list.split(',')).map(str::trim).any(|tag| tag == "*" || bare(tag) == bare(etag))
}
