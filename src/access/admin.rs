//! Management of principals, tokens and policies, for the API and the command line.
//!
//! [`Admin`] is the proof that the caller may: it is made by [`Access::admin`], which checks, and by [`Access::operator`] for
//! whoever has the machine and its files anyway.

use std::sync::Arc;

use entrepot_kit::accounts::Tags;
use entrepot_kit::{Error, NewToken, PrincipalKind, Result, Timestamp, TokenInfo, TokenRequest};
use secrecy::SecretString;

use super::authenticate::principal_of;
use super::caller::{ADMIN, Caller, RequestFacts, is_administrator, principal_text};
use super::names::{check_policy_name, check_principal_name, check_tags};
use super::policy_text::{PolicyReport, PolicyText};
use super::token::random_text;
use super::{Access, audit_row};
use crate::store::model::{PolicyRow, PrincipalRow};

/// Most policies besides the default ones.
const MOST_POLICIES: usize = 2000;

/// A user to be made.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// The name that it signs in with.
    pub name: String,
    /// Its password; without one it has tokens only.
    #[serde(default)]
    pub password: Option<SecretString>,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
}

/// A robot to be made.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRobot {
    /// Its name.
    pub name: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Tags,
}

/// A principal as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PrincipalInfo {
    /// User or robot.
    pub kind: PrincipalKind,
    /// Its name.
    pub name: String,
    /// Its tags.
    pub tags: Tags,
    /// Whether it can do nothing for now.
    pub disabled: bool,
    /// Whether it can sign in with a password.
    pub has_password: bool,
    /// When it was made.
    pub created: Timestamp,
}

/// The right to manage users, robots, their tokens, and policies.
pub struct Admin {
    pub(super) access: Arc<Access>,
    actor: String,
    facts: RequestFacts,
}

impl Access {
    /// Checks that the caller is an administrator, with a password or with a token that is not narrowed.
    ///
    /// # Errors
    /// 401 for nobody, 403 for everybody else.
    pub fn admin(self: &Arc<Self>, caller: &Caller, facts: &RequestFacts) -> Result<Admin> {
        let error = if caller.is_anonymous() {
            Error::unauthorized("sign in as an administrator")
        } else if !caller.is_administrator() {
            Error::forbidden("only an administrator may do this")
        } else if !caller.manages_everywhere() {
            Error::forbidden("the token in use is limited and cannot manage the server: use the password, or a token with \"manage\" for all repositories")
        } else {
            return Ok(Admin { access: Arc::clone(self), actor: caller.name(), facts: facts.clone() });
        };
        self.audit.record(audit_row(self, caller.name(), "administer", String::new(), "denied", error.message().to_owned(), facts));
        Err(error)
    }

    /// The same right for a command on the server's own machine.
    #[must_use]
    pub fn operator(self: &Arc<Self>) -> Admin {
        Admin { access: Arc::clone(self), actor: String::from("operator"), facts: RequestFacts::default() }
    }

    /// On the first start, while there is no user at all, makes the user `admin`. Without a given password a random one is
    /// made and returned: the caller keeps it where only the operator can read it, and it is shown nowhere else.
    ///
    /// # Errors
    /// 400 when the given password cannot be one; failures of the catalog.
    pub async fn first_start(self: &Arc<Self>, given: Option<SecretString>) -> Result<Option<SecretString>> {
        if self.catalog.principals().await?.iter().any(|row| row.kind == PrincipalKind::User) {
            return Ok(None);
        }
        let random = if given.is_some() { None } else { Some(SecretString::from(random_text(24)?)) };
        let user = NewUser { name: ADMIN.to_owned(), password: given.or_else(|| random.clone()), tags: Tags::new() };
        match self.operator().create_user(user).await {
            Ok(_) => Ok(random),
            // Another replica was quicker, with a password of its own.
            Err(error) if error.status() == http::StatusCode::CONFLICT => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn replace_password(&self, kind: PrincipalKind, name: &str, password: &SecretString) -> Result<()> {
        let hash = self.passwords.hash(password).await?;
        let _turn = self.changing.lock().await;
        let mut row = self.existing(kind, name).await?;
        row.password_hash = Some(hash);
        Ok(self.catalog.update_principal(row).await?)
    }

    async fn existing(&self, kind: PrincipalKind, name: &str) -> Result<PrincipalRow> {
        let found = self.catalog.principal(kind, name).await?;
        found.ok_or_else(|| Error::not_found(format!("there is no {}", principal_text(kind, name))))
    }
}

impl Admin {
    /// Makes a user.
    ///
    /// # Errors
    /// 400 with the reason; 409 when the name is taken.
    pub async fn create_user(&self, new: NewUser) -> Result<PrincipalInfo> {
        let hash = match &new.password {
            Some(password) => Some(self.access.passwords.hash(password).await?),
            None => None,
        };
        self.create(PrincipalKind::User, new.name, new.tags, hash).await
    }

    /// Makes a robot. It has no password; give it tokens.
    ///
    /// # Errors
    /// 400 with the reason; 409 when the name is taken.
    pub async fn create_robot(&self, new: NewRobot) -> Result<PrincipalInfo> {
        self.create(PrincipalKind::Robot, new.name, new.tags, None).await
    }

    async fn create(&self, kind: PrincipalKind, name: String, tags: Tags, password_hash: Option<String>) -> Result<PrincipalInfo> {
        check_principal_name(&name)?;
        check_tags(&tags)?;
        let row = self.access.catalog.create_principal(kind, &name, tags, password_hash, self.access.now()).await?;
        let who = principal_text(kind, &name);
        self.changed("create-principal", who, format!("tags {:?}", row.tags)).await?;
        Ok(info_of(row))
    }

    /// All users, or all robots, by name.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn principals(&self, kind: PrincipalKind) -> Result<Vec<PrincipalInfo>> {
        let mut rows = self.access.catalog.principals().await?;
        rows.retain(|row| row.kind == kind);
        rows.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(rows.into_iter().map(info_of).collect())
    }

    /// One principal.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn principal(&self, kind: PrincipalKind, name: &str) -> Result<PrincipalInfo> {
        Ok(info_of(self.access.existing(kind, name).await?))
    }

