//! Making, listing and deleting publishers: by the API, and as the configuration file declares them.

use entrepot_kit::{Address, Error, Result, Timestamp};
use http::StatusCode;

use super::super::admin::Admin;
use super::super::names::check_principal_name;
use super::super::{Access, audit_row};
use super::issuer::upstream;
use super::rule::PublisherRule;
use crate::access::RequestFacts;
use crate::store::model::PublisherRow;

/// Most publishers.
const MOST_PUBLISHERS: i64 = 1000;

/// A publisher as the configuration declares it.
#[derive(Debug, Clone)]
pub struct DeclaredPublisher {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub rule: PublisherRule,
}

/// A publisher as it is listed.
#[derive(Debug, Clone)]
pub struct PublisherInfo {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub rule: serde_json::Value,
    /// Whether the configuration file declares it: then it can only be changed there.
    pub declared: bool,
    /// When it was made.
    pub created: Timestamp,
}

impl DeclaredPublisher {
    /// Checks what can be checked without the catalog.
    ///
    /// # Errors
    /// 400 saying what is wrong.
    pub fn check(&self) -> Result<()> {
        check_principal_name(&self.name)?;
        upstream(&self.rule, true).map(drop)
    }
}

fn info_of(row: PublisherRow) -> PublisherInfo {
    PublisherInfo { name: row.name, rule: row.settings, declared: row.declared, created: row.created }
}

fn row_of(name: String, rule: &PublisherRule, declared: bool, created: Timestamp) -> Result<PublisherRow> {
    let settings = serde_json::to_value(rule).map_err(Error::internal)?;
    Ok(PublisherRow { principal: 0, name, issuer: rule.issuer.clone(), settings, declared, created })
}

impl Access {
    /// Brings the publishers that the configuration declares into the catalog. One that changed is made anew, so that no token outlives the
    /// rule that it was given by; one that is declared no more is deleted.
    ///
    /// # Errors
    /// 409 when a name is that of one that was made through the API; failures of the catalog.
    pub async fn declare_publishers(&self, declared: &[DeclaredPublisher]) -> Result<()> {
        let stored = self.catalog.publishers().await?;
        for row in stored.iter().filter(|row| row.declared && !declared.iter().any(|wanted| wanted.name == row.name)) {
            tracing::warn!(publisher = row.name, "no longer declared in the configuration: deleted, with its tokens");
            self.catalog.delete_publisher(row.principal).await?;
            self.note_declared("delete-publisher", &row.name, String::new()).await?;
        }
        for wanted in declared {
            let new = row_of(wanted.name.clone(), &wanted.rule, true, self.now())?;
            let before = stored.iter().find(|row| row.name == wanted.name);
            match before {
                Some(row) if row.settings == new.settings && row.declared => continue,
                Some(row) if row.settings == new.settings => {
                    self.catalog.set_publisher_declared(row.principal, true).await?;
                    continue;
                }
                Some(row) if !row.declared => {
                    let message = "a publisher of this name was made through the API, with another rule: delete it there, or declare another name";
                    return Err(Error::bad_request(format!("{}: {message}", wanted.name)));
                }
                Some(row) => drop(self.catalog.delete_publisher(row.principal).await?),
                None => {}
            }
            match self.catalog.create_publisher(new, MOST_PUBLISHERS).await.map_err(Error::from) {
                Ok(_) => self.note_declared("create-publisher", &wanted.name, said(&wanted.rule)).await?,
                // Another replica that starts at the same time, with the same file, was quicker.
                Err(error) if error.status() == StatusCode::CONFLICT => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn note_declared(&self, action: &str, name: &str, detail: String) -> Result<()> {
        let facts = RequestFacts::default();
        self.audit.record_change(audit_row(self, String::from("configuration"), action, format!("publisher:{name}"), "changed", detail, &facts)).await;
        self.refresh().await
    }

    /// Reads the rule of a publisher that is to be made.
    ///
    /// # Errors
    /// 400 saying what is wrong.
    pub fn publisher_rule(&self, rule: serde_json::Value) -> Result<PublisherRule> {
        PublisherRule::read(rule, self.audience())
    }
}

impl Admin {
    /// Makes a publisher.
    ///
    /// # Errors
    /// 400 with the reason; 409 when the name is taken.
    pub async fn create_publisher(&self, name: String, rule: &PublisherRule) -> Result<PublisherInfo> {
        check_principal_name(&name)?;
        upstream(rule, false)?;
        let row = self.access.catalog.create_publisher(row_of(name.clone(), rule, false, self.access.now())?, MOST_PUBLISHERS).await?;
        self.changed("create-publisher", format!("publisher:{name}"), said(rule)).await?;
        Ok(info_of(row))
    }

    /// The publishers, by name.
    ///
    /// # Errors
    /// Failures of the catalog.
    pub async fn publishers(&self) -> Result<Vec<PublisherInfo>> {
        Ok(self.access.catalog.publishers().await?.into_iter().map(info_of).collect())
    }

    /// Deletes a publisher. The tokens that were given by it end at once; what they published stays.
    ///
    /// # Errors
    /// 404 when there is none; 409 when the configuration file declares it.
    pub async fn delete_publisher(&self, name: &str) -> Result<()> {
        let row = self.access.catalog.publishers().await?.into_iter().find(|row| row.name == name);
        let row = row.ok_or_else(|| Error::not_found(format!("there is no publisher {name:?}")))?;
        if row.declared {
            return Err(Error::conflict(format!("the publisher {name} is declared in the configuration file: change it there and start the server again")));
        }
        self.access.catalog.delete_publisher(row.principal).await?;
        self.changed("delete-publisher", format!("publisher:{name}"), String::new()).await
    }
}

/// For the audit log.
fn said(rule: &PublisherRule) -> String {
    let PublisherRule { issuer, repository, packages, .. } = rule;
    let address: &Address = repository;
    format!("{issuer} for {address}: {}", packages.join(", "))
}
