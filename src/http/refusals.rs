//! Refusals that many operations share, as the description of the API lists them. What a client is really told is the
//! problem's own text.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses,
    openapi::{
        Ref, RefOr,
        content::ContentBuilder,
        response::{Response, ResponseBuilder},
    },
};

/// Types without a value: each stands for one line of an operation's `responses`.
macro_rules! refusals {
    ($($name:ident: $status:literal, $description:literal;)*) => {$(
        pub(in crate::http) enum $name {}

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                BTreeMap::from([($status.to_owned(), problem($description).into())])
            }
        }
    )*};
}

refusals! {
    BadRequest: "400", "The request cannot work as it is.";
    NeedsCredential: "401", "This needs a credential, or a caller on the server's own machine.";
    NobodyKnown: "401", "Nobody known asks.";
    NeedsAdministrator: "401", "This needs an administrator.";
    NoneThere: "404", "There is none.";
    BodyTooLarge: "413", "The body is too large.";
    NotJson: "415", "The body is no JSON.";
    TooMuchAtOnce: "503", "Too much is asked for at once.";
}

fn problem(description: &str) -> Response {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new().description(description).content("application/problem+json", body).build()
}
