//! The users: those of the file, and those of the store, which the API, `campanile user` and the first start write. The gate
//! gets them at the start, at once when the API changes them, and within a second when another process does.

use std::{collections::BTreeMap, io::Write, path::Path, sync::Arc, time::Duration};

use tokio::{sync::Mutex, time::sleep};
use tracing::{info_span, warn};

use super::{
    addresses::Addresses,
    deeds::{self, Deed},
    ended_logins, filed, issuer, outside,
    token_keys::KeyWatch,
    tokens::{self, TokenBook, TokenWatch},
};
use crate::{
    auth::{DigestKeys, Gate, GatePolicy, User, password},
    base::{Clock, Error, Kind, Result, Secret, Tasks},
    config::{Action, AuthConfig, Config, PasswordHash, PathMatcher, PermissionConfig, UserName, UsersConfig},
    store::{DocumentChange, Documents},
};

/// Where the store keeps users, by name.
const USERS: &str = "users";
/// Where it keeps what their pages want to be kept, by name.
const PREFERENCES: &str = "preferences";
/// Users in the store at most.
const MOST: usize = 1000;
/// What was done once and is not done again, by name.
pub(super) const DONE: &str = "auth";
const FIRST_START: &str = "first_start";
/// How often is looked whether users changed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The users of the store.
#[derive(Clone, Debug)]
pub struct UserBook {
    documents: Documents,
    /// Who writes here past the server, for the audit. Whoever writes through it is written down there.
    by: Option<String>,
}

impl UserBook {
    /// Opens the store of a state directory for the command line, beside a server that may be running.
    ///
    /// # Errors
    /// It cannot be opened.
    pub async fn open(state_dir: &Path) -> Result<Self> {
        let (documents, _) = Documents::open(state_dir, Clock).await;
        // What was wrong with the file is said by the first look into it.
        documents.all(USERS).await?;
        Ok(Self { documents, by: Some(deeds::command_line()) })
    }

    /// The users of a store that is open.
    pub(super) const fn over(documents: Documents) -> Self {
        Self { documents, by: None }
    }

