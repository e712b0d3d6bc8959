//! Big packages cost disk, not memory.
#![cfg(test)]

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::StreamExt as _;
use http::Method;
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};

use crate::support::TestServer;
use crate::support::api::Api;
use crate::support::clients::Home;
use crate::{three_repositories, token};

const MIB: u64 = 1 << 20;
/// What the server may use for itself, however big the packages are.
const MOST: u64 = 150 * MIB;
const AT_ONCE: usize = 10;
const PART: usize = 768 * 1024;

/// Watches the memory of the server, of each process by itself, until it is asked.
struct Watch {
    stop: Arc<AtomicBool>,
    sampling: std::thread::JoinHandle<(u64, usize)>,
}

impl Watch {
    fn begin(server: &TestServer) -> Self {
        let (pids, stop) = (server.pids(), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let sampling = std::thread::spawn(move || {
            let (mut peak, mut samples) = (0, 0);
            while !stopped.load(Ordering::Relaxed) {
                peak = pids.iter().map(|pid| crate::support::process::own_memory(*pid)).fold(peak, u64::max);
                samples += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            (peak, samples)
        });
        Self { stop, sampling }
    }

    #[track_caller]
    fn stayed_small(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let (peak, samples) = self.sampling.join().unwrap();
        println!("{what}: at most {} MiB in {samples} samples", peak / MIB);
        assert!(samples > 20, "{what}: {samples} samples say nothing");
        assert!(peak < MOST, "{what}: the server used {} MiB of its own", peak / MIB);
    }
}

/// Bytes that do not compress.
fn random(file: &mut impl Write, bytes: u64) {
    let mut source = File::open("/dev/urandom").unwrap().take(bytes);
    assert_eq!(std::io::copy(&mut source, file).unwrap(), bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_publishes_and_installs_300_megabytes() {
    let server = TestServer::builder().config(three_repositories("http://127.0.0.1:1/", 300)).start();
    let author = Home::new();
    author.npm_registry(&server.url("/main/npm/"), Some(&token(&server).await));
    let package = author.package("huge", "1.0.0");
    random(&mut File::create(package.join("blob.bin")).unwrap(), 300_000_000);
    let watch = Watch::begin(&server);
    author.npm(&package, &["publish"]).succeeded();
    watch.stayed_small("npm publish");
    let watch = Watch::begin(&server);
    let reader = Home::new();
    reader.npm_registry(&server.url("/main/npm-all/"), None);
    let project = reader.project("reader");
    reader.npm(&project, &["install", "huge"]).succeeded();
    watch.stayed_small("npm install");
    assert_eq!(std::fs::metadata(project.join("node_modules/huge/blob.bin")).unwrap().len(), 300_000_000);
}

/// A package of 64 MiB and more, ready to be published.
struct Big {
    name: String,
    tarball: PathBuf,
    size: u64,
    sha256: Vec<u8>,
}

impl Big {
    fn new(folder: &Path, number: usize) -> Self {
        let (name, blob, tarball) = (format!("big-{number}"), folder.join(format!("{number}.bin")), folder.join(format!("{number}.tgz")));
        random(&mut File::create(&blob).unwrap(), 64 * MIB + 4096);
        let compressed = flate2::write::GzEncoder::new(File::create(&tarball).unwrap(), flate2::Compression::none());
        let mut archive = tar::Builder::new(compressed);
        let manifest = json!({ "name": name, "version": "1.0.0" }).to_string();
        let mut header = tar::Header::new_gnu();
        header.set_size(manifest.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, "package/package.json", manifest.as_bytes()).unwrap();
        archive.append_path_with_name(&blob, "package/blob.bin").unwrap();
        archive.into_inner().unwrap().finish().unwrap();
        std::fs::remove_file(&blob).unwrap();
        let (sha256, size) = (digest::<Sha256>(&tarball), std::fs::metadata(&tarball).unwrap().len());
        Self { name, tarball, size, sha256 }
    }

    /// What `npm publish` sends, in small parts.
    fn publish_body(&self) -> reqwest::Body {
        let (sha512, sha1) = (digest::<Sha512>(&self.tarball), digest::<Sha1>(&self.tarball));
        let file = format!("{}-1.0.0.tgz", self.name);
        let manifest = json!({
            "name": self.name, "version": "1.0.0",
            "dist": {
                "integrity": format!("sha512-{}", STANDARD.encode(sha512)), "shasum": hex::encode(sha1),
                "tarball": format!("http://registry.example/{}/-/{file}", self.name),
            },
        });
        let mut document = json!({ "_id": self.name, "name": self.name, "dist-tags": { "latest": "1.0.0" }, "versions": { "1.0.0": manifest } });
        document["_attachments"] = json!({ file: { "content_type": "application/octet-stream", "length": self.size, "data": "@" } });
        let text = document.to_string();
        let (before, after) = text.split_once('@').unwrap();
        let encoded = parts(&self.tarball).map(|part| Bytes::from(STANDARD.encode(part)));
        let ends = |text: &str| futures::stream::iter([Bytes::copy_from_slice(text.as_bytes())]);
        let body = ends(before).chain(encoded).chain(ends(after));
        reqwest::Body::wrap_stream(body.map(Ok::<_, std::io::Error>))
    }
}

fn digest<D: sha2::Digest>(file: &Path) -> Vec<u8> {
    let (mut file, mut digest, mut part) = (File::open(file).unwrap(), D::new(), vec![0; PART]);
    loop {
        match file.read(&mut part).unwrap() {
            0 => return digest.finalize().to_vec(),
            read => digest.update(&part[..read]),
        }
    }
}

/// A file in parts whose length is a multiple of three, but for the last one.
fn parts(file: &Path) -> impl futures::Stream<Item = Bytes> + use<> {
    let mut file = File::open(file).unwrap();
    futures::stream::iter(std::iter::from_fn(move || {
        let mut part = Vec::with_capacity(PART);
        (&mut file).take(PART as u64).read_to_end(&mut part).unwrap();
        (!part.is_empty()).then(|| Bytes::from(part))
    }))
}

/// Downloads without keeping.
async fn download(api: &Api, path: &str) -> Vec<u8> {
    let answer = api.request(Method::GET, path).send().await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    let mut sha256 = Sha256::new();
    let mut body = answer.bytes_stream();
    while let Some(part) = body.next().await {
        sha256.update(part.unwrap());
    }
    sha256.finalize().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_big_npm_packages_and_files_at_once() {
    let server = TestServer::start();
    let admin = server.admin();
    let folder = tempfile::tempdir().unwrap();
    let big: Vec<Big> = (0..AT_ONCE).map(|number| Big::new(folder.path(), number)).collect();

    let watch = Watch::begin(&server);
    futures::future::join_all(big.iter().map(async |big| {
        let put = admin.request(Method::PUT, &format!("/main/npm/{}", big.name)).header("content-type", "application/json").body(big.publish_body());
        admin.send(put).await.succeeded();
    }))
    .await;
    watch.stayed_small("ten publishes");

    let watch = Watch::begin(&server);
    let downloads = futures::future::join_all(big.iter().map(|big| {
        let path = format!("/main/npm/{0}/-/{0}-1.0.0.tgz", big.name);
        let reader = server.anonymous();
        async move { download(&reader, &path).await }
    }));
    let uploads = futures::future::join_all(big.iter().map(async |big| {
        let body = reqwest::Body::wrap_stream(parts(&big.tarball).map(Ok::<_, std::io::Error>));
        admin.put(&format!("/main/generic/{}.tgz", big.name), body).await.succeeded();
    }));
    let (downloaded, _) = futures::join!(downloads, uploads);
    watch.stayed_small("ten downloads beside ten uploads");
    for (big, downloaded) in big.iter().zip(downloaded) {
        assert_eq!(downloaded, big.sha256, "{}", big.name);
        assert_eq!(download(&admin, &format!("/main/generic/{}.tgz", big.name)).await, big.sha256, "{}", big.name);
    }
}

/// Pushes a layer as docker does: announced, streamed without a length, and ended by its digest.
async fn push_layer(api: &Api, uploads: &str, layer: &Big) {
    let place = |answer: &reqwest::Response| answer.headers()["location"].to_str().unwrap().to_owned();
    let begun = api.request(Method::POST, uploads).header("content-length", "0").send().await.unwrap();
    assert_eq!(begun.status(), 202);
    let body = reqwest::Body::wrap_stream(parts(&layer.tarball).map(Ok::<_, std::io::Error>));
    let sent = api.request(Method::PATCH, &place(&begun)).body(body).send().await.unwrap();
    assert_eq!(sent.status(), 202);
    let ended = api.request(Method::PUT, &format!("{}?digest=sha256:{}", place(&sent), hex::encode(&layer.sha256))).send().await.unwrap();
    assert_eq!(ended.status(), 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_big_oci_layers_at_once() {
    let server = TestServer::start();
    let api = server.with_token(&token(&server).await);
    let folder = tempfile::tempdir().unwrap();
    let big: Vec<Big> = (0..AT_ONCE).map(|number| Big::new(folder.path(), number)).collect();

    let watch = Watch::begin(&server);
    futures::future::join_all(big.iter().map(|layer| push_layer(&api, "/v2/oci/big/blobs/uploads/", layer))).await;
    watch.stayed_small("ten pushes of layers");

    let watch = Watch::begin(&server);
    let paths: Vec<String> = big.iter().map(|layer| format!("/v2/oci/big/blobs/sha256:{}", hex::encode(&layer.sha256))).collect();
    let downloaded = futures::future::join_all(paths.iter().map(|path| download(&api, path))).await;
    watch.stayed_small("ten pulls of layers");
    for (layer, downloaded) in big.iter().zip(downloaded) {
        assert_eq!(downloaded, layer.sha256, "{}", layer.name);
    }
}
