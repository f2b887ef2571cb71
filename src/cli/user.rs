//! `campanile user`: the users of the state directory. Passwords come from a prompt or from standard input, never from
//! the arguments, which every program on the machine may read. A running server learns of a change within a second.

use std::io::{BufRead, IsTerminal, Read};

use clap::{Args, Subcommand};

use super::{Failure, Shared, report};
use crate::{
    app::users::{UserBook, admin, hash},
    auth::{DigestKeys, User, password},
    base::{Error, Kind, Secret},
    config::{AuthConfig, PermissionConfig, UserName},
};

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user; the password is asked for, or read from standard input
    Add(AddArguments),
    /// Show the users and what they may do
    List,
    /// Change a password
    Passwd(NameArguments),
    /// Remove a user; what was opened in the name ends
    Remove(RemoveArguments),
    /// Print the hash of a password, for `auth.users` in the configuration
    Hash,
}

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// What the user is called
    #[arg(value_name = "NAME")]
    name: UserName,
    /// The user may do everything
    #[arg(long)]
    admin: bool,
    /// An action the user may do, and on which paths: `view`, `view=front-door`, `alerts=site-1/*`; may be repeated
    #[arg(long, value_name = "ACTION[=PATHS]", value_parser = permission)]
    allow: Vec<PermissionConfig>,
    /// A group of the configuration the user is in; may be repeated
    #[arg(long, value_name = "NAME")]
    group: Vec<String>,
    /// Make a password and print it, instead of asking for one
    #[arg(long)]
    generate: bool,
    /// Keep nothing that RTSP's digest logins need; the user logs in there with Basic over TLS only
    #[arg(long)]
    no_rtsp_digest: bool,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArguments {
    /// What the user is called
    #[arg(value_name = "NAME")]
    name: UserName,
    /// Also when nobody administers the server then
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct NameArguments {
    /// What the user is called
    #[arg(value_name = "NAME")]
    name: UserName,
}

/// `ACTION` or `ACTION=PATHS`.
pub(super) fn permission(text: &str) -> Result<PermissionConfig, String> {
    let (action, path) = text.split_once('=').map_or((text, None), |(action, path)| (action, Some(path)));
    let action = action.parse().map_err(str::to_owned)?;
    let path = path.map(str::parse).transpose().map_err(|error: crate::config::PathMatcherError| error.to_string())?;
    Ok(PermissionConfig { action, path: path.unwrap_or_default() })
}

pub(super) fn run(shared: &Shared, command: &UserCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::new(Kind::Internal, "the system gives no threads").caused_by(error))?;
    if let UserCommand::Hash = command {
        let hashed = runtime.block_on(hash(new_password()?))?;
        return report::print(&format!("{}\n", hashed.reveal()));
    }
    let (config, _) = shared.open()?;
    let AuthConfig::On(section) = &config.auth else {
        let message = "auth is off in the configuration: there are no users";
        return Err(Error::new(Kind::FailedPrecondition, message).with_hint("take `auth: off` out first").into());
    };
    let of_file: Vec<User> = section.users.iter().map(User::of_config).collect();
    let is_of_file = |name: &UserName| {
        let message = format!("user {name}: the configuration has it, and stands above the store");
        let error = Error::new(Kind::FailedPrecondition, message).with_hint("change it there: `auth.users`");
        if of_file.iter().any(|user| user.name == *name) { Err(Failure::Error(error)) } else { Ok(()) }
    };
    let book = runtime.block_on(UserBook::open(&config.state_dir))?;
    match command {
        UserCommand::Hash => Ok(()),
        UserCommand::List => {
            let stored = runtime.block_on(book.users())?;
            let shown = stored.iter().filter(|user| of_file.iter().all(|known| known.name != user.name));
            let mut lines: Vec<String> = of_file.iter().map(|user| line(user, "configuration")).collect();
            lines.extend(shown.map(|user| line(user, if user.digest.is_some() { "store, digest" } else { "store" })));
            report::print(&lines.concat())
        }
        UserCommand::Add(arguments) => {
            is_of_file(&arguments.name)?;
            if let Some(group) = arguments.group.iter().find(|group| !section.groups.contains_key(*group)) {
                let message = format!("group {group}: the configuration has none of this name");
                return Err(Failure::Usage(Error::new(Kind::InvalidArgument, message)));
            }
            let (name, given) = (&arguments.name, (!arguments.generate).then(new_password).transpose()?);
            let password = given.clone().unwrap_or_else(password::random);
            let mut permissions = arguments.allow.clone();
            permissions.extend(arguments.admin.then(admin));
            let user = User {
                name: name.clone(),
                password: runtime.block_on(hash(password.clone()))?,
                digest: (!arguments.no_rtsp_digest).then(|| DigestKeys::new(name, &password)),
                groups: arguments.group.clone(),
                permissions,
            };
            runtime.block_on(book.add(&user))?;
            if given.is_none() {
                report::print(&format!("{}\n", password.reveal()))?;
            }
            report::note(&format!("user {name} was added"))
        }
        UserCommand::Passwd(NameArguments { name }) => {
            is_of_file(name)?;
            runtime.block_on(book.find(name))?;
            let password = new_password()?;
            let hashed = runtime.block_on(hash(password.clone()))?;
            runtime.block_on(book.change_password(name, &password, hashed))?;
            report::note(&format!("user {name} has another password"))
        }
        UserCommand::Remove(RemoveArguments { name, force }) => {
            is_of_file(name)?;
            if !force {
                runtime.block_on(book.can_spare(section, name, None))?;
            }
            runtime.block_on(book.remove(name))?;
            report::note(&format!("user {name} was removed"))
        }
    }
}

