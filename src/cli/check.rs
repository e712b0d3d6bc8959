//! `check`: the configuration is read with everything that the parts of the server know about their values.

use serde::Deserialize as _;
use serde_json::Value;

use crate::access::{DeclaredPublisher, PublisherRule};
use crate::config::{self, Checks, Config, Environment, Flags, Problem};
use crate::upstream::UpstreamSettings;

/// Reads and checks the configuration.
///
/// # Errors
/// All problems.
pub(super) fn load(flags: &Flags, environment: &Environment) -> Result<Config, Vec<Problem>> {
    with_checks(|checks| config::load(flags, environment, checks))
}

/// Reads the file of remotes again, and all that is declared besides.
///
/// # Errors
/// All problems.
pub(super) fn remotes(artifactapi: &config::Artifactapi) -> Result<Vec<config::Repository>, Vec<Problem>> {
    with_checks(|checks| artifactapi.read(checks))
}

fn with_checks<T>(read: impl FnOnce(&Checks<'_>) -> T) -> T {
    let formats = crate::formats::all();
    let names: Vec<&str> = formats.iter().map(|format| format.id()).collect();
    let repository = |repository: &config::Repository| {
        crate::registry::reconcile::check(&super::serve::wanted(repository), &formats).map_err(|error| error.message().to_owned())
    };
    read(&Checks { formats: &names, upstream: &upstream, repository: &repository, publisher: &publisher, policies: &policies, tls: &tls })
}

fn upstream(value: &Value) -> Result<(), String> {
    let settings = UpstreamSettings::deserialize(value).map_err(|error| error.to_string())?;
    settings.check().map_err(|wrong| wrong.join("; "))
}

fn publisher(name: &str, rule: Value, audience: Option<&str>) -> Result<PublisherRule, String> {
    let read = || {
        let publisher = DeclaredPublisher { name: name.to_owned(), rule: PublisherRule::read(rule, audience)? };
        publisher.check()?;
        Ok::<_, entrepot_kit::Error>(publisher.rule)
    };
    read().map_err(|error| error.message().to_owned())
}

fn policies(text: &str) -> Result<(), String> {
    crate::access::check_policies("default", text).map(drop).map_err(|error| error.to_string())
}

fn tls(files: &config::Tls) -> Result<(), String> {
    super::serve::tls(files).check()
}

/// What a correct configuration says, in a line.
pub(super) fn summary(config: &Config) -> String {
    let source = config.file.as_ref().map_or_else(|| String::from("built-in defaults"), |file| file.display().to_string());
    let count = |number: usize, one: &str, many: &str| format!("{number} {}", if number == 1 { one } else { many });
    let systems = count(config.systems.len(), "system", "systems");
    let repositories = count(config.repositories.len(), "repository", "repositories");
    format!("{source}: no problems; declares {systems} and {repositories}")
}
