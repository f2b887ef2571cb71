//! Users and groups of the configuration file, compared with those of the start before: what somebody changed there is
//! written down as what is done on the command line is. The store keeps a digest of each, and nothing else of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{
    deeds::{self, Deed, FILE},
    tokens, users,
};
use crate::{
    auth::digest_of,
    base::Result,
    config::{UserName, UsersConfig},
    store::{DocumentChange, Documents},
};

/// Where the store keeps them, by `user:` or `group:` and the name.
const FILED: &str = "filed_users";

/// What is kept of a user or a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// Of a user.
    password: Option<String>,
    rights: String,
}

/// Writes down what is another than at the start before.
pub(super) async fn compare(documents: &Documents, section: &UsersConfig) {
    if let Err(error) = written(documents, section).await {
        warn!("users of the file: what changed is not in the audit yet: {}", error.chain());
    }
}

async fn written(documents: &Documents, section: &UsersConfig) -> Result<()> {
    let before = documents.all(FILED).await?;
    let before = before.into_iter().filter_map(|(key, body)| Some((key, serde_json::from_str(&body).ok()?))).collect();
    let now = kept(section);
    let (mut changes, deeds) = difference(&before, &now);
    let gone =
        before.keys().filter(|key| !now.contains_key(*key)).filter_map(|key| key.strip_prefix("user:")?.parse().ok());
    for name in gone.collect::<Vec<UserName>>() {
        // Whoever has the name next is somebody else.
        if !users::is_stored(documents, &name).await? {
            changes.extend(tokens::without_user(documents, &name).await?);
        }
    }
    if changes.is_empty() { Ok(()) } else { deeds::apply(documents, changes, deeds).await }
}

fn kept(section: &UsersConfig) -> BTreeMap<String, Kept> {
    // What was read from the file is written as the file would have it, which says the same of the same.
    let digest = |rights: serde_json::Result<String>| digest_of("rights", &rights.unwrap_or_default());
    let users = section.users.iter().map(|user| {
        let password = Some(digest_of("password", user.password.reveal()));
        let rights = digest(serde_json::to_string(&(&user.groups, &user.permissions)));
        (format!("user:{}", user.name), Kept { password, rights })
    });
    let groups = section.groups.iter().map(|(name, permissions)| {
        (format!("group:{name}"), Kept { password: None, rights: digest(serde_json::to_string(permissions)) })
    });
    users.chain(groups).collect()
}

/// What has to be kept instead, and what was done.
fn difference(before: &BTreeMap<String, Kept>, now: &BTreeMap<String, Kept>) -> (Vec<DocumentChange>, Vec<Deed>) {
    let (mut changes, mut deeds) = (Vec::new(), Vec::new());
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    for key in gone.chain(now.keys()) {
        let (old, new) = (before.get(key), now.get(key));
        if old == new {
            continue;
        }
        let body = new.and_then(|kept| serde_json::to_string(kept).ok());
        changes.push(DocumentChange { collection: FILED, key: key.clone(), body });
        let (sort, name) = key.split_once(':').unwrap_or(("user", key));
        let mut tell = |what: &str| deeds.push(Deed::now(&format!("{sort}.{what}"), FILE, name, None));
        match (old, new) {
            (None, _) => tell("added"),
            (_, None) => tell("removed"),
            (Some(old), Some(new)) => {
                if old.password != new.password {
                    tell("password");
                }
                if old.rights != new.rights {
                    tell("permissions");
                }
            }
        }
    }
    (changes, deeds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(text: &str) -> UsersConfig {
        const HASHES: [&str; 2] = [
            "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx0$W1g3n5S7ic5Nr2rbQQ1cMw",
            "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx1$W1g3n5S7ic5Nr2rbQQ1cMw",
        ];
        serde_saphyr::from_str(&text.replace("ONE", HASHES[0]).replace("TWO", HASHES[1])).unwrap()
    }

    #[test]
    fn what_an_editor_did_to_users_and_groups_is_told_without_their_secrets() {
        let anna = "{ users: [{ name: anna, password: \"ONE\" }] }";
        let table: [(&str, &str, &[&str]); 7] = [
            ("{}", anna, &["user.added anna"]),
            (anna, anna, &[]),
            (anna, "{ users: [{ name: anna, password: \"TWO\" }] }", &["user.password anna"]),
            (anna, "{ users: [{ name: anna, password: \"ONE\", groups: [a] }] }", &["user.permissions anna"]),
            (
                anna,
                "{ users: [{ name: anna, password: \"TWO\", permissions: [{ action: view }] }] }",
                &["user.password anna", "user.permissions anna"],
            ),
            (anna, "{ users: [{ name: bert, password: \"ONE\" }] }", &["user.removed anna", "user.added bert"]),
            (
                "{ groups: { a: [{ action: view }], b: [], \"c:d\": [] } }",
                "{ groups: { a: [{ action: admin }], b: [], e: [] } }",
                &["group.removed c:d", "group.permissions a", "group.added e"],
            ),
        ];
        for (before, now, expected) in table {
            let (changes, deeds) = difference(&kept(&section(before)), &kept(&section(now)));
            let said: Vec<String> = deeds.iter().map(|deed| serde_json::to_string(deed).unwrap()).collect();
            for (deed, expected) in said.iter().zip(expected) {
                let (action, target) = expected.split_once(' ').unwrap();
                let words = format!(r#""action":"{action}","by":"configuration file","target":"{target}","note":null"#);
                assert!(deed.contains(&words), "{deed}: {words}");
            }
            assert_eq!((said.len(), changes.is_empty()), (expected.len(), expected.is_empty()), "{said:?}");
            assert!(!format!("{said:?}{changes:?}").contains("argon2"));
        }
    }
}
