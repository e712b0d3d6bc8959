//! What was acknowledged is never lost.
#![cfg(test)]

mod backup;
mod items;
#[expect(dead_code, reason = "other tests need more of what is shared")]
#[path = "../support/mod.rs"]
mod support;
