//! Real clients against the built server: each test with a server, data and home directories of its own.
//!
//! npm and curl are those of the machine; pnpm, yarn 1 and yarn 4, and Python's tools, are installed by `tests/run` below
//! `ENTREPOT_TEST_CLIENTS`.
//! A client that is missing fails its test.
#![cfg(test)]

mod alpine;
mod artifactapi;
mod deploy;
mod direct_uploads;
mod generic;
mod generic_uploads;
mod helm;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../support/issuer.rs"]
mod issuer;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../durability/link.rs"]
mod link;
mod maven;
mod maven_many;
mod maven_staging;
mod memory;
mod npm_commands;
mod npm_install;
mod npm_publishers;
mod npm_quickstart;
mod oci;
mod pypi;
mod redirects;
mod redis;
#[path = "../support/relay.rs"]
mod relay;
mod replicas;
mod rpm;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../support/mod.rs"]
mod support;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../support/upstream.rs"]
mod upstream;

use support::TestServer;

/// A hosted, a proxy and a group repository of npm.
fn three_repositories(upstream: &str, mutable_ttl: u32) -> String {
    support::three_repositories("npm", &format!("url = {upstream:?}, mutable_ttl = {mutable_ttl}"))
}

/// A token of `admin` that may do everything.
async fn token(server: &TestServer) -> String {
    server.admin().create_token("a test", &[], &[]).await
}
