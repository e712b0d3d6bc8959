//! `maven-metadata.xml`: what it says at its three levels, read leniently and written anew.
//!
//! Elements are known by their local names: Maven 4 writes a namespace, Maven 3 none. Nothing is resolved or expanded; what has a document
//! type is refused.

use std::fmt::Write as _;

use entrepot_kit::html::escape;
use entrepot_kit::{Error, Result, Timestamp};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

/// Most bytes of a document that a client sends.
pub const LARGEST: usize = 16 << 20;
/// Most nested elements.
const DEEPEST: usize = 16;
/// Most bytes of a text.
const LONGEST: usize = 1024;
/// Most kinds of files of a snapshot that is joined from several repositories.
const MOST_JOINED: usize = 1000;
/// Most versions, files or plugins.
const MOST: usize = 200_000;
/// The versions of a list that is sent which are read, at its end.
const LAST: usize = 16;
/// What stands before and behind the versions.
const BEGIN: &str = "    <versions>\n";
const END: &str = "    </versions>\n";

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SnapshotVersion {
    /// Empty for none.
    pub classifier: String,
    /// `jar`.
    pub extension: String,
    /// `1.1-20261123.145055-1`.
    pub value: String,
    /// `20261123145055`.
    pub updated: String,
}

/// What a goal's prefix leads to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Plugin {
    /// For people.
    pub name: String,
    /// `dependency` in `mvn dependency:tree`.
    pub prefix: String,
    /// `maven-dependency-plugin`.
    pub artifact: String,
}

/// What a document says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// `com.acme`.
    pub group: String,
    /// `lib`.
    pub artifact: String,
    /// `1.1-SNAPSHOT`, of a snapshot.
    pub version: String,
    /// The highest version.
    pub latest: String,
    /// The highest that is no snapshot.
    pub release: String,
    /// All versions.
    pub versions: Vec<String>,
    /// `20261123145055`.
    pub last_updated: String,
    /// The newest build of a snapshot: its time and its number.
    pub snapshot: Option<(String, u32)>,
    /// Its files.
    pub files: Vec<SnapshotVersion>,
    /// The plugins of a group.
    pub plugins: Vec<Plugin>,
}

fn malformed(why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("this is no maven-metadata.xml: {why}")).with_reason("This is no maven-metadata.xml")
}

impl Metadata {
    /// Reads a document of which only the end of the list of versions matters: that of a client, which has written the new one there, below
    /// thousands that it was given by us. What stands between is not looked at.
    ///
    /// # Errors
    /// Those of [`Self::parse`].
    pub fn parse_news(document: &[u8]) -> Result<Self> {
        match std::str::from_utf8(document).ok().and_then(without_old) {
            Some(short) => Self::parse(short.as_bytes()),
            None => Self::parse(document),
        }
    }

