//! The routes, as data. What is not here (teams, organisations, trusted publishers, staged publishes) is not served.

use entrepot_kit::{Handler, Route, RouteTable};
use http::Method;

use crate::handler::{account, audit, keys, read, search, tag, unpublish, write};

macro_rules! routes {
    ($($method:ident $template:literal $name:literal $($package:literal)? => $kind:ident($handler:path);)*) => {
        &[$(Route { name: $name, method: Method::$method, template: $template, package: routes!(@ $($package)?), handler: Handler::$kind($handler) }),*]
    };
    (@) => { None };
    (@ $package:literal) => { Some($package) };
}

/// The table. Names below `-/` come first: a package may be called `-`.
pub const ROUTES: RouteTable = RouteTable(routes! {
    GET "-/ping" "npm.ping" => Read(account::ping);
    GET "-/whoami" "npm.whoami" => Read(account::whoami);
    GET "-/npm/v1/user" "npm.profile" => Read(account::profile);
    PUT "-/user/org.couchdb.user:{user}" "npm.login" => SignIn(account::login);
    POST "-/v1/login" "npm.web-login" => SignIn(account::start_web_login);
    GET "-/v1/done" "npm.web-login-done" => SignIn(account::poll_web_login);
    DELETE "-/user/token/{token}" "npm.logout" => SignIn(account::logout);
    GET "-/npm/v1/tokens" "npm.tokens" => SignIn(account::tokens);
    POST "-/npm/v1/tokens" "npm.token-create" => SignIn(account::create_token);
    DELETE "-/npm/v1/tokens/token/{token}" "npm.token-revoke" => SignIn(account::revoke_token);
    GET "-/v1/search" "npm.search" => Read(search::search);
    POST "-/npm/v1/security/advisories/bulk" "npm.audit-bulk" => Read(audit::bulk);
    POST "-/npm/v1/security/audits" "npm.audit" => Read(audit::tree);
    POST "-/npm/v1/security/audits/quick" "npm.audit-quick" => Read(audit::tree);
    GET "-/npm/v1/keys" "npm.keys" => Read(keys::keys);
    GET "-/npm/v1/attestations/{@spec}" "npm.attestations" => Read(keys::attestations);
    GET "-/package/{@package}/dist-tags" "npm.tags" "package" => Read(tag::list);
    PUT "-/package/{@package}/dist-tags/{tag}" "npm.tag-add" "package" => Publish(tag::add);
    POST "-/package/{@package}/dist-tags/{tag}" "npm.tag-add" "package" => Publish(tag::add);
    DELETE "-/package/{@package}/dist-tags/{tag}" "npm.tag-remove" "package" => Publish(tag::remove);
    GET "-/package/{@package}/visibility" "npm.visibility" "package" => Read(account::visibility);
    GET "-/package/{@package}/access" "npm.access" "package" => Read(account::access);
    GET "-/package/{@package}/collaborators" "npm.collaborators" "package" => Read(account::collaborators);
    PUT "{@package}/-rev/{rev}" "npm.unpublish-versions" "package" => Delete(unpublish::versions);
    DELETE "{@package}/-rev/{rev}" "npm.unpublish" "package" => Delete(unpublish::all);
    DELETE "{@package}/-/{file}/-rev/{rev}" "npm.unpublish-file" "package" => Delete(unpublish::file);
    GET "{@package}/-/{file}" "npm.tarball" "package" => Read(read::tarball);
    GET "{@package}/-/{@file}" "npm.tarball-scoped" "package" => Read(read::tarball);
    PUT "{@package}" "npm.publish" "package" => Publish(write::put);
    GET "{@package}" "npm.packument" "package" => Read(read::packument);
    GET "{@package}/{version}" "npm.version" "package" => Read(read::version);
});

#[cfg(test)]
mod tests {
    use super::ROUTES;
    use entrepot_kit::path::RequestPath;
    use entrepot_kit::route::Found;
    use http::Method;

    fn route(method: &Method, path: &str) -> Option<(&'static str, String)> {
        match ROUTES.find(method, &RequestPath::decode(path).unwrap()) {
            Found::Route(route, captures) => Some((route.name, captures.get("package").to_owned())),
            _ => None,
        }
    }

