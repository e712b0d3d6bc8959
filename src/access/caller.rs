//! Who asks, with what proof, and from where.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::{Action, Error, Principal, PrincipalKind, Result};
use secrecy::{ExposeSecret as _, SecretString};

use super::publishers::Workload;
use super::registry::{Narrowed, Reach, RegistryScope};
use super::scope::TokenScope;
use super::token::TokenText;

/// The name of the administrator that the first start makes.
pub const ADMIN: &str = "admin";
/// Users with `server-role = "admin"` are administrators too.
const ADMIN_TAG: (&str, &str) = ("server-role", "admin");

/// What a client proves itself with. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// User name and password; a token may stand for the password, the user name does not count then.
    Basic {
        /// The user name.
        user: String,
        /// The password, or a token.
        password: SecretString,
    },
    /// A token. npm's `_authToken` comes as this.
    Bearer(SecretString),
}

impl Credentials {
    /// Reads the value of an `Authorization` header.
    ///
    /// # Errors
    /// 401 when it is neither Basic nor Bearer, or not what these look like.
    pub fn from_header(value: &str) -> Result<Self> {
        let malformed =
            || Error::unauthorized("the Authorization header cannot be read: send \"Basic\" with base64 of user:password, or \"Bearer\" with a token");
        let (scheme, rest) = value.trim().split_once(' ').ok_or_else(malformed)?;
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
            return Ok(Self::Bearer(rest.to_owned().into()));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(malformed());
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(malformed)?;
        let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
        Ok(Self::Basic { user: user.to_owned(), password: password.to_owned().into() })
    }
}

/// Where a request comes from: for the failure limits and the audit log.
#[derive(Debug, Clone, Default)]
pub struct RequestFacts {
    /// The client's address, as the rim believes it.
    pub remote: Option<IpAddr>,
    /// The request's id.
    pub request_id: String,
    /// The name under which a registry client asks us; `None` where registry tokens are not taken.
    pub service: Option<String>,
}

impl RequestFacts {
    pub(super) fn remote_text(&self) -> String {
        self.remote.map(|address| address.to_string()).unwrap_or_default()
    }
}

/// Who asks, and what bounds the token in use sets.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The principal.
    pub principal: Arc<Principal>,
    /// Its number in the catalog; `None` for nobody.
    pub id: Option<i64>,
    /// The bounds of the token in use; `None` for a password.
    pub scope: Option<Arc<TokenScope>>,
    /// The public id of the token in use.
    pub token_id: Option<String>,
    /// The fingerprint of the password or token in use: what a registry token is bound to.
    pub(super) proof: Option<Arc<str>>,
    /// What a registry token narrows the rights to.
    pub(super) narrowed: Option<Narrowed>,
    /// What a token that was given for an identity token carries.
    pub(super) workload: Option<Arc<Workload>>,
}

