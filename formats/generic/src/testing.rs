//! How clients use the format, for the conformance suite.

use bytes::Bytes;
use entrepot_kit::Format as _;
use entrepot_kit::conformance::{Ask, Reply, Specimen};
use http::Method;

use crate::Generic;

/// The generic format's specimen: a package is a folder, a version a folder in it with one text file.
#[derive(Debug, Clone, Copy, Default)]
pub struct GenericSpecimen;

impl Specimen for GenericSpecimen {
    fn format(&self) -> &'static str {
        Generic.id()
    }

    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        vec![Ask::put(self.file_path(name, version), self.file(name, version, filling))]
    }

    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        format!("{name} {version}\nfilled with: {filling}\n").into()
    }

    fn file_path(&self, name: &str, version: &str) -> String {
        format!("{name}/{version}/{name}.txt")
    }

    fn remove(&self, name: &str, _changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, format!("{name}/"))]
    }

    fn hostile(&self) -> Vec<Ask> {
        let put = |path: &str| Ask::put(path, "hostile");
        vec![
            put("folder/"),
            put("folder/archive.zip!/inner.txt"),
            put("folder/archive.tgz!/"),
            put("folder/a%2fb"),
            put("folder/wrong.txt").with("x-checksum-sha256", "0".repeat(64)),
            put("folder/wrong.txt").with("repr-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"),
            put("folder/malformed.txt").with("x-checksum-md5", "not hexadecimal"),
            put("folder/part.txt").with("content-range", "bytes 0-6/100"),
            put("folder/form.txt").with("content-type", "multipart/form-data; boundary=x"),
            put("folder/absent.txt").with("if-match", "*"),
            Ask::new(Method::DELETE, ""),
            Ask::new(Method::DELETE, "conform-absent/"),
            Ask::get("conform-absent.zip!/%2e%2e/x"),
            Ask::get("?format=exe"),
            Ask::get("?after=%00"),
        ]
    }

    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        let message = body.get("error").and_then(serde_json::Value::as_str).unwrap_or_default();
        if message.is_empty() { Err(String::from("there is no text in \"error\"")) } else { Ok(()) }
    }
}
