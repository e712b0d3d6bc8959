//! Core metadata: `METADATA` of a wheel, `PKG-INFO` of a source distribution. Headers as in mail, and a description as its body.

use entrepot_kit::{Error, Result};
use serde_json::{Map, Value};

use crate::name::is_valid;
use crate::version;

/// Largest metadata that is read.
pub const LARGEST: u64 = 4 << 20;
/// Most headers.
const MOST_HEADERS: usize = 20_000;
/// The versions of the standard that are understood.
const VERSIONS: [&str; 9] = ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2", "2.3", "2.4", "2.5"];

/// Headers that can be there more than once, as they are called in JSON.
const REPEATED: [&str; 17] = [
    "platform",
    "supported_platform",
    "classifier",
    "requires_dist",
    "requires_external",
    "project_url",
    "provides_extra",
    "provides_dist",
    "obsoletes_dist",
    "license_file",
    "dynamic",
    "import_name",
    "import_namespace",
    "requires",
    "provides",
    "obsoletes",
    "extension",
];
/// Headers of which one alone makes sense. Others that are not known are kept as they come.
const SINGLE: [&str; 6] = ["metadata_version", "name", "version", "requires_python", "summary", "license_expression"];

/// Core metadata that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The project's name as its author writes it.
    pub name: String,
    /// The version as its author writes it.
    pub version: String,
    /// What versions of Python it is for.
    pub requires_python: Option<String>,
    /// All of it: one member for each header, lists for those that can be there more than once.
    pub fields: Map<String, Value>,
}

impl Metadata {
    /// Reads metadata.
    ///
    /// # Errors
    /// 400 saying what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > LARGEST {
            return Err(refused(format!("it is larger than {LARGEST} bytes")));
        }
        // Old tools wrote what the machine's locale was; each of these bytes is a character of latin-1.
        let text = std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().map(|byte| char::from(*byte)).collect(), str::to_owned);
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        let mut fields = Map::new();
        let (headers, body) = split(text);
        for (count, (name, value)) in unfold(headers).enumerate() {
            if count >= MOST_HEADERS {
                return Err(refused(format!("it has more than {MOST_HEADERS} headers")));
            }
            let (key, value) = (name.to_ascii_lowercase().replace('-', "_"), value.trim());
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(refused(format!("the line {:?} is no header", name.chars().take(80).collect::<String>())));
            }
            if REPEATED.contains(&key.as_str()) {
                if let Some(list) = fields.entry(key).or_insert_with(|| Value::Array(Vec::new())).as_array_mut() {
                    list.push(value.into());
                }
            } else if fields.contains_key(&key) {
                if SINGLE.contains(&key.as_str()) {
                    return Err(refused(format!("it has the header {name:?} twice")));
                }
            } else if value != "UNKNOWN" || key == "name" || key == "version" {
                fields.insert(key, value.into());
            }
        }
        if !body.trim().is_empty() {
            // A description as header and as body: what is below is what indexes show.
            fields.insert(String::from("description"), body.into());
        } else if let Some(Value::String(description)) = fields.get_mut("description") {
            *description =
                description.lines().map(|line| line.strip_prefix("       |").or(line.strip_prefix("        ")).unwrap_or(line)).collect::<Vec<_>>().join("\n");
        }
        Self::check(fields)
    }

    fn check(fields: Map<String, Value>) -> Result<Self> {
        let text = |key: &str| fields.get(key).and_then(Value::as_str).filter(|value| !value.is_empty());
        let metadata_version = text("metadata_version").ok_or_else(|| refused("it has no Metadata-Version"))?;
        if !VERSIONS.contains(&metadata_version) {
            return Err(refused(format!("its Metadata-Version is {metadata_version:?}; known are {}", VERSIONS.join(", "))));
        }
        let name = text("name").filter(|name| is_valid(name)).ok_or_else(|| refused("it has no valid Name"))?.to_owned();
        let version = text("version").ok_or_else(|| refused("it has no Version"))?.to_owned();
        version::parse(&version).ok_or_else(|| refused(format!("its Version {version:?} is none by PEP 440")))?;
        let requires_python = text("requires_python").map(str::to_owned);
        Ok(Self { name, version, requires_python, fields })
    }

    /// A header of one value.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }
}

