//! Names of systems and repositories, and the address that joins them.

use std::fmt;

use crate::error::{Error, Result};

/// First segments of URLs that the server keeps for itself: no system may be called so.
pub const RESERVED_SYSTEMS: [&str; 9] = ["api", "v2", "-", "health", "metrics", "config", "artifacts", "cache-artifact", "assets"];

/// The system of repositories that are addressed without one.
pub const DEFAULT_SYSTEM: &str = "main";

/// What separates a repository from the view of its past in an address: `npm.at-r12`.
pub const VIEW_SEPARATOR: &str = ".at-";

/// `[a-z0-9]+([._-][a-z0-9]+)*`, at most 64 characters.
fn is_name(text: &str) -> bool {
    let mut after_separator = true;
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' => after_separator = false,
            b'.' | b'_' | b'-' if !after_separator => after_separator = true,
            _ => return false,
        }
    }
    !after_separator && text.len() <= 64
}

/// The name of a system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemName(String);

impl SystemName {
    /// Checks the name.
    ///
    /// # Errors
    /// 400 with the rule when it is malformed or reserved.
    pub fn parse(text: &str) -> Result<Self> {
        if RESERVED_SYSTEMS.contains(&text) {
            return Err(Error::bad_request(format!("the system name {text:?} is reserved")));
        }
        if !is_name(text) {
            return Err(Error::bad_request("a system name is lower-case letters and digits, joined by single '.', '_' or '-', at most 64 characters"));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a repository within its system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// Checks the name.
    ///
    /// # Errors
    /// 400 with the rule when it is malformed or contains `.at-`.
    pub fn parse(text: &str) -> Result<Self> {
        if !is_name(text) || text.contains(VIEW_SEPARATOR) {
            return Err(Error::bad_request(
                "a repository name is lower-case letters and digits, joined by single '.', '_' or '-', at most 64 characters, without '.at-'",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SystemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a repository is: `{system}/{repository}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The system.
    pub system: SystemName,
    /// The repository in it.
    pub repository: RepositoryName,
}

impl Address {
    /// Checks both names.
    ///
    /// # Errors
    /// 400 with the rule that one of them breaks.
    pub fn new(system: &str, repository: &str) -> Result<Self> {
        let address = Self { system: SystemName::parse(system)?, repository: RepositoryName::parse(repository)? };
        // `/v2/v1/…` and the management API's `/api/v1/…` would be ambiguous.
        if system == DEFAULT_SYSTEM && repository == "v1" {
            return Err(Error::bad_request("the repository name \"v1\" is reserved in the system \"main\""));
        }
        Ok(address)
    }

    /// Reads `system/repository`.
    ///
    /// # Errors
    /// 400 when there is not exactly one slash or a name is malformed.
    pub fn parse(text: &str) -> Result<Self> {
        let (system, repository) = text.split_once('/').ok_or_else(|| Error::bad_request(format!("{text:?} is not of the form system/repository")))?;
        Self::new(system, repository)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.system, self.repository)
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|error| serde::de::Error::custom(error.message()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Address, RepositoryName, SystemName};

    #[test]
    fn names_follow_the_rule() {
        for good in ["main", "a", "team-1", "a.b_c-d", &"x".repeat(64)] {
            assert!(SystemName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-", "api", "v2", "A", "a..b", "a-", ".a", "a/b", "ä", &"x".repeat(65)] {
            assert!(SystemName::parse(bad).is_err(), "{bad}");
        }
        assert!(RepositoryName::parse("npm.at-r1").is_err());
        assert!(RepositoryName::parse("npm").is_ok());
    }

    #[test]
    fn addresses_round_trip() {
        assert_eq!(Address::parse("main/npm").map(|a| a.to_string()).ok().as_deref(), Some("main/npm"));
        assert!(Address::parse("main").is_err());
        assert!(Address::parse("main/npm/x").is_err());
        assert!(Address::parse("main/v1").is_err());
    }
}
