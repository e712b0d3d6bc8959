//! The server as its clients see it: in this process, with every format and the toy one, each test with a server of its own.

mod access;
mod api;
mod attacks;
#[path = "../support/balancer/mod.rs"]
mod balancer;
mod conformance;
mod history;
mod house;
mod proxy;
#[path = "../support/raw.rs"]
mod raw;
#[path = "../support/relay.rs"]
mod relay;
#[path = "../support/storage/mod.rs"]
mod storage;
#[path = "../../formats/kit/tests/toy/mod.rs"]
mod toy;
#[path = "../support/upstream.rs"]
mod upstream;