    /// Reads a document.
    ///
    /// # Errors
    /// 400 for what is no such document, or has more of something than there can be.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(document).map_err(|_| malformed("it is not UTF-8"))?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut found = Self::default();
        let mut path: Vec<String> = Vec::new();
        let mut content = String::new();
        let mut seen = false;
        loop {
            match reader.read_event().map_err(malformed)? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    if path.is_empty() && (seen || name != "metadata") {
                        return Err(malformed(format!("its root is {name:?}")));
                    }
                    if path.len() >= DEEPEST {
                        return Err(malformed("its elements are too deep in each other"));
                    }
                    seen = true;
                    path.push(name);
                    content.clear();
                    found.begin(&path)?;
                }
                Event::Empty(start) => {
                    if path.is_empty() && (seen || start.local_name().as_ref() != "metadata") {
                        return Err(malformed("its root is another"));
                    }
                    seen = true;
                }
                Event::End(_) => {
                    found.take(&path, content.trim());
                    path.pop();
                    content.clear();
                }
                Event::Text(text) => push(&mut content, &text.xml10_content())?,
                Event::CData(text) => push(&mut content, &text.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let character = reference.resolve_char_ref().map_err(malformed)?.or_else(|| predefined(&reference));
                    push(&mut content, character.ok_or_else(|| malformed("it has an entity of its own"))?.encode_utf8(&mut [0; 4]))?;
                }
                Event::DocType(_) => return Err(malformed("it has a document type")),
                Event::Eof => break,
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            }
        }
        if !seen || !path.is_empty() {
            return Err(malformed("it ends before its time"));
        }
        Ok(found)
    }

    /// Joins what several repositories say of one snapshot: the newest build, and of each kind of file the newest.
    #[must_use]
    pub fn join_snapshots(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        let mut joined = parts.next().unwrap_or_default();
        for part in parts {
            joined.snapshot = joined.snapshot.max(part.snapshot);
            joined.last_updated = joined.last_updated.max(part.last_updated);
            for file in part.files {
                let place = joined.files.iter().position(|known| known.classifier == file.classifier && known.extension == file.extension);
                if let Some(known) = place.and_then(|place| joined.files.get_mut(place)) {
                    if known.updated < file.updated {
                        *known = file;
                    }
                } else if joined.files.len() < MOST_JOINED {
                    joined.files.push(file);
                }
            }
        }
        joined
    }

    fn begin(&mut self, path: &[String]) -> Result<()> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path.as_slice() {
            ["metadata", "plugins", "plugin"] => self.plugins.push(Plugin::default()),
            ["metadata", "versioning", "snapshotVersions", "snapshotVersion"] => self.files.push(SnapshotVersion::default()),
            ["metadata", "versioning", "snapshot"] => self.snapshot = Some((String::new(), 0)),
            _ => {}
        }
        if self.versions.len().max(self.plugins.len()).max(self.files.len()) > MOST {
            return Err(malformed(format!("it lists more than {MOST} things")));
        }
        Ok(())
    }

    fn take(&mut self, path: &[String], text: &str) {
        if text.chars().any(char::is_control) {
            return;
        }
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let place = match path.as_slice() {
            ["metadata", "groupId"] => &mut self.group,
            ["metadata", "artifactId"] => &mut self.artifact,
            ["metadata", "version"] => &mut self.version,
            ["metadata", "versioning", "latest"] => &mut self.latest,
            ["metadata", "versioning", "release"] => &mut self.release,
            ["metadata", "versioning", "lastUpdated"] => &mut self.last_updated,
            ["metadata", "versioning", "versions", "version"] => {
                if is_version(text) {
                    self.versions.push(text.to_owned());
                }
                return;
            }
            ["metadata", "versioning", "snapshot", field] => {
                let (time, number) = self.snapshot.get_or_insert_default();
                match *field {
                    "timestamp" => text.clone_into(time),
                    "buildNumber" => *number = text.parse().unwrap_or_default(),
                    _ => {}
                }
                return;
            }
            ["metadata", "versioning", "snapshotVersions", "snapshotVersion", field] => {
                let Some(file) = self.files.last_mut() else { return };
                match *field {
                    "classifier" => &mut file.classifier,
                    "extension" => &mut file.extension,
                    "value" => &mut file.value,
                    "updated" => &mut file.updated,
                    _ => return,
                }
            }
            ["metadata", "plugins", "plugin", field] => {
                let Some(plugin) = self.plugins.last_mut() else { return };
                match *field {
                    "name" => &mut plugin.name,
                    "prefix" => &mut plugin.prefix,
                    "artifactId" => &mut plugin.artifact,
                    _ => return,
                }
            }
            _ => return,
        };
        text.clone_into(place);
    }

    /// Writes the document.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        self.render_with(self.versions.len(), |out| self.versions.iter().for_each(|version| write_line(out, version)))
    }

    /// Writes the document with as many versions as the caller writes, each by [`write_line`].
    pub(crate) fn render_with(&self, count: usize, write_versions: impl FnOnce(&mut String)) -> Vec<u8> {
        let mut out = String::with_capacity(512 + count * 40);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata>\n");
        element(&mut out, "  ", "groupId", &self.group);
        element(&mut out, "  ", "artifactId", &self.artifact);
        element(&mut out, "  ", "version", &self.version);
        if count > 0 || self.snapshot.is_some() || !self.files.is_empty() {
            self.render_versioning(&mut out, count, write_versions);
        }
        if !self.plugins.is_empty() {
            out.push_str("  <plugins>\n");
            for plugin in &self.plugins {
                out.push_str("    <plugin>\n");
                element(&mut out, "      ", "name", &plugin.name);
                element(&mut out, "      ", "prefix", &plugin.prefix);
                element(&mut out, "      ", "artifactId", &plugin.artifact);
                out.push_str("    </plugin>\n");
            }
            out.push_str("  </plugins>\n");
        }
        out.push_str("</metadata>\n");
        out.into_bytes()
    }

    fn render_versioning(&self, out: &mut String, count: usize, write_versions: impl FnOnce(&mut String)) {
        out.push_str("  <versioning>\n");
        element(out, "    ", "latest", &self.latest);
        element(out, "    ", "release", &self.release);
        if let Some((time, number)) = &self.snapshot {
            out.push_str("    <snapshot>\n");
            element(out, "      ", "timestamp", time);
            element(out, "      ", "buildNumber", &number.to_string());
            out.push_str("    </snapshot>\n");
        }
        if count > 0 {
            out.push_str(BEGIN);
            write_versions(out);
            out.push_str(END);
        }
        element(out, "    ", "lastUpdated", &self.last_updated);
        if !self.files.is_empty() {
            out.push_str("    <snapshotVersions>\n");
            for file in &self.files {
                out.push_str("      <snapshotVersion>\n");
                element(out, "        ", "classifier", &file.classifier);
                element(out, "        ", "extension", &file.extension);
                element(out, "        ", "value", &file.value);
                element(out, "        ", "updated", &file.updated);
                out.push_str("      </snapshotVersion>\n");
            }
            out.push_str("    </snapshotVersions>\n");
        }
        out.push_str("  </versioning>\n");
    }
}