    /// Sets a user's password. Its tokens stay.
    ///
    /// # Errors
    /// 400 when it cannot be one; 404 when there is no such user.
    pub async fn set_password(&self, name: &str, password: &SecretString) -> Result<()> {
        self.access.replace_password(PrincipalKind::User, name, password).await?;
        self.changed("set-password", principal_text(PrincipalKind::User, name), String::new()).await
    }

    /// Replaces a principal's tags.
    ///
    /// # Errors
    /// 400, 404; 409 when nobody would be left to administer the server.
    pub async fn set_tags(&self, kind: PrincipalKind, name: &str, tags: Tags) -> Result<PrincipalInfo> {
        check_tags(&tags)?;
        self.update(kind, name, "set-tags", |row| row.tags = tags).await
    }

    /// Disables a principal, whose password and tokens stop working at once, or enables it again.
    ///
    /// # Errors
    /// 404; 409 when nobody would be left to administer the server.
    pub async fn set_disabled(&self, kind: PrincipalKind, name: &str, disabled: bool) -> Result<PrincipalInfo> {
        self.update(kind, name, if disabled { "disable" } else { "enable" }, |row| row.disabled = disabled).await
    }

    async fn update(&self, kind: PrincipalKind, name: &str, action: &str, change: impl FnOnce(&mut PrincipalRow)) -> Result<PrincipalInfo> {
        let row = {
            let _turn = self.access.changing.lock().await;
            let mut row = self.access.existing(kind, name).await?;
            change(&mut row);
            self.keep_an_administrator(row.id, Some(&row)).await?;
            self.access.catalog.update_principal(row.clone()).await?;
            row
        };
        self.changed(action, principal_text(kind, name), format!("tags {:?}", row.tags)).await?;
        Ok(info_of(row))
    }

    /// Deletes a principal with its tokens. What it published stays.
    ///
    /// # Errors
    /// 404; 409 when nobody would be left to administer the server.
    pub async fn delete(&self, kind: PrincipalKind, name: &str) -> Result<()> {
        {
            let _turn = self.access.changing.lock().await;
            let row = self.access.existing(kind, name).await?;
            self.keep_an_administrator(row.id, None).await?;
            self.access.catalog.delete_principal(row.id).await?;
        }
        self.changed("delete-principal", principal_text(kind, name), String::new()).await
    }

    /// Refuses a change of the principal `id` to `after` that would leave no administrator who can sign in.
    async fn keep_an_administrator(&self, id: i64, after: Option<&PrincipalRow>) -> Result<()> {
        let can_administer = |row: &PrincipalRow| !row.disabled && row.password_hash.is_some() && is_administrator(&principal_of(row.clone()));
        let rows = self.access.catalog.principals().await?;
        let before = rows.iter().any(|row| row.id == id && can_administer(row));
        let others = rows.iter().any(|row| row.id != id && can_administer(row));
        if before && !others && !after.is_some_and(can_administer) {
            return Err(Error::conflict(
                "this is the last administrator who can sign in: make another one first (a user with the tag server-role = \"admin\")",
            ));
        }
        Ok(())
    }

