//! Minimal valid packages in memory, and how clients upload them: for the tests of this crate and of the server.

use bytes::Bytes;
use entrepot_kit::Sha256Digest;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use http::Method;

/// A value of a header.
#[derive(Debug, Clone)]
pub enum Value {
    /// A text.
    Text(Vec<u8>),
    /// Texts.
    Texts(Vec<Vec<u8>>),
    /// Numbers of two bytes.
    Shorts(Vec<u16>),
    /// Numbers of four bytes.
    Numbers(Vec<u32>),
    /// Bytes.
    Bytes(Vec<u8>),
}

impl Value {
    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text(text.as_bytes().to_vec())
    }

    /// Texts.
    #[must_use]
    pub fn texts(texts: &[&str]) -> Self {
        Self::Texts(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
    }

    /// Type, alignment, count and bytes.
    fn written(&self) -> (u32, usize, usize, Vec<u8>) {
        match self {
            Self::Text(text) => (6, 1, 1, [text.as_slice(), &[0]].concat()),
            Self::Texts(texts) => (8, 1, texts.len(), texts.iter().flat_map(|text| [text.as_slice(), &[0]].concat()).collect()),
            Self::Shorts(numbers) => (3, 2, numbers.len(), numbers.iter().flat_map(|number| number.to_be_bytes()).collect()),
            Self::Numbers(numbers) => (4, 4, numbers.len(), numbers.iter().flat_map(|number| number.to_be_bytes()).collect()),
            Self::Bytes(bytes) => (7, 1, bytes.len(), bytes.clone()),
        }
    }
}

