//! The users, for the API: those of the store are changed, one change after the other, each at work when it is answered, and
//! those of the file are shown.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use tokio::sync::Mutex;

use super::users::{UserBook, UserWatch, hash};
use crate::{
    auth::{DigestKeys, User},
    base::{Error, Kind, Result, Secret},
    config::{AuthConfig, Config, PermissionConfig, UserName, UsersConfig},
    http::{Account, Accounts, NewAccount},
    store::Documents,
};

/// The users of this configuration; nobody while auth is off.
pub(super) fn start(
    config: &Config,
    documents: &Documents,
    watch: Option<Arc<UserWatch>>,
) -> Option<Arc<dyn Accounts>> {
    let AuthConfig::On(section) = &config.auth else { return None };
    let book = UserBook::over(documents.clone());
    Some(Arc::new(Desk { book, section: section.clone(), watch, turn: Mutex::default() }))
}

#[derive(Debug)]
struct Desk {
    book: UserBook,
    section: UsersConfig,
    /// Who brings a change to the gate.
    watch: Option<Arc<UserWatch>>,
    /// One change at a time: each looks at who there is before it writes.
    turn: Mutex<()>,
}

impl Desk {
    async fn is_at_work(&self) -> Result<()> {
        match &self.watch {
            Some(watch) => watch.look().await,
            None => Ok(()),
        }
    }

    fn is_of_store(&self, name: &UserName) -> Result<()> {
        if self.section.users.iter().all(|user| user.name != *name) {
            return Ok(());
        }
        let message = format!("user {name}: the configuration has it, and stands above the store");
        let error = Error::new(Kind::FailedPrecondition, message).with_code("user_in_file");
        Err(error.with_hint("change it there: `auth.users`"))
    }

    fn are_groups(&self, groups: &[String]) -> Result<()> {
        match groups.iter().find(|group| !self.section.groups.contains_key(*group)) {
            None => Ok(()),
            Some(group) => {
                let message = format!("group {group}: the configuration has none of this name");
                Err(Error::new(Kind::InvalidArgument, message).with_code("group_not_found"))
            }
        }
    }
}

fn account(user: User, of_file: bool) -> Account {
    let User { name, digest, groups, permissions, .. } = user;
    Account { name, of_file, digest: digest.is_some(), groups, permissions }
}

