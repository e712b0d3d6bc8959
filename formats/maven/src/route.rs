//! The routes: every path is a file, what is made of files, or a folder.

use entrepot_kit::{Handler, Route};
use http::Method;

use crate::handler::{get, put, remove};

const PATH: &str = "{path..}";

pub(crate) static ROUTES: [Route; 3] = [
    Route { name: "maven.get", method: Method::GET, template: PATH, package: None, handler: Handler::Read(get::get) },
    Route { name: "maven.put", method: Method::PUT, template: PATH, package: None, handler: Handler::Publish(put::put) },
    Route { name: "maven.delete", method: Method::DELETE, template: PATH, package: None, handler: Handler::Delete(remove::delete) },
];
