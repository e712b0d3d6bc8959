//! Compiled policies: which of them a request can concern, what they decide, and a cache of that.
//!
//! Cedar looks at every policy of the set that it is given, some microseconds for each. So each rule is filed under what
//! its head names (`principal == …`, `resource in …`, or nothing), a request picks up only the drawers that its principal and its
//! resource with all containers name, and the rules for other actions are left out. What a slice decides is what the whole
//! set decides, because a rule whose head does not match has no effect.
//!
//! A decision is a pure function of principal, action, target and rules, tags included: so the cache lives and dies
//! with the rules, and no change of a tag can leave a stale answer behind.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Effect, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint,
};
use entrepot_kit::{Action, Error, Principal, Result};
use moka::sync::Cache;

use super::policy_text::PolicyText;
use super::resource::{Question, Target};

/// Decisions that are kept.
const MOST_DECISIONS: u64 = 20_000;
/// Slices that are kept.
const MOST_SLICES: u64 = 2_000;
/// Slices up to this size are evaluated where the request runs; larger ones take milliseconds and go to a blocking thread.
const QUICK_SLICE: usize = 200;

/// What the rules say about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether they permit it.
    pub(super) allowed: bool,
    /// Whether a rule forbids it, in contrast to no rule permitting it.
    pub(super) forbidden: bool,
    /// The rules that decided, sorted.
    pub(super) rules: Arc<[String]>,
    /// How many rules were evaluated.
    pub(super) evaluated: usize,
}

/// What a head names on one side.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Drawer {
    Anything,
    Type(EntityTypeName),
    Entity(EntityUid),
}

struct Rule {
    policy: Policy,
    actions: ActionConstraint,
}

/// The policies in force.
pub(super) struct Rules {
    rules: Vec<Rule>,
    drawers: HashMap<(Drawer, Drawer), Vec<usize>>,
    slices: Cache<Vec<usize>, Arc<PolicySet>>,
    decisions: Cache<u128, Arc<Verdict>>,
    hashers: (RandomState, RandomState),
    /// Stored policies that cannot be read: nothing is allowed until they are mended, because one of them may be a `forbid`.
    broken: Vec<String>,
}

impl Rules {
    /// Files the rules of all texts. `broken` are names of policies whose text cannot be used.
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a PolicyText>, broken: Vec<String>) -> Self {
        let mut rules = Vec::new();
        let mut drawers: HashMap<_, Vec<_>> = HashMap::new();
        for policy in texts.into_iter().flat_map(|text| &text.policies) {
            let drawer = (principal_drawer(policy), resource_drawer(policy));
            drawers.entry(drawer).or_default().push(rules.len());
            rules.push(Rule { actions: policy.action_constraint(), policy: policy.clone() });
        }
        let decisions = Cache::new(MOST_DECISIONS);
        Self { rules, drawers, slices: Cache::new(MOST_SLICES), decisions, hashers: (RandomState::new(), RandomState::new()), broken }
    }

    /// What the rules say, from the cache if possible.
    pub(super) async fn decide(self: &Arc<Self>, principal: &Principal, action: Action, target: &Target<'_>) -> Result<Arc<Verdict>> {
        let key = self.key(principal, action, target);
        if let Some(verdict) = self.decisions.get(&key) {
            return Ok(verdict);
        }
        let verdict = Arc::new(self.evaluate(principal, action, target).await?);
        self.decisions.insert(key, Arc::clone(&verdict));
        Ok(verdict)
    }

    async fn evaluate(self: &Arc<Self>, principal: &Principal, action: Action, target: &Target<'_>) -> Result<Verdict> {
        if !self.broken.is_empty() {
            return Ok(Verdict { allowed: false, forbidden: true, rules: self.broken.clone().into(), evaluated: 0 });
        }
        let question = Question::new(principal, action, target)?;
        let slice = self.slice(&question);
        if slice.len() <= QUICK_SLICE {
            return self.ask(&question, slice);
        }
        let rules = Arc::clone(self);
        entrepot_kit::blocking(move || rules.ask(&question, slice)).await
    }

    /// The places of all rules whose heads can match, in order.
    fn slice(&self, question: &Question) -> Vec<usize> {
        let principal = question.principal();
        let principals = [Drawer::Anything, Drawer::Type(principal.type_name().clone()), Drawer::Entity(principal.clone())];
        let mut resources = vec![Drawer::Anything];
        resources.extend(question.resources().first().map(|resource| Drawer::Type(resource.type_name().clone())));
        resources.extend(question.resources().iter().cloned().map(Drawer::Entity));
        let mut slice = Vec::new();
        for principal in &principals {
            for resource in &resources {
                let places = self.drawers.get(&(principal.clone(), resource.clone())).into_iter().flatten().copied();
                slice.extend(places.filter(|place| self.rules.get(*place).is_some_and(|rule| rule.concerns(question.action()))));
            }
        }
        slice.sort_unstable();
        slice
    }

    fn ask(&self, question: &Question, slice: Vec<usize>) -> Result<Verdict> {
        let policies = match self.slices.get(&slice) {
            Some(policies) => policies,
            None => {
                let chosen = slice.iter().filter_map(|place| self.rules.get(*place)).map(|rule| rule.policy.clone());
                let policies = Arc::new(PolicySet::from_policies(chosen).map_err(Error::internal)?);
                self.slices.insert(slice, Arc::clone(&policies));
                policies
            }
        };
        Ok(ask_cedar(question, &policies))
    }

    fn key(&self, principal: &Principal, action: Action, target: &Target<'_>) -> u128 {
        let subject = (principal.kind, &principal.name, &principal.tags, action, target);
        (u128::from(self.hashers.0.hash_one(subject)) << 64) | u128::from(self.hashers.1.hash_one(subject))
    }
}

