//! The server as its clients see it: in this process, with every format and the toy one, each test with a server of its own.

mod access;
mod alpine;
mod api;
mod artifactapi;
mod attacks;
mod care;
mod conformance;
mod door;
mod helm;
mod history;
mod house;
mod housekeeping;
#[expect(dead_code, reason = "real clients ask for more")]
#[path = "../support/issuer.rs"]
mod issuer;
mod maven;
mod oci;
mod oci_proxy;
mod operations;
mod proxy;
mod publishers;
mod pypi;
mod pypi_proxy;
#[path = "../support/raw.rs"]
mod raw;
mod recent;
mod registry;
#[path = "../support/relay.rs"]
mod relay;
mod rpm;
mod sending;
#[cfg(test)]
#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "what the tests with real clients need besides")]
mod support;
#[path = "../../formats/kit/tests/toy/mod.rs"]
mod toy;
mod uploads;
#[path = "../support/upstream.rs"]
mod upstream;
