//! The section `auth`: users with one name, groups that are there, and not more of anything than is looked through.

use std::collections::BTreeSet;

use super::{
    super::{AuthConfig, Config, tree::Route},
    Complaints,
};

/// Users of the file, groups, and permissions of one of them.
const MOST: usize = 1000;
const PERMISSIONS_MAX: usize = 100;

impl Config {
    pub(super) fn check_auth(&self, all: &mut Complaints) {
        let AuthConfig::On(auth) = &self.auth else { return };
        let at = |key: &str| Route::of(["auth", key]);
        for (key, count) in [("users", auth.users.len()), ("groups", auth.groups.len())] {
            if count > MOST {
                all.add(at(key), format!("{count} of them, {MOST} at most"));
            }
        }
        let too_many = |route: Route, count: usize, all: &mut Complaints| {
            if count > PERMISSIONS_MAX {
                all.add(route, format!("{count} of them, {PERMISSIONS_MAX} at most"));
            }
        };
        for (name, permissions) in &auth.groups {
            too_many(at("groups").then(name), permissions.len(), all);
        }
        let mut names = BTreeSet::new();
        for (i, user) in auth.users.iter().enumerate() {
            let route = at("users").then_index(i);
            too_many(route.then("permissions"), user.permissions.len(), all);
            if !names.insert(&user.name) {
                all.add(route.then("name"), format!("there is a user `{}` already", user.name));
                continue;
            }
            for (j, group) in user.groups.iter().enumerate() {
                if auth.groups.contains_key(group) {
                    continue;
                }
                let route = route.then("groups").then_index(j);
                let complaint = all.add(route, format!("there is no group `{group}`"));
                complaint.with(at("groups"));
                if let Some(meant) = super::super::problem::meant(group, auth.groups.keys().map(String::as_str)) {
                    complaint.hint_at(format!("did you mean `{meant}`?"));
                }
            }
        }
    }
}