/// A header of these tags.
#[must_use]
pub fn header(tags: &[(u32, Value)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes();
    let (mut lines, mut values) = (Vec::new(), Vec::new());
    for (tag, value) in tags {
        let (kind, alignment, count, bytes) = value.written();
        values.resize(values.len().next_multiple_of(alignment), 0);
        for field in [tag.to_be_bytes(), kind.to_be_bytes(), number(values.len()), number(count)] {
            lines.extend_from_slice(&field);
        }
        values.extend(bytes);
    }
    let intro = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
    [&intro[..], &number(tags.len()), &number(values.len()), &lines, &values].concat()
}

/// A package of a header and a payload, with the digests that packages have.
#[must_use]
pub fn file(header: &[u8], payload: &[u8]) -> Vec<u8> {
    let digest = Sha256Digest::of(header).hex();
    let mut signature = self::header(&[(273, Value::text(&digest)), (1007, Value::Numbers(vec![u32::try_from(payload.len()).unwrap_or(0)]))]);
    signature.resize(signature.len().next_multiple_of(8), 0);
    let mut lead = vec![0; 96];
    lead.splice(..6, [0xed, 0xab, 0xee, 0xdb, 3, 0]);
    // That the signature is a header.
    lead.splice(78..80, [0, 5]);
    [lead.as_slice(), &signature, header, payload].concat()
}

/// The tags of a package without files.
#[must_use]
pub fn tags(name: &str, version: &str, release: &str, arch: &str, payload: &[u8]) -> Vec<(u32, Value)> {
    vec![
        (1000, Value::text(name)),
        (1001, Value::text(version)),
        (1002, Value::text(release)),
        (1004, Value::text(&format!("The package {name}"))),
        (1005, Value::text("For tests.")),
        (1006, Value::Numbers(vec![1_700_000_000])),
        (1007, Value::text("builder.example")),
        (1009, Value::Numbers(vec![0])),
        (1014, Value::text("MIT")),
        (1016, Value::text("Unspecified")),
        (1022, Value::text(arch)),
        (1044, Value::text(&format!("{name}-{version}-{release}.src.rpm"))),
        (1047, Value::texts(&[name])),
        (1112, Value::Numbers(vec![8])),
        (1113, Value::texts(&[&format!("{version}-{release}")])),
        (5092, Value::texts(&[&Sha256Digest::of(payload).hex()])),
        (5093, Value::Numbers(vec![8])),
    ]
}

/// A package without files.
#[must_use]
pub fn package(name: &str, version: &str, release: &str, arch: &str, filling: &str) -> Vec<u8> {
    file(&header(&tags(name, version, release, arch, filling.as_bytes())), filling.as_bytes())
}

/// The format's part of the conformance suite.
pub struct RpmSpecimen;

fn conforming(name: &str, version: &str) -> String {
    format!("{name}-{version}-1.noarch.rpm")
}

impl Specimen for RpmSpecimen {
    fn format(&self) -> &'static str {
        crate::ID
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        vec![Ask::put(self.file_path(name, version), self.file(name, version, filling))]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        package(name, version, "1", "noarch", filling).into()
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        format!("{name}/{}", conforming(name, version))
    }

    fn indexes(&self, name: &str) -> Vec<Variant> {
        vec![Variant { path: format!("{name}/repodata/repomd.xml"), accept: None }]
    }

    fn comparable(&self, index: &[u8]) -> Vec<u8> {
        // A group calls its generations by other names.
        let Ok(repomd) = crate::repodata::Repomd::parse(index) else { return index.to_vec() };
        repomd.data.iter().map(|data| format!("{} {:?}\n", data.kind, data.open)).collect::<String>().into_bytes()
    }

    fn remove(&self, name: &str, _changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, format!("{name}/"))]
    }

    fn hostile(&self) -> Vec<Ask> {
        let good = package("conform-hostile", "1.0", "1", "noarch", "x");
        let put = |path: &str, body: &[u8]| Ask::put(path, body.to_vec());
        let path = "conform-hostile/conform-hostile-1.0-1.noarch.rpm";
        let with = |tag: u32, value: Value| {
            let mut tags = tags("conform-hostile", "1.0", "1", "noarch", b"x");
            tags.retain(|(known, _)| *known != tag);
            tags.push((tag, value));
            put(path, &file(&header(&tags), b"x"))
        };
        let changed = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            put(path, &bytes)
        };
        vec![
            put("folder/", &good),
            put("conform-hostile/a%2fb.rpm", &good),
            put("conform-hostile/%2e%2e/x.rpm", &good),
            put("conform-hostile/a b.rpm", &good),
            put("conform-hostile/repodata/conform-hostile-1.0-1.noarch.rpm", &good),
            put("conform-hostile/repodata/repomd.xml", b"<repomd/>"),
            put("conform-hostile/repodata/comps.xml", b"<html/>"),
            put("conform-hostile/repodata/comps.xml", b"<!DOCTYPE comps [<!ENTITY a \"b\">]><comps>&a;</comps>"),
            put("conform-hostile/repodata/updateinfo.xml", b"<updates>"),
            put("conform-hostile/repodata/modules.yaml", b"nothing"),
            put("conform-hostile/readme.txt", b"no package"),
            put("conform-hostile/RPM-GPG-KEY-x", b"no key"),
            // The file's name says another package.
            put("conform-hostile/bash-1.0-1.noarch.rpm", &good),
            put(path, b""),
            put(path, b"no package"),
            put(path, good.get(..200).unwrap_or_default()),
            // Header counts and lengths: those of the signature header, at 96, and of the header, which comes after it.
            changed(96 + 8, 0xff),
            changed(96 + 12, 0xff),
            changed(good.len() - 1, 0),
            with(1000, Value::text("../../evil")),
            with(1000, Value::text("")),
            with(1001, Value::text("1/0")),
            with(1002, Value::text("1\n")),
            with(1022, Value::text("no arch")),
            with(1000, Value::Numbers(vec![1])),
            with(1117, Value::texts(&["a file in no folder"])),
            with(1048, Value::texts(&["no number"])),
            Ask::new(Method::POST, "conform-hostile/x.rpm"),
            Ask::new(Method::DELETE, ""),
            Ask::new(Method::DELETE, "conform-absent/"),
            Ask::new(Method::DELETE, "conform-hostile/repodata/repomd.xml"),
            Ask::get("conform-absent/repodata/repomd.xml"),
            Ask::get("?after=%00"),
        ]
    }

    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        if !reply.header("content-type").starts_with("text/plain") || reply.body.is_empty() {
            return Err(String::from("people read a text"));
        }
        Ok(())
    }
}
