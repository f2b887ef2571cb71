//! A request as it comes, by whatever transport, and what may be made of it. Sans-IO.
//! GraphQL over HTTP §4.1 (parameters), §5.2 (GET).

use async_graphql::{Request, Variables, parser::types::OperationType};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::bounds::{Allowed, TooMuch, measure, scan};
use crate::base::{Error, Kind, Result};

/// The parameters of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    query: String,
    #[serde(default)]
    operation_name: Option<String>,
    #[serde(default)]
    variables: Option<Map<String, Value>>,
    /// They mean nothing here, and are taken.
    #[serde(default)]
    #[expect(dead_code, reason = "a client may send it; what is no object is refused")]
    extensions: Option<Map<String, Value>>,
}

impl Asked {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: it is no request, or more than one.
    pub(super) fn of_json(body: Value) -> Result<Self> {
        if body.is_array() {
            return Err(unfit("a body has one request: batches are not taken").with_code("batch_not_taken"));
        }
        // What serde says names the field.
        serde_json::from_value(body).map_err(|error| unfit(format!("this is no GraphQL request: {error}")))
    }

    /// Reads the query of an URL.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: it is no request.
    pub(super) fn of_url(query: &str) -> Result<Self> {
        let mut body = Map::new();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let value = match key.as_ref() {
                "query" | "operationName" => Value::String(value.into_owned()),
                "variables" | "extensions" => {
                    serde_json::from_str(&value).map_err(|error| unfit(format!("{key}: this is no JSON: {error}")))?
                }
                _ => continue,
            };
            body.insert(key.into_owned(), value);
        }
        Self::of_json(Value::Object(body))
    }

    /// The request, if it is within the bounds, and what its operation is.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: it cannot be read, or is beyond a bound.
    pub(super) fn admit(self, allowed: Allowed) -> Result<(OperationType, Request)> {
        let too_much = |bound: TooMuch| unfit(bound.to_string()).with_code(bound.code());
        scan(&self.query).map_err(too_much)?;
        let mut request = Request::new(self.query);
        request.variables = Variables::from_json(Value::Object(self.variables.unwrap_or_default()));
        let name = self.operation_name.filter(|name| !name.is_empty());
        let document = request.parsed_query().map_err(|error| {
            let at = error.locations.first().map(|at| format!("line {}, column {}: ", at.line, at.column));
            unfit(format!("query: {}{}", at.unwrap_or_default(), one_line(&error.message))).with_code("invalid_query")
        })?;
        let kind = measure(document, name.as_deref(), allowed).map_err(too_much)?;
        request.operation_name = name;
        Ok((kind, request))
    }
}

/// A parser's drawing of the place is for terminals: its last line says what was expected.
fn one_line(message: &str) -> &str {
    message.lines().last().map_or(message, |line| line.trim_start_matches([' ', '=']))
}

fn unfit(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_request")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FEW: Allowed = Allowed { depth: 5, introspection: true };

    #[test]
    fn a_request_is_read_from_a_body_or_an_url_and_what_is_none_is_refused_by_name() {
        let asked = Asked::of_url("query=%7Ba%7D&operationName=&variables=%7B%22x%22%3A1%7D&other=1").unwrap();
        assert_eq!(asked.admit(FEW).unwrap().0, OperationType::Query);
        let asked = Asked::of_json(json!({"query": "mutation M { a }", "operationName": "M", "variables": null}));
        assert_eq!(asked.unwrap().admit(FEW).unwrap().0, OperationType::Mutation);
        for (body, code) in [
            (json!([{"query": "{ a }"}]), "batch_not_taken"),
            (json!({}), "invalid_request"),
            (json!({"query": 7}), "invalid_request"),
            (json!({"query": "{ a }", "variables": [1]}), "invalid_request"),
            (json!({"query": "{ a }", "extensions": 1}), "invalid_request"),
        ] {
            assert_eq!(Asked::of_json(body.clone()).unwrap_err().code(), code, "{body}");
        }
        assert_eq!(Asked::of_url("query=%7Ba%7D&variables=%7B").unwrap_err().code(), "invalid_request");
        for (query, code) in [("{ a", "invalid_query"), ("{a{b{c{d{e{f}}}}}}", "query_too_deep")] {
            let error = Asked::of_json(json!({"query": query})).unwrap().admit(FEW).unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(!error.message().contains('\n'), "{}", error.message());
        }
    }
}
