//! The routes: packages and indexes at the paths that apk builds, the public keys, and uploads.

use entrepot_kit::{Handler, Route};
use http::Method;

use crate::handler::{get, keys, put, remove};

pub(crate) static ROUTES: [Route; 7] = [
    Route { name: "alpine.key", method: Method::GET, template: "key", package: None, handler: Handler::Read(keys::newest) },
    Route { name: "alpine.keys", method: Method::GET, template: "keys/{file}", package: None, handler: Handler::Read(keys::named) },
    Route { name: "alpine.get", method: Method::GET, template: "{path..}", package: None, handler: Handler::Read(get::get) },
    Route { name: "alpine.add", method: Method::PUT, template: "{branch}/{repository}", package: None, handler: Handler::Publish(put::add) },
    Route { name: "alpine.post", method: Method::POST, template: "{branch}/{repository}", package: None, handler: Handler::Publish(put::add) },
    Route { name: "alpine.put", method: Method::PUT, template: "{branch}/{repository}/{arch}/{file}", package: None, handler: Handler::Publish(put::put) },
    Route { name: "alpine.delete", method: Method::DELETE, template: "{path..}", package: None, handler: Handler::Delete(remove::delete) },
];
