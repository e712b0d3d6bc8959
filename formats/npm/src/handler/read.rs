//! Packuments, single versions, and the packages themselves.

use entrepot_kit::route::Answer;
use entrepot_kit::{Index, Read, Repository, Request, Response};
use http::header::VARY;

use super::{not_found, package};
use crate::packument::{ABBREVIATED, ABBREVIATED_TYPE, FULL, VERSION_VARIANT, render_abbreviated, render_full, render_version};
use crate::version::is_plausible;

/// `GET /{package}`: the whole packument, or the abbreviated one where it is asked for.
pub(crate) fn packument(repository: Repository<Read>, request: Request) -> Answer {
    let abbreviated = request.accepts(ABBREVIATED_TYPE) && request.query.get("write").is_none();
    Box::pin(async move {
        let name = package(request.captures.get("package"))?;
        let index = if abbreviated {
            Index { package: name.as_str(), variant: ABBREVIATED, fragments: ABBREVIATED, content_type: ABBREVIATED_TYPE, render: render_abbreviated }
        } else {
            Index { package: name.as_str(), variant: FULL, fragments: FULL, content_type: "application/json", render: render_full }
        };
        let document = repository.document(index).await?.ok_or_else(not_found)?;
        Ok(Response::document(document).with_header(VARY, "Accept"))
    })
}

/// `GET /{package}/{version or tag}`.
pub(crate) fn version(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let name = package(request.captures.get("package"))?;
        let version = request.captures.get("version");
        // What looks like a version of the package `-` is a question that we do not know.
        if name.as_str() == "-" || !is_plausible(version) {
            return Err(not_found());
        }
        let variant = format!("{VERSION_VARIANT}{version}");
        let index = Index { package: name.as_str(), variant: &variant, fragments: FULL, content_type: "application/json", render: render_version };
        Ok(Response::document(repository.document(index).await?.ok_or_else(not_found)?))
    })
}

/// `GET /{package}/-/{file}`; some clients put the scope in front of the file again.
pub(crate) fn tarball(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let name = package(request.captures.get("package"))?;
        let file = request.captures.get("file");
        let file = file.rsplit('/').next().unwrap_or(file);
        Ok(Response::file(repository.file(&format!("{}/-/{file}", name.as_str())).await?))
    })
}
