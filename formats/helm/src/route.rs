//! The routes, as data.

use entrepot_kit::{Handler, Route};
use entrepot_oci_core::serve::route::{BLOB, EXTENSIONS, MANIFEST, REFERRERS, TAGS, UPLOAD, UPLOADS, route};
use entrepot_oci_core::serve::{blob, extension, referrers, upload};
use futures::FutureExt as _;
use http::Method;

use crate::handler::{api, files, index, manifest, upload as uploads};

macro_rules! routes {
    ($($method:ident $template:literal $name:literal $($package:literal)? => $kind:ident($handler:path);)*) => {
        [$(Route { name: $name, method: Method::$method, template: $template, package: routes!(@ $($package)?), handler: Handler::$kind($handler) }),*]
    };
    (@) => { None };
    (@ $package:literal) => { Some($package) };
}

/// The table. What an upload is of, only its body says.
pub(crate) static ROUTES: [Route; 17] = routes! {
    GET "index.yaml" "helm.index" => Read(index::get);
    GET "charts/{name}/{file}" "helm.file" "name" => Read(files::get);
    GET "charts/{file}" "helm.file-by-name" => Read(files::by_name);
    GET "api/charts" "helm.charts" => Read(api::list);
    POST "api/charts" "helm.upload" => Publish(uploads::post);
    GET "api/charts/{name}" "helm.chart" "name" => Read(api::chart);
    DELETE "api/charts/{name}" "helm.delete-chart" "name" => Delete(api::delete_chart);
    GET "api/charts/{name}/{version}" "helm.version" "name" => Read(api::version);
    DELETE "api/charts/{name}/{version}" "helm.delete" "name" => Delete(api::delete_version);
    POST "api/prov" "helm.upload-prov" => Publish(uploads::post_prov);
    GET "info" "helm.info" => Read(api::info);
    GET "health" "helm.health" => Read(api::health);
    POST "" "helm.upload-root" => Publish(uploads::post);
    PUT "" "helm.put-root" => Publish(uploads::put);
    PUT "{path..}" "helm.put" => Publish(uploads::put);
    POST "{path..}" "helm.post" => Publish(uploads::put);
    GET "{file}" "helm.file-at-root" => Read(files::by_name);
};

/// The routes below `/v2/{system}/{repository}/`.
pub(crate) static REGISTRY: [Route; 13] = [
    route("helm.blob", Method::GET, BLOB, Handler::Read(|repository, request| manifest::blob(repository, request).boxed())),
    route("helm.blob-delete", Method::DELETE, BLOB, Handler::Delete(|repository, request| blob::delete(repository, request).boxed())),
    route("helm.upload-begin", Method::POST, UPLOADS, Handler::Publish(|repository, request| upload::begin(repository, request).boxed())),
    route("helm.upload-status", Method::GET, UPLOAD, Handler::Publish(|repository, request| upload::status(repository, request).boxed())),
    route("helm.upload-continue", Method::PATCH, UPLOAD, Handler::Publish(|repository, request| upload::patch(repository, request).boxed())),
    route("helm.upload-end", Method::PUT, UPLOAD, Handler::Publish(|repository, request| upload::end(repository, request).boxed())),
    route("helm.upload-cancel", Method::DELETE, UPLOAD, Handler::Publish(|repository, request| upload::cancel(repository, request).boxed())),
    route("helm.manifest", Method::GET, MANIFEST, Handler::Read(|repository, request| manifest::get(repository, request).boxed())),
    route("helm.manifest-put", Method::PUT, MANIFEST, Handler::Publish(|repository, request| manifest::put(repository, request).boxed())),
    route("helm.manifest-delete", Method::DELETE, MANIFEST, Handler::Delete(|repository, request| manifest::delete(repository, request).boxed())),
    route("helm.tags", Method::GET, TAGS, Handler::Read(|repository, request| manifest::tags(repository, request).boxed())),
    route("helm.referrers", Method::GET, REFERRERS, Handler::Read(|repository, request| referrers::list(repository, request).boxed())),
    route("helm.extensions", Method::GET, EXTENSIONS, Handler::Read(|_, _| async { extension::discover() }.boxed())),
];

#[cfg(test)]
mod tests {
    use super::ROUTES;
    use entrepot_kit::RouteTable;
    use entrepot_kit::path::RequestPath;
    use entrepot_kit::route::Found;
    use http::Method;

    #[test]
    fn requests_of_real_clients_find_their_routes() {
        for (method, path, name) in [
            (Method::GET, "index.yaml", "helm.index"),
            (Method::HEAD, "index.yaml", "helm.index"),
            (Method::GET, "charts/web/web-1.0.0%2Bx.tgz", "helm.file"),
            (Method::GET, "charts/web-1.0.0.tgz.prov", "helm.file-by-name"),
            (Method::GET, "web-1.0.0.tgz", "helm.file-at-root"),
            (Method::GET, "api/charts", "helm.charts"),
            (Method::GET, "api/charts/web/1.0.0", "helm.version"),
            (Method::HEAD, "api/charts/web/1.0.0+x", "helm.version"),
            (Method::POST, "api/charts", "helm.upload"),
            (Method::POST, "api/prov", "helm.upload-prov"),
            (Method::DELETE, "api/charts/web/1.0.0", "helm.delete"),
            (Method::PUT, "web-1.0.0.tgz", "helm.put"),
            (Method::PUT, "stable/web-1.0.0.tgz", "helm.put"),
            (Method::POST, "", "helm.upload-root"),
            (Method::GET, "health", "helm.health"),
        ] {
            match RouteTable(&ROUTES).find(&method, &RequestPath::decode(path).unwrap()) {
                Found::Route(route, _) => assert_eq!(route.name, name, "{method} {path}"),
                _ => panic!("{method} {path} finds nothing"),
            }
        }
    }
}
