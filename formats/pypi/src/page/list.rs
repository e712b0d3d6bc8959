//! The list of projects.

use entrepot_kit::html::escape_into;
use entrepot_kit::{BaseUrl, Error, Records, Result};
use serde::Serialize;

use super::API_VERSION;
use crate::name::normalise;

/// The names that records of [`entrepot_kit::ALL_PACKAGES`] have, in their order and each once.
fn names(records: &Records) -> Vec<&str> {
    let mut names: Vec<&str> = records.versions.iter().map(|record| record.version.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The list in JSON, of the records of all packages.
///
/// # Errors
/// 500 when it cannot be written.
pub fn render_projects_json(records: &Records, _base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    render_list_json(names(records))
}

/// The list in HTML, of the records of all packages.
///
/// # Errors
/// None.
pub fn render_projects_html(records: &Records, _base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    Ok(render_list_html(names(records)))
}

/// The list in JSON.
///
/// # Errors
/// 500 when it cannot be written.
pub fn render_list_json<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Project<'a> {
        name: &'a str,
    }
    let mut out = format!(r#"{{"meta":{{"api-version":"{API_VERSION}"}},"projects":["#).into_bytes();
    for (at, name) in names.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        serde_json::to_writer(&mut out, &Project { name }).map_err(Error::internal)?;
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// The list in HTML.
#[must_use]
pub fn render_list_html<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = format!(
        "<!DOCTYPE html>\n<html>\n<head>\n<meta name=\"pypi:repository-version\" content=\"{API_VERSION}\">\n<title>Simple index</title>\n</head>\n<body>\n"
    );
    for name in names {
        out.push_str("<a href=\"");
        escape_into(&mut out, &normalise(name));
        out.push_str("/\">");
        escape_into(&mut out, name);
        out.push_str("</a><br />\n");
    }
    out.push_str("</body>\n</html>\n");
    out.into_bytes()
}
