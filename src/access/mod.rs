//! Who asks, and what they may do.
//!
//! A request comes in with credentials ([`Access::authenticate`]), leaves with a [`Caller`], and each thing that it does is
//! decided by the policies ([`Access::decide`]) and turned into a grant, or into the right refusal, by [`Access::require`]. Users,
//! tokens and policies are managed through [`Admin`] and, for the caller's own, through [`entrepot_kit::Accounts`].
//!
//! Everything that is remembered here follows the catalog's epoch: [`Access::refresh`] is called after every local change and
//! four times a second, so that a revoked token or a changed policy counts within a second on every replica.

mod accounts;
mod admin;
mod audit;
mod authenticate;
mod caller;
mod grants;
mod limiter;
mod names;
mod password;
mod policy_text;
mod publishers;
mod registry;
mod registry_tokens;
mod resource;
mod rules;
mod scope;
mod token;
mod web_login;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use entrepot_kit::{Action, Error, Result, Timestamp};

use crate::clock::Clock;
use crate::registry::keys::Keys;
use crate::store::catalog::Catalog;
use crate::store::model::{AuditRow, PolicyRow};

pub use admin::{Admin, NewRobot, NewUser, PrincipalInfo};
pub use audit::Audit;
pub use caller::{ADMIN, Caller, Credentials, RequestFacts};
pub use limiter::{Payment, SharedLimits};
pub use names::check_tags;
pub use policy_text::{DEFAULT_POLICIES, PolicyReport, SCHEMA, check_policies};
pub use publishers::{DeclaredPublisher, ExchangeRefusal, Exchanged, PublisherInfo, PublisherRule, Wish};
pub use registry::{Reach, RegistryScope, RegistryToken};
pub use resource::Target;
pub use scope::TokenScope;
pub use token::without_tokens;

use policy_text::PolicyText;
use rules::Rules;

/// The name under which the default policies are known.
const DEFAULT_SOURCE: &str = "default";
/// The name of the rule that lets administrators do everything.
const ADMINISTRATOR_RULE: &str = "administrator";

/// What the configuration says about access.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The text of the default policies: [`DEFAULT_POLICIES`], or the operator's file.
    pub default_policies: String,
    /// Lifetime of a token that does not ask for one; 0: until it is revoked.
    pub token_default_seconds: u64,
    /// Longest lifetime of a token. Whoever asks for more gets this; 0: no limit.
    pub token_max_seconds: u64,
    /// For whom identity tokens are to be made out where a publisher does not say it; `None`: each publisher says it.
    pub audience: Option<String>,
    /// Memory that argon2id takes for one password, in KiB.
    pub argon2_memory_kib: u32,
}

impl Default for Settings {
    fn default() -> Self {
        const DAY: u64 = 24 * 60 * 60;
        Self {
            default_policies: DEFAULT_POLICIES.to_owned(),
            token_default_seconds: 90 * DAY,
            token_max_seconds: 366 * DAY,
            audience: None,
            argon2_memory_kib: 19 * 1024,
        }
    }
}

/// Principals, tokens and policies, and what follows from them. One for the whole server.
pub struct Access {
    catalog: Catalog,
    settings: Settings,
    clock: Clock,
    policies: RwLock<Policies>,
    epoch: AtomicU64,
    /// One reload at a time.
    reloading: tokio::sync::Mutex<()>,
    /// One change of principals at a time, so that two changes cannot remove the last two administrators.
    changing: tokio::sync::Mutex<()>,
    passwords: password::Passwords,
    limiter: limiter::Limiter,
    memory: authenticate::Memory,
    audit: Audit,
    /// What registry tokens are signed with; empty where nothing is served.
    keys: OnceLock<Arc<Keys>>,
    /// Whose identity tokens are taken.
    issuers: publishers::Issuers,
}

/// The policies in force, the rows that they were made of, and their parsed texts for the next reload.
#[derive(Clone)]
struct Policies {
    rows: Arc<[PolicyRow]>,
    texts: HashMap<String, Arc<PolicyText>>,
    rules: Arc<Rules>,
}

