//! The routes: every path is a package, metadata, or a folder.

use entrepot_kit::{Handler, Route};
use http::Method;

use crate::handler::{get, put, remove};

const PATH: &str = "{path..}";

pub(crate) static ROUTES: [Route; 4] = [
    Route { name: "rpm.get", method: Method::GET, template: PATH, package: None, handler: Handler::Read(get::get) },
    Route { name: "rpm.put", method: Method::PUT, template: PATH, package: None, handler: Handler::Publish(put::put) },
    Route { name: "rpm.post", method: Method::POST, template: PATH, package: None, handler: Handler::Publish(put::put) },
    Route { name: "rpm.delete", method: Method::DELETE, template: PATH, package: None, handler: Handler::Delete(remove::delete) },
];
