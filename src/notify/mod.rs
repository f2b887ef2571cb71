//! Alerts' ways out to people: named channels, and the outbox that remembers what they are still to be told.
//!
//! A [`Notice`](crate::events::alarms::Notice) comes from the alarms, lies in the store, becomes one [`Letter`] for every
//! channel and recipient that is to have it, and stays in the outbox until it was delivered or given up. Alarms never wait
//! for a channel, and no channel waits for another: each recipient has a lane of its own, in order.
//!
//! The machines (`routing`, `outbox`) are sans-IO; `postman` drives them; [`Notifier`] is the way in. A channel is two
//! things: what is said, a function of a letter that is tested as a table, and the few lines that carry it.

mod alertmanager;
mod channel;
pub mod courier;
mod email;
mod keeper;
mod letter;
pub mod mqtt;
mod outbox;
mod postman;
pub mod push;
mod routing;
mod service;
#[cfg(test)]
mod tests;
mod webhook;

pub use self::{
    alertmanager::Alertmanager,
    channel::{Channel, ChannelKind, Delivering, Outcome},
    email::Email,
    letter::{Dead, Letter},
    mqtt::Mqtt,
    outbox::{ChannelFigures, OutboxSnapshot},
    service::{ChannelSnapshot, Notifier, NotifierOptions, NotifySnapshot},
    webhook::Webhook,
};
