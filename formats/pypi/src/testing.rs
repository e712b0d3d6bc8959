//! Minimal valid distributions in memory, hostile ones, and the forms by which clients upload them: for the tests of this crate and of the
//! server.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entrepot_kit::Sha256Digest;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use flate2::{Compression, Crc};
use http::{Method, StatusCode};
use serde_json::Value;

/// A ZIP archive, piece by piece; also of kinds that no tool makes.
#[derive(Default)]
pub struct Zip {
    body: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

impl Zip {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file as it is.
    #[must_use]
    pub fn stored(self, name: &str, content: &[u8]) -> Self {
        self.entry(name, name, 0, content, content.len())
    }

    /// Adds a packed file.
    #[must_use]
    pub fn deflated(self, name: &str, content: &[u8]) -> Self {
        self.raw_deflated(name, content, content.len())
    }

    /// Adds a packed file that says to be of some size.
    #[must_use]
    pub fn raw_deflated(self, name: &str, content: &[u8], size: usize) -> Self {
        self.entry(name, name, 8, content, size)
    }

    /// Adds a file that the directory calls by another name than its own header.
    #[must_use]
    pub fn two_names(self, directory: &str, own: &str, content: &[u8]) -> Self {
        self.entry(directory, own, 0, content, content.len())
    }

    /// Adds bytes that belong to no file.
    #[must_use]
    pub fn gap(mut self, bytes: &[u8]) -> Self {
        self.body.extend_from_slice(bytes);
        self
    }

    fn entry(mut self, directory_name: &str, own_name: &str, method: u16, content: &[u8], size: usize) -> Self {
        let mut crc = Crc::new();
        crc.update(content);
        let packed = match method {
            0 => content.to_vec(),
            _ => deflate(content),
        };
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
        let short = |value: usize| u16::try_from(value).unwrap_or(u16::MAX).to_le_bytes();
        let header = self.body.len();
        let mut common = Vec::new();
        for field in [20_u16, 0, method, 0, 0x21] {
            common.extend_from_slice(&field.to_le_bytes());
        }
        common.extend_from_slice(&crc.sum().to_le_bytes());
        common.extend_from_slice(&number(packed.len()));
        common.extend_from_slice(&number(size));
        self.body.extend_from_slice(b"PK\x03\x04");
        self.body.extend_from_slice(&common);
        self.body.extend_from_slice(&short(own_name.len()));
        self.body.extend_from_slice(&[0; 2]);
        self.body.extend_from_slice(own_name.as_bytes());
        self.body.extend_from_slice(&packed);
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x03");
        self.directory.extend_from_slice(&common);
        self.directory.extend_from_slice(&short(directory_name.len()));
        self.directory.extend_from_slice(&[0; 8]);
        self.directory.extend_from_slice(&(0o100_644_u32 << 16).to_le_bytes());
        self.directory.extend_from_slice(&number(header));
        self.directory.extend_from_slice(directory_name.as_bytes());
        self.count += 1;
        self
    }

    /// The archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        let (start, length) = (self.body.len() as u32, self.directory.len() as u32);
        self.body.append(&mut self.directory);
        self.body.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        self.body.extend_from_slice(&self.count.to_le_bytes());
        self.body.extend_from_slice(&self.count.to_le_bytes());
        self.body.extend_from_slice(&length.to_le_bytes());
        self.body.extend_from_slice(&start.to_le_bytes());
        self.body.extend_from_slice(&[0; 2]);
        self.body
    }
}

fn deflate(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(content).and_then(|()| encoder.finish());
    debug_assert!(written.is_ok(), "memory does not fail");
    written.unwrap_or_default()
}

/// A wheel, piece by piece.
#[derive(Debug, Clone)]
pub struct Wheel {
    /// The name as its author writes it.
    pub name: String,
    /// The version.
    pub version: String,
    /// The tags: `py3-none-any`.
    pub tags: String,
    /// More headers of its metadata, each with its line end.
    pub headers: String,
    /// Its files besides those that say what it is.
    pub files: Vec<(String, Vec<u8>)>,
    /// What `RECORD` says instead of the truth.
    pub record: Option<String>,
    /// What `METADATA` is instead of name, version and headers.
    pub metadata: Option<String>,
}