/// Whether a text can be the folder of a version.
#[must_use]
pub fn is_version(text: &str) -> bool {
    !text.is_empty() && text.len() <= 255 && !matches!(text, "." | "..") && !text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'))
}

/// A document without all but the last versions of its list; `None` where that is short, or written in a way of its own.
fn without_old(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("<versions>")?;
    let (list, behind) = rest.rsplit_once("</versions>")?;
    let (at, _) = list.rmatch_indices("<version>").nth(LAST - 1)?;
    Some([before, "<versions>", list.get(at..)?, "</versions>", behind].concat())
}

fn push(content: &mut String, text: &str) -> Result<()> {
    // Space between elements is of any length, and kept for none.
    if content.is_empty() && text.trim().is_empty() {
        return Ok(());
    }
    if content.len() + text.len() > LONGEST {
        return Err(malformed(format!("it has a text of more than {LONGEST} bytes")));
    }
    content.push_str(text);
    Ok(())
}

/// The character of an entity that every document has.
pub(crate) fn predefined(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

/// Writes the line of a version.
pub(crate) fn write_line(out: &mut String, version: &str) {
    element(out, "      ", "version", version);
}

/// The lines of the versions in a document of ours: no text has what they are found by.
pub(crate) fn lines(document: &str) -> Vec<&str> {
    let list = document.split_once(BEGIN).and_then(|(_, rest)| rest.rsplit_once(END));
    list.map(|(list, _)| list.split_inclusive('\n').collect()).unwrap_or_default()
}

/// What such a line is of, as it is written there.
pub(crate) fn of_line(line: &str) -> &str {
    line.split_once('>').and_then(|(_, rest)| rest.split_once('<')).map_or("", |(version, _)| version)
}

/// An element with a text; nothing for an empty one.
fn element(out: &mut String, indent: &str, name: &str, text: &str) {
    if !text.is_empty() {
        let _ = writeln!(out, "{indent}<{name}>{}</{name}>", escape(text));
    }
}

/// A time as metadata has it: `20261123145055`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    at.rfc3339().bytes().filter(u8::is_ascii_digit).take(14).map(char::from).collect()
}

