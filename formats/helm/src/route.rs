//! The routes, as data.

use entrepot_kit::{Handler, Route};
use http::Method;

use crate::handler::{api, files, index, upload};

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
    POST "api/charts" "helm.upload" => Publish(upload::post);
    GET "api/charts/{name}" "helm.chart" "name" => Read(api::chart);
    DELETE "api/charts/{name}" "helm.delete-chart" "name" => Delete(api::delete_chart);
    GET "api/charts/{name}/{version}" "helm.version" "name" => Read(api::version);
    DELETE "api/charts/{name}/{version}" "helm.delete" "name" => Delete(api::delete_version);
    POST "api/prov" "helm.upload-prov" => Publish(upload::post_prov);
    GET "info" "helm.info" => Read(api::info);
    GET "health" "helm.health" => Read(api::health);
    POST "" "helm.upload-root" => Publish(upload::post);
    PUT "" "helm.put-root" => Publish(upload::put);
    PUT "{path..}" "helm.put" => Publish(upload::put);
    POST "{path..}" "helm.post" => Publish(upload::put);
    GET "{file}" "helm.file-at-root" => Read(files::by_name);
};

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
