//! What somebody may do: permissions, compiled once, and asked at every door.

use std::sync::Arc;

use super::Action;
use crate::{
    base::PathName,
    config::{PathMatcher, PermissionConfig},
};

/// A set of permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    rules: Vec<(Action, PathMatcher)>,
    /// And no more than these.
    within: Option<Arc<Self>>,
}

impl Permissions {
    /// These. Whatever `admin` holds for, every action does.
    pub fn new<'a>(permissions: impl IntoIterator<Item = &'a PermissionConfig>) -> Self {
        let rules = permissions.into_iter().map(|one| (one.action, one.path.clone())).collect();
        Self { rules, within: None }
    }

    /// The same, and no more than `limit`.
    pub(super) fn within(&self, limit: Option<&Arc<Self>>) -> Self {
        Self { rules: self.rules.clone(), within: limit.cloned().or_else(|| self.within.clone()) }
    }

    /// The permissions as they were written; with a limit, that.
    pub fn list(&self) -> impl Iterator<Item = (Action, &PathMatcher)> {
        let rules = self.within.as_ref().map_or(&self.rules, |within| &within.rules);
        rules.iter().map(|(action, matcher)| (*action, matcher))
    }

    /// Whether `action` is allowed on `path`.
    pub fn allow(&self, action: Action, path: &PathName) -> bool {
        self.of(action).any(|matcher| matcher.matches(path))
            && self.within.as_ref().is_none_or(|within| within.allow(action, path))
    }

    /// Whether `action` is allowed on the server as a whole, and so on every path.
    pub fn allow_everywhere(&self, action: Action) -> bool {
        self.of(action).any(PathMatcher::is_everything)
            && self.within.as_ref().is_none_or(|within| within.allow_everywhere(action))
    }

    /// Whether there may be a path on which `action` is allowed.
    pub fn allow_somewhere(&self, action: Action) -> bool {
        self.of(action).next().is_some() && self.within.as_ref().is_none_or(|within| within.allow_somewhere(action))
    }

    /// Whether both say the same of `action`.
    pub(super) fn agree(&self, other: &Self, action: Action) -> bool {
        self.of(action).eq(other.of(action))
    }

    fn of(&self, action: Action) -> impl Iterator<Item = &PathMatcher> {
        let fits = move |own: Action| own == action || own == Action::Admin;
        self.rules.iter().filter(move |(own, _)| fits(*own)).map(|(_, matcher)| matcher)
    }
}

/// The limit of a token, within the limit of the one that asked for it.
pub(super) fn limited(
    own: Option<&Vec<PermissionConfig>>,
    outer: Option<&Arc<Permissions>>,
) -> Option<Arc<Permissions>> {
    match own {
        Some(own) => Some(Arc::new(Permissions::new(own).within(outer))),
        None => outer.cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permissions(list: &[(&str, &str)]) -> Permissions {
        let config = |(action, path): &(&str, &str)| PermissionConfig {
            action: action.parse().unwrap(),
            path: path.parse().unwrap(),
        };
        Permissions::new(&list.iter().map(config).collect::<Vec<_>>())
    }

    fn none_of_it() -> Permissions {
        Permissions::default()
    }

    #[test]
    fn an_action_is_allowed_where_one_of_its_permissions_or_admin_holds() {
        let some = permissions(&[("view", "front"), ("view", "site/*"), ("alerts", "*"), ("admin", "lab/**")]);
        let table = [
            (Action::View, "front", true),
            (Action::View, "back", false),
            (Action::View, "site/a", true),
            (Action::Publish, "front", false),
            (Action::Alerts, "back", true),
            (Action::Publish, "lab/a/b", true),
            (Action::Admin, "lab/a", true),
            (Action::Admin, "front", false),
        ];
        for (action, path, expected) in table {
            assert_eq!(some.allow(action, &path.parse().unwrap()), expected, "{action:?} {path}");
        }
        let whole = [(Action::View, false), (Action::Alerts, true), (Action::Admin, false), (Action::Stats, false)];
        for (action, expected) in whole {
            assert_eq!(some.allow_everywhere(action), expected, "{action:?}");
        }
        // Where the admin is, everything is.
        assert!(Action::ALL.into_iter().all(|action| some.allow_somewhere(action)));
        let admin = permissions(&[("admin", "*")]);
        assert!(Action::ALL.into_iter().all(|action| admin.allow_everywhere(action)));
        // Within a limit neither the one nor the other is enough.
        let limited = admin.within(Some(&Arc::new(permissions(&[("view", "front")]))));
        assert!(limited.allow(Action::View, &"front".parse().unwrap()));
        assert!(!limited.allow(Action::View, &"back".parse().unwrap()) && !limited.allow_everywhere(Action::View));
        assert!(!limited.allow_somewhere(Action::Publish) && !limited.allow_everywhere(Action::Admin));
        assert!(!none_of_it().within(Some(&Arc::new(admin))).allow(Action::View, &"front".parse().unwrap()));
        let none = none_of_it();
        assert!(!Action::ALL.into_iter().any(|action| none.allow_somewhere(action)));
    }
}
