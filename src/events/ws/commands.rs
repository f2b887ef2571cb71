//! What a client can have done: a table of commands by name, each behind one small trait.

use std::{collections::BTreeMap, fmt, sync::Arc};

use futures_util::future::{BoxFuture, FutureExt};
use serde_json::{Value, json};

use super::messages::Command;
use crate::{
    base::{Clock, Error, Kind, PathName, Result},
    events::{
        Draft, EventType, Events,
        alarms::of_deed,
        disk::data,
        payload::{AuditEvent, CameraEvent, CommandDeed},
    },
};

/// One command.
pub trait CommandAction: fmt::Debug + Send + Sync {
    /// Does it, for `by`; what comes back stands in `result`.
    fn run<'a>(&'a self, by: &'a str, params: &'a Value) -> BoxFuture<'a, Result<Value>>;
}

/// The table, filled before the doors open.
#[derive(Clone, Debug, Default)]
pub struct Commands {
    actions: BTreeMap<&'static str, Arc<dyn CommandAction>>,
}

impl Commands {
    /// The table with one command more.
    #[must_use]
    pub fn with(mut self, name: &'static str, action: impl CommandAction + 'static) -> Self {
        self.actions.insert(name, Arc::new(action));
        self
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.actions.keys().copied()
    }

    /// The command of a name.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn find(&self, name: &str) -> Result<&dyn CommandAction> {
        self.actions.get(name).map(|action| &**action).ok_or_else(|| {
            Error::new(Kind::NotFound, "there is no command of this name").with_code("command_not_found")
        })
    }
}

/// `trigger_doorbell {path?}`: somebody pressed a bell, or wants to see what happens if somebody does.
#[derive(Debug)]
pub struct TriggerDoorbell {
    events: Events,
    default_path: Option<PathName>,
    clock: Clock,
}

impl TriggerDoorbell {
    /// The command; `default_path` is the camera of a bell that names none.
    pub const fn new(events: Events, default_path: Option<PathName>, clock: Clock) -> Self {
        Self { events, default_path, clock }
    }
}

impl CommandAction for TriggerDoorbell {
    fn run<'a>(&'a self, _by: &'a str, params: &'a Value) -> BoxFuture<'a, Result<Value>> {
        async move {
            let path = match params.get("path") {
                None | Some(Value::Null) => self.default_path.clone(),
                Some(Value::String(text)) => {
                    Some(text.parse().map_err(|error| unfit("path is no camera's name").caused_by(error))?)
                }
                Some(_) => return Err(unfit("path is a text")),
            };
            self.events.append(doorbell(path, self.clock)).await?;
            Ok(json!({"triggered": true}))
        }
        .boxed()
    }
}

fn unfit(message: &'static str) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_params")
}

fn doorbell(path: Option<PathName>, clock: Clock) -> Draft {
    const KIND: &str = "doorbell_pressed";
    let data = data(&CameraEvent { kind: KIND.to_owned(), details: BTreeMap::new() });
    let (kind, name, time) = (EventType::CameraEvent, KIND.into(), clock.wall());
    Draft { kind, name, time, path, sensor: None, severity: None, data }
}

/// That somebody had a command done, as a fact for administrators.
pub(super) fn audit(by: &str, command: &Command, done: &Result<Value>, clock: Clock) -> Draft {
    let deed = AuditEvent {
        action: "command".to_owned(),
        by: by.to_owned(),
        target: command.command.clone(),
        note: None,
        command: Some(CommandDeed {
            params: command.params.clone(),
            success: done.is_ok(),
            error: done.as_ref().err().map(|error| error.code().to_owned()),
        }),
    };
    of_deed(&deed, None, clock.wall())
}