impl Wheel {
    /// A wheel for every platform with one module, whose text is `filling`.
    #[must_use]
    pub fn new(name: &str, version: &str, filling: &str) -> Self {
        let module = (format!("{}/__init__.py", underscored(name)), format!("FILLING = {filling:?}\n").into_bytes());
        Self {
            name: name.to_owned(),
            version: version.to_owned(),
            tags: String::from("py3-none-any"),
            headers: String::new(),
            files: vec![module],
            record: None,
            metadata: None,
        }
    }

    /// The same wheel with these tags.
    #[must_use]
    pub fn tagged(mut self, tags: &str) -> Self {
        tags.clone_into(&mut self.tags);
        self
    }

    /// The same wheel with one more header in its metadata.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\n"));
        self
    }

    /// The same wheel with one more file.
    #[must_use]
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.push((path.to_owned(), content.to_vec()));
        self
    }

    /// Its file name.
    #[must_use]
    pub fn filename(&self) -> String {
        format!("{}-{}-{}.whl", underscored(&self.name), self.version, self.tags)
    }

    /// Its `METADATA`.
    #[must_use]
    pub fn metadata(&self) -> String {
        self.metadata.clone().unwrap_or_else(|| {
            format!("Metadata-Version: 2.4\nName: {}\nVersion: {}\nSummary: A small package\n{}\n# A small package\n", self.name, self.version, self.headers)
        })
    }

    /// The folder that says what it is.
    #[must_use]
    pub fn folder(&self) -> String {
        format!("{}-{}.dist-info", underscored(&self.name), self.version)
    }

    /// All its members, `RECORD` last.
    #[must_use]
    pub fn members(&self) -> Vec<(String, Vec<u8>)> {
        let folder = self.folder();
        let mut members = self.files.clone();
        members.push((format!("{folder}/METADATA"), self.metadata().into_bytes()));
        let tags: String = expand(&self.tags).iter().map(|tag| format!("Tag: {tag}\n")).collect();
        members.push((format!("{folder}/WHEEL"), format!("Wheel-Version: 1.0\nGenerator: entrepot-testing\nRoot-Is-Purelib: true\n{tags}").into_bytes()));
        let record = self.record.clone().unwrap_or_else(|| {
            let line = |(path, content): &(String, Vec<u8>)| {
                format!("{path},sha256={},{}\n", URL_SAFE_NO_PAD.encode(Sha256Digest::of(content).as_bytes()), content.len())
            };
            members.iter().map(line).collect::<String>() + &format!("{folder}/RECORD,,\n")
        });
        members.push((format!("{folder}/RECORD"), record.into_bytes()));
        members
    }

    /// The wheel.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        self.members().iter().fold(Zip::new(), |zip, (path, content)| zip.deflated(path, content)).finish()
    }
}

/// Each single tag of a compressed set.
fn expand(tags: &str) -> Vec<String> {
    let parts: Vec<Vec<&str>> = tags.split('-').rev().take(3).map(|part| part.split('.').collect()).collect();
    let [platforms, abis, pythons] = parts.as_slice() else { return Vec::new() };
    pythons.iter().flat_map(|python| abis.iter().flat_map(move |abi| platforms.iter().map(move |platform| format!("{python}-{abi}-{platform}")))).collect()
}

/// A name as it is in file names.
#[must_use]
pub fn underscored(name: &str) -> String {
    crate::name::normalise(name).replace('-', "_")
}

/// A gzip-compressed tar archive, piece by piece; also of kinds that no tool makes.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn member(mut self, path: &str, kind: tar::EntryType, target: &str, body: &[u8]) -> Self {
        let mut header = tar::Header::new_ustar();
        // Written directly: the library refuses the paths that hostile archives have.
        for (place, byte) in header.as_mut_bytes().iter_mut().take(100).zip(path.bytes()) {
            *place = byte;
        }
        for (place, byte) in header.as_mut_bytes().iter_mut().skip(157).take(100).zip(target.bytes()) {
            *place = byte;
        }
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(499_162_500);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(body);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, body: &[u8]) -> Self {
        self.member(path, tar::EntryType::Regular, "", body)
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn link(self, path: &str, target: &str) -> Self {
        self.member(path, tar::EntryType::Symlink, target, b"")
    }

    /// Adds a named pipe.
    #[must_use]
    pub fn pipe(self, path: &str) -> Self {
        self.member(path, tar::EntryType::Fifo, "", b"")
    }

    /// The archive, compressed.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        let written = encoder.write_all(&self.0).and_then(|()| encoder.finish());
        debug_assert!(written.is_ok(), "memory does not fail");
        written.unwrap_or_default()
    }
}

