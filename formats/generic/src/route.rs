//! The routes: every path is a file or a folder.

use entrepot_kit::{Handler, Route};
use futures::FutureExt as _;
use http::Method;

use crate::{download, removal, resumable, upload};

const PATH: &str = "{path..}";

pub(crate) static ROUTES: [Route; 6] = [
    Route {
        name: "get",
        method: Method::GET,
        template: PATH,
        package: None,
        handler: Handler::Read(|repository, request| download::get(repository, request).boxed()),
    },
    Route {
        name: "put",
        method: Method::PUT,
        template: PATH,
        package: None,
        handler: Handler::Publish(|repository, request| upload::put(repository, request).boxed()),
    },
    Route {
        name: "delete",
        method: Method::DELETE,
        template: PATH,
        package: None,
        handler: Handler::Delete(|repository, request| removal::delete(repository, request).boxed()),
    },
    Route {
        name: "upload-options",
        method: Method::OPTIONS,
        template: PATH,
        package: None,
        handler: Handler::Read(|_, _| async { Ok(resumable::options()) }.boxed()),
    },
    Route {
        name: "upload-begin",
        method: Method::POST,
        template: PATH,
        package: None,
        handler: Handler::Publish(|repository, request| resumable::create(repository, request).boxed()),
    },
    Route {
        name: "upload-continue",
        method: Method::PATCH,
        template: PATH,
        package: None,
        handler: Handler::Publish(|repository, request| resumable::patch(repository, request).boxed()),
    },
];
