//! The routes: every path is a file or a folder.

use entrepot_kit::{Handler, Route};
use futures::FutureExt as _;
use http::Method;

use crate::{download, removal, upload};

const PATH: &str = "{path..}";

pub(crate) static ROUTES: [Route; 3] = [
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
];
