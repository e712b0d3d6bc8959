//! What was acknowledged is never lost: the built server is killed, traced, put on a full disk and started on old data.
//!
//! `ENTREPOT_TEST_ROUNDS` and `ENTREPOT_TEST_PUBLISHES` make the test of crashes longer, `ENTREPOT_TEST_SEED` makes it choose the same
//! moments again. strace, npm, tar and mount are those of the machine; one that is missing fails its test.
#![cfg(test)]

mod backup;
mod crash;
mod faults;
mod full_disk;
mod items;
mod limited;
mod link;
mod old_data;
#[expect(dead_code, reason = "other tests need more of a raw request")]
#[path = "../support/raw.rs"]
mod raw;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../support/mod.rs"]
mod support;
mod traced;

use std::path::PathBuf;

use support::TestServer;

/// Makes sure that the store of a server, running or not, lacks nothing: every row has its bytes and every blob its digest.
#[track_caller]
fn verified(server: &TestServer) {
    server.command(&["verify"]).succeeded();
}

/// A server on a data directory that was made before, or that is in a special place.
fn on_data(folder: PathBuf) -> TestServer {
    let mut builder = TestServer::builder().alone();
    builder.data = Some(folder);
    builder.start()
}

/// A token of `admin` that may do everything.
async fn token(server: &TestServer) -> String {
    server.admin().create_token("a test", &[], &[]).await
}
