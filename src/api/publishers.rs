//! Publishers: builds and pods that publish with an identity token of their platform.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::{delete, get, post, web};
use entrepot_kit::{Address, Error, Kind};
use http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::call::{Answer, Call, MAX_BODY, Page, PageQuery, Refusal, created, done, ok, page_of};
use super::openapi::Refusals;
use super::tokens::TokenAction;
use crate::access::{ExchangeRefusal, PublisherInfo, Wish};
use crate::http::publishers::said;

/// One text, or several.
#[derive(ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "documents requests; they are read as what is stored")]
pub(super) enum Texts {
    /// One.
    One(String),
    /// Any of these.
    Several(Vec<String>),
}

/// What identity tokens of an issuer are worth.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents requests; they are read as what is stored")]
pub(super) struct Rule {
    /// Who signs the identity tokens: exactly what they claim as `iss`.
    #[schema(example = "https://token.actions.githubusercontent.com")]
    issuer: String,
    /// For whom they must be made out; without it for this server.
    audience: Option<Texts>,
    /// What they must claim: a value or several, where `*` stands for any text. A name that begins with a slash is a JSON pointer.
    #[schema(example = json!({ "repository": "acme/app", "ref": ["refs/heads/main", "refs/tags/v*"] }))]
    claims: BTreeMap<String, Texts>,
    /// The hosted repository that may be published to.
    #[schema(example = "main/npm")]
    repository: String,
    /// Its packages that may be published: names, or patterns with `*`. In plain files, paths.
    #[schema(example = json!(["@acme/app"]))]
    packages: Vec<String>,
    /// What may be done to them; `["publish"]` without it.
    actions: Option<Vec<TokenAction>>,
    /// How long the tokens that are given live, in seconds: 900 to 21600, 900 without it.
    expires_in: Option<u64>,
    /// Whether the issuer may be in a private network, or speak plain HTTP.
    #[serde(default)]
    allow_private: bool,
}

/// A publisher to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents requests; they are read as what is stored")]
pub(super) struct NewPublisher {
    /// Its name, which is that of the workload in policies and in the history.
    #[schema(example = "app-release")]
    name: String,
    /// Its rule.
    #[serde(flatten)]
    rule: Rule,
}

/// A publisher.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Publisher {
    /// Its name.
    name: String,
    /// Its rule.
    #[serde(flatten)]
    #[schema(value_type = Rule)]
    rule: Value,
    /// Whether the configuration file declares it: then it can only be changed there.
    declared: bool,
    /// When it was made.
    #[schema(format = DateTime)]
    created: String,
}

/// An identity token that is to be exchanged.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    /// The identity token.
    #[schema(value_type = String, required = true)]
    token: Option<SecretString>,
    /// The repository, where several publishers are for what it claims.
    #[schema(value_type = Option<String>, example = "main/generic")]
    repository: Option<Address>,
    /// The one package that is to be published, where that is known.
    package: Option<String>,
}

/// A token that was given: the only time that it is shown.
#[derive(Serialize, ToSchema)]
pub(super) struct Given {
    /// The token, for `Bearer` or in place of a password.
    token: String,
    /// When it ends.
    #[schema(format = DateTime)]
    expires: String,
}

fn shown(info: PublisherInfo) -> Publisher {
    Publisher { name: info.name, rule: info.rule, declared: info.declared, created: info.created.rfc3339() }
}

/// The publishers, by name. Demands an administrator.
#[utoipa::path(tag = "tokens", params(PageQuery), responses((status = 200, body = Page<Publisher>), Refusals))]
#[get("/publishers")]
pub(super) async fn list_publishers(call: Call, query: web::Query<PageQuery>) -> Answer {
    let publishers = call.administer()?.publishers().await?;
    ok(&page_of(publishers.into_iter().map(shown), &query, |publisher| publisher.name.clone())?)
}

/// Makes a publisher. Demands an administrator.
#[utoipa::path(tag = "tokens", request_body = NewPublisher, responses((status = 201, body = Publisher), Refusals))]
#[post("/publishers")]
pub(super) async fn create_publisher(call: Call) -> Answer {
    let admin = call.administer()?;
    let mut rule: Map<String, Value> = call.json(MAX_BODY).await?;
    let Some(Value::String(name)) = rule.shift_remove("name") else { return Err(Error::bad_request("the body: name is missing").into()) };
    let rule = call.access().publisher_rule(Value::Object(rule))?;
    let repo = call.engine().repo(&rule.repository);
    match repo.map(|repo| repo.kind()) {
        Some(Kind::Hosted) => {}
        Some(_) => return Err(Error::bad_request(format!("{} is not hosted: nothing is published there", rule.repository)).into()),
        None => return Err(Error::bad_request(format!("there is no repository {}", rule.repository)).into()),
    }
    let made = call.engine().detached(async move { admin.create_publisher(name, &rule).await }).await?;
    created(&shown(made))
}

/// Deletes a publisher. The tokens that were given by it end at once; what they published stays. Demands an administrator.
#[utoipa::path(tag = "tokens", params(("name" = String, Path, description = "Its name.")), responses((status = 204), Refusals))]
#[delete("/publishers/{name}")]
pub(super) async fn delete_publisher(call: Call, path: web::Path<String>) -> Answer {
    let (admin, name) = (call.administer()?, path.into_inner());
    call.engine().detached(async move { admin.delete_publisher(&name).await }).await?;
    done()
}

/// Exchanges an identity token for a token of this server, once. Demands no other credentials.
#[utoipa::path(tag = "tokens", request_body = Exchange, responses((status = 201, body = Given), Refusals))]
#[post("/publishers/token")]
pub(super) async fn exchange_token(call: Call) -> Answer {
    let Exchange { token, repository, package } = call.json(MAX_BODY).await?;
    let token = token.ok_or_else(|| Error::unauthorized("send the identity token as \"token\""))?;
    let (access, facts) = (Arc::clone(call.access()), call.context.facts.clone());
    let wish = Wish { token: &token, repository: repository.as_ref(), package: package.as_deref() };
    match access.exchange(&wish, &facts).await {
        Ok(given) => created(&Given { token: given.text, expires: given.expires.rfc3339() }),
        Err(ExchangeRefusal::Failed(error)) => Err(error.into()),
        Err(refusal) => Err(Refusal::from(Error::new(StatusCode::UNAUTHORIZED, said(&refusal).1))),
    }
}
