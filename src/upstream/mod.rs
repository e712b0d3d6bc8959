//! Fetching from other registries.
//!
//! [`Upstream`] is one other registry as a proxy repository sees it: where it is, how to sign in, and what to beware of.
//! It fetches; what is fresh, what is kept and who shares a download is the engine's business. The rules that hold for
//! every fetch:
//!
//! - A name is resolved once per connection, each address is checked, and only a checked one is connected to ([`egress`]).
//! - Redirects are followed here, never by the HTTP library: credentials stay at the upstream's own origin ([`redirect`]).
//! - A body ends cleanly only when it is as long as was announced ([`body`]).
//! - A host that cannot be reached is left alone for a while ([`breaker`]).
//! - Where a format's upstreams say by a challenge how to sign in, credentials wait for it, and go to hosts of the upstream only ([`bearer`]).

mod answer;
mod bearer;
mod body;
mod breaker;
mod call;
mod client;
mod door;
mod egress;
mod header;
mod presets;
mod redirect;
mod settings;
mod sign_in;

#[cfg(test)]
#[path = "../../tests/support/upstream.rs"]
mod scripted;
#[cfg(test)]
mod tests;

pub(crate) use answer::is_out_of_reach;
pub use answer::{Fetched, UpstreamError};
pub use call::Caller;
pub use client::{Fetch, Target, Trust, Upstream};
pub use presets::{preset_of, preset_url};
pub use settings::{UpstreamSettings, hide_secrets};
