//! What the API needs of whoever keeps the users: a small trait, which the process fills.

use std::fmt;

use futures_util::future::BoxFuture;

use crate::{
    base::{Result, Secret},
    config::{PermissionConfig, UserName},
};

/// A user, without the secrets.
#[derive(Clone, Debug)]
pub struct Account {
    /// What the user is called.
    pub name: UserName,
    /// It stands in the file, which the server does not write.
    pub of_file: bool,
    /// RTSP takes the password by digest.
    pub digest: bool,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What the user may do besides.
    pub permissions: Vec<PermissionConfig>,
}

/// A user that is wanted.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// What the user is to be called.
    pub name: UserName,
    /// The password.
    pub password: Secret,
    /// Keep what RTSP's digest needs.
    pub digest: bool,
    /// The groups the user is in.
    pub groups: Vec<String>,
    /// What the user may do besides.
    pub permissions: Vec<PermissionConfig>,
}

/// Whoever keeps the users. What is changed here holds within a second.
pub trait Accounts: fmt::Debug + Send + Sync {
    /// Everybody, by name.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Account>>>;

    /// Adds a user.
    fn add(&self, wanted: NewAccount) -> BoxFuture<'_, Result<()>>;

    /// Gives a user another password.
    fn change_password(&self, name: UserName, password: Secret) -> BoxFuture<'_, Result<()>>;

    /// Gives a user other groups and permissions. The last administrator stays one.
    fn change_rights(
        &self,
        name: UserName,
        groups: Vec<String>,
        permissions: Vec<PermissionConfig>,
    ) -> BoxFuture<'_, Result<()>>;

    /// Removes a user, and what was kept for it. The last administrator stays.
    fn remove(&self, name: UserName) -> BoxFuture<'_, Result<()>>;

    /// What a user's pages keep: the text of a JSON object.
    fn preferences(&self, name: UserName) -> BoxFuture<'_, Result<Option<String>>>;

    /// Keeps it.
    fn prefer(&self, name: UserName, text: String) -> BoxFuture<'_, Result<()>>;
}
