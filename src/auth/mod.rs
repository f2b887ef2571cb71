//! Who may do what: one decision for every door, and its proof.
//!
//! [`Gate::check`] decides; a [`Grant`] is the proof, and rooms hand out readers, parts and facts only against one. What
//! somebody may do is written as [`Permissions`]; a [`Standing`] is somebody who is known, and ends what was granted when
//! that changes. Who somebody is comes from a [`Credential`] by way of [`Gate::identify`].

mod api_token;
mod api_tokens;
mod asked_again;
mod credential;
mod decisions;
mod digest;
mod fetches;
mod gate;
mod grant;
mod held;
mod inspect;
mod issuer;
mod issuer_desk;
mod issuer_keys;
mod logins;
mod outside_desk;
mod outsider;
pub mod password;
mod permissions;
mod question;
mod relay;
mod sightings;
mod standing;
#[cfg(test)]
pub(crate) mod testing;
mod throttle;
mod token;
mod token_key;
mod user;

pub use api_token::ApiToken;
pub use credential::{Credential, Malformed};
pub use digest::{DigestAlgorithm, DigestAnswer};
pub use gate::{ApiTokenSeen, Caller, Gate, GatePolicy, Identity, TokenShelf, path_not_found};
pub use grant::{
    Ack, Action, Admin, Alerts, Control, Grant, Permission, Playback, Proof, Publish, Reach, Sensors, Stats, Subject,
    View,
};
pub use held::EndedLogin;
pub use inspect::{Holds, Inspected, InspectedJwt, Signer};
pub use issuer_desk::IssuerDesk;
pub use issuer_keys::KeySetError;
pub use logins::{Issued, Opened, TryLater};
pub use outside_desk::{Decide, OutsideDesk, OutsideOptions};
pub use outsider::Outsider;
pub use permissions::Permissions;
use permissions::limited;
pub use question::{Deed, Knock, Question};
pub use relay::is_forwarding;
pub use sightings::Sighting;
pub use standing::{Standing, TokenFacts};
pub use token::{Purpose, Way};
pub use token_key::TokenKey;
pub use user::{DigestKeys, REALM, User, digest_of};