    #[test]
    fn requests_of_real_clients_find_their_routes() {
        for (method, path, name, package) in [
            (Method::GET, "left-pad", "npm.packument", "left-pad"),
            (Method::HEAD, "left-pad", "npm.packument", "left-pad"),
            (Method::GET, "-", "npm.packument", "-"),
            (Method::GET, "@acme%2fwidget", "npm.packument", "@acme/widget"),
            (Method::GET, "@acme%2Fwidget", "npm.packument", "@acme/widget"),
            (Method::GET, "@acme/widget", "npm.packument", "@acme/widget"),
            (Method::GET, "@acme/widget/latest", "npm.version", "@acme/widget"),
            (Method::GET, "left-pad/1.3.0", "npm.version", "left-pad"),
            (Method::GET, "@acme%2fwid.get/-/wid.get-2.0.0.tgz", "npm.tarball", "@acme/wid.get"),
            (Method::GET, "@acme/wid.get/-/wid.get-2.0.0.tgz", "npm.tarball", "@acme/wid.get"),
            (Method::GET, "@acme/wid.get/-/@acme/wid.get-2.0.0.tgz", "npm.tarball-scoped", "@acme/wid.get"),
            (Method::GET, "-/-/--0.0.1.tgz", "npm.tarball", "-"),
            (Method::PUT, "@acme%2fwidget", "npm.publish", "@acme/widget"),
            (Method::PUT, "@acme%2fwidget/-rev/12", "npm.unpublish-versions", "@acme/widget"),
            (Method::DELETE, "left-pad/-rev/12", "npm.unpublish", "left-pad"),
            (Method::DELETE, "@acme/widget/-/widget-1.0.0.tgz/-rev/13", "npm.unpublish-file", "@acme/widget"),
            (Method::GET, "-/package/@acme%2fwidget/dist-tags", "npm.tags", "@acme/widget"),
            (Method::PUT, "-/package/@acme%2fwidget/dist-tags/next", "npm.tag-add", "@acme/widget"),
            (Method::DELETE, "-/package/left-pad/dist-tags/next", "npm.tag-remove", "left-pad"),
            (Method::PUT, "-/user/org.couchdb.user:bob", "npm.login", ""),
            (Method::POST, "-/v1/login", "npm.web-login", ""),
            (Method::DELETE, "-/user/token/ent_x_y", "npm.logout", ""),
            (Method::GET, "-/npm/v1/attestations/@acme%2fwidget@1.0.0", "npm.attestations", ""),
            (Method::GET, "-/npm/v1/attestations/left-pad@1.0.0", "npm.attestations", ""),
            (Method::POST, "-/npm/v1/security/advisories/bulk", "npm.audit-bulk", ""),
        ] {
            assert_eq!(route(&method, path), Some((name, package.to_owned())), "{method} {path}");
        }
        for (method, path) in [
            (Method::POST, "-/stage/package/left-pad"),
            (Method::GET, "a%2fb"),
            (Method::GET, ""),
            (Method::PUT, "-/team/acme/core"),
            (Method::DELETE, "left-pad"),
        ] {
            assert_eq!(route(&method, path), None, "{method} {path}");
        }
    }

    #[test]
    fn every_route_finds_itself_by_the_path_that_it_builds() {
        let values = [
            ("package", "@acme/wid.get"),
            ("file", "wid.get-1.0.0.tgz"),
            ("rev", "12"),
            ("tag", "next"),
            ("version", "1.0.0"),
            ("user", "bob"),
            ("token", "t"),
            ("spec", "@acme/wid.get@1.0.0"),
        ];
        for expected in ROUTES.0 {
            let mut values = values;
            if expected.template.contains("{@file}") {
                values[1].1 = "@acme/wid.get-1.0.0.tgz";
            }
            let path = expected.path(&values);
            match ROUTES.find(&expected.method, &RequestPath::decode(&path).unwrap()) {
                Found::Route(found, captures) => {
                    assert_eq!((found.name, found.template), (expected.name, expected.template), "{path}");
                    for (name, value) in values {
                        assert!(captures.get(name).is_empty() || captures.get(name) == value, "{path}: {name}");
                    }
                }
                _ => panic!("{path} finds nothing"),
            }
        }
    }
}
