//! Maven 3.8, the newest 3 and the newest 4: deploying, resolving, and how they order versions.
#![cfg(test)]

mod builds;
mod versions;

use crate::support;
use crate::support::maven::default_repository;

/// A hosted, a proxy and a group repository of Maven.
fn three_repositories(upstream: &str) -> String {
    support::three_repositories("maven", &format!("url = {upstream:?}, mutable_ttl = 86400"))
}

fn repositories() -> String {
    three_repositories(&default_repository())
}
