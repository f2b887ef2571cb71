//! Lists by the page: `limit` says how many, `after` the key of the last one seen.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::super::problem::Problem;
use crate::base::{Error, Kind};

/// Entries of a page, if the request does not say.
pub(in crate::http) const LIMIT: usize = 100;
/// Entries of a page, at most.
const LIMIT_MAX: usize = 1000;

/// Which page of a list.
#[derive(Debug, PartialEq, Eq, Hash, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct PageOf {
    /// How many entries at most, 1 to 1000.
    #[param(minimum = 1, maximum = 1000, default = 100, required = false)]
    pub(in crate::http) limit: usize,
    /// Begin after the entry of this key: `next` of the page before.
    #[param(required = false)]
    pub(in crate::http) after: Option<String>,
}

/// A limit within its bounds.
fn limit(said: Option<usize>) -> Result<usize, Error> {
    said.filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
        Error::new(Kind::InvalidArgument, format!("limit is a number from 1 to {LIMIT_MAX}")).with_code("invalid_limit")
    })
}

impl PageOf {
    /// The page that was asked for in numbers.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`]: the limit is out of its bounds.
    pub(in crate::http) fn of(said: Option<u32>, after: Option<String>) -> Result<Self, Error> {
        let limit = said.map_or(Ok(LIMIT), |said| limit(usize::try_from(said).ok()))?;
        Ok(Self { limit, after })
    }

    fn read(query: &str) -> Result<Self, Error> {
        let mut page = Self { limit: LIMIT, after: None };
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "limit" => page.limit = limit(value.parse().ok())?,
                "after" => page.after = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(page)
    }

    /// The page of a list that is sorted by `key`.
    pub(in crate::http) fn cut<T>(&self, sorted: Vec<T>, key: impl Fn(&T) -> String) -> (Vec<T>, Option<String>) {
        let begin = match &self.after {
            Some(after) => sorted.partition_point(|entry| key(entry) <= *after),
            None => 0,
        };
        let more = sorted.len() - begin > self.limit;
        let page: Vec<T> = sorted.into_iter().skip(begin).take(self.limit).collect();
        let next = if more { page.last().map(key) } else { None };
        (page, next)
    }
}

impl<S: Sync> FromRequestParts<S> for PageOf {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(Self::read(parts.uri.query().unwrap_or_default())?)
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listing<T> {
    /// The entries, sorted by their key.
    pub(super) items: Vec<T>,
    /// What to send as `after` for the next page; `null` on the last one.
    pub(super) next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_has_bounds() {
        for bad in
            ["limit=0", "limit=-1", "limit=1001", "limit=", "limit=ten", "limit=1.5", "limit=99999999999999999999"]
        {
            assert_eq!(PageOf::read(bad).unwrap_err().code(), "invalid_limit", "{bad}");
        }
        assert_eq!(PageOf::read("x=1&after=a%2Fb").unwrap(), PageOf { limit: 100, after: Some("a/b".into()) });
    }

    #[test]
    fn pages_join_to_the_whole_list() {
        let all: Vec<String> = ('a'..='g').map(String::from).collect();
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = PageOf { limit: 3, after }.cut(all.clone(), Clone::clone);
            assert!(page.len() <= 3);
            seen.extend(page);
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, all);
        let gone = PageOf { limit: 3, after: Some("cc".into()) };
        assert_eq!(gone.cut(all, Clone::clone).0, ["d", "e", "f"], "an entry that is gone still has its place");
    }
}