    /// Makes a token for a principal.
    ///
    /// # Errors
    /// 400 with the reason; 404 when there is no such principal.
    pub async fn create_token(&self, kind: PrincipalKind, name: &str, wanted: TokenRequest) -> Result<NewToken> {
        let owner = self.access.existing(kind, name).await?;
        self.access.create_token(owner.id, principal_text(kind, name), &self.actor, wanted, None, &self.facts).await
    }

    /// A principal's live tokens, newest first.
    ///
    /// # Errors
    /// 404 when there is no such principal.
    pub async fn tokens(&self, kind: PrincipalKind, name: &str) -> Result<Vec<TokenInfo>> {
        let owner = self.access.existing(kind, name).await?;
        self.access.live_tokens(owner.id).await
    }

    /// Revokes anybody's token. It ends at once.
    ///
    /// # Errors
    /// 404 when there is no such token.
    pub async fn revoke_token(&self, id: &str) -> Result<()> {
        if self.access.catalog.token(id).await?.is_none() {
            return Err(Error::not_found(format!("there is no token {id:?}")));
        }
        self.access.revoke(id, &self.actor, &self.facts).await
    }

    /// Adds or replaces a policy, after checking it against the schema. It counts at once.
    ///
    /// # Errors
    /// 400 with place and reason.
    pub async fn put_policy(&self, name: &str, text: &str) -> Result<PolicyReport> {
        check_policy_name(name)?;
        let (parsed_name, parsed_text) = (name.to_owned(), text.to_owned());
        let parsed = entrepot_kit::blocking(move || PolicyText::parse(&parsed_name, &parsed_text)).await?;
        let policies = self.access.catalog.policies().await?;
        if policies.len() >= MOST_POLICIES && !policies.iter().any(|row| row.name == name) {
            return Err(Error::conflict(format!("there are {MOST_POLICIES} policies already: put several rules into one")));
        }
        self.access.catalog.put_policy(PolicyRow { name: name.to_owned(), text: text.to_owned(), updated: self.access.now() }).await?;
        self.changed("put-policy", format!("policy:{name}"), String::new()).await?;
        Ok(parsed.report(name))
    }

    /// The policies by name, without the default ones.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn policies(&self) -> Result<Vec<PolicyRow>> {
        let mut policies = self.access.catalog.policies().await?;
        policies.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(policies)
    }

    /// One policy.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn policy(&self, name: &str) -> Result<PolicyRow> {
        let found = self.access.catalog.policies().await?.into_iter().find(|row| row.name == name);
        found.ok_or_else(|| no_policy(name))
    }

    /// Deletes a policy. This counts at once.
    ///
    /// # Errors
    /// 404 when there is none.
    pub async fn delete_policy(&self, name: &str) -> Result<()> {
        if !self.access.catalog.delete_policy(name).await? {
            return Err(no_policy(name));
        }
        self.changed("delete-policy", format!("policy:{name}"), String::new()).await
    }

    /// Somebody else as a caller, for explaining what it may do: with its password, or with one of its tokens.
    ///
    /// # Errors
    /// 404 when there is no such principal, or no such live token of it.
    pub async fn as_caller(&self, kind: PrincipalKind, name: &str, token: Option<&str>) -> Result<Caller> {
        if kind == PrincipalKind::Anonymous {
            return Ok(Caller::anonymous());
        }
        let row = self.access.existing(kind, name).await?;
        if row.disabled {
            return Err(Error::conflict(format!("{} is disabled and may do nothing", principal_text(kind, name))));
        }
        let mut caller = Caller {
            id: Some(row.id),
            principal: Arc::new(principal_of(row.clone())),
            scope: None,
            token_id: None,
            proof: None,
            narrowed: None,
            workload: None,
        };
        if let Some(id) = token {
            let live = self.access.live_tokens(row.id).await?.into_iter().find(|token| token.id == id);
            let live = live.ok_or_else(|| Error::not_found(format!("{} has no live token {id:?}", principal_text(kind, name))))?;
            caller.scope = Some(Arc::new(super::TokenScope { repositories: live.repositories, actions: live.actions, expires: live.expires }));
            caller.token_id = Some(live.id);
        }
        Ok(caller)
    }

    pub(super) async fn changed(&self, action: &str, resource: String, detail: String) -> Result<()> {
        self.access.changed(self.actor.clone(), action, resource, detail, &self.facts).await
    }
}

fn no_policy(name: &str) -> Error {
    Error::not_found(format!("there is no policy {name:?}"))
}

fn info_of(row: PrincipalRow) -> PrincipalInfo {
    PrincipalInfo { kind: row.kind, name: row.name, tags: row.tags, disabled: row.disabled, has_password: row.password_hash.is_some(), created: row.created }
}
