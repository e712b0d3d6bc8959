//! Retention, the use of files, and quotas, as those who push and pull meet them. Days pass by the server's clock.
#![cfg(test)]

mod charts;
mod images;
mod proxies;
mod quotas;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use entrepot_kit::{Kind, Sha256Digest, Timestamp};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{Call, Reply};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DAY: i64 = 24 * 3600 * 1000;

/// A server whose clock a test moves.
struct Later {
    house: House,
    offset: Arc<AtomicI64>,
}

impl Later {
    async fn start() -> Self {
        Self::start_on(crate::support::storage::wants_replicas()).await
    }

    /// One engine: what two take in within seconds may go over a quota.
    async fn alone() -> Self {
        Self::start_on(false).await
    }

    async fn start_on(replicas: bool) -> Self {
        let offset = Arc::new(AtomicI64::new(0));
        let moved = Arc::clone(&offset);
        let house = House::start_on(replicas, move |options| {
            let (real, moved) = (entrepot::clock::system(), Arc::clone(&moved));
            options.clock = Arc::new(move || Timestamp(real().0 + moved.load(Ordering::Relaxed)));
        })
        .await;
        Self { house, offset }
    }

    /// Lets days pass.
    fn pass(&self, days: i64) {
        self.offset.fetch_add(days * DAY, Ordering::Relaxed);
    }

    async fn repository(&self, name: &str, format: &str, kind: Kind, settings: Value) {
        self.house.repository(&format!("alpha/{name}"), format, kind, true, settings).await;
    }

    async fn owner(&self, call: Call) -> Reply {
        self.house.call_as("alpha-owner", call).await
    }

    /// Asks for a path of an OCI repository.
    async fn oci(&self, method: Method, path: &str) -> Reply {
        self.owner(Call::new(method, format!("/v2/alpha/{path}"))).await
    }

    async fn status(&self, path: &str) -> StatusCode {
        self.oci(Method::HEAD, path).await.status
    }

    /// Pushes a blob, and gives its digest.
    async fn blob(&self, image: &str, bytes: impl Into<Bytes>) -> String {
        let bytes = bytes.into();
        let digest = digest(&bytes);
        let reply = self.owner(Call::post(format!("/v2/alpha/{image}/blobs/uploads/?digest={digest}"), bytes)).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        digest
    }

    async fn put_manifest(&self, image: &str, reference: &str, manifest: &Value) -> Reply {
        let media_type = manifest["mediaType"].as_str().expect("a type").to_owned();
        self.owner(Call::put(format!("/v2/alpha/{image}/manifests/{reference}"), manifest.to_string()).with("Content-Type", media_type)).await
    }

    /// Pushes an image of one layer, and gives the digest of its manifest.
    async fn push(&self, image: &str, reference: Option<&str>, layer: &[u8]) -> String {
        self.blob(image, "{}").await;
        self.blob(image, layer.to_vec()).await;
        self.manifest(image, reference, &manifest(layer, None)).await
    }

    async fn manifest(&self, image: &str, reference: Option<&str>, manifest: &Value) -> String {
        let digest = digest(manifest.to_string().as_bytes());
        let reply = self.put_manifest(image, reference.unwrap_or(&digest), manifest).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        digest
    }

    /// Holds to the rules of a repository, after a dry run that must say the same.
    async fn tidy(&self, name: &str) -> Value {
        self.house.settle().await;
        let ask = |dry: bool| self.owner(Call::post(format!("/api/v1/repositories/alpha/{name}/retention?dry_run={dry}"), ""));
        let told = ask(true).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.text());
        let (mut told, done) = (told.json(), ask(false).await);
        assert_eq!(done.status, StatusCode::OK, "{}", done.text());
        let done = done.json();
        assert_eq!((&told["dry_run"], &done["dry_run"]), (&json!(true), &json!(false)));
        told["dry_run"] = json!(false);
        assert_eq!(told, done, "a dry run says what a run does");
        done
    }

    /// Removes what nothing names, without any grace; gives how many blobs that were.
    async fn collect(&self) -> u64 {
        self.collect_after(std::time::Duration::ZERO).await
    }

    /// The same for what nothing names as long as this.
    async fn collect_after(&self, grace: std::time::Duration) -> u64 {
        let engine = self.house.engine();
        // The storage's clock is the real one: by ours its newest files are days old.
        let ahead = std::time::Duration::from_millis(self.offset.load(Ordering::Relaxed).unsigned_abs());
        let plan = |now| {
            let plan = entrepot::jobs::gc::Plan::new(now, grace);
            entrepot::jobs::gc::Plan { least_age: plan.least_age + ahead, unfinished: plan.unfinished + ahead, ..plan }
        };
        let mut pace = entrepot::jobs::pace::Pace::new(&|_| {}, None);
        let outcome = entrepot::jobs::gc::collect(&engine.catalog, &*engine.blobs, &plan(engine.now()), &mut pace).await.expect("collected");
        outcome.removed.count
    }

    async fn history(&self, name: &str) -> Vec<Value> {
        let reply = self.owner(Call::get(format!("/api/v1/repositories/alpha/{name}/history"))).await;
        reply.json()["items"].as_array().expect("items").clone()
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

/// An image manifest of one layer, or one that refers to a subject.
fn manifest(layer: &[u8], subject: Option<&str>) -> Value {
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": IMAGE, "artifactType": "application/vnd.example.test",
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2 },
        "layers": [{ "mediaType": "application/octet-stream", "digest": digest(layer), "size": layer.len() }],
    });
    if let Some(subject) = subject {
        manifest["subject"] = json!({ "mediaType": IMAGE, "digest": subject, "size": 100 });
    }
    manifest
}

fn index(children: &[&str]) -> Value {
    let child = |digest: &&str| json!({ "mediaType": IMAGE, "digest": digest, "size": 100 });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": children.iter().map(child).collect::<Vec<_>>() })
}

/// The names of what went, of one kind.
fn gone(report: &Value, kind: &str) -> Vec<String> {
    let items = report["gone"].as_array().expect("a list").iter().filter(|item| item["kind"] == kind);
    items.map(|item| item["name"].as_str().expect("a name").to_owned()).collect()
}

/// Why a version or file stays.
fn reason(report: &Value, name: &str) -> String {
    let found = report["stays"].as_array().expect("a list").iter().find(|item| item["name"] == name);
    found.map(|item| item["reason"].as_str().expect("a reason").to_owned()).unwrap_or_default()
}
