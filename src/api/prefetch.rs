//! Making a proxy fetch a version before somebody waits for it.

use actix_web::{HttpResponse, post, web};
use entrepot_kit::{Action, Error, Kind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::call::{Answer, Call, MAX_BODY, ok};
use super::openapi::Refusals;
use crate::registry::prefetch::{Prefetched, Wanted};

/// Most platforms of one request.
const MOST_PLATFORMS: usize = 32;

/// A version to be prefetched.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedVersion {
    /// The package: an image.
    #[schema(example = "library/alpine")]
    package: String,
    /// The version: a tag or a digest.
    #[schema(example = "3.20")]
    version: String,
    /// Of what is there for several platforms, only what is for these; everything without it.
    #[serde(default)]
    #[schema(example = json!(["linux/amd64", "linux/arm64"]))]
    platforms: Vec<String>,
}

/// What a prefetch brought.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PrefetchDone {
    /// Files that the version needs, documents among them.
    files: u64,
    /// Their bytes.
    bytes: u64,
    /// Those that were not here before.
    fetched: u64,
    /// Those that the upstream does not have, which an index of several platforms may name all the same.
    missing: u64,
}

/// That a prefetch runs.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PrefetchBegun {
    /// Always `running`: the server's log says how it ended.
    status: &'static str,
}

/// Whether to wait for it.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct PrefetchQuery {
    /// `true`: the answer comes when all is there, and counts it. The work goes on when the caller goes away.
    #[serde(default)]
    wait: bool,
}

/// Makes a proxy, or the proxies of a group, fetch a version with all that it needs: an image's manifests, configurations and layers.
/// Demands `manage` on the package: it costs the upstream's patience and this server's storage, and the caller nothing.
#[utoipa::path(
    tag = "repositories", request_body = WantedVersion,
    responses((status = 200, body = PrefetchDone, description = "With `wait`: it is there."), (status = 202, body = PrefetchBegun), Refusals),
    params(("system" = String, Path, description = "Its system."), ("name" = String, Path, description = "Its name."), PrefetchQuery)
)]
#[post("/repositories/{system}/{name}/prefetch")]
pub(super) async fn prefetch(call: Call, path: web::Path<(String, String)>, query: web::Query<PrefetchQuery>) -> Answer {
    let repo = call.repo(&path.0, &path.1, Action::Manage, None).await?;
    if repo.kind() == Kind::Hosted {
        return Err(Error::bad_request(format!("{} is a hosted repository: there is no upstream to fetch from", repo.address())).into());
    }
    let WantedVersion { package, version, platforms } = call.json(MAX_BODY).await?;
    call.demand(Action::Manage, &repo.target(Some(&package))).await?;
    if platforms.len() > MOST_PLATFORMS || platforms.iter().any(|platform| !(2..=3).contains(&platform.split('/').filter(|part| !part.is_empty()).count())) {
        return Err(Error::bad_request(format!("platforms: at most {MOST_PLATFORMS}, each like linux/amd64 or linux/arm/v7")).into());
    }
    let prefetch = call.engine().prefetch(&call.context, &repo, Wanted { package, version, platforms })?;
    let running = call.engine().run_prefetch(prefetch);
    if !query.wait {
        return Ok(HttpResponse::Accepted().json(PrefetchBegun { status: "running" }));
    }
    let Prefetched { files, bytes, fetched, missing } = running.await.map_err(Error::internal)??;
    ok(&PrefetchDone { files, bytes, fetched, missing })
}
