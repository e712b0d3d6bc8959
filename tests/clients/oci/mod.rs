//! Container tools, and the conformance suite of the OCI distribution specification.
//!
//! What a tool does is a function over any registry: the tests were tried first against one that people know.
#![cfg(test)]

mod conformance;
mod containerd;
mod crane;
mod docker;
mod mirror;
mod oras;
mod podman;
mod protocol;
mod signatures;
mod stress;
mod uploads;

use crate::support::{ADMIN_PASSWORD, TestServer};

/// A public repository of the default system, and one of another system that nobody may read without being told.
const CONFIG: &str = r#"
[[system]]
name = "team"

[[repository]]
name = "images"
format = "oci"
tags = { visibility = "public" }

[[repository]]
system = "team"
name = "secret"
format = "oci"
"#;

/// A registry, and somebody who may do everything there.
struct Site {
    host: String,
    user: &'static str,
    password: String,
}

impl Site {
    /// Ours.
    fn of(server: &TestServer) -> Self {
        Self { host: server.address().to_owned(), user: "admin", password: String::from(ADMIN_PASSWORD) }
    }

    /// The name of an image there.
    fn image(&self, name: &str) -> String {
        format!("{}/{name}", self.host)
    }

    /// What signs in.
    fn login(&self) -> [&str; 6] {
        ["login", "--username", self.user, "--password", &self.password, &self.host]
    }
}

fn start() -> TestServer {
    TestServer::builder().config(CONFIG).start()
}

/// How often a layer was taken from another repository instead of being uploaded, as the server's log has it.
fn mounts(server: &TestServer) -> usize {
    server.log_lines(&["route=\"upload-begin\"", "status=201", "received=0"])
}

/// No request made the server fail. What is no HTTP at all is the client's: they try TLS first.
#[track_caller]
fn had_no_errors(server: &TestServer) {
    let errors = server.log_lines(&["ERROR"]) - server.log_lines(&["ERROR", "request parse error"]);
    assert_eq!((errors, server.log_lines(&["status=5"])), (0, 0), "{}", server.log());
}

/// A digest, wherever it stands in a text.
#[track_caller]
fn digest_in(text: &str) -> String {
    let from = text.find("sha256:").unwrap_or_else(|| panic!("no digest in {text:?}"));
    text.chars().skip(from).take("sha256:".len() + 64).collect()
}
