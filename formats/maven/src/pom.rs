//! What a pom says of itself, as far as it can be known without others: nothing is inherited but coordinates, nothing interpolated.

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

use crate::metadata::predefined;

/// Most nested elements.
const DEEPEST: usize = 64;
/// Most bytes of a text that is kept.
const LONGEST: usize = 1024;

/// A pom.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Pom {
    /// Its group, or that of its parent.
    pub(crate) group: String,
    /// Its artifact.
    pub(crate) artifact: String,
    /// Its version, or that of its parent.
    pub(crate) version: String,
    /// `jar` where it does not say.
    pub(crate) packaging: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
}

impl Pom {
    /// Reads a pom; `None` for what is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut found = Self::default();
        let (mut parent_group, mut parent_version) = (String::new(), String::new());
        let mut path: Vec<String> = Vec::new();
        let mut seen = false;
        loop {
            let mut take = |text: &str| push(&mut found, &mut parent_group, &mut parent_version, &path, text);
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    if path.len() >= DEEPEST || (path.is_empty() && (seen || name != "project")) {
                        return None;
                    }
                    seen = true;
                    path.push(name);
                }
                Event::End(_) => {
                    path.pop();
                }
                Event::Text(part) => take(&part.xml10_content()),
                Event::CData(part) => take(&part.xml10_content()),
                Event::GeneralRef(reference) => {
                    if let Some(character) = reference.resolve_char_ref().ok().flatten().or_else(|| predefined(&reference)) {
                        take(character.encode_utf8(&mut [0; 4]));
                    }
                }
                Event::DocType(_) => return None,
                Event::Eof => break,
                _ => {}
            }
        }
        if !seen || !path.is_empty() {
            return None;
        }
        for (own, parent) in [(&mut found.group, parent_group), (&mut found.version, parent_version)] {
            if own.trim().is_empty() {
                *own = parent;
            }
        }
        for field in [&mut found.group, &mut found.artifact, &mut found.version, &mut found.packaging, &mut found.description] {
            *field = field.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        if found.packaging.is_empty() {
            found.packaging.push_str("jar");
        }
        Some(found)
    }

    /// Whether it can be that of an artifact: what it says with a placeholder is taken for right.
    pub(crate) fn is_of(&self, group: &str, artifact: &str, version: &str) -> bool {
        let fits = |said: &str, wanted: &str| said == wanted || said.contains("${");
        fits(&self.group, group) && fits(&self.artifact, artifact) && fits(&self.version, version)
    }
}

fn push(found: &mut Pom, parent_group: &mut String, parent_version: &mut String, path: &[String], text: &str) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let place = match path.as_slice() {
        ["project", "groupId"] => &mut found.group,
        ["project", "artifactId"] => &mut found.artifact,
        ["project", "version"] => &mut found.version,
        ["project", "packaging"] => &mut found.packaging,
        ["project", "description"] => &mut found.description,
        ["project", "parent", "groupId"] => parent_group,
        ["project", "parent", "version"] => parent_version,
        _ => return,
    };
    place.extend(text.chars().filter(|character| !character.is_control() || character.is_whitespace()).take(LONGEST.saturating_sub(place.len())));
}

#[cfg(test)]
mod tests {
    use super::Pom;
    use proptest::prelude::*;

    #[test]
    fn coordinates_are_read_or_inherited() {
        let text = "<?xml version=\"1.0\"?><!-- x --><project xmlns=\"http://maven.apache.org/POM/4.0.0\"><parent><groupId>com.acme</groupId><version>1.0</version></parent><artifactId>lib</artifactId><description>A &amp; <![CDATA[<b>]]>\n  c</description><dependencies><dependency><artifactId>x</artifactId></dependency></dependencies></project>";
        let pom = Pom::parse(text).unwrap();
        assert_eq!((&*pom.group, &*pom.artifact, &*pom.version, &*pom.packaging, &*pom.description), ("com.acme", "lib", "1.0", "jar", "A & <b> c"));
        assert!(pom.is_of("com.acme", "lib", "1.0") && !pom.is_of("com.acme", "lib", "1.1") && !pom.is_of("com.evil", "lib", "1.0"));
        let pom =
            Pom::parse("<project><groupId>a</groupId><artifactId>b</artifactId><version>${revision}</version><packaging>pom</packaging></project>").unwrap();
        assert!(pom.is_of("a", "b", "7") && pom.packaging == "pom");
    }

    #[test]
    fn what_is_no_pom_is_none() {
        for text in
            ["", "x", "<html/>", "<html></html>", "<project>", "<!DOCTYPE a><project></project>", "<project></project><project></project>", &"<a>".repeat(100)]
        {
            assert_eq!(Pom::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_looked_at(text in "[<>/a-z&;! \\[\\]-]{0,200}") {
            let _ = Pom::parse(&text);
        }
    }
}