fn line(user: &User, origin: &str) -> String {
    let groups = user.groups.iter().map(|group| format!("group {group}"));
    let may: Vec<String> = groups.chain(user.permissions.iter().map(shown)).collect();
    format!("{} ({origin}): {}\n", user.name, if may.is_empty() { "nothing".to_owned() } else { may.join(", ") })
}

/// As [`permission`] reads it.
pub(super) fn shown(one: &PermissionConfig) -> String {
    if one.path.is_everything() { one.action.name().to_owned() } else { format!("{}={}", one.action.name(), one.path) }
}

/// The most bytes of a line.
const LINE_MAX: u64 = 4096;

/// A password that is to be set: asked for twice on a terminal, else the first line of standard input.
fn new_password() -> Result<Secret, Failure> {
    let unread =
        |error: std::io::Error| Error::new(Kind::InvalidArgument, "the password cannot be read").caused_by(error);
    let mut input = std::io::stdin().lock();
    if !input.is_terminal() {
        let mut line = String::new();
        input.by_ref().take(LINE_MAX).read_line(&mut line).map_err(unread)?;
        return Ok(Secret::new(line.trim_end_matches(['\r', '\n'])));
    }
    drop(input);
    let password = Secret::new(rpassword::prompt_password("Password: ").map_err(unread)?);
    let again = Secret::new(rpassword::prompt_password("Again: ").map_err(unread)?);
    if password != again {
        return Err(Error::new(Kind::InvalidArgument, "the two passwords are not the same").into());
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_from_arguments() {
        let shown = |text: &str| {
            let PermissionConfig { action, path } = permission(text).unwrap();
            (action.name(), path.to_string())
        };
        assert_eq!(shown("view"), ("view", "*".into()));
        assert_eq!(shown("alerts=site-1/*"), ("alerts", "site-1/*".into()));
        assert_eq!(shown("view=~a=b|c").1, "~a=b|c");
        for wrong in ["fly", "view=a b", "", "=cam"] {
            assert!(permission(wrong).is_err(), "{wrong}");
        }
    }
}
