//! A connection that stops speaking HTTP: what a handler leaves behind in its answer 101, and what the server does with
//! the stream when that answer is out. RFC 9110 §7.8.

use std::sync::{Arc, Mutex, PoisonError};

use axum::response::Response;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderValue, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::socket::Watched;
use crate::events::ws::Stream;

/// Speaks on the stream, from what came early, until it ends or is told to.
type Speak = Box<dyn FnOnce(Box<dyn Stream>, Bytes, CancellationToken) -> BoxFuture<'static, ()> + Send>;

/// What a handler leaves in the extensions of its answer.
#[derive(Clone)]
pub(super) struct Upgrade(Arc<Mutex<Option<Speak>>>);

impl Upgrade {
    /// An answer 101 after which `speak` has the stream.
    pub(super) fn answer<F>(protocol: HeaderValue, speak: F) -> Response
    where
        F: FnOnce(Box<dyn Stream>, Bytes, CancellationToken) -> BoxFuture<'static, ()> + Send + 'static,
    {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        response.headers_mut().insert(header::UPGRADE, protocol);
        response.extensions_mut().insert(Self(Arc::new(Mutex::new(Some(Box::new(speak))))));
        response
    }

    fn take(&self) -> Option<Speak> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where the requests of one connection leave what becomes of it.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<(OnUpgrade, Upgrade)>>>);

/// A stream, and who speaks on it now.
pub(super) struct HandedOver {
    stream: Box<dyn Stream>,
    early: Bytes,
    speak: Speak,
}

impl Slot {
    /// The answer to a request is an upgrade.
    pub(super) fn leave(&self, coming: OnUpgrade, upgrade: Upgrade) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((coming, upgrade));
    }

    /// The HTTP side of the connection ended: what is left of it, if it was an upgrade and the answer went out.
    pub(super) async fn take<S>(&self) -> Option<HandedOver>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (coming, upgrade) = left?;
        let parts = coming.await.ok()?.downcast::<TokioIo<Watched<S>>>().ok()?;
        let stream = Box::new(parts.io.into_inner().into_inner());
        // A copy: the bytes are a piece of hyper's whole buffer.
        let early = Bytes::copy_from_slice(&parts.read_buf);
        Some(HandedOver { stream, early, speak: upgrade.take()? })
    }
}

impl HandedOver {
    /// Speaks until the end.
    pub(super) fn run(self, stopping: CancellationToken) -> BoxFuture<'static, ()> {
        (self.speak)(self.stream, self.early, stopping)
    }
}
