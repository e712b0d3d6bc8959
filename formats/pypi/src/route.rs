//! The routes, as data.

use entrepot_kit::{Handler, Route, RouteTable};
use http::Method;

use crate::handler::{files, legacy, manage, namespaces, simple, upload};

macro_rules! routes {
    ($($method:ident $template:literal $name:literal $($package:literal)? => $kind:ident($handler:path);)*) => {
        &[$(Route { name: $name, method: Method::$method, template: $template, package: routes!(@ $($package)?), handler: Handler::$kind($handler) }),*]
    };
    (@) => { None };
    (@ $package:literal) => { Some($package) };
}

/// The table. What an upload is of, only its body says.
pub const ROUTES: RouteTable = RouteTable(routes! {
    POST "" "pypi.upload" => Publish(upload::post);
    POST "legacy" "pypi.upload-legacy" => Publish(upload::post);
    GET "simple" "pypi.projects" => Read(simple::list);
    GET "simple/{project}" "pypi.project" "project" => Read(simple::page);
    GET "files/{project}/{file}" "pypi.file" "project" => Read(files::get);
    GET "integrity/{project}/{version}/{file}/provenance" "pypi.provenance" "project" => Read(files::provenance);
    GET "pypi/{project}/json" "pypi.json" "project" => Read(legacy::project);
    GET "pypi/{project}/{version}/json" "pypi.json-version" "project" => Read(legacy::release);
    GET "namespaces" "pypi.namespaces" => Read(namespaces::list);
    GET "namespace/{namespace}" "pypi.namespace" => Read(namespaces::one);
    GET "manage/{project}/status" "pypi.status" "project" => Read(manage::status);
    PUT "manage/{project}/status" "pypi.status-set" "project" => Manage(manage::set_status);
    POST "manage/{project}/{version}/yank" "pypi.yank" "project" => Publish(manage::yank);
    DELETE "manage/{project}/{version}/yank" "pypi.unyank" "project" => Publish(manage::unyank);
    POST "manage/{project}/{version}/{file}/yank" "pypi.yank-file" "project" => Publish(manage::yank);
    DELETE "manage/{project}/{version}/{file}/yank" "pypi.unyank-file" "project" => Publish(manage::unyank);
    DELETE "manage/{project}" "pypi.delete" "project" => Delete(manage::delete_project);
    DELETE "manage/{project}/{version}" "pypi.delete-release" "project" => Delete(manage::delete_release);
    DELETE "manage/{project}/{version}/{file}" "pypi.delete-file" "project" => Delete(manage::delete_file);
});

#[cfg(test)]
mod tests {
    use super::ROUTES;
    use entrepot_kit::path::RequestPath;
    use entrepot_kit::route::Found;
    use http::Method;

    #[test]
    fn requests_of_real_clients_find_their_routes() {
        for (method, path, name, project) in [
            (Method::POST, "", "pypi.upload", ""),
            (Method::POST, "legacy/", "pypi.upload-legacy", ""),
            (Method::POST, "legacy", "pypi.upload-legacy", ""),
            (Method::GET, "simple/", "pypi.projects", ""),
            (Method::GET, "simple/acme-foo/", "pypi.project", "acme-foo"),
            (Method::HEAD, "simple/Acme.Foo", "pypi.project", "Acme.Foo"),
            (Method::GET, "files/torch/torch-2.1.0%2Bcu121-cp311-cp311-linux_x86_64.whl", "pypi.file", "torch"),
            (Method::GET, "files/a/a-1-py3-none-any.whl.metadata", "pypi.file", "a"),
            (Method::GET, "integrity/a/1.0/a-1.0.tar.gz/provenance", "pypi.provenance", "a"),
            (Method::GET, "pypi/a/json", "pypi.json", "a"),
            (Method::GET, "pypi/a/1.0/json", "pypi.json-version", "a"),
            (Method::DELETE, "manage/a/1.0/yank", "pypi.unyank", "a"),
            (Method::POST, "manage/a/1.0/a-1.0.tar.gz/yank", "pypi.yank-file", "a"),
            (Method::DELETE, "manage/a/1.0/a-1.0.tar.gz", "pypi.delete-file", "a"),
            (Method::PUT, "manage/a/status", "pypi.status-set", "a"),
        ] {
            match ROUTES.find(&method, &RequestPath::decode(path).unwrap()) {
                Found::Route(route, captures) => assert_eq!((route.name, captures.get("project")), (name, project), "{method} {path}"),
                _ => panic!("{method} {path} finds nothing"),
            }
        }
    }

    #[test]
    fn every_route_finds_itself_by_the_path_that_it_builds() {
        let values = [("project", "acme-foo"), ("version", "1.0+x"), ("file", "acme_foo-1.0+x-py3-none-any.whl"), ("namespace", "acme")];
        for expected in ROUTES.0 {
            let path = expected.path(&values);
            match ROUTES.find(&expected.method, &RequestPath::decode(&path).unwrap()) {
                Found::Route(found, captures) => {
                    assert_eq!(found.name, expected.name, "{path}");
                    assert!(values.iter().all(|(name, value)| captures.get(name).is_empty() || captures.get(name) == *value), "{path}");
                }
                _ => panic!("{path} finds nothing"),
            }
        }
    }
}