/// What was decided about one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whether the caller may.
    pub allowed: bool,
    /// The rules that decided: those that permit, or those that forbid; none when no rule permits.
    pub rules: Arc<[String]>,
    /// Whether a rule forbids it, in contrast to no rule permitting it.
    pub forbidden: bool,
    /// Whether the rules permit it and only the token in use does not.
    pub outside_scope: bool,
}

/// A decision with its reasons, for people.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Explanation {
    /// Who: `user:alice`.
    pub principal: String,
    /// What.
    pub action: &'static str,
    /// To what: `system/repository:package`.
    pub resource: String,
    /// Whether it is allowed.
    pub allowed: bool,
    /// The rules that decided.
    pub rules: Vec<String>,
    /// Whether a rule forbids it.
    pub forbidden: bool,
    /// Whether the rules permit it and only the token does not.
    pub outside_scope: bool,
    /// How many rules could concern it and were evaluated.
    pub evaluated: usize,
    /// The same in a sentence.
    pub reason: String,
}

impl Access {
    /// Reads the policies and begins. To be called within the runtime, where the task that writes the audit log will live.
    ///
    /// # Errors
    /// 400 when the default policies or a setting are wrong; failures of the catalog. A stored policy that cannot be used is no error: it
    /// is logged, and nobody but administrators may do anything until it is mended.
    pub async fn new(catalog: Catalog, settings: Settings, clock: Clock) -> Result<Arc<Self>> {
        let text = settings.default_policies.clone();
        let default = Arc::new(entrepot_kit::blocking(move || PolicyText::parse(DEFAULT_SOURCE, &text)).await?);
        let memory_kib = settings.argon2_memory_kib;
        let passwords = entrepot_kit::blocking(move || password::Passwords::new(memory_kib)).await?;
        let rules = Arc::new(Rules::new([default.as_ref()], Vec::new()));
        let access = Arc::new(Self {
            policies: RwLock::new(Policies { rows: Arc::default(), texts: HashMap::from([(DEFAULT_SOURCE.to_owned(), default)]), rules }),
            epoch: AtomicU64::new(0),
            reloading: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            passwords,
            limiter: limiter::Limiter::new(),
            memory: authenticate::Memory::new()?,
            audit: Audit::start(catalog.clone(), Arc::clone(&clock)),
            keys: OnceLock::new(),
            issuers: publishers::Issuers::default(),
            catalog,
            settings,
            clock,
        });
        access.reload().await?;
        Ok(access)
    }

    /// Catches up with the catalog when its epoch changed: with other policies, and by comparing remembered credentials again.
    ///
    /// # Errors
    /// Failures of the catalog; what was in force stays so.
    pub async fn refresh(&self) -> Result<()> {
        if self.catalog.epoch().await? == self.epoch() { Ok(()) } else { self.reload().await }
    }

    /// Shares the limits for guessed passwords with other replicas.
    pub fn share_limits(&self, shared: Arc<dyn SharedLimits>) {
        self.limiter.share(shared);
    }

    async fn reload(&self) -> Result<()> {
        let _one_at_a_time = self.reloading.lock().await;
        // Read first: a change after this makes the next refresh reload once more.
        let epoch = self.catalog.epoch().await?;
        let rows = self.catalog.policies().await?;
        let before = self.policies();
        if rows[..] != before.rows[..] {
            let policies = entrepot_kit::blocking(move || Ok(compile(&before.texts, rows))).await?;
            *self.policies.write().unwrap_or_else(PoisonError::into_inner) = policies;
        }
        self.epoch.store(epoch, Ordering::Release);
        Ok(())
    }

