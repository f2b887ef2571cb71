//! The server that decides about callers who are not known here (`auth.http`): sends it the questions of the gate.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::future::{BoxFuture, FutureExt};
use tracing::{info, info_span, warn};

use crate::{
    auth::{Decide, Gate, OutsideDesk, OutsideOptions, Question},
    base::{Clock, Error, Kind, Result, Tasks},
    config::{AuthHttpConfig, HumanDuration},
    net::post::post_json,
};

/// Callers who are not known here are asked about from now on.
pub(super) fn start(config: &AuthHttpConfig, gate: &Gate, tasks: &Tasks) {
    let server = Server { config: Arc::new(config.clone()), silent: Arc::default() };
    let options = OutsideOptions {
        remember: config.remember.duration(),
        anonymous: config.anonymous,
        ask_again: config.ask_again.map(HumanDuration::duration),
        timeout: config.timeout.duration(),
    };
    let desk = Arc::new(OutsideDesk::new(Box::new(server), options, Clock));
    if options.ask_again.is_some() {
        tasks.spawn("auth/outside", info_span!("auth"), desk.clone().ask_again(tasks.stopping().clone()));
    }
    gate.set_outside(desk);
}

#[derive(Debug)]
struct Server {
    config: Arc<AuthHttpConfig>,
    /// It gave no answer the last time, which was said.
    silent: Arc<AtomicBool>,
}

impl Decide for Server {
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<bool>> {
        let (config, silent) = (self.config.clone(), self.silent.clone());
        async move {
            let url = config.url.url();
            let host = url.host_str().unwrap_or_default();
            let answer = post_json(url, &config.tls, question.to_json().into(), config.timeout.duration()).await;
            // A fault of it is no decision of it.
            let answer = answer.and_then(|status| match status.is_server_error() {
                true => Err(Error::new(Kind::Unavailable, format!("{host}: http status {}", status.as_u16()))),
                false => Ok(status.is_success()),
            });
            match &answer {
                Ok(_) if silent.swap(false, Ordering::Relaxed) => info!(host, "auth.http: it answers again"),
                Err(error) if !silent.swap(true, Ordering::Relaxed) => {
                    let why = error.chain();
                    warn!(host, "auth.http: no answer, and so callers who are not known here are refused: {why}");
                }
                _ => {}
            }
            answer
        }
        .boxed()
    }
}
