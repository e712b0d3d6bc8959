//! From an identity token to a token of ours.

use std::sync::Arc;

use entrepot_kit::{Action, Address, Error, Timestamp};
use jsonwebtoken::DecodingKey;
use secrecy::{ExposeSecret as _, SecretString};

use super::super::caller::{RequestFacts, principal_text};
use super::super::token::TokenText;
use super::super::{Access, audit_row};
use super::identity::{Claims, Identity};
use super::rule::PublisherRule;
use super::workload::Workload;
use crate::store::model::{CatalogError, PublisherRow, TokenRow};
use entrepot_kit::PrincipalKind;

/// Live tokens of one publisher.
const MOST_TOKENS: i64 = 1000;

/// What a client asks for.
pub struct Wish<'a> {
    /// The identity token.
    pub token: &'a SecretString,
    /// The repository that it is about to publish to, where that is known.
    pub repository: Option<&'a Address>,
    /// The one package, where that is known.
    pub package: Option<&'a str>,
}

/// A token that was given.
pub struct Exchanged {
    /// The token. Never log it.
    pub text: String,
    /// When it ends.
    pub expires: Timestamp,
    /// Whose it is: `workload:app-release`.
    pub principal: String,
}

/// Why none was given.
#[derive(Debug)]
pub enum ExchangeRefusal {
    /// It is no identity token, of no issuer that counts here, not well signed, or not of this time.
    Invalid,
    /// It is good, but no publisher is for what it claims.
    NoPublisher,
    /// Several publishers are, and only the client can know which it means.
    Several,
    /// It was exchanged before.
    Used,
    /// It is no fault of the token.
    Failed(Error),
}

impl From<Error> for ExchangeRefusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<CatalogError> for ExchangeRefusal {
    fn from(error: CatalogError) -> Self {
        Self::Failed(error.into())
    }
}

impl Access {
    /// For whom identity tokens are to be made out, where a publisher does not say it.
    #[must_use]
    pub fn audience(&self) -> Option<&str> {
        self.settings.audience.as_deref()
    }

    /// Gives a token for an identity token, once.
    ///
    /// # Errors
    /// [`ExchangeRefusal`]; each is audited, with what exactly is wrong.
    pub async fn exchange(&self, wish: &Wish<'_>, facts: &RequestFacts) -> Result<Exchanged, ExchangeRefusal> {
        let refuse = |refusal: ExchangeRefusal, what: &str, detail: String| {
            self.audit.record(audit_row(self, String::from("unknown"), "exchange-token", what.to_owned(), "failed", detail, facts));
            refusal
        };
        let now = self.now();
        let Some(token) = Identity::read(wish.token.expose_secret()) else {
            return Err(refuse(ExchangeRefusal::Invalid, "", String::from("this is no identity token, or it is signed in a way that is not taken")));
        };
        let rows = self.catalog.publishers_of(&token.issuer).await?;
        if rows.is_empty() {
            return Err(refuse(ExchangeRefusal::Invalid, "", String::from("no publisher names its issuer")));
        }
        let mut found: Vec<(PublisherRow, PublisherRule, Arc<Claims>)> = Vec::new();
        let mut verified: Vec<(Arc<DecodingKey>, Option<Arc<Claims>>)> = Vec::new();
        // Only what an issuer has signed goes into the audit log: anybody can make up the rest.
        let mut reason = String::new();
        let mut good = false;
        for row in rows {
            let Ok(rule) = serde_json::from_value::<PublisherRule>(row.settings.clone()) else {
                tracing::error!(publisher = row.name, "the rule of a stored publisher cannot be read: it is for nobody");
                continue;
            };
            let Some(key) = self.issuers.key(&rule, row.declared, &token, now).await? else {
                reason = String::from("its issuer has no such key");
                continue;
            };
            // Publishers of one issuer share its keys, unless they reach it in different ways.
            let claims = match verified.iter().find(|(known, _)| Arc::ptr_eq(known, &key)) {
                Some((_, claims)) => claims.clone(),
                None => {
                    let claims = token.verify(&key, now).map_err(|why| why.clone_into(&mut reason)).ok().map(Arc::new);
                    verified.push((key, claims.clone()));
                    claims
                }
            };
            let Some(claims) = claims else { continue };
            if !rule.is_for(&claims.audience, self.audience()) {
                if !good {
                    reason = format!("it is made out for {:?}", claims.audience);
                }
                continue;
            }
            if !good {
                reason = format!("no publisher is for what {} claims", subject(&claims));
            }
            good = true;
            let wanted = wish.repository.is_none_or(|address| *address == rule.repository) && wish.package.is_none_or(|package| rule.has_one(package));
            if wanted && rule.accepts(&claims.all) {
                found.push((row, rule, claims));
            }
        }
        if found.len() > 1 {
            let names: Vec<String> = found.iter().map(|(row, ..)| row.name.clone()).collect();
            return Err(refuse(ExchangeRefusal::Several, "", format!("several publishers are for what it claims: {}", names.join(", "))));
        }
        let Some((row, rule, claims)) = found.pop() else {
            let refusal = if good { ExchangeRefusal::NoPublisher } else { ExchangeRefusal::Invalid };
            return Err(refuse(refusal, "", reason));
        };
        let given = self.give(&row, &rule, &claims, wish.package, facts).await?;
        given.ok_or_else(|| refuse(ExchangeRefusal::Used, &principal_text(PrincipalKind::Workload, &row.name), String::from("it was exchanged before")))
    }

    async fn give(
        &self,
        row: &PublisherRow,
        rule: &PublisherRule,
        claims: &Claims,
        package: Option<&str>,
        facts: &RequestFacts,
    ) -> Result<Option<Exchanged>, ExchangeRefusal> {
        let now = self.now();
        let text = TokenText::random()?;
        let expires = now.plus(i64::try_from(rule.expires_in).unwrap_or(i64::MAX).saturating_mul(1000));
        let workload = Workload::new(rule, package, &claims.all);
        let mut actions = rule.actions.clone();
        if !actions.contains(&Action::Read) {
            actions.push(Action::Read);
        }
        let token = TokenRow {
            id: text.id.clone(),
            principal: row.principal,
            name: String::from("given for an identity token"),
            secret_hash: text.secret_hash(),
            repositories: vec![rule.repository.to_string()],
            actions,
            created: now,
            expires: Some(expires),
            revoked: None,
            workload: Some(serde_json::to_string(&workload).map_err(Error::internal)?),
        };
        if !self.catalog.exchange(claims.hash.clone(), claims.ends, token, MOST_TOKENS, now).await? {
            return Ok(None);
        }
        let detail = format!("for {}: {}, claimed by {} of {}", workload.repository, workload.packages.join(", "), subject(claims), rule.issuer);
        let actor = principal_text(PrincipalKind::Workload, &row.name);
        self.audit.record_change(audit_row(self, actor.clone(), "exchange-token", format!("token:{}", text.id), "changed", detail, facts)).await;
        Ok(Some(Exchanged { text: text.expose(), expires, principal: actor }))
    }
}

/// Whom an issuer vouches for, for the audit log.
fn subject(claims: &Claims) -> String {
    format!("{:?}", claims.all.get("sub").and_then(serde_json::Value::as_str).unwrap_or_default())
}