/// Reads what [`time`] writes; also the time of a build, with its dot.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let digits: String = text.chars().filter(|character| *character != '.').collect();
    if digits.len() != 14 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    Timestamp::parse_rfc3339(&format!("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 6), part(6, 8), part(8, 10), part(10, 12), part(12, 14)))
}

#[cfg(test)]
mod tests {
    use super::{Metadata, Plugin, SnapshotVersion, parse_time, time};
    use proptest::prelude::*;

    #[test]
    fn documents_of_both_mavens_are_read() {
        let three = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata>\n  <groupId>com.acme</groupId>\n  <artifactId>lib</artifactId>\n  <versioning>\n    <release>1.1</release>\n    <versions>\n      <version>1.0</version>\n      <version>1.1</version>\n    </versions>\n    <lastUpdated>20261123145055</lastUpdated>\n  </versioning>\n</metadata>\n";
        let four = three.replace(
            "<metadata>",
            "<metadata xmlns=\"http://maven.apache.org/METADATA/1.1.0\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:schemaLocation=\"a b\">",
        );
        let prefixed = three.replace('<', "<m:").replace("<m:/", "</m:").replace("<m:?", "<?");
        for text in [three, &four, &prefixed, &format!("\u{feff}{three}")] {
            let found = Metadata::parse(text.as_bytes()).unwrap();
            assert_eq!((&*found.group, &*found.artifact, &*found.release, &*found.last_updated), ("com.acme", "lib", "1.1", "20261123145055"));
            assert_eq!(found.versions, ["1.0", "1.1"]);
            assert_eq!(Metadata::parse(&found.render()).unwrap(), found);
        }
        assert_eq!(Metadata::parse(three.as_bytes()).unwrap().render(), three.as_bytes());
    }

    #[test]
    fn snapshots_and_plugins_come_back() {
        let document = Metadata {
            group: String::from("a"),
            artifact: String::from("b"),
            version: String::from("1-SNAPSHOT"),
            last_updated: String::from("20261123145055"),
            snapshot: Some((String::from("20261123.145055"), 3)),
            files: vec![SnapshotVersion { extension: String::from("jar"), value: String::from("1-20261123.145055-3"), ..SnapshotVersion::default() }],
            plugins: vec![Plugin { name: String::from("A & <B> \"c\""), prefix: String::from("x"), artifact: String::from("x-maven-plugin") }],
            ..Metadata::default()
        };
        assert_eq!(Metadata::parse(&document.render()).unwrap(), document);
    }

    #[test]
    fn snapshots_of_several_repositories_are_joined() {
        let part = |time: &str, number: u32, kinds: &[&str]| Metadata {
            artifact: String::from("b"),
            last_updated: time.replace('.', ""),
            snapshot: Some((time.to_owned(), number)),
            files: kinds
                .iter()
                .map(|kind| SnapshotVersion {
                    extension: (*kind).to_owned(),
                    value: format!("1-{time}-{number}"),
                    updated: time.replace('.', ""),
                    ..SnapshotVersion::default()
                })
                .collect(),
            ..Metadata::default()
        };
        let (older, newer) = (part("20260101.000000", 9, &["pom", "jar", "zip"]), part("20260102.000000", 1, &["jar", "pom"]));
        for parts in [vec![older.clone(), newer.clone()], vec![newer.clone(), older]] {
            let joined = Metadata::join_snapshots(parts);
            assert_eq!((joined.snapshot.as_ref(), &*joined.last_updated), (newer.snapshot.as_ref(), "20260102000000"));
            let mut values: Vec<_> = joined.files.iter().map(|file| (&*file.extension, &*file.value)).collect();
            values.sort_unstable();
            assert_eq!(values, [("jar", "1-20260102.000000-1"), ("pom", "1-20260102.000000-1"), ("zip", "1-20260101.000000-9")]);
        }
    }

    #[test]
    fn what_is_no_metadata_is_refused() {
        let deep = format!("<metadata>{}", "<a>".repeat(40));
        let long = format!("<metadata><groupId>{}</groupId></metadata>", "x".repeat(2000));
        for text in [
            "",
            "no xml",
            "<html><body>Sign in</body></html>",
            "<metadata>",
            "<metadata></metadata><metadata/>",
            "<!DOCTYPE x [<!ENTITY a \"b\">]><metadata><groupId>&a;</groupId></metadata>",
            "<metadata><groupId>&own;</groupId></metadata>",
            "<metadata><groupId></metadata></groupId>",
            &deep,
            &long,
        ] {
            assert!(Metadata::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Metadata::parse(b"<metadata/>").is_ok_and(|found| found == Metadata::default()));
        let hostile =
            Metadata::parse(b"<metadata><versioning><versions><version>../x</version><version>..</version></versions></versioning></metadata>").unwrap();
        assert!(hostile.versions.is_empty());
    }

    #[test]
    fn times_come_back() {
        assert_eq!(parse_time("20261123145055").map(time).as_deref(), Some("20261123145055"));
        assert_eq!(parse_time("20261123.145055"), parse_time("20261123145055"));
        assert_eq!(parse_time("2026"), None);
        assert_eq!(parse_time("20269923145055"), None);
    }

    #[test]
    fn only_the_end_of_a_long_list_is_read() {
        let versions: Vec<String> = (0..5000).map(|number| format!("1.{number}")).collect();
        let whole = Metadata { group: String::from("a"), latest: String::from("1.4999"), versions, ..Metadata::default() };
        let read = Metadata::parse_news(&whole.render()).unwrap();
        assert_eq!((&read.versions[..], &read.latest, &read.group), (&whole.versions[4984..], &whole.latest, &whole.group));
        let short = Metadata { versions: whole.versions[..15].to_vec(), ..whole.clone() };
        assert_eq!(Metadata::parse_news(&short.render()).unwrap(), short);
        let text = String::from_utf8(whole.render()).unwrap();
        let prefixed = text.replace('<', "<m:").replace("<m:/", "</m:").replace("<m:?", "<?");
        assert_eq!(Metadata::parse_news(prefixed.as_bytes()).unwrap(), whole);
        for bad in [text.replace("</metadata>", ""), text.replace("</versions>", ""), text.replacen("<metadata>", "<!DOCTYPE a><metadata>", 1)] {
            assert!(Metadata::parse_news(bad.as_bytes()).is_err(), "{} bytes", bad.len());
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at_for_news(text in "(<versions>|</versions>|<version>|</version>|<metadata>|</metadata>|é|1){0,60}") {
            let _ = Metadata::parse_news(text.as_bytes());
        }

        #[test]
        fn any_bytes_are_looked_at(text in "(<[a-z/!?]{0,3}|metadata|>|&|;|[a-z]| ){0,60}") {
            let _ = Metadata::parse(text.as_bytes());
        }

        #[test]
        fn any_text_survives(name in "[^\\p{C}]{1,40}") {
            let name = name.trim().to_owned();
            let document = Metadata { group: name, ..Metadata::default() };
            prop_assert_eq!(Metadata::parse(&document.render()).unwrap(), document);
        }
    }
}
