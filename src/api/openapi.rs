//! The description of the API: made from the handlers themselves, and the list from which they are served.

use actix_web::{HttpResponse, get, web};
use http::Method;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi, ToSchema};

use super::PREFIX;
use super::{audit, explain, packages, policies, prefetch, principals, publishers, repositories, restore, retention, systems, tokens};

/// The body of every refusal and failure.
#[derive(ToSchema, serde::Serialize)]
pub(super) struct ErrorBody {
    /// What is wrong, and what to do.
    error: String,
}

/// What every address may answer instead.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "documents answers; they are made from errors")]
pub(super) enum Refusals {
    /// The request cannot be understood: the text names the field.
    #[response(status = 400)]
    BadRequest(#[to_schema] ErrorBody),
    /// Credentials are missing or wrong. Without credentials this is also the answer for whatever may not be read, existing or not.
    #[response(status = 401, headers(("WWW-Authenticate" = String, description = "How to sign in.")))]
    Unauthorized(#[to_schema] ErrorBody),
    /// The caller may read this, but not do that.
    #[response(status = 403)]
    Forbidden(#[to_schema] ErrorBody),
    /// There is no such thing, or the caller may not read it.
    #[response(status = 404)]
    NotFound(#[to_schema] ErrorBody),
    /// The change contradicts what is stored.
    #[response(status = 409)]
    Conflict(#[to_schema] ErrorBody),
    /// The body is larger than allowed.
    #[response(status = 413)]
    TooLarge(#[to_schema] ErrorBody),
    /// Too many attempts to sign in failed.
    #[response(status = 429, headers(("Retry-After" = u32, description = "Seconds to wait.")))]
    TooMany(#[to_schema] ErrorBody),
    /// The server cannot do it at the moment.
    #[response(status = 503, headers(("Retry-After" = u32, description = "Seconds to wait.")))]
    Unavailable(#[to_schema] ErrorBody),
}

/// Serves and documents the same handlers: what is served without documentation, or documented and not served, cannot be written.
macro_rules! handlers {
    ($($module:ident :: $handler:ident),* $(,)?) => {
        pub(super) fn services(config: &mut web::ServiceConfig) {
            $(config.service($module::$handler);)*
            config.service(openapi_document);
        }

        #[derive(OpenApi)]
        #[openapi(
            info(
                title = "Entrepot", version = "1",
                description = "The management API: systems, repositories and what is in them, principals, tokens, policies and the audit log."
            ),
            paths($($module::$handler,)* openapi_document),
            security((), ("basic" = []), ("bearer" = [])),
            tags(
                (name = "systems", description = "Namespaces, each for an application or a team."),
                (name = "repositories", description = "Hosted, proxy and group repositories."),
                (name = "packages", description = "What is in a repository: listing, deleting, restoring, history."),
                (name = "principals", description = "Users and robots."),
                (name = "tokens", description = "Credentials for clients."),
                (name = "access", description = "Policies, and why something is allowed or not."),
                (name = "audit", description = "Who was denied what, and who changed what.")
            ),
            modifiers(&Whole)
        )]
        struct Documented;
    };
}

handlers![
    systems::list_systems,
    systems::create_system,
    systems::get_system,
    systems::update_system,
    systems::delete_system,
    repositories::list_repositories,
    repositories::create_repository,
    repositories::get_repository,
    repositories::update_repository,
    repositories::delete_repository,
    retention::keep_rules,
    prefetch::prefetch,
    packages::list_packages,
    packages::get_package,
    packages::delete_package,
    packages::list_versions,
    packages::delete_version,
    restore::restore_package,
    restore::restore_version,
    restore::restore_entry,
    restore::history,
    principals::list_users,
    principals::create_user,
    principals::get_user,
    principals::update_user,
    principals::delete_user,
    principals::list_robots,
    principals::create_robot,
    principals::get_robot,
    principals::update_robot,
    principals::delete_robot,
    tokens::list_tokens,
    tokens::create_token,
    tokens::revoke_token,
    publishers::list_publishers,
    publishers::create_publisher,
    publishers::exchange_token,
    publishers::delete_publisher,
    policies::list_policies,
    policies::get_policy,
    policies::put_policy,
    policies::delete_policy,
    explain::explain,
    explain::schema,
    audit::audit_log,
];

/// What the handlers cannot say each for itself: the prefix and the ways to sign in.
struct Whole;

impl Modify for Whole {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let paths = std::mem::take(&mut document.paths.paths);
        document.paths.paths = paths.into_iter().map(|(path, item)| (format!("{PREFIX}{path}"), item)).collect();
        let mut components = document.components.take().unwrap_or_default();
        let described = |scheme, text: &str| SecurityScheme::Http(Http::builder().scheme(scheme).description(Some(text)).build());
        components.add_security_scheme("basic", described(HttpAuthScheme::Basic, "A user's name and password. A token may stand for the password."));
        components.add_security_scheme("bearer", described(HttpAuthScheme::Bearer, "A token."));
        document.components = Some(components);
    }
}

/// The OpenAPI document.
pub(super) fn document() -> utoipa::openapi::OpenApi {
    Documented::openapi()
}

/// Every method and address template of the management API, as its OpenAPI document lists them.
#[must_use]
pub fn api_routes() -> Vec<(Method, String)> {
    let methods = |item: &PathItem| {
        let served = [
            (Method::GET, item.get.is_some()),
            (Method::PUT, item.put.is_some()),
            (Method::POST, item.post.is_some()),
            (Method::PATCH, item.patch.is_some()),
            (Method::DELETE, item.delete.is_some()),
        ];
        served.into_iter().filter_map(|(method, is)| is.then_some(method))
    };
    document().paths.paths.iter().flat_map(|(path, item)| methods(item).map(|method| (method, path.clone())).collect::<Vec<_>>()).collect()
}

/// This document.
#[utoipa::path(tag = "access", responses((status = 200, description = "An OpenAPI document.", body = serde_json::Value)))]
#[get("/openapi.json")]
pub(super) async fn openapi_document() -> HttpResponse {
    HttpResponse::Ok().json(document())
}