/// A source distribution that builds with nothing but what Python brings, and its file name.
#[must_use]
pub fn sdist(name: &str, version: &str, filling: &str) -> (String, Vec<u8>) {
    let folder = format!("{}-{version}", underscored(name));
    let metadata = format!("Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: A small package\n\n# A small package\n");
    let archive = Tar::new()
        .file(&format!("{folder}/pyproject.toml"), format!("[project]\nname = {name:?}\nversion = {version:?}\n").as_bytes())
        .file(&format!("{folder}/PKG-INFO"), metadata.as_bytes())
        .file(&format!("{folder}/{}/__init__.py", underscored(name)), format!("FILLING = {filling:?}\n").as_bytes());
    (format!("{folder}.tar.gz"), archive.finish())
}

/// A form as clients send it.
#[derive(Debug, Clone)]
pub struct Form {
    /// The fields before the file, in their order.
    pub fields: Vec<(String, String)>,
    /// The file's name and bytes.
    pub content: Option<(String, Vec<u8>)>,
    /// The fields behind the file.
    pub after: Vec<(String, String)>,
}

/// What separates the parts of forms made here.
const BOUNDARY: &str = "entrepot-testing-7d1a5e";

impl Form {
    /// The form by which twine uploads a file of a project.
    #[must_use]
    pub fn upload(name: &str, version: &str, filename: &str, content: &[u8]) -> Self {
        let is_wheel = filename.ends_with(".whl");
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let fields = vec![
            field(":action", "file_upload"),
            field("protocol_version", "1"),
            field("metadata_version", "2.4"),
            field("name", name),
            field("version", version),
            field("filetype", if is_wheel { "bdist_wheel" } else { "sdist" }),
            field("pyversion", if is_wheel { "py3" } else { "source" }),
            field("sha256_digest", &Sha256Digest::of(content).hex()),
        ];
        Self { fields, content: Some((filename.to_owned(), content.to_vec())), after: Vec::new() }
    }

    /// The form by which a wheel is uploaded.
    #[must_use]
    pub fn wheel(wheel: &Wheel) -> Self {
        Self::upload(&wheel.name, &wheel.version, &wheel.filename(), &wheel.build())
    }

    /// The same form with a field set to a value.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The media type of [`Self::body`].
    #[must_use]
    pub fn content_type() -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Bytes {
        let mut body = Vec::new();
        let field = |body: &mut Vec<u8>, (name, value): &(String, String)| {
            body.extend_from_slice(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes());
        };
        self.fields.iter().for_each(|pair| field(&mut body, pair));
        if let Some((filename, content)) = &self.content {
            let head = format!("Content-Disposition: form-data; name=\"content\"; filename=\"{filename}\"\r\nContent-Type: application/octet-stream");
            body.extend_from_slice(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        self.after.iter().for_each(|pair| field(&mut body, pair));
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        body.into()
    }
}

/// An attestation in the form of PEP 740 about a file. Nobody signed it.
#[must_use]
pub fn attestation(filename: &str, sha256: &str) -> Value {
    use base64::engine::general_purpose::STANDARD;
    let statement = serde_json::json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": filename, "digest": {"sha256": sha256}}],
        "predicateType": "https://registry.example/attestations/publish/v1",
        "predicate": null,
    });
    serde_json::json!({
        "version": 1,
        "verification_material": {"certificate": STANDARD.encode("certificate"), "transparency_entries": [{"logIndex": "1"}]},
        "envelope": {"statement": STANDARD.encode(statement.to_string()), "signature": STANDARD.encode("signature")},
    })
}

/// The request by which a form is uploaded.
#[must_use]
pub fn upload(form: &Form) -> Ask {
    Ask { body: form.body(), ..Ask::new(Method::POST, "") }.with("Content-Type", Form::content_type())
}

/// The format's part of the conformance suite.
pub struct PypiSpecimen;

