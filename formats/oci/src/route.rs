//! The routes below `/v2/{system}/{repository}/`.

use entrepot_kit::{Handler, Route};
use entrepot_oci_core::serve::route::{BLOB, EXTENSIONS, MANIFEST, REFERRERS, TAGS, UPLOAD, UPLOADS, route};
use entrepot_oci_core::serve::{blob, extension, referrers, tags, upload};
use futures::FutureExt as _;
use http::Method;

use crate::handler::manifest;

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
    route("tags", Method::GET, TAGS, Handler::Read(|repository, request| tags::list(repository, request).boxed())),
    route("referrers", Method::GET, REFERRERS, Handler::Read(|repository, request| referrers::list(repository, request).boxed())),
    route("extensions", Method::GET, EXTENSIONS, Handler::Read(|_, _| async { extension::discover() }.boxed())),
];
