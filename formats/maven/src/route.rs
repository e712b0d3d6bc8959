//! The routes: every path is a file, what is made of files, or a folder. What begins with a dot is said to the repository itself.

use entrepot_kit::{Handler, Route};
use http::Method;

use crate::handler::{bundle, get, put, remove, seal, staging};

const PATH: &str = "{path..}";
const STAGES: &str = ".staging";
const STAGE: &str = ".staging/{id}";
const STAGED: &str = ".staging/{id}/{path..}";
const BUNDLE: &str = ".bundle";
const SEALED: &str = ".sealed/{path..}";

const fn route(name: &'static str, method: Method, template: &'static str, handler: Handler) -> Route {
    Route { name, method, template, package: None, handler }
}

pub(crate) static ROUTES: [Route; 12] = [
    // Who may not publish sees nothing of what waits.
    route("maven.stages", Method::GET, STAGES, Handler::Publish(staging::list)),
    route("maven.staged", Method::GET, STAGED, Handler::Publish(staging::get)),
    route("maven.stage", Method::PUT, STAGED, Handler::Publish(staging::put)),
    route("maven.promote", Method::POST, STAGE, Handler::Publish(staging::promote)),
    route("maven.drop", Method::DELETE, STAGE, Handler::Publish(staging::drop_stage)),
    route("maven.bundle", Method::PUT, BUNDLE, Handler::Publish(bundle::upload)),
    route("maven.bundle-post", Method::POST, BUNDLE, Handler::Publish(bundle::upload)),
    route("maven.seal", Method::POST, SEALED, Handler::Publish(seal::seal)),
    route("maven.unseal", Method::DELETE, SEALED, Handler::Manage(seal::unseal)),
    route("maven.get", Method::GET, PATH, Handler::Read(get::get)),
    route("maven.put", Method::PUT, PATH, Handler::Publish(put::put)),
    route("maven.delete", Method::DELETE, PATH, Handler::Delete(remove::delete)),
];
