//! Maven 3.8, the newest 3 and the newest 4: deploying, resolving, and how they order versions.
#![cfg(test)]

mod builds;
mod versions;

use crate::support::maven::default_repository;

/// A hosted, a proxy and a group repository of Maven, all of them public.
fn three_repositories(upstream: &str) -> String {
    format!(
        r#"
[[repository]]
name = "maven"
format = "maven"
tags = {{ visibility = "public" }}

[[repository]]
name = "maven-remote"
format = "maven"
kind = "proxy"
tags = {{ visibility = "public" }}
upstream = {{ url = {upstream:?}, mutable_ttl = 86400 }}

[[repository]]
name = "maven-all"
format = "maven"
kind = "group"
tags = {{ visibility = "public" }}
members = ["main/maven", "main/maven-remote"]
"#
    )
}

fn repositories() -> String {
    three_repositories(&default_repository())
}
