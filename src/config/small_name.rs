//! Names that people give to entries of the file and see in URLs, logs and messages: small letters, digits, `_` and `-`.

/// Why a text is no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has 1 to {longest} small letters, digits, `_` and `-`")]
pub struct SmallNameError {
    pub(super) what: &'static str,
    pub(super) longest: usize,
}

/// Whether a text is such a name.
pub(super) fn is_small_name(text: &str, longest: usize) -> bool {
    let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-');
    (1..=longest).contains(&text.len()) && text.bytes().all(known)
}

/// A type for the names of one kind of entry. `what` begins the complaint about a text that is none.
macro_rules! small_name {
    (
        $(#[$doc:meta])*
        $type:ident, name: $name:literal, longest: $longest:literal, what: $what:literal,
        expects: $expects:literal, description: $description:literal
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(std::sync::Arc<str>);

        impl $type {
            /// The longest one, in bytes.
            pub const LONGEST: usize = $longest;

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::config::small_name::SmallNameError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                use $crate::config::small_name::{SmallNameError, is_small_name};
                let good = is_small_name(text, Self::LONGEST);
                if good { Ok(Self(text.into())) } else { Err(SmallNameError { what: $what, longest: Self::LONGEST }) }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        $crate::config::text::text_value!($type, name: $name,
        expects: $expects,
        schema: {
            "description": $description,
            "type": "string",
            "pattern": concat!("^[a-z0-9_-]{1,", $longest, "}$")
        });
    };
}

pub(super) use small_name;

#[cfg(test)]
mod tests {
    use crate::config::{ChannelName, RuleId};

    #[test]
    fn a_small_name_is_read_as_it_is_written_and_no_longer_than_its_kind_may_be() {
        for good in ["a", "on-call", "freezer_2", &"x".repeat(40)] {
            assert_eq!(good.parse::<ChannelName>().unwrap().to_string(), good);
        }
        for bad in ["", "On-call", "on call", "a/b", "a.b", "ä", &"x".repeat(41)] {
            let error = bad.parse::<ChannelName>().unwrap_err().to_string();
            assert_eq!(error, "a channel's name has 1 to 40 small letters, digits, `_` and `-`", "{bad}");
        }
        assert!("x".repeat(64).parse::<RuleId>().is_ok());
        let error = "x".repeat(65).parse::<RuleId>().unwrap_err().to_string();
        assert_eq!(error, "a rule's id has 1 to 64 small letters, digits, `_` and `-`");
    }
}
