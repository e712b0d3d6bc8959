//! Minimal charts in memory, hostile ones, and how clients upload them: for the tests of this crate and of the server.

use std::io::Write as _;

use bytes::Bytes;
use entrepot_kit::Sha256Digest;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::Value;

/// Separates the fields of forms.
const BOUNDARY: &str = "------------------------entrepot";

/// An archive, piece by piece; also of kinds that no tool makes.
pub struct Tgz(tar::Builder<Vec<u8>>);

impl Default for Tgz {
    fn default() -> Self {
        Self::new()
    }
}

impl Tgz {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    /// Adds a file.
    #[must_use]
    pub fn file(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = header(tar::EntryType::Regular, content.len());
        let added = self.0.append_data(&mut header, name, content);
        debug_assert!(added.is_ok(), "{name}");
        self
    }

    /// Adds a file under a name that tools would not write.
    #[must_use]
    pub fn raw(mut self, name: &str, content: &[u8]) -> Self {
        let mut header = header(tar::EntryType::Regular, content.len());
        if let Some(field) = header.as_old_mut().name.get_mut(..name.len()) {
            field.copy_from_slice(name.as_bytes());
        }
        header.set_cksum();
        let added = self.0.append(&header, content);
        debug_assert!(added.is_ok(), "{name}");
        self
    }

    /// Adds a folder.
    #[must_use]
    pub fn folder(self, name: &str) -> Self {
        self.special(name, tar::EntryType::Directory, "")
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, name: &str, target: &str) -> Self {
        self.special(name, tar::EntryType::Symlink, target)
    }

    /// Adds a device.
    #[must_use]
    pub fn device(self, name: &str) -> Self {
        self.special(name, tar::EntryType::Char, "")
    }

    fn special(mut self, name: &str, kind: tar::EntryType, target: &str) -> Self {
        let mut header = header(kind, 0);
        let added = match target {
            "" => self.0.append_data(&mut header, name, &b""[..]),
            target => self.0.append_link(&mut header, name, target),
        };
        debug_assert!(added.is_ok(), "{name}");
        self
    }

    /// The archive, packed.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let plain = self.0.into_inner().unwrap_or_default();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        let written = encoder.write_all(&plain).is_ok();
        debug_assert!(written, "memory does not fail");
        encoder.finish().unwrap_or_default()
    }
}

fn header(kind: tar::EntryType, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(size as u64);
    header
}

/// A `Chart.yaml`.
#[must_use]
pub fn chart_yaml(name: &str, version: &str) -> String {
    format!("apiVersion: v2\nname: {name}\nversion: \"{version}\"\ndescription: A chart of the tests\nappVersion: \"1.10\"\ntype: application\n")
}

/// A chart whose one template says `filling`.
#[must_use]
pub fn chart(name: &str, version: &str, filling: &str) -> Vec<u8> {
    let template = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{{{ .Release.Name }}}}\ndata:\n  filling: {filling:?}\n");
    Tgz::new()
        .file(&format!("{name}/Chart.yaml"), chart_yaml(name, version).as_bytes())
        .file(&format!("{name}/values.yaml"), b"{}\n")
        .file(&format!("{name}/templates/filling.yaml"), template.as_bytes())
        .finish()
}

/// A provenance file with a signature that nobody made.
#[must_use]
pub fn prov(name: &str, version: &str, chart: &[u8]) -> String {
    format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{}\n...\nfiles:\n  {name}-{version}.tgz: sha256:{}\n-----BEGIN PGP SIGNATURE-----\n\nwsBcBAEBCgAQBQ==\n=AAAA\n-----END PGP SIGNATURE-----\n",
        chart_yaml(name, version),
        Sha256Digest::of(chart)
    )
}

