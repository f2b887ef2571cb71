//! From a target to what is behind it: the permission, the path, and tracks that have something to show.

use std::sync::Arc;

use super::{Shared, agreement::Found, target::Target, transport::Transports};
use crate::{
    auth::{Caller, Credential, Deed, Grant, Identity, Knock, View},
    base::{Error, Kind, Result},
    hub::Stream,
};

/// What is behind a target.
#[derive(Clone, Debug)]
pub(super) struct Pulled {
    pub(super) target: Target,
    pub(super) grant: Grant<View>,
    pub(super) stream: Stream,
    pub(super) found: Found,
}

/// Looks a target up and waits until it has something to show, which may need a camera to be woken. A password that the
/// caller showed is verified first; who it is comes back.
pub(super) async fn pull(
    shared: Arc<Shared>,
    mut caller: Caller,
    shown: Option<(Credential, Knock)>,
    target: Target,
) -> Result<(Pulled, Identity)> {
    let too_many = |_later| {
        Error::new(Kind::Unavailable, "too many logins failed, or are tried at once").with_code("too_many_attempts")
    };
    if let Some((shown, knock)) = shown {
        caller.identity = shared.gate.meet(&shown, knock, shared.clock.moment()).await.map_err(too_many)?;
    }
    let deed = Deed::Read(target.path.clone());
    shared.gate.ask(&caller, &deed, shared.clock.moment()).await.map_err(too_many)?;
    let grant = shared.gate.check::<View>(&caller, &target.path)?;
    let path = shared.hub.path(&grant)?;
    let stream = shared.hub.stream(&grant, target.rendition)?;
    stream.ready().await.map_err(|error| error.context(format_args!("path {}", target.path)))?;
    let title = path.spec().title.clone().unwrap_or_else(|| target.path.to_string());
    let own = (shared.options.path_transports)(&target.path);
    let transports = own.unwrap_or(Transports::ALL).and(shared.options.transports);
    let found = Found { tracks: stream.tracks(), title, transports };
    Ok((Pulled { target, grant, stream, found }, caller.identity))
}
