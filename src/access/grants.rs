//! From a decision to a grant, or to the answer that a refusal gets. The only place that mints grants.
//!
//! What a refusal tells: nobody in particular gets 401 for everything that it may not read, existing or not, so that clients send
//! credentials and a scan learns nothing. Whoever signed in gets 404 for what it may not read, the same as for what does
//! not exist. Only where it may read it gets 403, with the right that is missing and the rule that forbids.

use entrepot_kit::{Action, Error, Grant, Result};

use super::caller::{Caller, RequestFacts};
use super::publishers::Workload;
use super::resource::Target;
use super::{Access, Decision, audit_row};

impl Access {
    /// Decides an action and hands out the grant; a refusal is audited.
    ///
    /// # Errors
    /// 401, 403 or 404 as above.
    pub async fn require<A: entrepot_kit::Access>(&self, caller: &Caller, target: &Target<'_>, facts: &RequestFacts) -> Result<Grant<A>> {
        self.check(caller, A::ACTION, target, facts).await?;
        Ok(Grant::mint())
    }

    /// The grant if the caller may, and no more than that otherwise: for a group's members, lists, and other questions whose answer is
    /// shortened instead of refused. Not audited.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn permit<A: entrepot_kit::Access>(&self, caller: &Caller, target: &Target<'_>) -> Result<Option<Grant<A>>> {
        Ok(self.decide(caller, A::ACTION, target).await?.allowed.then(Grant::mint))
    }

    /// Like [`Self::require`] for an action that is known at run time only.
    ///
    /// # Errors
    /// 401, 403 or 404 as above.
    pub async fn check(&self, caller: &Caller, action: Action, target: &Target<'_>, facts: &RequestFacts) -> Result<()> {
        let decision = self.decide(caller, action, target).await?;
        if decision.allowed {
            return Ok(());
        }
        let error = if caller.is_anonymous() {
            anonymous(&repository_of(target))
        } else if action != Action::Read && (is_its_own(caller, target) || self.decide(caller, Action::Read, target).await?.allowed) {
            forbidden(caller, action, target, &decision)
        } else {
            hidden(&repository_of(target))
        };
        self.audit.record(audit_row(self, caller.name(), action.name(), target.name(), "denied", reason(&decision), facts));
        Err(error)
    }

    /// Refuses what a token that was given for an identity token is not for, where only a change says what it is about: the name of each
    /// package, or the path of a file that belongs to none. A refusal is audited.
    ///
    /// # Errors
    /// 403.
    pub fn confine(&self, caller: &Caller, target: &Target<'_>, name: &str, facts: &RequestFacts) -> Result<()> {
        match &caller.workload {
            Some(workload) if !(workload.is_about(target) && workload.has(name)) => {
                let target = Target { package: Some(name), ..*target };
                self.audit.record(audit_row(self, caller.name(), "change", target.name(), "denied", String::from("outside the scope of the token"), facts));
                Err(not_its_own(caller, workload, &target))
            }
            _ => Ok(()),
        }
    }

    /// The answer for a repository that does not exist: the same as for one that the caller may not read. `address` is as the client wrote it.
    #[must_use]
    pub fn missing(&self, caller: &Caller, address: &str) -> Error {
        if caller.is_anonymous() { anonymous(address) } else { hidden(address) }
    }
}

/// What a refusal may name: packages are left out, because whether one exists may be a secret too.
fn repository_of(target: &Target<'_>) -> String {
    Target { package: None, ..*target }.name()
}

/// Says nothing of the action: which one a path demands depends on the format, and so on whether there is such a repository.
fn anonymous(address: &str) -> Error {
    Error::unauthorized(format!("sign in to use {address:?}"))
}

fn hidden(address: &str) -> Error {
    Error::not_found(format!("there is no {address:?}, or you may not read it"))
}

/// Whether the token in use was given for this repository: its bearer knows that there is one.
fn is_its_own(caller: &Caller, target: &Target<'_>) -> bool {
    caller.workload.as_ref().is_some_and(|workload| workload.is_about(target))
}

fn not_its_own(caller: &Caller, workload: &Workload, target: &Target<'_>) -> Error {
    let actions: Vec<_> = workload.actions.iter().map(|action| action.name()).collect();
    let (who, what, may, own) = (caller.name(), target.name(), actions.join(" and "), workload.packages.join(", "));
    Error::forbidden(format!("the token of {who} is to {may} {own} in {}, and is not for this in {what:?}", workload.repository))
}

fn forbidden(caller: &Caller, action: Action, target: &Target<'_>, decision: &Decision) -> Error {
    if let Some(workload) = caller.workload.as_ref().filter(|workload| !decision.forbidden && !workload.permits(action, target)) {
        return not_its_own(caller, workload, target);
    }
    let (who, action, what) = (caller.name(), action.name(), target.name());
    if decision.outside_scope {
        return Error::forbidden(format!("{who} has the right {action:?} in {what:?}, but the token in use does not: use a token with a wider scope"));
    }
    match decision.rules.first() {
        Some(rule) if decision.forbidden => {
            Error::forbidden(format!("{who} may read {what:?} but lacks the right {action:?}: the policy {rule:?} forbids it")).with_policy(rule.as_str())
        }
        _ => Error::forbidden(format!("{who} may read {what:?} but lacks the right {action:?}: no policy permits it")),
    }
}

/// For the audit log.
pub(super) fn reason(decision: &Decision) -> String {
    if decision.outside_scope {
        String::from("outside the scope of the token")
    } else if decision.forbidden {
        format!("forbidden by {}", decision.rules.join(", "))
    } else if decision.allowed {
        format!("permitted by {}", decision.rules.join(", "))
    } else {
        String::from("no policy permits it")
    }
}
