//! The commands. Results go to standard output, everything else to standard error; problems end with exit code 1, wrong usage with 2.

mod admin;
mod backup;
mod check;
mod gc;
mod health;
mod keys;
mod migrate;
mod restore;
mod serve;
mod storage;
mod transfer;
mod verify;

use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Environment, Flags, Problem};
use crate::log;

/// One registry server for every package format.
#[derive(Debug, Parser)]
#[command(name = "entrepot", version, about, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Without a command the server is started.
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, Args)]
struct Common {
    /// The configuration file (ENTREPOT_CONFIG); without it ./config.toml, where that is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The data directory (ENTREPOT_DATA).
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A remotes.yaml or remotes.toml of artifactapi, whose remotes are declared besides (ENTREPOT_REMOTES).
    #[arg(long, global = true, value_name = "FILE")]
    remotes: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server.
    Serve {
        /// Where to listen (ENTREPOT_LISTEN); port 0 takes a free one.
        #[arg(long, value_name = "ADDR:PORT")]
        listen: Option<String>,
    },
    /// Say everything that is wrong with the configuration, and where; start nothing.
    Check,
    /// Ask the server that runs with this configuration on this machine whether it can serve: for containers and other watchers.
    Health,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// End what the retention of repositories lets go, and remove what nothing names any more; safe beside a running server.
    Gc(gc::Arguments),
    /// Hold the catalog against the stored bytes: exit code 0 when nothing is missing or damaged.
    Verify(verify::Arguments),
    /// Write everything that is stored into one file, while the server runs.
    Backup(backup::Arguments),
    /// Bring back what a backup holds, into an empty storage.
    Restore(restore::Arguments),
    /// Copy everything into the storage of another configuration; may be cut off and run again. Without --to: bring the tables up to date.
    Migrate(migrate::Arguments),
    /// First steps and emergencies, on the data directory; a running server notices within a second.
    #[command(subcommand)]
    Admin(admin::Command),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every value and where it came from; secrets are hidden.
    Show,
}

/// Why a command failed, for the person at the terminal.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The configuration is wrong.
    Configuration(Vec<Problem>),
    /// What was looked for was found; it was told already.
    Found,
    /// Something else.
    Other(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configuration(problems) => problems.iter().try_for_each(|problem| writeln!(f, "error: {problem}")),
            Self::Found => Ok(()),
            Self::Other(message) => writeln!(f, "error: {message}"),
        }
    }
}

/// Runs the command that the arguments name.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, wrong usage is not: clap knows which goes where and with which code.
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            return if error.print().is_ok() { ExitCode::from(code) } else { ExitCode::FAILURE };
        }
    };
    match execute(arguments, &Environment::read()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // A closed standard error leaves nobody to tell.
            let _ = write!(std::io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn execute(arguments: Arguments, environment: &Environment) -> Result<(), Failure> {
    let Common { config, data, remotes } = arguments.common;
    let mut flags = Flags { config, data, listen: None, remotes };
    match arguments.command.unwrap_or(Command::Serve { listen: None }) {
        Command::Serve { listen } => {
            flags.listen = listen;
            let config = load(&flags, environment)?;
            let _flush = log::start(&config.log);
            serve::serve(config).await
        }
        Command::Check => say(&check::summary(&load(&flags, environment)?)),
        Command::Health => say(&health::ask(&load(&flags, environment)?).await?),
        Command::Config(ConfigCommand::Show) => say(&load(&flags, environment)?.show()),
        Command::Gc(arguments) => say(&gc::run(arguments, &load(&flags, environment)?, &tell).await?),
        Command::Verify(arguments) => {
            let (text, sound) = verify::run(arguments, &load(&flags, environment)?, &print, &tell).await?;
            say(&text)?;
            if sound { Ok(()) } else { Err(Failure::Found) }
        }
        Command::Backup(arguments) => backup::run(arguments, load(&flags, environment)?).await,
        Command::Restore(arguments) => say(&restore::run(arguments, load(&flags, environment)?).await?),
        Command::Migrate(migrate::Arguments { to: None }) => say(&storage::update_tables(&load(&flags, environment)?).await?),
        Command::Migrate(migrate::Arguments { to: Some(to) }) => {
            say(&migrate::run(&to, load(&flags, &environment.of_embedded())?, &environment.of_shared()).await?)
        }
        Command::Admin(command) => say(&admin::run(command, load(&flags, environment)?, &mut std::io::stdin().lock()).await?),
    }
}

fn load(flags: &Flags, environment: &Environment) -> Result<Config, Failure> {
    check::load(flags, environment).map_err(Failure::Configuration)
}

/// Prints a line of a long result. Whoever closed standard output learns the rest from the exit code.
fn print(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says how far a command is. A closed standard error leaves nobody to tell.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Prints the result of a command.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()).map_err(|cause| Failure::Other(format!("cannot write to standard output: {cause}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_commands_fit_together() {
        super::Arguments::command().debug_assert();
    }
}