impl Specimen for PypiSpecimen {
    fn format(&self) -> &'static str {
        crate::ID
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        vec![upload(&Form::wheel(&Wheel::new(name, version, filling)))]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        Wheel::new(name, version, filling).build().into()
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        format!("files/{name}/{}", Wheel::new(name, version, "").filename())
    }

    fn indexes(&self, name: &str) -> Vec<Variant> {
        let accept = [None, Some("application/vnd.pypi.simple.v1+json"), Some("application/vnd.pypi.simple.v1+html")];
        accept.into_iter().map(|accept| Variant { path: format!("simple/{name}/"), accept }).collect()
    }

    /// The number of the last change is each repository's own.
    fn comparable(&self, index: &[u8]) -> Vec<u8> {
        let Ok(mut index) = serde_json::from_slice::<Value>(index) else { return index.to_vec() };
        if let Some(meta) = index.get_mut("meta").and_then(Value::as_object_mut) {
            meta.remove("_last-serial");
        }
        index.to_string().into_bytes()
    }

    fn remove(&self, name: &str, _changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, format!("manage/{name}"))]
    }

    /// What upload tools know from Python's own index.
    fn republish(&self) -> StatusCode {
        StatusCode::BAD_REQUEST
    }

    fn hostile(&self) -> Vec<Ask> {
        let name = "conform-hostile";
        let wheel = Wheel::new(name, "3.0.0", "x");
        let honest = Form::wheel(&wheel);
        let named = |filename: &str| Form { content: Some((filename.to_owned(), wheel.build())), ..honest.clone() };
        let of = |wheel: &Wheel| Form::wheel(wheel);
        let (source, archive) = sdist(name, "3.0.0", "x");
        let escaping =
            Tar::new().file("conform_hostile-3.0.0/PKG-INFO", b"Metadata-Version: 2.1\nName: conform-hostile\nVersion: 3.0.0\n").file("../evil", b"x");
        let mut asks: Vec<Ask> = [
            named("../conform_hostile-3.0.0-py3-none-any.whl"),
            named("conform_hostile-3.0.0-py3-none-any.egg"),
            named("conform_hostile-3.0.0-x-py3-none-any.whl"),
            named("conform_hostile-3.0.1-py3-none-any.whl"),
            named("other-3.0.0-py3-none-any.whl"),
            named(""),
            of(&wheel.clone().file("../evil.py", b"x")),
            of(&wheel.clone().file("/etc/passwd", b"x")),
            of(&Wheel { record: Some(String::from("conform_hostile/__init__.py,sha256=x,1\n")), ..wheel.clone() }),
            of(&Wheel { metadata: Some(String::from("Metadata-Version: 2.1\nName: other\nVersion: 3.0.0\n")), ..wheel.clone() }),
            Form { content: Some((wheel.filename(), [wheel.build(), wheel.build()].concat())), ..honest.clone() }.with("sha256_digest", ""),
            Form::upload(name, "3.0.0", &source, &escaping.finish()),
            Form::upload(name, "3.0.0", &source, b"no archive"),
            Form::upload("other", "3.0.0", &source, &archive),
            honest.clone().with("sha256_digest", &"0".repeat(64)),
            honest.clone().with("md5_digest", &"0".repeat(32)),
            honest.clone().with("blake2_256_digest", &"0".repeat(64)),
            honest.clone().with("version", "3.0.1"),
            honest.clone().with("filetype", "sdist"),
            honest.clone().with("requires_python", ">=3.12"),
            honest.clone().with(":action", "doc_upload"),
            honest.clone().with(":action", "nonsense"),
            honest.clone().with("attestations", "[{}]"),
            Form { content: None, ..honest.clone() },
            Form { after: honest.fields.clone(), content: None, fields: Vec::new() },
        ]
        .iter()
        .map(upload)
        .collect();
        let body = honest.body();
        asks.push(Ask { body: body.slice(..body.len() / 2), ..upload(&honest) });
        asks.push(Ask { body, ..Ask::new(Method::POST, "") }.with("Content-Type", "multipart/form-data"));
        asks.push(Ask { body: "{}".into(), ..Ask::new(Method::POST, "legacy/") }.with("Content-Type", "application/json"));
        asks.push(Ask::put(format!("manage/{name}/status"), "{\"status\": \"evil\"}"));
        asks.push(Ask::new(Method::POST, format!("manage/{name}/9.9/yank")));
        asks.push(Ask::new(Method::DELETE, format!("manage/{name}/9.9")));
        asks
    }

    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        if !reply.header("content-type").starts_with("text/plain") || reply.body.is_empty() {
            return Err(String::from("upload tools and installers print a text"));
        }
        Ok(())
    }
}
