//! Charts and their provenance files.

use entrepot_kit::route::Answer;
use entrepot_kit::{Error, Kind, Read, Repository, Request, Resource, Response, Result};

use super::artifact;
use crate::name::{self, ChartPath};
use crate::settings;

fn missing(file: &str) -> Error {
    let shown: String = file.chars().take(260).collect();
    Error::not_found(format!("there is no chart {shown:?} here"))
}

async fn give(repository: &Repository<Read>, chart: &ChartPath<'_>) -> Result<Option<Response>> {
    let max_age = settings::chart_max_age(repository);
    let path = if chart.is_prov { name::prov_path(chart.name, chart.version) } else { name::path(chart.name, chart.version) };
    let found = match repository.entry(&path).await? {
        None if repository.kind() != Kind::Hosted => artifact::file(repository, chart).await?,
        found => found,
    };
    Ok(found.map(|file| Response::file(file).with_max_age(max_age)))
}

/// `GET /charts/{name}/{file}`: as the index says.
pub(crate) fn get(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let (name, file) = (request.captures.get("name"), request.captures.get("file"));
        let chart = ChartPath::of_file(name, file).ok_or_else(|| missing(file))?;
        give(&repository, &chart).await?.ok_or_else(|| missing(file))
    })
}

/// `GET /charts/{file}` and `GET /{file}`: as other servers have it. The name of the file does not say where that of the chart ends.
pub(crate) fn by_name(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let file = request.captures.get("file");
        for chart in ChartPath::guesses(file) {
            let package = Resource::Package(chart.name.to_owned());
            if !repository.allows(entrepot_kit::Action::Read, &package).await? {
                continue;
            }
            let granted = repository.grant::<Read>(&package).await?;
            if let Some(response) = give(&granted, &chart).await? {
                return Ok(response);
            }
        }
        Err(missing(file))
    })
}