    /// Everybody, by name. An entry that cannot be read is nobody, and is said to the log.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn users(&self) -> Result<Vec<User>> {
        let users = self.documents.all(USERS).await?;
        Ok(users.iter().filter_map(|(name, body)| read(name, body)).collect())
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`]; too many; the store cannot be written.
    pub async fn add(&self, user: &User) -> Result<()> {
        let users = self.users().await?;
        if users.iter().any(|known| known.name == user.name) {
            let message = format!("user {}: there is one of this name", user.name);
            return Err(Error::new(Kind::AlreadyExists, message)
                .with_code("user_exists")
                .with_hint("`campanile user passwd` changes a password"));
        }
        if users.len() >= MOST {
            return Err(Error::new(Kind::FailedPrecondition, format!("there are {MOST} users, as many as may be")));
        }
        // Nobody inherits what a namesake of the file left behind.
        let tokens = tokens::without_user(&self.documents, &user.name).await?;
        self.write("user.added", &user.name, Some(user.to_stored()), tokens).await
    }

    /// Gives a user another password; digest logins stay as they are, open or closed.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the store cannot be written.
    pub async fn change_password(&self, name: &UserName, password: &Secret, hash: PasswordHash) -> Result<()> {
        let mut user = self.find(name).await?;
        user.digest = user.digest.map(|_| DigestKeys::new(name, password));
        user.password = hash;
        self.write("user.password", name, Some(user.to_stored()), Vec::new()).await
    }

    /// Gives a user other groups and permissions.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the store cannot be written.
    pub(super) async fn change_rights(
        &self,
        name: &UserName,
        groups: Vec<String>,
        permissions: Vec<PermissionConfig>,
    ) -> Result<()> {
        let user = User { groups, permissions, ..self.find(name).await? };
        self.write("user.permissions", name, Some(user.to_stored()), Vec::new()).await
    }

    /// Removes a user, its tokens, and what was kept for it.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the store cannot be written.
    pub async fn remove(&self, name: &UserName) -> Result<()> {
        self.find(name).await?;
        let mut gone = tokens::without_user(&self.documents, name).await?;
        gone.push(DocumentChange { collection: PREFERENCES, key: name.to_string(), body: None });
        self.write("user.removed", name, None, gone).await
    }

    /// Everybody, by name: those of the file, which stands above the store, and those of the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn everybody(&self, section: &UsersConfig) -> Result<Vec<(User, bool)>> {
        let of_file = section.users.iter().map(|user| (User::of_config(user), true));
        let of_store = self.users().await?.into_iter().map(|user| (user, false));
        let all: BTreeMap<UserName, (User, bool)> =
            of_store.chain(of_file).map(|(user, of_file)| (user.name.clone(), (user, of_file))).collect();
        Ok(all.into_values().collect())
    }

    /// Somebody administers the server also when this user may do no more than this, or is gone.
    ///
    /// # Errors
    /// `last_admin`: nobody would; the store cannot be read.
    pub async fn can_spare(
        &self,
        section: &UsersConfig,
        name: &UserName,
        left: Option<(&[String], &[PermissionConfig])>,
    ) -> Result<()> {
        if left.is_some_and(|(groups, permissions)| administers(section, groups, permissions)) {
            return Ok(());
        }
        let all = self.everybody(section).await?;
        let mut admins =
            all.iter().filter(|(user, _)| administers(section, &user.groups, &user.permissions)).peekable();
        if admins.peek().is_none() || admins.any(|(user, _)| user.name != *name) {
            return Ok(());
        }
        let message = format!("user {name}: nobody else administers the server");
        let error = Error::new(Kind::FailedPrecondition, message).with_code("last_admin");
        Err(error.with_hint("let somebody else administer it before: `campanile user add NAME --admin`"))
    }

    /// What a user's pages keep.
    pub(super) async fn preferences(&self, name: &UserName) -> Result<Option<String>> {
        self.documents.one(PREFERENCES, name.to_string()).await
    }

    /// Keeps it.
    pub(super) async fn prefer(&self, name: &UserName, body: Option<String>) -> Result<()> {
        let change = DocumentChange { collection: PREFERENCES, key: name.to_string(), body };
        self.documents.apply(vec![change]).await
    }

    /// The user of this name.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; the store cannot be read.
    pub async fn find(&self, name: &UserName) -> Result<User> {
        let user = self.users().await?.into_iter().find(|user| user.name == *name);
        let missing = || {
            let message = format!("user {name}: there is none of this name in the store");
            Error::new(Kind::NotFound, message).with_code("user_not_found")
        };
        user.ok_or_else(|| missing().with_hint("`campanile user list` shows who there is"))
    }

    async fn write(
        &self,
        action: &str,
        name: &UserName,
        body: Option<String>,
        mut changes: Vec<DocumentChange>,
    ) -> Result<()> {
        // Whoever was added, by hand or at the first start: the first start is over.
        changes.extend([DocumentChange { collection: USERS, key: name.to_string(), body }, done()]);
        let deed = self.by.as_ref().map(|by| Deed::now(action, by, name.as_str(), None));
        deeds::apply(&self.documents, changes, deed.into_iter().collect()).await
    }
}

fn done() -> DocumentChange {
    DocumentChange { collection: DONE, key: FIRST_START.into(), body: Some("true".into()) }
}

fn read(name: &str, body: &str) -> Option<User> {
    User::of_stored(name, body).inspect_err(|error| warn!(user = name, "{error}")).ok()
}

/// Whether the store has a user of this name.
///
/// # Errors
/// The store cannot be read.
pub(super) async fn is_stored(documents: &Documents, name: &UserName) -> Result<bool> {
    Ok(documents.one(USERS, name.to_string()).await?.is_some())
}

fn administers(section: &UsersConfig, groups: &[String], permissions: &[PermissionConfig]) -> bool {
    let of_groups = groups.iter().filter_map(|group| section.groups.get(group)).flatten();
    of_groups.chain(permissions).any(|one| one.action == Action::Admin && one.path.is_everything())
}

/// Permission for everything.
pub fn admin() -> PermissionConfig {
    PermissionConfig { action: Action::Admin, path: PathMatcher::Every }
}

/// The gate of this configuration, with its users, and what gives it those of the store. The first start makes an `admin`;
/// the password comes back, and is nowhere else.
///
/// # Errors
/// A listener is open to others, there are no users, and the file does not say `auth: off`.
pub(super) async fn start(
    config: &Config,
    documents: &Documents,
    addresses: &Addresses,
    tasks: &Tasks,
) -> Result<(Gate, Option<Secret>, Option<Arc<UserWatch>>)> {
    let AuthConfig::On(section) = &config.auth else { return Ok((Gate::new(GatePolicy::Off), None, None)) };
    let gate = Gate::new(GatePolicy::Closed);
    let stored = documents.all(USERS).await;
    let (stored, first) = match stored {
        Ok(stored) if stored.is_empty() && section.users.is_empty() => first_start(documents).await,
        Ok(stored) => (stored, None),
        Err(error) => {
            warn!("users: the store cannot be read: {}", error.chain());
            (Vec::new(), None)
        }
    };
    let count = set(&gate, section, &stored);
    filed::compare(documents, section).await;
    ended_logins::recall(&gate, documents).await;
    let mut keys = KeyWatch::new(section.tokens.clone());
    if let Err(error) = keys.look(&gate, documents).await {
        // The gate keeps the key it has, and all logins end with this process.
        warn!("tokens: their keys cannot be kept: {}", error.chain());
    }
    gate.set_shelf(Box::new(TokenBook::new(documents.clone())));
    let mut programs = TokenWatch::default();
    if let Err(error) = programs.look(&gate, documents).await {
        warn!("tokens: the store cannot be read: {}", error.chain());
    }
    if let Some(jwt) = &section.jwt {
        issuer::start(jwt, section.groups.clone(), &gate, documents.clone(), tasks).await;
    }
    if let Some(http) = &section.http {
        outside::start(http, &gate, tasks);
    }
    if count == 0 && addresses.are_open() && section.http.is_none() {
        let message = "a listener is open to other machines, and there are no users";
        return Err(Error::new(Kind::FailedPrecondition, message).with_code("no_users").with_hint(
            "add one: `campanile user add admin --admin`; or write `auth: off` to let everybody do everything",
        ));
    }
    let users =
        UserWatch { gate: gate.clone(), section: section.clone(), documents: documents.clone(), before: stored.into() };
    let users = Arc::new(users);
    watch(users.clone(), (programs, keys), tasks);
    Ok((gate, first, Some(users)))
}

/// Makes the first user, unless that was done before.
async fn first_start(documents: &Documents) -> (Vec<(String, String)>, Option<Secret>) {
    let made = async {
        if documents.all(DONE).await?.iter().any(|(key, _)| key == FIRST_START) {
            return Ok(None);
        }
        let password = password::random();
        let name: UserName = "admin".parse().map_err(|why: &str| Error::new(Kind::Internal, why))?;
        let hashed = hash(password.clone()).await?;
        let digest = Some(DigestKeys::new(&name, &password));
        let user = User { name, password: hashed, digest, groups: Vec::new(), permissions: vec![admin()] };
        let body = user.to_stored();
        let change = DocumentChange { collection: USERS, key: user.name.to_string(), body: Some(body.clone()) };
        documents.apply(vec![change, done()]).await?;
        Ok::<_, Error>(Some((vec![(user.name.to_string(), body)], password)))
    };
    match made.await {
        Ok(Some((users, password))) => (users, Some(password)),
        Ok(None) => (Vec::new(), None),
        Err(error) => {
            warn!("users: the first one cannot be made: {}", error.chain());
            (Vec::new(), None)
        }
    }
}

/// Hashes where that may take its time.
///
/// # Errors
/// As [`password::hash`].
pub async fn hash(password: Secret) -> Result<PasswordHash> {
    let hashed = tokio::task::spawn_blocking(move || password::hash(&password)).await;
    hashed.map_err(|error| Error::new(Kind::Internal, "the password cannot be hashed").caused_by(error))?
}

/// Gives the gate the users of the file and those of the store; the file stands above the store.
fn set(gate: &Gate, section: &UsersConfig, stored: &[(String, String)]) -> usize {
    let of_store = stored.iter().filter_map(|(name, body)| read(name, body));
    let of_file = section.users.iter().map(User::of_config);
    let users: BTreeMap<UserName, User> = of_store.chain(of_file).map(|user| (user.name.clone(), user)).collect();
    gate.set_users(users.into_values().collect(), &section.groups)
}

/// Gives the gate the users of the store when they are others than before.
#[derive(Debug)]
pub(super) struct UserWatch {
    gate: Gate,
    section: UsersConfig,
    documents: Documents,
    /// Held from the look to the change, so that an older look changes nothing back.
    before: Mutex<Vec<(String, String)>>,
}

impl UserWatch {
    /// Looks, and gives the gate what changed.
    ///
    /// # Errors
    /// The store cannot be read: whoever was known stays known.
    pub(super) async fn look(&self) -> Result<()> {
        let mut before = self.before.lock().await;
        let now = self.documents.all(USERS).await?;
        if now != *before {
            let count = set(&self.gate, &self.section, &now);
            tracing::info!(count, "the users changed");
            *before = now;
        }
        Ok(())
    }
}

/// Looks for changes that another process made.
fn watch(users: Arc<UserWatch>, (mut programs, mut keys): (TokenWatch, KeyWatch), tasks: &Tasks) {
    let (gate, documents) = (users.gate.clone(), users.documents.clone());
    let stopping = tasks.stopping().clone();
    tasks.spawn("users", info_span!("users"), async move {
        let (mut readable, mut ended) = (true, gate.ended_logins());
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return programs.write(&gate, &documents).await,
                () = sleep(LOOK_EVERY) => {}
            }
            gate.handle_timeout(Clock.moment());
            let now_ended = gate.ended_logins();
            if now_ended != ended {
                ended = now_ended;
                ended_logins::write(&documents, &ended).await;
            }
            // What cannot be read is said of the users.
            let _ = programs.look(&gate, &documents).await;
            let _ = keys.look(&gate, &documents).await;
            match users.look().await {
                Ok(()) => readable = true,
                Err(error) if readable => {
                    warn!("users: the store cannot be read: {}", error.chain());
                    readable = false;
                }
                Err(_) => {}
            }
        }
    });
}

/// Shows the first password. On standard output, not in the log: a log is kept.
pub(super) fn show_first_password(password: &Secret) {
    let text = format!(
        "\n  The first user is `admin`. The password, shown this once:\n\n      {}\n\n  \
         `campanile user passwd admin` changes it, `campanile user add` adds users.\n\n",
        password.reveal()
    );
    let mut out = std::io::stdout().lock();
    // Nobody is left to be told when standard output is closed.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        auth::{Caller, Credential, Identity, View},
        store::Store,
    };

    fn open() -> Addresses {
        let mut addresses = Addresses::default();
        addresses.insert("http", ["0.0.0.0:80".parse().unwrap()]);
        addresses
    }

    async fn documents(folder: &Path) -> Documents {
        Store::open(folder, Clock).await.0.documents().clone()
    }

    async fn logs_in(gate: &Gate, user: &str, password: &Secret) -> bool {
        let shown = Credential::of_password(user, password.reveal()).unwrap();
        let identity = gate.identify(&shown, [10, 0, 0, 9].into(), Clock.moment()).await.unwrap();
        matches!(identity, Identity::Known(_))
    }

    #[tokio::test]
    async fn the_first_start_makes_an_admin_once() {
        let folder = tempfile::tempdir().unwrap();
        let (config, tasks) = (Config::default(), Tasks::new());
        let documents = documents(folder.path()).await;
        let (gate, first, _) = start(&config, &documents, &open(), &tasks).await.unwrap();
        let first = first.unwrap();
        assert!(logs_in(&gate, "admin", &first).await);
        let (gate, second, _) = start(&config, &documents, &open(), &tasks).await.unwrap();
        assert!(second.is_none() && logs_in(&gate, "admin", &first).await);
        // The password itself is nowhere.
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(23).any(|window| window == first.reveal().as_bytes()));
        }
        // Once removed it does not come back, and an open listener has nobody to let in.
        UserBook::over(documents.clone()).remove(&"admin".parse().unwrap()).await.unwrap();
        assert_eq!(start(&config, &documents, &open(), &tasks).await.unwrap_err().code(), "no_users");
        assert!(start(&config, &documents, &Addresses::default(), &tasks).await.unwrap().1.is_none());
        let off = Config { auth: AuthConfig::Off, ..Config::default() };
        let (gate, first, _) = start(&off, &documents, &open(), &tasks).await.unwrap();
        assert!(gate.is_off() && first.is_none());
        tasks.stop();
    }

    #[tokio::test]
    async fn users_of_the_file_stand_above_those_of_the_store_and_make_no_admin() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let documents = documents(folder.path()).await;
        let password = Secret::new("correct horse");
        let hashed = hash(password.clone()).await.unwrap();
        let text = serde_json::json!({ "users": [{ "name": "anna", "password": hashed.reveal() }] });
        let config = Config { auth: serde_json::from_value(text).unwrap(), ..Config::default() };
        let (gate, first, _) = start(&config, &documents, &open(), &tasks).await.unwrap();
        assert!(first.is_none() && logs_in(&gate, "anna", &password).await);
        tasks.stop();
    }

    #[tokio::test]
    async fn what_another_process_changes_is_seen_by_the_gate() {
        let folder = tempfile::tempdir().unwrap();
        let tasks = Tasks::new();
        let (config, shared) = (Config::default(), documents(folder.path()).await);
        let (gate, ..) = start(&config, &shared, &Addresses::default(), &tasks).await.unwrap();
        let caller = Caller::direct("127.0.0.1:9".parse().unwrap());
        let local = gate.check::<View>(&caller, &"cam".parse().unwrap()).unwrap();
        let book = UserBook::open(folder.path()).await.unwrap();
        let (name, password): (UserName, _) = ("anna".parse().unwrap(), Secret::new("correct horse"));
        let hashed = hash(password.clone()).await.unwrap();
        let digest = Some(DigestKeys::new(&name, &password));
        let user =
            User { name: name.clone(), password: hashed, digest, groups: Vec::new(), permissions: vec![admin()] };
        book.add(&user).await.unwrap();
        assert_eq!(book.add(&user).await.unwrap_err().kind(), Kind::AlreadyExists);
        // The second user: this machine needs a login as everybody does.
        tokio::time::timeout(Duration::from_secs(30), local.ended().cancelled()).await.unwrap();
        assert!(logs_in(&gate, "anna", &password).await);
        let known = Credential::of_password("anna", password.reveal()).unwrap();
        let Some(Identity::Known(standing)) = gate.recall(&known, [10, 0, 0, 9].into(), Clock.moment()) else {
            panic!("she is known")
        };
        let another = Secret::new("battery staple");
        book.change_password(&name, &another, hash(another.clone()).await.unwrap()).await.unwrap();
        let ended = async {
            while !standing.is_over() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
        assert!(logs_in(&gate, "anna", &another).await && !logs_in(&gate, "anna", &password).await);
        let keys = book.find(&name).await.unwrap().digest;
        assert_eq!(keys, Some(DigestKeys::new(&name, &another)), "digest logins follow the password");
        book.remove(&name).await.unwrap();
        assert_eq!(book.remove(&name).await.unwrap_err().kind(), Kind::NotFound);
        tasks.stop();
    }
}
