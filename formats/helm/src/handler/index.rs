//! `GET /index.yaml`.

use entrepot_kit::route::Answer;
use entrepot_kit::{ALL_PACKAGES, Error, Index, Read, Repository, Request, Response};

use crate::index::{FRAGMENTS, render_json, render_yaml};
use crate::settings::{self, Form};

/// The index, in the form that the repository has or the client asks for (`?format=json`, `?format=yaml`).
pub(crate) fn get(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let form = match request.query.get("format") {
            None => settings::form(&repository),
            Some("json") => Form::Json,
            Some("yaml") => Form::Yaml,
            Some(_) => return Err(Error::bad_request("the index is there as ?format=json and ?format=yaml")),
        };
        // Helm looks at the bytes alone, and other tools expect YAML at this name.
        let index = match form {
            Form::Json => Index { package: ALL_PACKAGES, variant: "json", fragments: FRAGMENTS, content_type: "application/yaml", render: render_json },
            Form::Yaml => Index { package: ALL_PACKAGES, variant: "yaml", fragments: FRAGMENTS, content_type: "application/yaml", render: render_yaml },
        };
        let document = repository.document(index).await?.ok_or_else(|| Error::not_found("the upstream of this repository has no index.yaml"))?;
        Ok(Response::document(document).with_max_age(settings::index_max_age(&repository)))
    })
}
