//! Web Push: alerts on the screens of browsers that are closed, through the push service each browser has chosen
//! (RFC 8030).
//!
//! `message` encrypts (RFC 8291), `vapid` says who we are (RFC 8292), `content` is what the page's worker shows,
//! `subscription` is one browser; all of them are machines and values. `identity` owns the key's file, `channel` drives.

mod channel;
pub mod content;
pub mod identity;
pub mod message;
pub mod subscription;
pub mod vapid;

pub use self::{
    channel::Push,
    subscription::{Brought, Subscription, Wish},
};
