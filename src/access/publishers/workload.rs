//! What a token that was given for an identity token carries: its reach, and what is known of its bearer.

use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Address};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::super::resource::Target;
use super::rule::{PublisherRule, takes, values};

/// What tags that hold claims begin with: no issuer makes a tag that policies give rights for, such as `system` or `role`.
const CLAIM: &str = "claim:";
/// Most claims that become tags, most values of one, and longest text of either.
const MOST_CLAIMS: usize = 48;
const MOST_VALUES: usize = 16;
const LONGEST: usize = 256;

/// A token's own part of its principal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::access) struct Workload {
    /// The one repository.
    pub(in crate::access) repository: Address,
    /// Names of packages, or patterns.
    pub(in crate::access) packages: Vec<String>,
    /// What may be done to these.
    pub(in crate::access) actions: Vec<Action>,
    /// What the identity token claimed.
    pub(in crate::access) claims: Tags,
}

impl Workload {
    /// What a rule gives to the bearer of some claims, for one package of its or for all.
    pub(super) fn new(rule: &PublisherRule, package: Option<&str>, claims: &Map<String, Value>) -> Self {
        let packages = package.map_or_else(|| rule.packages.clone(), |package| vec![package.to_owned()]);
        Self { repository: rule.repository.clone(), packages, actions: rule.actions.clone(), claims: tags(claims) }
    }

    /// Whether the token may be used for this at all: to read in its repository, as far as policies let it, and to do what it is for.
    pub(in crate::access) fn reaches(&self, action: Action, target: &Target<'_>) -> bool {
        self.is_about(target) && (action == Action::Read || self.permits(action, target))
    }

    /// Whether the token itself is the right to do this. What is done to a repository as a whole is decided again for each package that a
    /// change names.
    pub(in crate::access) fn permits(&self, action: Action, target: &Target<'_>) -> bool {
        let granted = self.actions.contains(&action);
        self.is_about(target)
            && match target.package {
                // Whoever publishes a package may look at it.
                Some(package) => (granted || action == Action::Read) && self.has(package),
                None => granted && (action != Action::Read || self.packages.iter().any(|pattern| pattern == "*")),
            }
    }

    /// Whether a package, or the path of a file that belongs to none, is one of those.
    pub(in crate::access) fn has(&self, name: &str) -> bool {
        takes(&self.packages, name)
    }

    /// Whether this is in the one repository.
    pub(in crate::access) fn is_about(&self, target: &Target<'_>) -> bool {
        let Some((repository, ..)) = target.repository else { return false };
        self.repository.system.as_str() == target.system && self.repository.repository.as_str() == repository
    }
}

/// Claims as tags, as many as there is room for.
fn tags(claims: &Map<String, Value>) -> Tags {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:".contains(&byte);
    let mut tags = Tags::new();
    for (name, value) in claims.iter().filter(|(name, _)| !["exp", "nbf", "iat", "jti"].contains(&name.as_str())) {
        let key = format!("{CLAIM}{name}");
        let values = values(value).into_iter().filter(|value| value.len() <= LONGEST && !value.chars().any(char::is_control)).take(MOST_VALUES);
        let values: std::collections::BTreeSet<String> = values.collect();
        if tags.len() < MOST_CLAIMS && key.len() <= LONGEST && key.bytes().all(known) && !values.is_empty() {
            tags.insert(key, values);
        }
    }
    tags
}
