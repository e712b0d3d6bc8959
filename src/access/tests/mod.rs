//! Access over a real catalog, with a clock that the test turns.

mod accounts;
mod management;
mod refusals;
mod sign_in;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Kind, NewToken, PrincipalKind, Result, Timestamp, TokenRequest};
use secrecy::SecretString;

use super::{Access, Admin, Caller, Credentials, NewUser, RequestFacts, Settings, Target};
use crate::store::catalog::Catalog;

pub(super) struct Bench {
    pub(super) access: Arc<Access>,
    pub(super) catalog: Catalog,
    pub(super) facts: RequestFacts,
    now: Arc<AtomicI64>,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open_sqlite(&folder.path().join("catalog.sqlite")).await.unwrap();
        let now = Arc::new(AtomicI64::new(1_800_000_000_000));
        let facts = RequestFacts { remote: Some("192.0.2.7".parse().unwrap()), request_id: String::from("r1"), service: None };
        let access = access_over(&catalog, &now).await;
        Self { access, catalog, facts, now, _folder: folder }
    }

    /// Another server over the same catalog.
    pub(super) async fn replica(&self) -> Arc<Access> {
        access_over(&self.catalog, &self.now).await
    }

    pub(super) fn wait(&self, seconds: i64) {
        self.now.fetch_add(seconds * 1000, Ordering::Relaxed);
    }

    pub(super) fn operator(&self) -> Admin {
        self.access.operator()
    }

    pub(super) async fn user(&self, name: &str, text: &[(&str, &str)]) -> Caller {
        let password = Some(format!("{name}'s password").into());
        self.operator().create_user(NewUser { name: name.to_owned(), password, tags: tags(text) }).await.unwrap();
        self.operator().as_caller(PrincipalKind::User, name, None).await.unwrap()
    }

    pub(super) async fn token(&self, user: &str, wanted: TokenRequest) -> NewToken {
        self.operator().create_token(PrincipalKind::User, user, wanted).await.unwrap()
    }

    pub(super) async fn basic(&self, user: &str, password: &str) -> Result<Caller> {
        self.access.authenticate(Some(basic(user, password)), &self.facts).await
    }

    pub(super) async fn bearer(&self, token: &str) -> Result<Caller> {
        self.access.authenticate(Some(Credentials::Bearer(token.to_owned().into())), &self.facts).await
    }

    pub(super) async fn may(&self, caller: &Caller, action: Action, system: &str, own: &Tags) -> bool {
        with_target(system, own, async |target| self.access.decide(caller, action, target).await.unwrap().allowed).await
    }

    /// The audit log as lines, oldest first.
    pub(super) async fn audit(&self) -> Vec<String> {
        self.access.audit().flush().await;
        let filter = crate::store::model::AuditFilter { limit: 100, ..Default::default() };
        let mut rows = self.catalog.audit_log(filter).await.unwrap();
        rows.reverse();
        rows.into_iter().map(|(_, row)| format!("{} {} {} {} {}", row.principal, row.action, row.resource, row.outcome, row.detail)).collect()
    }
}

async fn access_over(catalog: &Catalog, now: &Arc<AtomicI64>) -> Arc<Access> {
    let now = Arc::clone(now);
    let settings = Settings { argon2_memory_kib: 64, ..Settings::default() };
    Access::new(catalog.clone(), settings, Arc::new(move || Timestamp(now.load(Ordering::Relaxed)))).await.unwrap()
}

pub(super) fn basic(user: &str, password: &str) -> Credentials {
    Credentials::Basic { user: user.to_owned(), password: SecretString::from(password.to_owned()) }
}

pub(super) fn tags(text: &[(&str, &str)]) -> Tags {
    let mut tags = Tags::new();
    for (key, value) in text {
        tags.entry((*key).to_owned()).or_default().insert((*value).to_owned());
    }
    tags
}

pub(super) async fn with_target<T>(system: &str, own: &Tags, run: impl AsyncFnOnce(&Target<'_>) -> T) -> T {
    let none = Tags::new();
    run(&Target { system, system_tags: &none, repository: Some(("npm", own, "npm", Kind::Hosted)), package: None }).await
}

pub(super) fn wanted(repositories: &[&str], actions: &[Action]) -> TokenRequest {
    TokenRequest { repositories: repositories.iter().map(|text| (*text).to_owned()).collect(), actions: actions.to_vec(), ..TokenRequest::default() }
}
