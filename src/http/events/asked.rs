//! What a follower asks for in its URL: a filter, a place to begin, how long to wait. Sans-IO.

use std::time::Duration;

use utoipa::IntoParams;

use crate::{
    base::{Error, Kind, Result},
    events::{Cursor, Filter, Severity},
};

/// Facts of one answer, if the request does not say.
const LIMIT: usize = 100;
/// Facts of one answer, at most.
const LIMIT_MAX: usize = 1000;
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) filter: Filter,
    pub(super) after: Option<Cursor>,
    pub(super) wait: Duration,
    pub(super) limit: Option<usize>,
}

/// Which events; lists are separated by commas, and each one given narrows.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is there for the description of the API")]
pub(super) struct FilterParams {
    /// Types (`alert`) or kinds (`motion`), whatever the case.
    types: Option<String>,
    /// Names of cameras.
    paths: Option<String>,
    /// Ids of sensors.
    sensors: Option<String>,
    /// The mildest severity: `info`, `warning`, `critical`. What has none is `info`.
    severity: Option<String>,
}

impl Asked {
    /// Reads a query; what it does not know it passes over.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub(super) fn read(query: &str) -> Result<Self> {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let list = || value.split(',').map(str::trim).filter(|entry| !entry.is_empty());
            match key.as_ref() {
                "types" | "event_types" => asked.filter = asked.filter.event_types(list())?,
                "paths" | "path" => asked.filter = asked.filter.paths(list())?,
                "sensors" | "sensor" => asked.filter = asked.filter.sensors(list())?,
                "severity" => {
                    let severity = Severity::parse(&value);
                    let severity = severity.ok_or_else(|| unfit("severity is `info`, `warning` or `critical`"))?;
                    asked.filter = asked.filter.severity(severity);
                }
                "after" => {
                    let unknown = |()| unfit("after is the id of a fact, such as `5d2b1c1e-42`");
                    asked.after = Some(value.parse().map_err(unknown)?);
                }
                "wait" => {
                    let wait = value.parse().ok().map(Duration::from_secs).filter(|wait| *wait <= WAIT_MAX);
                    asked.wait = wait.ok_or_else(|| unfit("wait is a number of seconds from 0 to 60"))?;
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    let bounds = || unfit("limit is a number from 1 to 1000").with_code("invalid_limit");
                    asked.limit = Some(limit.ok_or_else(bounds)?);
                }
                _ => {}
            }
        }
        Ok(asked)
    }

    /// Facts of the answer, at most.
    pub(super) fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT)
    }
}

fn unfit(message: &'static str) -> Error {
    Error::new(Kind::InvalidArgument, message).with_code("invalid_query")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_makes_no_sense_is_refused() {
        let asked =
            Asked::read("after=5d2b1c1e-42&wait=30&types=Alert,motion&paths=a%2Fb&severity=WARNING&x=1").unwrap();
        assert_eq!((asked.after.unwrap().offset, asked.wait.as_secs(), asked.limit()), (42, 30, 100));
        let wanted = Filter::everything().event_types(["alert", "motion"]).unwrap().paths(["a/b"]).unwrap();
        assert_eq!(asked.filter, wanted.severity(Severity::Warning));
        assert_eq!(Asked::read("").unwrap(), Asked::default());
        for bad in [
            "after=42",
            "after=",
            "wait=-1",
            "wait=61",
            "wait=x",
            "limit=0",
            "limit=1001",
            "severity=bad",
            "paths=..",
            "sensors=a/b",
        ] {
            assert_eq!(Asked::read(bad).unwrap_err().kind(), Kind::InvalidArgument, "{bad}");
        }
    }
}
