//! `admin`: users and tokens, made on the data directory by whoever has the machine anyway.

use std::io::BufRead;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Error, PrincipalKind, TokenRequest};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Failure, serve};
use crate::access::{Access, Admin, NewUser};
use crate::clock;
use crate::config::Config;
use crate::server::{StartError, open_accounts, storage};

/// Longest line that is read as a password.
const LONGEST_LINE: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Users.
    #[command(subcommand)]
    User(UserCommand),
    /// Tokens.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Keys with which repositories sign what their clients trust.
    #[command(subcommand)]
    Key(super::keys::Command),
}

#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Make a user; prints its password unless one is given.
    Create {
        /// The name to sign in with.
        name: String,
        /// A tag, such as system=main or role=publisher; may be repeated, also with the same key.
        #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
        tags: Vec<(String, String)>,
        #[command(flatten)]
        password: Password,
    },
    /// Give a user another password; prints it unless one is given.
    Password {
        /// The user.
        name: String,
        #[command(flatten)]
        password: Password,
    },
    /// List the users with their tags.
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token and print it. It is shown this once.
    Create {
        /// Whose token it is.
        owner: String,
        /// The owner is a robot, not a user.
        #[arg(long)]
        robot: bool,
        /// What it is for, for people.
        #[arg(long, default_value = "made on the command line", value_name = "TEXT")]
        name: String,
        /// Where it may be used: system/repository, with * for anything; may be repeated. Without it everywhere.
        #[arg(long = "repository", value_name = "PATTERN")]
        repositories: Vec<String>,
        /// What it may do: read, publish, overwrite, delete, manage; may be repeated. Without it everything that its owner may.
        #[arg(long = "action", value_name = "ACTION", value_parser = action)]
        actions: Vec<Action>,
        /// Seconds until it ends.
        #[arg(long, value_name = "SECONDS")]
        expires_in: Option<u64>,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Password {
    /// Read the password from the first line of standard input instead of making a random one. There is no flag with the
    /// password itself: other users of the machine would see it.
    #[arg(long)]
    password_stdin: bool,
}

impl Password {
    /// The password, and whether it was made here and must be printed.
    fn get(&self, input: &mut dyn BufRead) -> Result<(SecretString, bool), Failure> {
        if !self.password_stdin {
            let mut bytes = [0; 18];
            getrandom::fill(&mut bytes).map_err(|cause| Failure::Other(format!("no random bytes: {cause}")))?;
            return Ok((URL_SAFE_NO_PAD.encode(bytes).into(), true));
        }
        let mut line = String::new();
        let read = std::io::Read::take(input, LONGEST_LINE).read_line(&mut line);
        read.map_err(|cause| Failure::Other(format!("cannot read the password from standard input: {cause}")))?;
        let password = line.trim_end_matches(['\r', '\n']);
        if password.is_empty() {
            return Err(Failure::Other(String::from("standard input holds no password in its first line")));
        }
        Ok((password.into(), false))
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn action(text: &str) -> Result<Action, String> {
    let known = || Action::DECIDED.map(Action::name).join(", ");
    Action::DECIDED.into_iter().find(|action| action.name() == text).ok_or_else(|| format!("use one of: {}", known()))
}

/// Runs a command and gives what it prints.
///
/// # Errors
/// What is wrong, in words for the operator.
pub(super) async fn run(command: Command, config: Config, input: &mut dyn BufRead) -> Result<String, Failure> {
    match command {
        Command::Key(command) => super::keys::run(command, &config).await,
        Command::User(command) => {
            let access = accounts(config).await?;
            let answer = user(&access.operator(), command, input).await;
            // Who did what is on its way to the audit log.
            access.audit().flush().await;
            answer
        }
        Command::Token(command) => {
            let access = accounts(config).await?;
            let answer = token(&access.operator(), command).await;
            access.audit().flush().await;
            answer
        }
    }
}

/// The accounts in the records.
async fn accounts(config: Config) -> Result<Arc<Access>, Failure> {
    let failed = |error: StartError| Failure::Other(error.to_string());
    let records = storage::open_records(&storage::Settings::from_config(&config)).await.map_err(failed)?;
    Ok(open_accounts(&records, serve::access(&config.access), config.admin_password, clock::system()).await.map_err(failed)?.access)
}

async fn user(admin: &Admin, command: UserCommand, input: &mut dyn BufRead) -> Result<String, Failure> {
    match command {
        UserCommand::Create { name, tags, password } => {
            let mut grouped = Tags::new();
            for (key, value) in tags {
                grouped.entry(key).or_default().insert(value);
            }
            let (password, is_new) = password.get(input)?;
            let made = admin.create_user(NewUser { name, password: Some(password.clone()), tags: grouped }).await.map_err(refused)?;
            Ok(told(&format!("user {} was made", made.name), &password, is_new))
        }
        UserCommand::Password { name, password } => {
            let (password, is_new) = password.get(input)?;
            admin.set_password(&name, &password).await.map_err(refused)?;
            Ok(told(&format!("user {name} has another password"), &password, is_new))
        }
        UserCommand::List => {
            let users = admin.principals(PrincipalKind::User).await.map_err(refused)?;
            let line = |user: crate::access::PrincipalInfo| {
                let tags: Vec<String> = user.tags.iter().flat_map(|(key, values)| values.iter().map(move |value| format!("{key}={value}"))).collect();
                let state = if user.disabled { " (disabled)" } else { "" };
                format!("{}{state} {}", user.name, tags.join(" ")).trim_end().to_owned()
            };
            Ok(users.into_iter().map(line).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn told(what: &str, password: &SecretString, is_new: bool) -> String {
    if is_new { format!("{what}; password: {}", password.expose_secret()) } else { what.to_owned() }
}

async fn token(admin: &Admin, command: TokenCommand) -> Result<String, Failure> {
    let TokenCommand::Create { owner, robot, name, repositories, actions, expires_in } = command;
    let kind = if robot { PrincipalKind::Robot } else { PrincipalKind::User };
    let wanted = TokenRequest { name, repositories, actions, expires_in };
    Ok(admin.create_token(kind, &owner, wanted).await.map_err(refused)?.secret)
}

pub(super) fn refused(error: Error) -> Failure {
    use std::error::Error as _;
    Failure::Other(error.source().map_or_else(|| error.message().to_owned(), |cause| format!("{}: {cause}", error.message())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::Parser;

    use super::super::{Arguments, Command as Top, Failure};
    use crate::config::{Environment, Flags};

    /// Runs `entrepot admin …` on a data directory and gives what it prints.
    async fn admin(data: &Path, arguments: &[&str], input: &str) -> Result<String, String> {
        let parsed = Arguments::try_parse_from(["entrepot", "admin"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        let Some(Top::Admin(command)) = parsed.command else { panic!("this is no admin command") };
        let flags = Flags { data: Some(data.to_owned()), ..Flags::default() };
        let config = super::super::load(&flags, &Environment::default()).unwrap_or_else(|failure| panic!("{failure}"));
        super::run(command, config, &mut input.as_bytes()).await.map_err(|failure| match failure {
            Failure::Other(message) => message,
            other => panic!("{other:?}"),
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn users_are_made_listed_and_given_passwords() {
        let data = tempfile::tempdir().unwrap();
        let made =
            admin(data.path(), &["user", "create", "alice", "--tag", "system=main", "--tag", "role=publisher", "--tag", "role=owner"], "").await.unwrap();
        assert!(made.starts_with("user alice was made; password: ") && made.len() > 50, "{made}");
        // Whoever comes first makes `admin` too, or it would be missing for ever.
        assert!(data.path().join("admin-password").exists());
        let listed = admin(data.path(), &["user", "list"], "").await.unwrap();
        assert_eq!(listed, "admin\nalice role=owner role=publisher system=main");

        let changed = admin(data.path(), &["user", "password", "alice", "--password-stdin"], "correct horse battery\n").await.unwrap();
        assert_eq!(changed, "user alice has another password");
        assert!(admin(data.path(), &["user", "password", "alice", "--password-stdin"], "\n").await.unwrap_err().contains("no password"));
        assert!(admin(data.path(), &["user", "password", "nobody", "--password-stdin"], "correct horse\n").await.unwrap_err().contains("there is no user"));
        assert!(admin(data.path(), &["user", "create", "bob", "--tag", "odd"], "").await.unwrap_err().contains("KEY=VALUE"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn tokens_are_made_and_narrowed() {
        let data = tempfile::tempdir().unwrap();
        let token = admin(data.path(), &["token", "create", "admin", "--repository", "main/*", "--action", "read", "--expires-in", "60"], "").await.unwrap();
        assert!(token.starts_with("ent_"), "{token}");
        assert!(admin(data.path(), &["token", "create", "nobody"], "").await.is_err());
        assert!(admin(data.path(), &["token", "create", "admin", "--robot"], "").await.is_err());
        assert!(admin(data.path(), &["token", "create", "admin", "--action", "dance"], "").await.unwrap_err().contains("use one of: read, publish"));
    }
}
