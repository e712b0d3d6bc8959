//! Pulling Python's packages through: what a proxy owes installers, and the index behind it.
#![cfg(test)]

mod files;
mod group;
mod list;
mod metadata;
mod pages;

use bytes::Bytes;
use entrepot_format_pypi::testing::Wheel;
use entrepot_kit::{Kind, Sha256Digest};
use http::StatusCode;
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{self, Call};
use crate::upstream::{Reply, ScriptedUpstream};

const JSON: &str = "application/vnd.pypi.simple.v1+json";
const HTML: &str = "application/vnd.pypi.simple.v1+html";

/// A server with a proxy `alpha/mirror` that everyone may read, and the index behind it.
struct Mirror {
    house: House,
    upstream: ScriptedUpstream,
}

impl Mirror {
    async fn start(settings: Value) -> Self {
        let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
        let mut all = json!({ "url": format!("{}/simple/", upstream.url()), "allow_private": true, "retries": 0 });
        for (name, value) in settings.as_object().expect("settings") {
            all[name] = value.clone();
        }
        house.repository("alpha/mirror", "pypi", Kind::Proxy, true, json!({ "upstream": all })).await;
        Self { house, upstream }
    }

    async fn get(&self, path: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/mirror/{path}"))).await
    }

    /// The page of a project in JSON.
    async fn page(&self, project: &str) -> raw::Reply {
        self.house.call(Call::get(format!("/alpha/mirror/simple/{project}/")).with("Accept", JSON)).await
    }

    /// A file that must be there.
    #[track_caller]
    fn is(reply: &raw::Reply, source: &str, body: &[u8]) {
        assert_eq!((reply.status, reply.header("x-artifact-source")), (StatusCode::OK, source), "{}", reply.text());
        assert_eq!(reply.body, body);
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256Digest::of(bytes).hex()
}

/// A page in JSON with these files.
fn page(project: &str, serial: u64, files: &[Value]) -> Reply {
    let page = json!({ "meta": { "api-version": "1.4", "_last-serial": serial }, "name": project, "versions": ["1.0"], "files": files });
    Reply::bytes(page.to_string()).header("Content-Type", JSON)
}

/// A file of such a page.
fn file(filename: &str, url: &str, bytes: &[u8], more: Value) -> Value {
    let mut file = json!({ "filename": filename, "url": url, "hashes": { "sha256": sha256(bytes) }, "size": bytes.len() });
    for (name, value) in more.as_object().expect("members") {
        file[name] = value.clone();
    }
    file
}

/// A wheel of half a megabyte that does not pack well, and its metadata.
fn large_wheel() -> (String, Bytes, String) {
    let mut state = 1_u32;
    let noise: Vec<u8> = (0..500_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let wheel = Wheel::new("foo", "1.0", "large").file("foo/noise.bin", &noise).header("Requires-Dist", "bar>=2");
    (wheel.filename(), wheel.build().into(), wheel.metadata())
}
