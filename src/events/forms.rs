//! The other forms of an event: made by the first who needs one, kept beside it, shared by all.

use std::{fmt, sync::OnceLock};

use bytes::Bytes;

/// A form that an event may have besides its JSON: one more for every encoding and every view of a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A record of a server-sent event stream.
    ServerSent,
    /// The same deflated.
    DeflatedServerSent,
    /// A WebSocket frame with the JSON.
    Frame,
    /// A WebSocket frame with the JSON deflated.
    DeflatedFrame,
    /// A WebSocket frame with MessagePack.
    PackedFrame,
    /// A WebSocket frame with MessagePack deflated.
    DeflatedPackedFrame,
}

impl Form {
    const COUNT: usize = 6;
}

/// The forms of one event.
#[derive(Default)]
pub struct Forms([OnceLock<Bytes>; Form::COUNT]);

impl Forms {
    /// The event in this form; `make` is called once, whoever asks.
    pub fn form(&self, form: Form, make: impl FnOnce() -> Bytes) -> &Bytes {
        self.0[form as usize].get_or_init(make)
    }
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.0.iter().filter(|form| form.get().is_some()).count();
        write!(f, "Forms({made} made)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_made_once_and_the_others_stay_unmade() {
        let forms = Forms::default();
        let first = forms.form(Form::DeflatedPackedFrame, || Bytes::from_static(b"made")).clone();
        let again = forms.form(Form::DeflatedPackedFrame, || panic!("it is there"));
        assert_eq!((first.as_ptr(), format!("{forms:?}").as_str()), (again.as_ptr(), "Forms(1 made)"));
    }
}
