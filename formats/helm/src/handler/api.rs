//! The management API of ChartMuseum: lists, look-ups and removals.

use std::sync::Arc;

use entrepot_kit::route::Answer;
use entrepot_kit::{ALL_PACKAGES, Change, Death, Delete, Error, Index, Precondition, Read, Records, Repository, Request, Response, Result};
use http::StatusCode;
use serde_json::json;

use super::chart_name;
use crate::index::{CHART, FRAGMENTS, list as render_page, no_chart, one, render_chart, render_list};

const JSON: &str = "application/json";

async fn records(repository: &Repository<Read>) -> Result<Arc<Records>> {
    repository.records(ALL_PACKAGES, FRAGMENTS).await?.ok_or_else(|| Error::not_found("the upstream of this repository has no index.yaml"))
}

/// `GET /api/charts?offset=&limit=`.
pub(crate) fn list(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        if request.query.get("offset").is_none() && request.query.get("limit").is_none() {
            let index = Index { package: ALL_PACKAGES, variant: "list", fragments: FRAGMENTS, content_type: JSON, render: render_list };
            return repository.document(index).await?.map(Response::document).ok_or_else(|| Error::not_found("there are no charts here"));
        }
        let (offset, limit) = (request.query.number("offset", 0, usize::MAX), request.query.number("limit", usize::MAX, usize::MAX));
        let records = records(&repository).await?;
        let page = entrepot_kit::blocking(move || Ok(render_page(&records, offset, limit))).await?;
        Ok(Response::bytes(StatusCode::OK, JSON, page))
    })
}

/// `GET /api/charts/{name}`.
pub(crate) fn chart(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let name = chart_name(&request)?;
        let variant = format!("{CHART}{name}");
        let index = Index { package: ALL_PACKAGES, variant: &variant, fragments: FRAGMENTS, content_type: JSON, render: render_chart };
        repository.document(index).await?.map(Response::document).ok_or_else(|| no_chart(&name))
    })
}

/// `GET /api/charts/{name}/{version}`.
pub(crate) fn version(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let name = chart_name(&request)?;
        let wanted = request.captures.get("version").to_owned();
        let records = records(&repository).await?;
        let found = {
            let (name, wanted) = (name.clone(), wanted.clone());
            entrepot_kit::blocking(move || Ok(one(&records, &name, &wanted))).await?
        };
        found.map(|entry| Response::bytes(StatusCode::OK, JSON, entry)).ok_or_else(|| no_version(&name, &wanted))
    })
}

fn no_version(name: &str, version: &str) -> Error {
    let shown: String = version.chars().take(130).collect();
    Error::not_found(format!("there is no version {shown:?} of the chart {name:?} here"))
}

/// `DELETE /api/charts/{name}/{version}`: the chart and its provenance file.
pub(crate) fn delete_version(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        let (name, version) = (chart_name(&request)?, request.captures.get("version").to_owned());
        super::hosted_only(repository.kind())?;
        repository.version(&name, &version).await?.filter(|found| found.live).ok_or_else(|| no_version(&name, &version))?;
        let change = Change::new("delete", format!("{name} {version}"))
            // Of two who remove it at once, one is told.
            .only_if(Precondition::VersionLive { package: name.clone(), version: version.clone() })
            .end(Death::Version { package: name.clone(), version });
        repository.commit(change).await?;
        Response::json(StatusCode::OK, &json!({ "deleted": true }))
    })
}

/// `DELETE /api/charts/{name}`: all versions.
pub(crate) fn delete_chart(repository: Repository<Delete>, request: Request) -> Answer {
    Box::pin(async move {
        let name = chart_name(&request)?;
        super::hosted_only(repository.kind())?;
        repository.package(&name).await?.ok_or_else(|| no_chart(&name))?;
        let change = Change::new("delete", name.clone()).end(Death::Folder(format!("{name}/"))).end(Death::Package(name));
        repository.commit(change).await?;
        Response::json(StatusCode::OK, &json!({ "deleted": true }))
    })
}

/// `GET /info`.
pub(crate) fn info(_: Repository<Read>, _: Request) -> Answer {
    Box::pin(async { Response::json(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") })) })
}

/// `GET /health`.
pub(crate) fn health(_: Repository<Read>, _: Request) -> Answer {
    Box::pin(async { Response::json(StatusCode::OK, &json!({ "healthy": true })) })
}
