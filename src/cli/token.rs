//! `campanile token`: the tokens of programs in the state directory. A running server learns of a change within a second.

use clap::{Args, Subcommand};

use super::{Failure, Shared, report, user::permission};
use crate::{
    app::{tokens::TokenBook, users::UserBook},
    auth::{ApiToken, ApiTokenSeen},
    base::{Clock, Error, Kind},
    config::{AuthConfig, HumanDuration, PermissionConfig, UserName},
};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for a program, and print it; it is kept nowhere else
    Add(AddArguments),
    /// Show the tokens, whose they are and what they allow
    List,
    /// Withdraw a token; what it opened ends
    Remove(RemoveArguments),
}

#[derive(Debug, Args)]
pub(super) struct AddArguments {
    /// What to call it
    #[arg(value_name = "NAME")]
    name: String,
    /// Whose it is: it never allows more than that user may
    #[arg(long, value_name = "USER")]
    user: UserName,
    /// An action it allows, and on which paths: `view`, `view=front-door`; may be repeated [default: what its user may]
    #[arg(long, value_name = "ACTION[=PATHS]", value_parser = permission)]
    allow: Vec<PermissionConfig>,
    /// How long it holds: `90d`, `12h` [default: until it is withdrawn]
    #[arg(long, value_name = "DURATION")]
    lasts: Option<HumanDuration>,
}

#[derive(Debug, Args)]
pub(super) struct RemoveArguments {
    /// The token's id, as `list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn run(shared: &Shared, command: &TokenCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::new(Kind::Internal, "the system gives no threads").caused_by(error))?;
    let (config, _) = shared.open()?;
    let AuthConfig::On(section) = &config.auth else {
        let message = "auth is off in the configuration: there are no tokens";
        return Err(Error::new(Kind::FailedPrecondition, message).with_hint("take `auth: off` out first").into());
    };
    let book = runtime.block_on(TokenBook::open(&config.state_dir))?;
    match command {
        TokenCommand::List => {
            let tokens = runtime.block_on(book.tokens())?;
            report::print(&tokens.iter().map(line).collect::<String>())
        }
        TokenCommand::Add(arguments) => {
            let stored = runtime.block_on(async { UserBook::open(&config.state_dir).await?.users().await })?;
            let mut names = section.users.iter().map(|user| &user.name).chain(stored.iter().map(|user| &user.name));
            if !names.any(|name| *name == arguments.user) {
                let message = format!("user {}: there is none of this name", arguments.user);
                let error = Error::new(Kind::NotFound, message).with_hint("`campanile user list` shows who there is");
                return Err(error.into());
            }
            let now = Clock.wall();
            let nanos = |lasts: HumanDuration| i64::try_from(lasts.duration().as_nanos()).unwrap_or(i64::MAX);
            let until = arguments.lasts.map(|lasts| now.plus_nanos(nanos(lasts)));
            let limit = (!arguments.allow.is_empty()).then(|| arguments.allow.clone());
            let (token, text) = ApiToken::new(&arguments.name, arguments.user.clone(), limit, until, now)?;
            runtime.block_on(book.add(&token))?;
            report::print(&format!("{}\n", text.reveal()))?;
            report::note(&format!("token {} was made; it is shown this once", token.id))
        }
        TokenCommand::Remove(RemoveArguments { id }) => {
            runtime.block_on(book.remove(id))?;
            report::note(&format!("token {id} was withdrawn"))
        }
    }
}

fn line(ApiTokenSeen { token, last_used }: &ApiTokenSeen) -> String {
    let may = match &token.permissions {
        None => "whatever the user may".to_owned(),
        Some(list) => list.iter().map(super::user::shown).collect::<Vec<_>>().join(", "),
    };
    let until = token.until.map(|until| format!(", until {until}")).unwrap_or_default();
    let used = last_used.map_or_else(|| "never used".to_owned(), |used| format!("last used {used}"));
    format!("{} {} ({}{until}, {used}): {may}\n", token.id, token.name, token.user)
}
