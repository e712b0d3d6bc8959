//! Registry tokens, as container clients use them: short statements that we sign ourselves.
//!
//! A client asks for a token with the scopes that it is about to need, and sends it with each request. The token names its principal and
//! narrows what that may do to the scopes; it gives no right. So each request is decided by the policies as they are then, and a
//! token ends at once with the password or token that it was made with, because it carries a fingerprint of that.

mod scope;
mod statement;

use std::sync::Arc;

use entrepot_kit::{Action, Address};

use super::resource::Target;

pub use scope::RegistryScope;
pub(super) use statement::{Bounds, Reading, Statement, looks_like_statement, read, sign};

/// How long a token lives, in seconds: at least a minute, or clients that know no lifetimes take it for shorter than it is.
pub(super) const REGISTRY_TOKEN_SECONDS: u32 = 300;

/// A token, as it is given to a client.
pub struct RegistryToken {
    /// The token. Never log it.
    pub text: String,
    /// Seconds that it lives.
    pub expires_in: u32,
}

/// An image that a scope names, as it is found here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Its repository.
    pub address: Address,
    /// Its name there.
    pub image: String,
    /// What may be done with it.
    pub scope: RegistryScope,
}

/// What the token in use narrows its principal's rights to. Until somebody said what the scopes mean here, to nothing.
#[derive(Debug, Clone)]
pub(super) struct Narrowed {
    /// What was asked for.
    pub(super) asked: Arc<[RegistryScope]>,
    reach: Arc<[Reach]>,
    /// Whether all images may be listed.
    lists: bool,
}

impl Narrowed {
    pub(super) fn new(asked: Vec<RegistryScope>) -> Self {
        Self { asked: asked.into(), reach: Arc::default(), lists: false }
    }

    pub(super) fn within(&self, reach: Vec<Reach>) -> Self {
        Self { reach: reach.into(), ..self.clone() }
    }

    pub(super) fn listing(&self) -> Self {
        Self { lists: self.asked.iter().any(RegistryScope::lists), ..self.clone() }
    }

    /// Whether the token may be used for this. Only what is done to an image counts: a repository as a whole is never within a token.
    pub(super) fn permits(&self, action: Action, target: &Target<'_>) -> bool {
        let (Some((repository, ..)), Some(image)) = (target.repository, target.package) else { return false };
        let here = |reach: &Reach| reach.image == image && reach.address.repository.as_str() == repository && reach.address.system.as_str() == target.system;
        (self.lists && action == Action::Read) || self.reach.iter().any(|reach| here(reach) && reach.scope.allows(action))
    }
}

#[cfg(test)]
mod tests {
    use entrepot_kit::accounts::Tags;
    use entrepot_kit::{Action, Address, Kind};

    use super::{Narrowed, Reach, RegistryScope};
    use crate::access::Target;

    #[test]
    fn a_token_reaches_its_images_and_nothing_else() {
        let tags = Tags::new();
        let scope = |text: &str| RegistryScope::parse(text).unwrap();
        let target = |repository, package| Target { system: "alpha", system_tags: &tags, repository: Some((repository, &tags, "oci", Kind::Hosted)), package };
        let asked = Narrowed::new(vec![scope("repository:alpha/oci/app:pull"), scope("registry:catalog:*")]);
        assert!(!asked.permits(Action::Read, &target("oci", Some("app"))), "nobody said yet what the scope means");
        let address = Address::new("alpha", "oci").unwrap();
        let narrowed = asked.within(vec![Reach { address, image: String::from("app"), scope: scope("repository:alpha/oci/app:pull") }]);
        assert!(narrowed.permits(Action::Read, &target("oci", Some("app"))));
        for (action, target) in [
            (Action::Publish, target("oci", Some("app"))),
            (Action::Read, target("oci", Some("app/other"))),
            (Action::Read, target("oci", None)),
            (Action::Read, target("oci2", Some("app"))),
            (Action::Manage, target("oci", Some("app"))),
            (Action::Read, Target { system: "beta", ..target("oci", Some("app")) }),
            (Action::Manage, Target { repository: None, ..target("oci", None) }),
        ] {
            assert!(!narrowed.permits(action, &target), "{action:?} {}", target.name());
        }
        let lists = asked.listing();
        assert!(lists.permits(Action::Read, &target("other", Some("x"))) && !lists.permits(Action::Publish, &target("other", Some("x"))));
        assert!(!Narrowed::new(vec![scope("registry:catalog:pull")]).listing().permits(Action::Read, &target("oci", Some("x"))));
    }
}
