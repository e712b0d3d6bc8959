//! Minimal valid distributions in memory, hostile ones, and the forms by which clients upload them: for the tests of this crate and of the
//! server.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entrepot_kit::Sha256Digest;
use flate2::{Compression, Crc};

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
pub fn attestation(filename: &str, sha256: &str) -> serde_json::Value {
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