/// Headers, and what follows the first empty line.
fn split(text: &str) -> (&str, &str) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end_matches(['\r', '\n']).is_empty() {
            let (headers, rest) = text.split_at_checked(start).unwrap_or((text, ""));
            return (headers, rest.get(line.len()..).unwrap_or_default());
        }
        start += line.len();
    }
    (text, "")
}

/// Each header with its whole value: lines that begin with a blank go on with the one before.
fn unfold(headers: &str) -> impl Iterator<Item = (&str, String)> {
    let mut lines = headers.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).peekable();
    std::iter::from_fn(move || {
        let line = lines.next().filter(|line| !line.is_empty())?;
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let name = if line.contains(':') { name } else { "" };
        let mut value = value.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(more);
        }
        Some((name, value))
    })
}

fn refused(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid metadata: {why}"))
}

#[cfg(test)]
mod tests {
    use super::Metadata;
    use serde_json::json;

    #[test]
    fn headers_and_description_are_read() {
        let metadata = Metadata::parse(
            "Metadata-Version: 2.4\r\nName: Acme.Foo\r\nVersion: 1.0\r\nSummary: A thing\r\nClassifier: A :: B\r\nClassifier: C\r\nRequires-Dist: x>=1; extra == \"y\"\r\nRequires-Python: >=3.8\r\nLicense: MIT\r\n  and more\r\nHome-page: UNKNOWN\r\nNew-Thing: kept\r\n\r\n# Hello\n\nName: not a header\n"
                .as_bytes(),
        )
        .unwrap();
        assert_eq!((metadata.name.as_str(), metadata.version.as_str(), metadata.requires_python.as_deref()), ("Acme.Foo", "1.0", Some(">=3.8")));
        assert_eq!(metadata.fields["classifier"], json!(["A :: B", "C"]));
        assert_eq!(metadata.fields["license"], "MIT\n  and more");
        assert_eq!(metadata.fields["description"], "# Hello\n\nName: not a header\n");
        assert_eq!(metadata.text("new_thing"), Some("kept"));
        assert!(!metadata.fields.contains_key("home_page"));
    }

    #[test]
    fn old_descriptions_and_encodings_are_read() {
        let metadata =
            Metadata::parse(b"Metadata-Version: 1.0\nName: a\nVersion: 1\nAuthor: J\xf6rg\nDescription: one\n        two\n        \n        three\n").unwrap();
        assert_eq!(metadata.text("author"), Some("J\u{f6}rg"));
        assert_eq!(metadata.text("description"), Some("one\ntwo\n\nthree"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for bad in [
            "",
            "Name: a\nVersion: 1\n",
            "Metadata-Version: 3.0\nName: a\nVersion: 1\n",
            "Metadata-Version: 2.6\nName: a\nVersion: 1\n",
            "Metadata-Version: 2.1\nVersion: 1\n",
            "Metadata-Version: 2.1\nName: a\n",
            "Metadata-Version: 2.1\nName: a b\nVersion: 1\n",
            "Metadata-Version: 2.1\nName: a\nName: b\nVersion: 1\n",
            "Metadata-Version: 2.1\nName: a\nVersion: one\n",
            "Metadata-Version: 2.1\nName: a\nVersion: 1\nno header\n",
            "<html>",
        ] {
            assert_eq!(Metadata::parse(bad.as_bytes()).map_err(|error| error.status().as_u16()), Err(400), "{bad:?}");
        }
        let endless = "Metadata-Version: 2.1\nName: a\nVersion: 1\n".to_owned() + &"Classifier: x\n".repeat(30_000);
        assert!(Metadata::parse(endless.as_bytes()).is_err());
    }
}
