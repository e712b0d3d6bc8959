//! What was acknowledged is never lost.
#![cfg(test)]

mod backup;
#[expect(dead_code, reason = "the tests of crashes need more of it")]
mod items;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../support/mod.rs"]
mod support;
