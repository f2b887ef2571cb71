//! How a handler gets at a path: only through the gate, as a grant.
//!
//! The name in the URL is read, the gate is asked, and only then may a room be. Without a credential the answer is the
//! same for paths that exist and paths that do not.

use std::{marker::PhantomData, sync::Arc};

use axum::{
    extract::{FromRequestParts, Path},
    http::request::Parts,
};

use super::{caller::Asking, front::Front, problem::Problem, target::path_name};
use crate::{
    auth::{Grant, Permission},
    base::{Error, Kind},
};

/// What the variable part of a URL says, decoded once.
#[derive(Debug)]
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(text) = Path::from_request_parts(parts, state).await.map_err(|rejection| {
            Error::new(Kind::InvalidArgument, "an URL path is UTF-8")
                .with_code("invalid_path_name")
                .caused_by(rejection)
        })?;
        Ok(Self(text))
    }
}

/// A grant for the path that is the rest of an API URL.
#[derive(Debug)]
pub(super) struct OnPath<P: Permission>(pub(super) Grant<P>);

/// The caller may do `P` on the server as a whole. The handler is the proof: it does not run otherwise.
#[derive(Debug)]
pub(super) struct OnServer<P>(PhantomData<fn() -> P>);

/// A grant for whatever the caller may do `P` on, which may be some paths alone: lists show what belongs to those.
#[derive(Debug)]
pub(super) struct Somewhere<P: Permission>(pub(super) Grant<P>);

impl<P: Permission> FromRequestParts<Arc<Front>> for Somewhere<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Problem> {
        let Asking(caller) = Asking::from_request_parts(parts, front).await?;
        Ok(Self(front.rooms.gate.check_somewhere(&caller)?))
    }
}

impl<P: Permission> FromRequestParts<Arc<Front>> for OnPath<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Problem> {
        let Asking(caller) = Asking::from_request_parts(parts, front).await?;
        let Named(text) = Named::from_request_parts(parts, front).await?;
        let name = path_name(&text)?;
        front.ask(&caller, P::ACTION, &name).await?;
        Ok(Self(front.rooms.gate.check(&caller, &name)?))
    }
}

impl<P: Permission> FromRequestParts<Arc<Front>> for OnServer<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, front: &Arc<Front>) -> Result<Self, Problem> {
        let Asking(caller) = Asking::from_request_parts(parts, front).await?;
        front.rooms.gate.check_server::<P>(&caller)?;
        Ok(Self(PhantomData))
    }
}
