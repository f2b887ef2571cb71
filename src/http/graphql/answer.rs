//! What a client is told: data, and errors that each have a stable word in `extensions.code` and nothing of the inside.
//! Sans-IO. GraphQL §7.1 (the form of a response).

use async_graphql::{ErrorExtensionValues, Response, ServerError, Value};
use serde::Serialize;

use crate::base::{Error, Kind};

/// An error of a service as a resolver gives it. Its causes go to the log.
impl From<Error> for async_graphql::Error {
    fn from(error: Error) -> Self {
        if error.kind() == Kind::Internal {
            tracing::error!(code = error.code(), "graphql: {}", error.chain());
        }
        let mut refused = Self::new(error.message());
        refused.extensions = Some(extensions(&error));
        refused
    }
}

/// A response as it stands on the wire.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    /// §7.1.1: absent if nothing was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<ServerError>,
}

impl Answer {
    /// What a request comes to that was not executed.
    pub(super) fn refused(error: &Error) -> Self {
        let mut refused = ServerError::new(error.message(), None);
        refused.extensions = Some(extensions(error));
        Self { data: None, errors: vec![refused] }
    }

    /// Whether nothing was executed.
    pub(super) const fn is_refusal(&self) -> bool {
        self.data.is_none()
    }

    /// Whether there are no data, whether or not something was executed.
    pub(super) fn has_nothing(&self) -> bool {
        self.data.as_ref().is_none_or(|data| *data == Value::Null)
    }

    /// Whether everything went well.
    pub(super) const fn is_whole(&self) -> bool {
        self.errors.is_empty()
    }
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        let Response { data, mut errors, .. } = response;
        errors.iter_mut().for_each(name);
        // An error of a field says which; without data one of them was at the root.
        let executed = errors.is_empty() || data != Value::Null || errors.iter().any(|error| !error.path.is_empty());
        Self { data: executed.then_some(data), errors }
    }
}

fn extensions(error: &Error) -> ErrorExtensionValues {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", error.code());
    if let Some(hint) = error.hint() {
        extensions.set("hint", hint);
    }
    extensions
}

/// Gives the errors of the schema itself their words.
fn name(error: &mut ServerError) {
    let extensions = error.extensions.get_or_insert_default();
    if extensions.get("code").is_none() {
        // async-graphql has a sentence for this and no more.
        let complex = error.message == "Query is too complex.";
        extensions.set("code", if complex { "query_too_complex" } else { "invalid_query" });
        if complex {
            extensions.set("hint", "ask for fewer fields, or for shorter lists by `limit`");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_has_its_word_and_hint_and_not_its_causes() {
        let error = Error::new(Kind::Internal, "store").caused_by(std::io::Error::other("/secret/place"));
        let error = async_graphql::Error::from(error.with_hint("mend it"));
        let answer = Answer::from(Response::from_errors(vec![error.into_server_error(Default::default())]));
        let told = serde_json::to_value(&answer).unwrap();
        assert_eq!(told["errors"][0]["extensions"], json!({"code": "internal", "hint": "mend it"}));
        assert!(answer.is_refusal() && told.get("data").is_none() && !told.to_string().contains("secret"));
        let unnamed = Response::from_errors(vec![ServerError::new("Unknown field", None)]);
        assert_eq!(
            serde_json::to_value(Answer::from(unnamed)).unwrap()["errors"][0]["extensions"]["code"],
            "invalid_query"
        );
    }
}