impl Accounts for Desk {
    fn list(&self) -> BoxFuture<'_, Result<Vec<Account>>> {
        async move {
            let all = self.book.everybody(&self.section).await?;
            Ok(all.into_iter().map(|(user, of_file)| account(user, of_file)).collect())
        }
        .boxed()
    }

    fn add(&self, wanted: NewAccount) -> BoxFuture<'_, Result<()>> {
        async move {
            let NewAccount { name, password, digest, groups, permissions } = wanted;
            self.is_of_store(&name)?;
            self.are_groups(&groups)?;
            let hashed = hash(password.clone()).await?;
            let digest = digest.then(|| DigestKeys::new(&name, &password));
            let _turn = self.turn.lock().await;
            self.book.add(&User { name, password: hashed, digest, groups, permissions }).await?;
            self.is_at_work().await
        }
        .boxed()
    }

    fn change_password(&self, name: UserName, password: Secret) -> BoxFuture<'_, Result<()>> {
        async move {
            self.is_of_store(&name)?;
            let hashed = hash(password.clone()).await?;
            let _turn = self.turn.lock().await;
            self.book.change_password(&name, &password, hashed).await?;
            self.is_at_work().await
        }
        .boxed()
    }

    fn change_rights(
        &self,
        name: UserName,
        groups: Vec<String>,
        permissions: Vec<PermissionConfig>,
    ) -> BoxFuture<'_, Result<()>> {
        async move {
            self.is_of_store(&name)?;
            self.are_groups(&groups)?;
            let _turn = self.turn.lock().await;
            self.book.can_spare(&self.section, &name, Some((&groups, &permissions))).await?;
            self.book.change_rights(&name, groups, permissions).await?;
            self.is_at_work().await
        }
        .boxed()
    }

    fn remove(&self, name: UserName) -> BoxFuture<'_, Result<()>> {
        async move {
            self.is_of_store(&name)?;
            let _turn = self.turn.lock().await;
            self.book.can_spare(&self.section, &name, None).await?;
            self.book.remove(&name).await?;
            self.is_at_work().await
        }
        .boxed()
    }

    fn preferences(&self, name: UserName) -> BoxFuture<'_, Result<Option<String>>> {
        async move { self.book.preferences(&name).await }.boxed()
    }

    fn prefer(&self, name: UserName, text: String) -> BoxFuture<'_, Result<()>> {
        async move { self.book.prefer(&name, Some(text)).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Clock;

    fn permissions(list: &[&str]) -> Vec<PermissionConfig> {
        list.iter().map(|json| serde_json::from_str(json).unwrap()).collect()
    }

    fn wanted(name: &str, list: &[&str]) -> NewAccount {
        NewAccount {
            name: name.parse().unwrap(),
            password: Secret::new("correct horse"),
            digest: false,
            groups: Vec::new(),
            permissions: permissions(list),
        }
    }

    const ADMIN: &str = r#"{"action":"admin","path":"*"}"#;
    const VIEW: &str = r#"{"action":"view","path":"*"}"#;

    #[tokio::test]
    async fn users_come_and_go_and_one_always_administers() {
        let folder = tempfile::tempdir().unwrap();
        let (documents, _) = Documents::open(folder.path(), Clock).await;
        let file = r#"{ users: [{ name: filed, password: "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHRzYWx0$W1g3n5S7ic5Nr2rbQQ1cMw" }],
            groups: { bosses: [{ action: admin }] } }"#;
        let section: UsersConfig = serde_saphyr::from_str(file).unwrap();
        let desk = Desk { book: UserBook::over(documents), section, watch: None, turn: Mutex::default() };
        let name = |text: &str| text.parse::<UserName>().unwrap();
        desk.add(wanted("anna", &[ADMIN])).await.unwrap();
        desk.add(wanted("bert", &[VIEW])).await.unwrap();
        for (wrong, code) in [
            (wanted("anna", &[]), "user_exists"),
            (wanted("filed", &[]), "user_in_file"),
            (NewAccount { groups: vec!["nobodies".into()], ..wanted("carl", &[]) }, "group_not_found"),
            (NewAccount { password: Secret::new("short"), ..wanted("carl", &[]) }, "invalid_password"),
        ] {
            assert_eq!(desk.add(wrong).await.unwrap_err().code(), code);
        }
        let list = desk.list().await.unwrap();
        let names: Vec<_> = list.iter().map(|one| (one.name.as_str(), one.of_file)).collect();
        assert_eq!(names, [("anna", false), ("bert", false), ("filed", true)]);

        assert_eq!(desk.remove(name("anna")).await.unwrap_err().code(), "last_admin");
        let narrowed = desk.change_rights(name("anna"), Vec::new(), permissions(&[VIEW])).await;
        assert_eq!(narrowed.unwrap_err().code(), "last_admin");
        assert_eq!(desk.remove(name("filed")).await.unwrap_err().code(), "user_in_file");
        assert_eq!(desk.remove(name("nobody")).await.unwrap_err().code(), "user_not_found");
        desk.change_rights(name("bert"), vec!["bosses".into()], Vec::new()).await.unwrap();
        desk.prefer(name("anna"), r#"{"tiles":4}"#.into()).await.unwrap();
        assert_eq!(desk.preferences(name("anna")).await.unwrap().as_deref(), Some(r#"{"tiles":4}"#));
        desk.remove(name("anna")).await.unwrap();
        assert_eq!(desk.preferences(name("anna")).await.unwrap(), None, "they go with their owner");
        assert_eq!(desk.remove(name("bert")).await.unwrap_err().code(), "last_admin");
        assert_eq!(desk.list().await.unwrap().len(), 2);
    }
}