impl Caller {
    /// Whoever sends no credentials.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { principal: Arc::new(Principal::anonymous()), id: None, scope: None, token_id: None, proof: None, narrowed: None, workload: None }
    }

    /// Whether a secret is a token of this server by its form, which clients may send in place of a password.
    #[must_use]
    pub fn is_token(secret: &SecretString) -> bool {
        TokenText::parse(secret.expose_secret()).is_some()
    }

    /// Whether the token in use was given for an identity token.
    #[must_use]
    pub fn is_workload(&self) -> bool {
        self.workload.is_some()
    }

    /// Whether nobody signed in.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.principal.is_anonymous()
    }

    /// `user:alice`, `robot:ci`, `anonymous`: the name in the audit log and the history.
    #[must_use]
    pub fn name(&self) -> String {
        principal_text(self.principal.kind, &self.principal.name)
    }

    /// Whether this is an administrator. The token in use may still narrow what it can do.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        is_administrator(&self.principal)
    }

    /// Whether the caller may make, list and revoke its tokens: with a password always, with a token only when that
    /// allows `manage`. Otherwise a leaked token for reading could outlive its revocation in a token that it made.
    pub(super) fn manages_tokens(&self) -> bool {
        self.narrowed.is_none() && self.scope.as_ref().is_none_or(|scope| scope.permits_action(Action::Manage))
    }

    /// Whether rights over the whole server may be used: with a password, or a token that is good for `manage` everywhere.
    pub(super) fn manages_everywhere(&self) -> bool {
        self.narrowed.is_none() && self.scope.as_ref().is_none_or(|scope| scope.permits_everywhere(Action::Manage))
    }

    /// The same caller with all that its password or token is good for: registry clients narrow what they use to the request at hand.
    #[must_use]
    pub fn at_large(&self) -> Self {
        Self { narrowed: None, ..self.clone() }
    }

    /// The scopes of the registry token in use; `None` without one.
    #[must_use]
    pub fn asked(&self) -> Option<&[RegistryScope]> {
        self.narrowed.as_ref().map(|narrowed| &*narrowed.asked)
    }

    /// The same caller where the scopes of its registry token are known to mean these images.
    #[must_use]
    pub fn within(&self, reach: Vec<Reach>) -> Self {
        Self { narrowed: self.narrowed.as_ref().map(|narrowed| narrowed.within(reach)), ..self.clone() }
    }

    /// The same caller for a list of images, if its registry token is good for that.
    #[must_use]
    pub fn listing(&self) -> Self {
        Self { narrowed: self.narrowed.as_ref().map(Narrowed::listing), ..self.clone() }
    }
}

/// The kind and name of a principal as one text.
pub(super) fn principal_text(kind: PrincipalKind, name: &str) -> String {
    match kind {
        PrincipalKind::User => format!("user:{name}"),
        PrincipalKind::Robot => format!("robot:{name}"),
        PrincipalKind::Workload => format!("workload:{name}"),
        PrincipalKind::Anonymous => String::from("anonymous"),
    }
}

/// Administrators are users: the one called `admin`, and those with the tag. Whatever the policies say, they may do everything.
pub(super) fn is_administrator(principal: &Principal) -> bool {
    let tagged = || principal.tags.get(ADMIN_TAG.0).is_some_and(|values| values.contains(ADMIN_TAG.1));
    principal.kind == PrincipalKind::User && (principal.name == ADMIN || tagged())
}

#[cfg(test)]
mod tests {
    use super::{Credentials, is_administrator};
    use entrepot_kit::{Principal, PrincipalKind};
    use secrecy::ExposeSecret;

    fn read(header: &str) -> Option<(String, String)> {
        match Credentials::from_header(header).ok()? {
            Credentials::Basic { user, password } => Some((user, password.expose_secret().to_owned())),
            Credentials::Bearer(token) => Some((String::new(), token.expose_secret().to_owned())),
        }
    }

    #[test]
    fn headers_are_read_and_nonsense_is_refused() {
        assert_eq!(read("Basic Ym9iOmE6Yg=="), Some(("bob".into(), "a:b".into())));
        assert_eq!(read("basic  Ym9iOg=="), Some(("bob".into(), String::new())));
        assert_eq!(read("bearer ent_x"), Some((String::new(), "ent_x".into())));
        for bad in ["", "Basic", "Basic !", "Basic Ym9i", "Digest x", "Bearer ", "Basic /w=="] {
            assert_eq!(Credentials::from_header(bad).unwrap_err().status(), 401, "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!("{:?}", [Credentials::from_header("Basic Ym9iOmh1bnRlcjI=").unwrap(), Credentials::from_header("Bearer hunter2").unwrap()]);
        assert!(shown.contains("bob") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn administrators_are_users() {
        let principal = |kind, name: &str, tag: &str| Principal { kind, name: name.into(), tags: [("server-role".to_owned(), [tag.to_owned()].into())].into() };
        assert!(is_administrator(&principal(PrincipalKind::User, "admin", "")));
        assert!(is_administrator(&principal(PrincipalKind::User, "eve", "admin")));
        assert!(!is_administrator(&principal(PrincipalKind::User, "eve", "administrator")));
        for kind in [PrincipalKind::Robot, PrincipalKind::Workload, PrincipalKind::Anonymous] {
            assert!(!is_administrator(&principal(kind, "admin", "admin")));
        }
    }
}
