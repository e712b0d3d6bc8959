//! Minimal valid artifacts in memory, and how clients deploy them: for the tests of this crate and of the server.

use std::io::{Cursor, Write as _};

use bytes::Bytes;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use entrepot_kit::{Algorithm, Hasher};
use http::Method;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// A jar with these files.
#[must_use]
pub fn jar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        let written = writer.start_file(*name, options).is_ok() && writer.write_all(content).is_ok();
        debug_assert!(written, "{name}");
    }
    writer.finish().map(Cursor::into_inner).unwrap_or_default()
}

/// A pom.
#[must_use]
pub fn pom(group: &str, artifact: &str, version: &str, packaging: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n  <modelVersion>4.0.0</modelVersion>\n  <groupId>{group}</groupId>\n  <artifactId>{artifact}</artifactId>\n  <version>{version}</version>\n  <packaging>{packaging}</packaging>\n</project>\n"
    )
}

/// The path of a file of a release.
#[must_use]
pub fn path(group: &str, artifact: &str, version: &str, ending: &str) -> String {
    format!("{}/{artifact}/{version}/{artifact}-{version}{ending}", group.replace('.', "/"))
}

/// A checksum as clients send it.
#[must_use]
pub fn checksum(bytes: &[u8], algorithm: Algorithm) -> String {
    let mut hasher = Hasher::new(&[algorithm]);
    hasher.update(bytes);
    hasher.finish().1.hex(algorithm).unwrap_or_default()
}

const GROUP: &str = "org.conform";

/// The format's part of the conformance suite.
pub struct MavenSpecimen;

impl Specimen for MavenSpecimen {
    fn format(&self) -> &'static str {
        crate::ID
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        let file = self.file(name, version, filling);
        let path = self.file_path(name, version);
        let pom = pom(GROUP, name, version, "jar").replace("</project>", &format!("<!-- {filling} --></project>"));
        vec![
            Ask::put(path.clone(), file.clone()),
            Ask::put(format!("{path}.sha1"), checksum(&file, Algorithm::Sha1)),
            Ask::put(self::path(GROUP, name, version, ".pom"), pom),
        ]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        jar(&[("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n"), ("filling.txt", format!("{name} {version} {filling}").as_bytes())]).into()
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        path(GROUP, name, version, ".jar")
    }

    fn indexes(&self, name: &str) -> Vec<Variant> {
        vec![Variant { path: format!("{}/{name}/maven-metadata.xml", GROUP.replace('.', "/")), accept: None }]
    }

    fn remove(&self, name: &str, _changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, format!("{}/{name}/", GROUP.replace('.', "/")))]
    }

    fn hostile(&self) -> Vec<Ask> {
        let at = |ending: &str| path(GROUP, "conform-hostile", "1.0.0", ending);
        vec![
            Ask::put("folder/", "x"),
            Ask::put("a%2fb/c/1/c-1.jar", "x"),
            Ask::put("a/b/%2e%2e/c/1/c-1.jar", "x"),
            Ask::put(".checksums/a/b/1/b-1.jar.sha1", checksum(b"x", Algorithm::Sha1)),
            Ask::put(".checksums/a", "x"),
            Ask::put(".meta/prefixes.txt", "## repository-prefixes/2.0\n/evil\n"),
            Ask::put("archetype-catalog.xml", "<archetype-catalog/>"),
            Ask::put(at(".jar.sha1"), "no checksum"),
            Ask::put(at(".jar.sha1"), "x".repeat(10_000)),
            Ask::put("org/conform/conform-hostile/maven-metadata.xml", "<html/>"),
            Ask::put("org/conform/conform-hostile/maven-metadata.xml", "<!DOCTYPE a [<!ENTITY b \"c\">]><metadata>&b;</metadata>"),
            Ask::new(Method::DELETE, ""),
            Ask::new(Method::DELETE, "conform-absent/"),
            Ask::new(Method::DELETE, "org/conform/conform-hostile/maven-metadata.xml"),
            Ask::new(Method::POST, "org/"),
            Ask::get(".checksums/"),
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
