//! Charts of upstreams that are registries, by the paths of the classic view: the manifest of the version says which blob is the file.

use entrepot_kit::{Error, File, Read, Repository, Result, blocking};
use entrepot_oci_core::manifest::MAX_MANIFEST;
use entrepot_oci_core::{Manifest, layout};

use super::commit::{ARCHIVE, PROVENANCE};
use crate::artifact::parts;
use crate::name::ChartPath;
use crate::version;

/// A manifest once it is here, and the member of a group that has it.
pub(crate) async fn settled(repository: &Repository<Read>, path: &str) -> Result<Option<(Repository<Read>, File)>> {
    let Some((member, file)) = repository.find(path).await? else { return Ok(None) };
    if file.entry.digest.is_some() {
        return Ok(Some((member, file)));
    }
    // On its way from upstream: its digest is known once it is here.
    drop(file.content.reader().await?);
    repository.find(path).await
}

/// The archive or the provenance file of a chart.
pub(crate) async fn file(repository: &Repository<Read>, chart: &ChartPath<'_>) -> Result<Option<File>> {
    let manifest = layout::manifest(chart.name, &version::tag(chart.version));
    let Some((member, file)) = settled(repository, &manifest).await? else { return Ok(None) };
    let (content_type, mut reader) = (file.entry.content_type.clone(), file.content.reader().await?);
    let found = blocking(move || {
        let mut bytes = Vec::new();
        let mut limited = std::io::Read::take(&mut reader, MAX_MANIFEST as u64);
        std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(Error::internal)?;
        // What stands there for something else is no chart.
        Ok(Manifest::parse(&bytes, content_type.as_deref(), &[]).ok().and_then(|manifest| parts(&manifest).ok().flatten()))
    });
    let Some(parts) = found.await? else { return Ok(None) };
    let (digest, content_type) = if chart.is_prov { (parts.prov, PROVENANCE) } else { (Some(parts.archive), ARCHIVE) };
    let Some(digest) = digest else { return Ok(None) };
    let Some(mut file) = member.entry(&layout::blob(chart.name, &digest)).await? else { return Ok(None) };
    file.entry.content_type = Some(content_type.to_owned());
    Ok(Some(file))
}
