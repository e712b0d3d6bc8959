//! The routes below `/v2/{system}/{repository}/`.

use entrepot_kit::{Handler, Route};
use entrepot_oci_core::serve::{blob, extension, referrers, tags, upload};
use futures::FutureExt as _;
use http::Method;

use crate::handler::manifest;

const BLOB: &str = "{image..}/blobs/{digest}";
const UPLOADS: &str = "{image..}/blobs/uploads";
const UPLOAD: &str = "{image..}/blobs/uploads/{upload}";
const MANIFEST: &str = "{image..}/manifests/{reference}";

const fn route(name: &'static str, method: Method, template: &'static str, handler: Handler) -> Route {
    Route { name, method, template, package: Some("image"), handler }
}

pub(crate) static ROUTES: [Route; 13] = [
    route("blob", Method::GET, BLOB, Handler::Read(|repository, request| blob::get(repository, request).boxed())),
    route("blob-delete", Method::DELETE, BLOB, Handler::Delete(|repository, request| blob::delete(repository, request).boxed())),
    route("upload-begin", Method::POST, UPLOADS, Handler::Publish(|repository, request| upload::begin(repository, request).boxed())),
    route("upload-status", Method::GET, UPLOAD, Handler::Publish(|repository, request| upload::status(repository, request).boxed())),
    route("upload-continue", Method::PATCH, UPLOAD, Handler::Publish(|repository, request| upload::patch(repository, request).boxed())),
    route("upload-end", Method::PUT, UPLOAD, Handler::Publish(|repository, request| upload::end(repository, request).boxed())),
    route("upload-cancel", Method::DELETE, UPLOAD, Handler::Publish(|repository, request| upload::cancel(repository, request).boxed())),
    route("manifest", Method::GET, MANIFEST, Handler::Read(|repository, request| manifest::get(repository, request).boxed())),
    route("manifest-put", Method::PUT, MANIFEST, Handler::Publish(|repository, request| manifest::put(repository, request).boxed())),
    route("manifest-delete", Method::DELETE, MANIFEST, Handler::Delete(|repository, request| manifest::delete(repository, request).boxed())),
    route("tags", Method::GET, "{image..}/tags/list", Handler::Read(|repository, request| tags::list(repository, request).boxed())),
    route("referrers", Method::GET, "{image..}/referrers/{digest}", Handler::Read(|repository, request| referrers::list(repository, request).boxed())),
    route("extensions", Method::GET, "{image..}/_oci/ext/discover", Handler::Read(|_, _| async { extension::discover() }.boxed())),
];