impl Rule {
    fn concerns(&self, action: &EntityUid) -> bool {
        match &self.actions {
            ActionConstraint::Any => true,
            ActionConstraint::In(actions) => actions.contains(action),
            ActionConstraint::Eq(only) => only == action,
        }
    }
}

/// Lets Cedar evaluate a set. Cedar skips a rule that fails; a `forbid` that fails refuses here, because nobody can say what it
/// would have forbidden.
fn ask_cedar(question: &Question, policies: &PolicySet) -> Verdict {
    let response = Authorizer::new().is_authorized(question.request(), policies, question.entities());
    let forbids = |id: &PolicyId| policies.policy(id).is_some_and(|policy| policy.effect() == Effect::Forbid);
    let failed: Vec<&PolicyId> = response
        .diagnostics()
        .errors()
        .map(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
        })
        .filter(|id| forbids(id))
        .collect();
    let allowed = response.decision() == cedar_policy::Decision::Allow && failed.is_empty();
    let deciding = response.diagnostics().reason().filter(|id| allowed || forbids(id)).chain(failed);
    let mut rules: Vec<String> = deciding.map(ToString::to_string).collect();
    rules.sort_unstable();
    Verdict { allowed, forbidden: !allowed && !rules.is_empty(), rules: rules.into(), evaluated: policies.num_of_policies() }
}

fn principal_drawer(policy: &Policy) -> Drawer {
    match policy.principal_constraint() {
        PrincipalConstraint::Any => Drawer::Anything,
        PrincipalConstraint::Is(kind) => Drawer::Type(kind),
        PrincipalConstraint::In(entity) | PrincipalConstraint::Eq(entity) | PrincipalConstraint::IsIn(_, entity) => Drawer::Entity(entity),
    }
}

fn resource_drawer(policy: &Policy) -> Drawer {
    match policy.resource_constraint() {
        ResourceConstraint::Any => Drawer::Anything,
        ResourceConstraint::Is(kind) => Drawer::Type(kind),
        ResourceConstraint::In(entity) | ResourceConstraint::Eq(entity) | ResourceConstraint::IsIn(_, entity) => Drawer::Entity(entity),
    }
}

#[cfg(test)]
#[path = "tests/rules.rs"]
mod tests;
