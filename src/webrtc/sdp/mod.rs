//! The negotiation of a WHEP session: the viewer's offer in, our answer out (RFC 8866, RFC 8829, RFC 9143). Sans-IO.
//!
//! [`Offer::parse`] reads and bounds what the viewer wrote, [`choose`] matches it with the tracks of a path, [`answer()`]
//! writes what was chosen, [`Fragment`] is what comes later (RFC 8840).

mod answer;
mod codecs;
mod fit;
mod formats;
mod fragment;
mod lines;
mod offer;

pub use self::{
    answer::{Answering, answer, answer_fragment, transport_section},
    codecs::{Chosen, ChosenLine, LeftOut, NothingShared, Notice, carries, choose, reorders_pictures},
    fragment::{Fragment, FragmentError},
    offer::{Direction, Extension, Feedback, Format, Offer, OfferError, Section, SectionKind},
};
#[cfg(test)]
mod tests;
