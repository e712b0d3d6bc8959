//! Paths that mean one thing to a router, and another to a check, a handler or a file system.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::Path;

use entrepot_kit::Kind;
use http::Method;
use serde_json::json;

use super::refused;
use crate::access::{every_route, furnished};
use crate::house::{House, PASSWORD};
use crate::raw::Call;
use crate::upstream::ScriptedUpstream;

/// Spellings of "one folder up", and of what ends a name elsewhere.
const UP: [&str; 14] = [
    "..",
    "%2e%2e",
    "%2E%2E",
    ".%2e",
    "%2e.",
    "..%2f..",
    "%2e%2e%2f%2e%2e",
    "..%5c..",
    "..\\..",
    "%c0%ae%c0%ae",
    "%00",
    "x%0d%0aSet-Cookie:%20a=b",
    ".",
    "%zz",
];

fn files_below(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![folder.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            } else if !entry.path().to_string_lossy().contains("entrepot.db") {
                found.insert(entry.path().to_string_lossy().into_owned());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn path_traversal_on_every_route() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses = furnished(&house, &upstream).await;
    house.repository("beta/secret", "generic", Kind::Hosted, false, json!({})).await;
    assert_eq!(house.call_as("beta-owner", Call::put("/beta/secret/treasure.txt", "treasure")).await.status, 201);
    let before: Vec<u64> = addresses.iter().map(|address| house.head(address)).collect();
    let files = files_below(&house.data());
    let mut tried = 0;
    for probe in every_route(&house).iter().filter(|probe| probe.method != Method::HEAD && !probe.path.contains("%2F")) {
        for up in UP {
            for path in [format!("{up}/{}", probe.path), format!("{}/{up}", probe.path), probe.path.replacen('/', &format!("/{up}/"), 1)] {
                let mut call = probe.at(&format!("alpha/{}-hosted", probe.format)).signed("alpha-owner", PASSWORD);
                if path == probe.path {
                    continue;
                }
                call.target = format!("/alpha/{}-hosted/{path}", probe.format);
                refused(&house.call(call.clone()).await, &format!("{} {}", call.method, call.target));
                tried += 1;
            }
        }
    }
    assert!(tried > 1000, "{tried}");
    for target in [
        "/alpha/generic-hosted/../../beta/secret/treasure.txt",
        "/alpha/../beta/secret/treasure.txt",
        "/alpha/generic-hosted/%2e%2e/%2e%2e/beta/secret/treasure.txt",
        "/alpha/..%2f..%2fbeta/secret/treasure.txt",
        "/beta%2fsecret/treasure.txt",
        "//beta/secret/treasure.txt",
        "/%62eta/secret/treasure.txt",
        "/BETA/secret/treasure.txt",
        "/beta/secret./treasure.txt",
    ] {
        let reply = house.call_as("alpha-owner", Call::get(target)).await;
        assert!(reply.status.is_client_error() && !reply.text().contains("treasure\n"), "{target}: {}", reply.status);
    }
    assert_eq!(addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>(), before, "nothing was changed");
    assert_eq!(files_below(&house.data()), files, "and no file was made");
    assert_eq!(upstream.seen().len(), 0);
}

/// What is decoded once is a plain name: it comes back under that name and under no other.
#[tokio::test(flavor = "multi_thread")]
async fn double_encoding_and_look_alikes_are_plain_names() {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/files/top.txt", "top")).await.status, 201);
    for name in ["%252e%252e", "..;", "%ef%bc%8e%ef%bc%8e", "...", "%e2%80%a4%e2%80%a4", "CON", "a%20", "~", "-rf", "%25%32%65"] {
        let target = format!("/alpha/files/folder/{name}/top.txt");
        assert_eq!(house.call_as("alpha-owner", Call::put(&target, name)).await.status, 201, "{name}");
        assert_eq!(house.call(Call::get(&target)).await.text(), name);
        assert_eq!(house.call(Call::get("/alpha/files/top.txt")).await.text(), "top");
        assert_eq!(house.call(Call::get("/alpha/files/folder/top.txt")).await.status, 404, "{name}");
    }
}

/// The names of uploaded files never become paths.
#[tokio::test(flavor = "multi_thread")]
async fn traversal_in_the_name_of_an_upload() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    let files = files_below(&house.data());
    let manifest = entrepot_format_npm::testing::manifest("horse", "1.0.0");
    let honest = entrepot_format_npm::testing::publish_body(&manifest, &entrepot_format_npm::testing::tarball(&manifest), "latest");
    for name in ["../../horse-1.0.0.tgz", "/etc/passwd", "..\\horse-1.0.0.tgz", "horse-1.0.0.tgz/../x", "horse-1.0.0.tgz\u{0}", "", "__proto__"] {
        let mut body = honest.clone();
        let attachment = body["_attachments"]["horse-1.0.0.tgz"].take();
        body["_attachments"] = json!({ name: attachment });
        refused(&house.call_as("alpha-owner", Call::put("/alpha/npm/horse", body.to_string())).await, name);
    }
    for version in ["../../1.0.0", "1.0.0/../../x", "1.0.0%2f..", "", "__proto__", "1.0.0\u{0}", "9999999999999999999999.0.0"] {
        let text = honest.to_string().replace("1.0.0", &version.replace('\u{0}', "\\u0000"));
        refused(&house.call_as("alpha-owner", Call::put("/alpha/npm/horse", text)).await, version);
    }
    assert_eq!(house.head("alpha/npm"), 0);
    assert_eq!(files_below(&house.data()), files);
}
