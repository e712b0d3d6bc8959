//! `GET`: a file, a folder, or an entry of an archive.

use entrepot_kit::archive::{self, Browsing};
use entrepot_kit::{Error, Read, Repository, Request, Response, Result, listing};
use http::HeaderName;

use crate::upload::is_folder;
use crate::{media, resumable};

const SHA256: HeaderName = HeaderName::from_static("x-checksum-sha256");

/// Answers with what the path leads to.
pub(crate) async fn get(repository: Repository<Read>, request: Request) -> Result<Response> {
    if request.query.get(resumable::UPLOAD).is_some() {
        return resumable::head(repository, request).await;
    }
    let path = request.path.joined();
    let is_folder_path = request.path.trailing_slash();
    if let Some(inside) = archive::split(&path, is_folder_path) {
        let file = repository.file(inside.archive).await?;
        return archive::get(file, request, inside, Browsing { media: media::by_name, pages: false }).await;
    }
    if is_folder_path {
        return listing::get(&repository, request, &path, None).await;
    }
    let Some(mut file) = repository.entry(&path).await? else {
        // No redirect to the folder: a proxy would keep its listing as if it were this file.
        let hint = if is_folder(&repository, &path).await? { "; it is a folder, and is listed with a slash behind it" } else { "" };
        return Err(Error::not_found(format!("there is no file {path:?} in this repository{hint}")));
    };
    // What is nothing but bytes to an upstream has a name that may say more.
    let said = file.entry.content_type.take().filter(|said| said != media::OCTETS);
    file.entry.content_type = Some(said.unwrap_or_else(|| media::by_name(&path).to_owned()));
    let sha256 = file.entry.digest.map(|digest| digest.hex());
    let response = Response::file(file);
    Ok(match sha256 {
        Some(sha256) => response.with_header(SHA256, &sha256),
        None => response,
    })
}
