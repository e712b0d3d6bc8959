//! Who may do what, and what the others may learn: tried on every route of every format.
#![cfg(test)]

mod groups;
mod hidden;
mod policies;
mod rights;
mod tokens;

use std::collections::BTreeSet;

use entrepot_format_npm::testing::{manifest, publish_body, tarball};
use entrepot_format_pypi::testing::{Form, Wheel};
use entrepot_kit::path::RequestPath;
use entrepot_kit::route::Found;
use entrepot_kit::{Handler, Kind};
use http::Method;
use serde_json::json;

use crate::house::{House, SYSTEM};
use crate::raw::{Call, Reply};
use crate::upstream::ScriptedUpstream;

/// A request that leads to a route, without the address of a repository before it.
#[derive(Clone)]
pub(crate) struct Probe {
    pub(crate) format: &'static str,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The route demands no right.
    pub(crate) open: bool,
    /// The route demands `read`.
    pub(crate) reads: bool,
    /// The route is one of container clients, below `/v2/`.
    pub(crate) registry: bool,
}

impl Probe {
    pub(crate) fn at(&self, address: &str) -> Call {
        let mount = if self.registry { "/v2" } else { "" };
        let call = Call::new(self.method.clone(), format!("{mount}/{address}/{}", self.path));
        if matches!(self.method, Method::PUT | Method::POST | Method::PATCH) {
            Call { body: "{}".into(), ..call.with("Content-Type", "application/json") }
        } else {
            call
        }
    }
}

/// Every route of every format that the server speaks, with and without a scope in the name, and `HEAD` wherever there is `GET`.
pub(crate) fn every_route(house: &House) -> Vec<Probe> {
    let mut probes = Vec::new();
    for format in &house.engine().formats {
        let tables = [(format.routes(), false), (format.registry_routes(), true)];
        for (table, route, registry) in tables.into_iter().flat_map(|(table, registry)| table.0.iter().map(move |route| (table, route, registry))) {
            let mut paths = BTreeSet::new();
            for package in ["left-pad", "@acme/widget"] {
                let mut values = vec![
                    ("package", package),
                    ("project", "left-pad"),
                    ("name", "left-pad"),
                    ("namespace", "left"),
                    ("spec", "left-pad@1.0.0"),
                    ("file", "left-pad-1.0.0.tgz"),
                    ("version", "1.0.0"),
                    ("rev", "1"),
                    ("tag", "latest"),
                    ("path", "folder/file.txt"),
                    ("branch", "edge"),
                    ("repository", "main"),
                    ("arch", "x86_64"),
                    ("user", "somebody"),
                    ("token", "ent_token"),
                    ("image", "left-pad/nested"),
                    ("digest", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
                    ("reference", "latest"),
                    ("upload", "0123456789abcdef"),
                    ("id", "release-1"),
                ];
                for capture in route.template.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                    let name = capture.trim_start_matches('@').trim_end_matches("..");
                    assert!(values.iter().any(|(known, _)| *known == name), "{}: say what {name} shall be", route.template);
                }
                if route.template.contains("{@file}") {
                    values.insert(0, ("file", "@acme/widget-1.0.0.tgz"));
                }
                let path = route.path(&values);
                // A format without scopes has no such address.
                if matches!(table.find(&route.method, &RequestPath::decode(&path).unwrap()), Found::Route(found, _) if found.name == route.name) {
                    paths.insert(path);
                }
            }
            assert!(!paths.is_empty(), "{} is reached by no filler", route.name);
            let methods = if route.method == Method::GET { vec![Method::GET, Method::HEAD] } else { vec![route.method.clone()] };
            for method in methods {
                let (open, reads) = (matches!(route.handler, Handler::SignIn(_)), matches!(route.handler, Handler::Read(_)));
                probes.extend(paths.iter().map(|path| Probe { format: format.id(), method: method.clone(), path: path.clone(), open, reads, registry }));
            }
        }
    }
    assert!(probes.len() > 60, "the tables were read");
    probes
}

/// Publishes a package with npm's own request.
pub(crate) async fn publish(house: &House, user: &str, address: &str, name: &str, version: &str) -> Reply {
    let manifest = manifest(name, version);
    let body = publish_body(&manifest, &tarball(&manifest), "latest").to_string();
    house.call_as(user, Call::put(format!("/{address}/{}", name.replace('/', "%2f")), body).with("Content-Type", "application/json")).await
}

/// A private repository of every format and kind in `alpha`, each with something in it that could be given away.
pub(crate) async fn furnished(house: &House, upstream: &ScriptedUpstream) -> Vec<String> {
    let mut addresses = Vec::new();
    for format in ["npm", "pypi", "maven", "generic", "oci", "toy"] {
        let name = |kind: &str| format!("{SYSTEM}/{format}-{kind}");
        house.repository(&name("hosted"), format, Kind::Hosted, false, json!({})).await;
        let settings = json!({ "upstream": { "url": upstream.url(), "allow_private": true, "retries": 0 } });
        house.repository(&name("proxy"), format, Kind::Proxy, false, settings).await;
        let settings = json!({ "members": [name("hosted"), name("proxy")], "publish_to": name("hosted") });
        house.repository(&name("group"), format, Kind::Group, false, settings).await;
        addresses.extend(["hosted", "proxy", "group"].map(name));
    }
    for package in ["left-pad", "@acme/widget"] {
        assert_eq!(publish(house, "alpha-owner", "alpha/npm-hosted", package, "1.0.0").await.status, 201);
    }
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/generic-hosted/folder/file.txt", "secret")).await.status, 201);
    let file = "/alpha/maven-hosted/com/acme/left-pad/1.0/left-pad-1.0.txt";
    assert_eq!(house.call_as("alpha-owner", Call::put(file, "secret")).await.status, 201);
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/toy-hosted/left-pad/1.0.0", "secret")).await.status, 201);
    let form = Form::wheel(&Wheel::new("left-pad", "1.0.0", "secret"));
    let upload = Call::post("/alpha/pypi-hosted/", form.body()).with("Content-Type", Form::content_type());
    assert_eq!(house.call_as("alpha-owner", upload).await.status, 200);
    crate::registry::push(house, "alpha-owner", "alpha/oci-hosted/left-pad/nested", "latest").await;
    addresses
}

/// An answer without what differs between any two requests, with one address written as another.
pub(crate) fn comparable(reply: &Reply, from: &str, to: &str) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).replace(from, to)))
        .collect();
    headers.sort();
    (reply.status.as_u16(), headers, reply.text().replace(from, to))
}
