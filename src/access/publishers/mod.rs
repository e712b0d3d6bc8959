//! Trusted publishing: an identity token of a platform (a build, a pod) is exchanged for a short token of ours.
//!
//! A *publisher* says what identity tokens of an issuer are worth: for whom they must be made out, what they must claim, and which packages
//! of which repository whoever has one may publish. It is a principal of its own, a workload, and the tokens that were given are that
//! principal's: they end by themselves, and at once with the publisher. A token carries what its publisher allows, so that no policy has to be
//! written; a policy that forbids counts all the same, and may look at what the identity token claimed.

mod exchange;
mod identity;
mod issuer;
mod manage;
mod rule;
mod workload;

pub use exchange::{ExchangeRefusal, Exchanged, Wish};
pub use manage::{DeclaredPublisher, PublisherInfo};
pub use rule::PublisherRule;

pub(super) use issuer::Issuers;
pub(super) use workload::Workload;
