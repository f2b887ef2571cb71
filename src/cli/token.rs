//! `campanile token`: the tokens of programs in the state directory, what any token says, and the keys that sign ours. A
//! running server learns of a change within a second.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Read},
};

use clap::{Args, Subcommand};
use tokio::runtime::Runtime;

use super::{Failure, Shared, report, user::permission};
use crate::{
    app::{issuer, token_keys::KeyBook, tokens::TokenBook, users::UserBook},
    auth::{ApiToken, ApiTokenSeen, Holds, Inspected, InspectedJwt, Signer},
    base::{Clock, Error, Kind, Secret, WallTime},
    config::{AuthConfig, Config, HumanDuration, PermissionConfig, UserName, UsersConfig},
};

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token for a program, and print it; it is kept nowhere else
    #[command(alias = "add")]
    Create(CreateArguments),
    /// Show the tokens, whose they are and what they allow
    List,
    /// Say what a token says, whether it holds, and who signed it; its secret is not shown
    Inspect(InspectArguments),
    /// Withdraw a token; what it opened ends
    #[command(alias = "remove")]
    Revoke(RevokeArguments),
    /// Sign with another key from now on; tokens of the ones before hold until they end
    Rotate,
}

#[derive(Debug, Args)]
pub(super) struct CreateArguments {
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
pub(super) struct InspectArguments {
    /// The token [default: standard input, which nobody else on the machine can read]
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct RevokeArguments {
    /// The token's id, as `list` shows it
    #[arg(value_name = "ID")]
    id: String,
}

/// The most that is read of standard input.
const INPUT_MAX: u64 = 64 << 10;

pub(super) fn run(shared: &Shared, command: &TokenCommand) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Error::new(Kind::Internal, "the system gives no threads").caused_by(error))?;
    let (config, _) = shared.open()?;
    let AuthConfig::On(section) = &config.auth else {
        let message = "auth is off in the configuration: there are no tokens";
        return Err(Error::new(Kind::FailedPrecondition, message).with_hint("take `auth: off` out first").into());
    };
    let book = || runtime.block_on(TokenBook::open(&config.state_dir));
    match command {
        TokenCommand::List => {
            let tokens = runtime.block_on(book()?.tokens())?;
            report::print(&tokens.iter().map(line).collect::<String>())
        }
        TokenCommand::Create(arguments) => create(&runtime, &config, section, arguments),
        TokenCommand::Inspect(InspectArguments { token }) => {
            let text = match token {
                Some(token) => Secret::new(token.as_str()),
                None => read_token()?,
            };
            report::print(&runtime.block_on(inspect(&config, section, &text))?)
        }
        TokenCommand::Revoke(RevokeArguments { id }) => {
            runtime.block_on(book()?.remove(id))?;
            report::note(&format!("token {id} was withdrawn"))
        }
        TokenCommand::Rotate => {
            let algorithm = section.tokens.algorithm;
            let id = runtime.block_on(async { KeyBook::open(&config.state_dir).await?.rotate(algorithm).await })?;
            report::note(&format!("key {id} signs from now on; the ones before prove until their tokens are over"))
        }
    }
}

fn create(
    runtime: &Runtime,
    config: &Config,
    section: &UsersConfig,
    arguments: &CreateArguments,
) -> Result<(), Failure> {
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
    runtime.block_on(async { TokenBook::open(&config.state_dir).await?.add(&token).await })?;
    report::print(&format!("{}\n", text.reveal()))?;
    report::note(&format!("token {} was made; it is shown this once", token.id))
}

fn read_token() -> Result<Secret, Error> {
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        report::note("the token, then Ctrl-D:").map_err(|_| Error::new(Kind::Internal, "standard error is closed"))?;
    }
    let mut text = String::new();
    let read = input.by_ref().take(INPUT_MAX).read_to_string(&mut text);
    read.map_err(|error| Error::new(Kind::InvalidArgument, "the token cannot be read").caused_by(error))?;
    Ok(Secret::new(text.trim()))
}

/// What a token says, in lines.
async fn inspect(config: &Config, section: &UsersConfig, text: &Secret) -> Result<String, Error> {
    let now = Clock.wall();
    let keys = KeyBook::open(&config.state_dir).await?.keys().await?;
    match Inspected::of(text.reveal(), &keys, now) {
        None => {
            let message = "this is no token: neither a JWT nor one that begins with `cmp_`";
            Err(Error::new(Kind::InvalidArgument, message))
        }
        Some(Inspected::Api(id)) => {
            let tokens = TokenBook::open(&config.state_dir).await?.tokens().await?;
            Ok(match tokens.iter().find(|seen| seen.token.id == id) {
                None => {
                    format!("a token of a program, {id}: none of this id is kept here; it may have been withdrawn\n")
                }
                Some(seen) if !seen.token.is_text(text) => {
                    format!("a token of a program, {id}: one of this id is kept here, and its secret is another\n")
                }
                Some(seen) => {
                    let over = seen.token.until.is_some_and(|until| until <= now);
                    format!(
                        "a token of a program, {}: {}",
                        if over { "which is over" } else { "which holds" },
                        line(seen)
                    )
                }
            })
        }
        Some(Inspected::Jwt(jwt)) => {
            let issuer = match (&section.jwt, &jwt.signer) {
                (Some(named), Signer::Other) => Some(issuer::takes(named, &config.state_dir, text, now).await?),
                _ => None,
            };
            Ok(of_jwt(&jwt, issuer, now))
        }
    }
}

fn of_jwt(jwt: &InspectedJwt, issuer: Option<bool>, now: WallTime) -> String {
    let signer = match (&jwt.signer, issuer) {
        (Signer::Own(id), _) => format!("by key {id} of this server"),
        (Signer::Forged(id), _) => format!("wrong: it says key {id} of this server, which did not sign it"),
        (Signer::Other, Some(true)) => "by the issuer that `auth.jwt` names; it is taken now".to_owned(),
        (Signer::Other, Some(false)) => {
            "by no key of this server; as one of the issuer that `auth.jwt` names it is not taken: another signer, issuer \
             or audience, or it does not hold"
                .to_owned()
        }
        (Signer::Other, None) => "by no key of this server: somebody else's, or of a key that is forgotten".to_owned(),
    };
    let span = |nanos: i64| {
        HumanDuration::from_secs(u64::try_from(nanos.max(0) / 1_000_000_000).unwrap_or_default()).to_string()
    };
    let holds = match jwt.holds {
        Holds::From(time) => format!("not before {time}, in {}", span(time.nanos_since(now))),
        Holds::Until(time) => format!("until {time}, for {}", span(time.nanos_since(now))),
        Holds::Ended(time) => format!("ended at {time}, {} ago", span(now.nanos_since(time))),
        Holds::Unsaid => "no end: nothing of this kind is taken here".to_owned(),
    };
    let mut text = "a JWT\n".to_owned();
    let mut add = |name: &str, value: &str| {
        // Writing to a string never fails.
        let _ = writeln!(text, "  {name:9} {value}");
    };
    add("signed", &signer);
    add("holds", &holds);
    for (name, part) in [("header", &jwt.head), ("claims", &jwt.claims)] {
        let json = serde_json::to_string_pretty(part).unwrap_or_default();
        add(name, &json.replace('\n', "\n            "));
    }
    text
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
