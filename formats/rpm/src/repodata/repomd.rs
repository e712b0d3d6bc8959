//! `repomd.xml`: which documents there are, and what they hash to.

use std::fmt::Write as _;

use entrepot_kit::{Algorithm, Digests, Error, Result};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

use super::read::attribute;
use crate::xml::escape_href;

/// Most bytes of a `repomd.xml`.
pub(crate) const LARGEST: usize = 4 << 20;
/// Most documents that one names.
const MOST: usize = 500;

/// A document.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Data {
    /// Its type: `primary`.
    pub kind: String,
    /// The algorithm of its checksum.
    pub algorithm: String,
    /// Its checksum.
    pub checksum: String,
    /// The SHA-256 and the length of its plain form, where it is compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<(String, u64)>,
    /// Where it is, relative to the folder above this one.
    pub href: String,
    /// What that is relative to instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// When it was made, in seconds since 1970.
    pub timestamp: i64,
    /// Its length.
    pub size: u64,
}

impl Data {
    /// What its bytes must hash to.
    #[must_use]
    pub fn digests(&self) -> Digests {
        let mut digests = Digests::new();
        // What old tools call by another name.
        let name = if self.algorithm == "sha" { "sha1" } else { &self.algorithm };
        if let Some(algorithm) = Algorithm::parse(name) {
            digests.insert_hex(algorithm, &self.checksum);
        }
        digests
    }

    /// Its file name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.href.rsplit('/').next().unwrap_or(&self.href)
    }
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repomd {
    /// Numbers the state; seconds since 1970 here.
    pub revision: String,
    /// What it names.
    pub data: Vec<Data>,
}

fn broken(why: impl std::fmt::Display) -> Error {
    Error::bad_gateway(format!("this is no repomd.xml: {why}"))
}

impl Repomd {
    /// The document of a type.
    #[must_use]
    pub fn of(&self, kind: &str) -> Option<&Data> {
        self.data.iter().find(|data| data.kind == kind)
    }

    /// Writes the document.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">\n  <revision>{}</revision>\n",
            self.revision
        );
        for data in &self.data {
            let _ = writeln!(out, "  <data type=\"{}\">", data.kind);
            let _ = writeln!(out, "    <checksum type=\"{}\">{}</checksum>", data.algorithm, data.checksum);
            if let Some((checksum, _)) = &data.open {
                let _ = writeln!(out, "    <open-checksum type=\"sha256\">{checksum}</open-checksum>");
            }
            let _ = writeln!(out, "    <location href=\"{}\"/>", escape_href(&data.href));
            let _ = writeln!(out, "    <timestamp>{}</timestamp>\n    <size>{}</size>", data.timestamp, data.size);
            if let Some((_, size)) = &data.open {
                let _ = writeln!(out, "    <open-size>{size}</open-size>");
            }
            out.push_str("  </data>\n");
        }
        out.push_str("</repomd>\n");
        out
    }

    /// Reads a document leniently: what is not known is passed over.
    ///
    /// # Errors
    /// 502 for what is none.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(document).map_err(|_| broken("it is not UTF-8"))?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut found = Self::default();
        let mut path: Vec<String> = Vec::new();
        let mut content = String::new();
        let mut seen = false;
        loop {
            match reader.read_event().map_err(broken)? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    if (path.is_empty() && (seen || name != "repomd")) || path.len() > 8 {
                        return Err(broken(format!("its root is {name:?}")));
                    }
                    seen = true;
                    found.take(&path, &name, &start)?;
                    path.push(name);
                    content.clear();
                }
                Event::Empty(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    found.take(&path, &name, &start)?;
                }
                Event::Text(more) if content.len() < 4096 => content.push_str(&more.xml10_content()),
                Event::End(_) => {
                    found.close(&path, content.trim());
                    path.pop();
                    content.clear();
                }
                Event::DocType(_) => return Err(broken("it has a document type")),
                Event::Eof => break,
                _ => {}
            }
        }
        if !seen || !path.is_empty() {
            return Err(broken("it ends before its time"));
        }
        found.data.retain(|data| !data.href.is_empty() && !data.kind.is_empty());
        Ok(found)
    }

    fn take(&mut self, path: &[String], name: &str, start: &quick_xml::events::BytesStart<'_>) -> Result<()> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (path.as_slice(), name) {
            (["repomd"], "data") => {
                if self.data.len() >= MOST {
                    return Err(broken(format!("it names more than {MOST} documents")));
                }
                self.data.push(Data { kind: attribute(start, "type")?.unwrap_or_default(), ..Data::default() });
            }
            (["repomd", "data"], "location") => {
                let (href, base) = (attribute(start, "href")?.unwrap_or_default(), attribute(start, "xml:base")?);
                if let Some(data) = self.data.last_mut() {
                    (data.href, data.base) = (href, base);
                }
            }
            (["repomd", "data"], "checksum") => {
                let algorithm = attribute(start, "type")?.unwrap_or_default();
                if let Some(data) = self.data.last_mut() {
                    data.algorithm = algorithm.to_ascii_lowercase();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn close(&mut self, path: &[String], text: &str) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["repomd", "revision"] => text.clone_into(&mut self.revision),
            ["repomd", "data", field] => {
                let Some(data) = self.data.last_mut() else { return };
                match *field {
                    "checksum" => data.checksum = text.to_ascii_lowercase(),
                    "open-checksum" => data.open = Some((text.to_ascii_lowercase(), data.open.take().map_or(0, |(_, size)| size))),
                    "open-size" => data.open = Some((data.open.take().map_or_else(String::new, |(sum, _)| sum), text.parse().unwrap_or_default())),
                    "size" => data.size = text.parse().unwrap_or_default(),
                    "timestamp" => data.timestamp = text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default(),
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Data, Repomd};

    #[test]
    fn documents_are_read_as_they_are_written() {
        let data = |kind: &str, open| Data {
            kind: kind.to_owned(),
            algorithm: String::from("sha256"),
            checksum: "0a".repeat(32),
            open,
            href: String::from("repodata/x-primary.xml.gz"),
            base: None,
            timestamp: 12,
            size: 34,
        };
        let document = Repomd { revision: String::from("12"), data: vec![data("primary", Some(("0b".repeat(32), 56))), data("group", None)] };
        let read = Repomd::parse(document.text().as_bytes()).unwrap();
        assert_eq!(read, document);
        assert_eq!(read.of("primary").map(Data::name), Some("x-primary.xml.gz"));
        assert!(!read.data[0].digests().is_empty());
        for bad in ["", "<html/>", "<repomd>", "<!DOCTYPE x><repomd></repomd>", "<repomd></repomd><repomd>"] {
            assert!(Repomd::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