/// The body of a form with these files, each with the name of its field, and its media type.
#[must_use]
pub fn form(files: &[(&str, &str, &[u8])]) -> (Bytes, String) {
    let mut body = Vec::new();
    for (field, filename, content) in files {
        body.extend_from_slice(
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{filename}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
            )
            .as_bytes(),
        );
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (body.into(), format!("multipart/form-data; boundary={BOUNDARY}"))
}

/// The upload of a chart as `helm cm-push` sends it.
#[must_use]
pub fn push(name: &str, version: &str, chart: &[u8]) -> Ask {
    let (body, content_type) = form(&[("chart", &format!("/home/me/charts/{name}-{version}.tgz"), chart)]);
    Ask { body, ..Ask::new(Method::POST, "api/charts") }.with("content-type", content_type)
}

/// The format's part of the conformance suite.
pub struct HelmSpecimen;

impl Specimen for HelmSpecimen {
    fn format(&self) -> &'static str {
        crate::ID
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        vec![push(name, version, &chart(name, version, filling))]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        chart(name, version, filling).into()
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        crate::name::path(name, version)
    }

    fn indexes(&self, name: &str) -> Vec<Variant> {
        vec![Variant { path: format!("api/charts/{name}"), accept: None }]
    }

    fn remove(&self, name: &str, _changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, format!("api/charts/{name}"))]
    }

    fn hostile(&self) -> Vec<Ask> {
        let post = |body: Vec<u8>| Ask { body: body.into(), ..Ask::new(Method::POST, "api/charts") };
        let yaml = chart_yaml("conform-hostile", "1.0.0");
        let good = || Tgz::new().file("x/Chart.yaml", yaml.as_bytes());
        let named = |name: &str| Tgz::new().file("x/Chart.yaml", chart_yaml(name, "1.0.0").as_bytes()).finish();
        let whole = chart("conform-hostile", "1.0.0", "x");
        let other_prov = prov("conform-hostile", "1.0.0", b"other bytes");
        let (both, content_type) = form(&[("chart", "a.tgz", &whole), ("prov", "a.tgz.prov", other_prov.as_bytes())]);
        let (twice, _) = form(&[("chart", "a.tgz", &whole), ("chart", "b.tgz", &whole)]);
        let (neither, _) = form(&[("file", "a.tgz", &whole)]);
        let send = |body: Bytes| Ask { body, ..Ask::new(Method::POST, "api/charts") }.with("content-type", content_type.clone());
        let mut asks = vec![
            post(Vec::new()),
            post(b"hello".to_vec()),
            post(named("../../etc/passwd")),
            post(named("a/b")),
            post(named("..")),
            post(named("\"a\\u0000b\"")),
            post(good().file("x/Chart.yaml", yaml.as_bytes()).finish()),
            post(good().raw("x/../../etc/passwd", b"x").finish()),
            post(good().link("x/templates/passwd", "/etc/passwd").finish()),
            post(good().file("x/zeros", &vec![0; 11 << 20]).finish()),
            post(whole.get(..whole.len() / 2).unwrap_or_default().to_vec()),
            send(both),
            send(twice),
            send(neither),
            send(Bytes::from_static(b"--x")),
            Ask { body: "no provenance".into(), ..Ask::new(Method::POST, "api/prov") },
            Ask::put("x.tgz", "hello"),
            Ask::put("x.zip", whole.clone()),
            Ask::put("x.tgz.prov", "hello"),
            Ask::new(Method::DELETE, "api/charts/conform-hostile/1.0.0"),
            Ask::new(Method::DELETE, "api/charts/conform-hostile"),
            Ask::get("index.yaml?format=xml"),
            Ask::get("charts/conform-kinds/other-1.0.0.tgz"),
        ];
        asks.push(Ask { body: whole.into(), ..Ask::new(Method::POST, "api/charts") }.with("content-encoding", "gzip"));
        asks
    }

    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let text = body.get("error").and_then(Value::as_str).filter(|text| !text.is_empty());
        text.map(drop).ok_or_else(|| String::from("an error is {\"error\": text}"))
    }
}
