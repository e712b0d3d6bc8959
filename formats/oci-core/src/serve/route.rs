//! Where container clients ask for what, below `/v2/{system}/{repository}/`.

use entrepot_kit::{Handler, Route};
use http::Method;

/// A blob.
pub const BLOB: &str = "{image..}/blobs/{digest}";
/// Where uploads begin.
pub const UPLOADS: &str = "{image..}/blobs/uploads";
/// An upload that was begun.
pub const UPLOAD: &str = "{image..}/blobs/uploads/{upload}";
/// A manifest, by tag or digest.
pub const MANIFEST: &str = "{image..}/manifests/{reference}";
/// The tags of an image.
pub const TAGS: &str = "{image..}/tags/list";
/// What refers to a manifest.
pub const REFERRERS: &str = "{image..}/referrers/{digest}";
/// What is served beyond the specification.
pub const EXTENSIONS: &str = "{image..}/_oci/ext/discover";

/// A route of an image.
#[must_use]
pub const fn route(name: &'static str, method: Method, template: &'static str, handler: Handler) -> Route {
    Route { name, method, template, package: Some("image"), handler }
}
