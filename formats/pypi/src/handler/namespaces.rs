//! Namespaces (PEP 752): beginnings of names that belong to a system. Where the setting is not there, nothing says that there could be any.

use entrepot_kit::route::Answer;
use entrepot_kit::{Access, Action, Error, Publish, Read, Repository, Request, Resource, Response, Result};
use http::StatusCode;
use serde_json::{Value, json};

use super::project::Project;
use crate::page::{API_VERSION_NAMESPACES, Form, variant_with_namespaces};
use crate::settings::{covering, namespaces};

/// The variant of a page, which says who has the project's namespace where there are namespaces.
pub(crate) async fn variant(repository: &Repository<Read>, project: &str, form: Form) -> Result<String> {
    let Some(namespaces) = namespaces(repository) else { return Ok(form.variant().to_owned()) };
    let covering = covering(&namespaces, project);
    let said = if covering.is_empty() {
        Value::Null
    } else {
        let state = repository.package(project).await?;
        let owner = state.map(|state| Project::parse(&state.document)).transpose()?.and_then(|project| project.namespace());
        covering.iter().map(|(name, _)| json!({"name": name, "owned": owner.as_deref() == Some(name)})).collect()
    };
    Ok(variant_with_namespaces(form.variant(), &said))
}

/// The namespace in which a new project is made, if any.
///
/// # Errors
/// 409 when it belongs to others.
pub(crate) async fn of_new(repository: &Repository<Publish>, project: &str) -> Result<Option<String>> {
    let namespaces = namespaces(repository).unwrap_or_default();
    let Some((namespace, system)) = covering(&namespaces, project).first().copied() else { return Ok(None) };
    let belongs = repository.principal().tags.get("system").is_some_and(|systems| systems.contains(system));
    if belongs || repository.allows(Action::Manage, &Resource::Repository).await? {
        return Ok(Some(namespace.to_owned()));
    }
    let why = format!("The name {project:?} is in the namespace {namespace:?}, which belongs to {system:?}: choose another name, or ask {system:?} for it");
    Err(Error::conflict(why).with_reason("The name is in a namespace that belongs to others"))
}

fn known<A: Access>(repository: &Repository<A>) -> Result<std::collections::BTreeMap<String, String>> {
    namespaces(repository).ok_or_else(|| Error::not_found("this repository has no namespaces"))
}

/// `GET /namespaces`.
pub(crate) fn list(repository: Repository<Read>, _: Request) -> Answer {
    Box::pin(async move {
        let list: Vec<Value> = known(&repository)?.iter().map(|(name, owner)| json!({"name": name, "owner": owner, "open": false})).collect();
        Response::json(StatusCode::OK, &json!({"meta": {"api-version": API_VERSION_NAMESPACES}, "namespaces": list}))
    })
}

/// `GET /namespace/{namespace}`.
pub(crate) fn one(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let wanted = crate::name::normalise(request.captures.get("namespace"));
        let namespaces = known(&repository)?;
        let owner = namespaces.get(&wanted).ok_or_else(|| Error::not_found(format!("there is no namespace {wanted:?}")))?;
        let parent = covering(&namespaces, &wanted).into_iter().map(|(name, _)| name).find(|name| *name != wanted);
        let children: Vec<&str> = namespaces.keys().map(String::as_str).filter(|name| *name != wanted && name.starts_with(&format!("{wanted}-"))).collect();
        let namespace = json!({"name": wanted, "owner": owner, "open": false, "parent": parent, "children": children});
        Response::json(StatusCode::OK, &json!({"meta": {"api-version": API_VERSION_NAMESPACES}, "namespace": namespace}))
    })
}
