//! The generic format: plain files under any path, as `curl -T` puts them.
//!
//! A path leads to the bytes that were put there. What a repository's `overwrite` setting says decides whether other bytes may
//! replace them; the history of each path is kept by the engine. A path can go on inside an archive: `a/b.zip!/c/d.txt`.

mod checksum;
mod download;
mod media;
mod removal;
mod resumable;
mod route;
pub mod testing;
#[cfg(test)]
mod tests;
mod upload;

use entrepot_kit::{BaseUrl, Error, Format, Result, RouteTable, Snippet};

/// The generic format.
#[derive(Debug, Clone, Copy, Default)]
pub struct Generic;

impl Format for Generic {
    fn id(&self) -> &'static str {
        "generic"
    }

    fn routes(&self) -> RouteTable {
        RouteTable(&route::ROUTES)
    }

    fn snippets(&self, base: &BaseUrl) -> Vec<Snippet> {
        let snippet = |title: &str, text: String| Snippet { title: title.to_owned(), text };
        vec![
            snippet("curl: upload", format!("curl --fail-with-body --user NAME:TOKEN --upload-file FILE {base}/FOLDER/FILE")),
            snippet(
                "curl: upload once, checked",
                format!(
                    "curl --fail-with-body --user NAME:TOKEN --header 'If-None-Match: *' \\\n  --header \"X-Checksum-Sha256: $(sha256sum FILE | cut -d' ' -f1)\" --upload-file FILE {base}/FOLDER/FILE"
                ),
            ),
            snippet("curl: download", format!("curl --fail --location --remote-name {base}/FOLDER/FILE")),
            snippet("curl: list a folder", format!("curl --fail '{base}/FOLDER/?format=json'")),
            snippet("curl: one file of an archive", format!("curl --fail --remote-name '{base}/FOLDER/FILE.zip!/INNER/PATH'")),
        ]
    }

    fn setting_names(&self) -> &'static [&'static str] {
        &[upload::OVERWRITE]
    }

    fn check_settings(&self, settings: &serde_json::Value) -> Result<()> {
        match settings.get(upload::OVERWRITE) {
            None | Some(serde_json::Value::Bool(_)) => Ok(()),
            Some(other) => Err(Error::bad_request(format!("the setting \"overwrite\" is true or false, not {other}"))),
        }
    }
}