    fn policies(&self) -> Policies {
        self.policies.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.policies.read().unwrap_or_else(PoisonError::into_inner).rules)
    }

    /// Decides an action: by the policies, and within the scope of the token in use.
    ///
    /// # Errors
    /// Failures of the policy engine; nothing is allowed then.
    pub async fn decide(&self, caller: &Caller, action: Action, target: &Target<'_>) -> Result<Decision> {
        Ok(self.decide_and_count(caller, action, target).await?.0)
    }

    async fn decide_and_count(&self, caller: &Caller, action: Action, target: &Target<'_>) -> Result<(Decision, usize)> {
        let permitted = |rules: Arc<[String]>| {
            let within = caller.scope.as_ref().is_none_or(|scope| scope.permits(action, target.system, target.repository.map(|(name, ..)| name)))
                && caller.narrowed.as_ref().is_none_or(|narrowed| narrowed.permits(action, target))
                && caller.workload.as_ref().is_none_or(|workload| workload.reaches(action, target));
            Decision { allowed: within, rules, forbidden: false, outside_scope: !within }
        };
        if action == Action::SignIn {
            return Ok((Decision { allowed: true, rules: Arc::default(), forbidden: false, outside_scope: false }, 0));
        }
        if caller.is_administrator() {
            return Ok((permitted([ADMINISTRATOR_RULE.to_owned()].into()), 0));
        }
        let verdict = self.rules().decide(&caller.principal, action, target).await?;
        let rules = Arc::clone(&verdict.rules);
        // A token that was given for an identity token is the right itself, unless a policy forbids it.
        let given = !verdict.allowed && !verdict.forbidden && caller.workload.as_ref().is_some_and(|workload| workload.permits(action, target));
        let decision = match verdict.allowed {
            true => permitted(rules),
            false if given => permitted([format!("publisher:{}", caller.principal.name)].into()),
            false => Decision { allowed: false, rules, forbidden: verdict.forbidden, outside_scope: false },
        };
        Ok((decision, verdict.evaluated))
    }

    /// Decides and says why.
    ///
    /// # Errors
    /// Failures of the policy engine.
    pub async fn explain(&self, caller: &Caller, action: Action, target: &Target<'_>) -> Result<Explanation> {
        let (decision, evaluated) = self.decide_and_count(caller, action, target).await?;
        Ok(Explanation {
            principal: caller.name(),
            action: action.name(),
            resource: target.name(),
            allowed: decision.allowed,
            rules: decision.rules.to_vec(),
            forbidden: decision.forbidden,
            outside_scope: decision.outside_scope,
            evaluated,
            reason: grants::reason(&decision),
        })
    }

    /// The audit log.
    #[must_use]
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }
}

/// Compiles what changed and keeps the rest.
fn compile(before: &HashMap<String, Arc<PolicyText>>, rows: Vec<PolicyRow>) -> Policies {
    let mut texts: HashMap<_, _> = before.get_key_value(DEFAULT_SOURCE).map(|(name, text)| (name.clone(), Arc::clone(text))).into_iter().collect();
    let mut broken = Vec::new();
    for row in &rows {
        let parsed = match before.get(&row.name).filter(|text| text.text == row.text && row.name != DEFAULT_SOURCE) {
            Some(text) => Ok(Arc::clone(text)),
            None if row.name == DEFAULT_SOURCE => Err(Error::bad_request("the name belongs to the default policies")),
            None => PolicyText::parse(&row.name, &row.text).map(Arc::new),
        };
        match parsed {
            Ok(text) => {
                texts.insert(row.name.clone(), text);
            }
            Err(cause) => {
                tracing::error!(policy = row.name, error = %cause, "a stored policy cannot be used: only administrators may do anything until it is mended or deleted");
                broken.push(row.name.clone());
            }
        }
    }
    let rules = Arc::new(Rules::new(texts.values().map(AsRef::as_ref), broken));
    Policies { rows: rows.into(), texts, rules }
}

fn audit_row(access: &Access, principal: String, action: &str, resource: String, outcome: &str, detail: String, facts: &RequestFacts) -> AuditRow {
    AuditRow {
        time: access.now(),
        principal,
        action: action.to_owned(),
        resource,
        outcome: outcome.to_owned(),
        detail,
        request_id: facts.request_id.clone(),
        remote: facts.remote_text(),
    }
}

#[cfg(test)]
mod tests;
