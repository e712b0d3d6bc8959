//! The list of archetypes: a mark for each of their versions, kept beside the files, and the document that is made of them.

use entrepot_kit::html::escape_into;
use serde::{Deserialize, Serialize};

use crate::coordinates::ARCHETYPES;

/// What poms of archetypes say that they are.
pub(crate) const PACKAGING: &str = "maven-archetype";

/// Where upstreams' lists begin.
const BEGINNING: &str = "<archetypes>";

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) description: String,
}

/// The path of a version's mark.
pub(crate) fn mark(package: &str, version: &str) -> String {
    format!("{ARCHETYPES}{package}/{version}")
}

/// Package and version of a mark.
pub(crate) fn marked(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(ARCHETYPES)?.split_once('/')
}

/// Adds an archetype to a list.
pub(crate) fn add(items: &mut String, package: &str, version: &str, mark: &str) {
    let Some((group, artifact)) = package.split_once(':') else { return };
    let description = serde_json::from_str::<Mark>(mark).unwrap_or_default().description;
    items.push_str("    <archetype>\n");
    for (name, text) in [("groupId", group), ("artifactId", artifact), ("version", version), ("description", &description)] {
        if !text.is_empty() {
            items.push_str("      <");
            items.push_str(name);
            items.push('>');
            escape_into(items, text);
            items.push_str("</");
            items.push_str(name);
            items.push_str(">\n");
        }
    }
    items.push_str("    </archetype>\n");
}

/// The document of a list.
pub(crate) fn document(items: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<archetype-catalog xmlns=\"http://maven.apache.org/plugins/maven-archetype-plugin/archetype-catalog/1.0.0\">\n  <archetypes>\n{items}  </archetypes>\n</archetype-catalog>\n"
    )
}

/// An upstream's document with a list before its own; the list alone where that has none.
pub(crate) fn joined(items: &str, upstream: &str) -> String {
    match upstream.split_once(BEGINNING) {
        Some((head, rest)) => format!("{head}{BEGINNING}\n{items}{rest}"),
        None => document(items),
    }
}

#[cfg(test)]
mod tests {
    use super::{add, document, joined, mark, marked};

    #[test]
    fn lists_are_written_and_joined() {
        let mut items = String::new();
        add(&mut items, "com.acme:start", "1.0", "{\"description\":\"a < b\"}");
        add(&mut items, "com.acme:bare", "1.0", "");
        let own = document(&items);
        assert!(own.contains(
            "<groupId>com.acme</groupId>\n      <artifactId>start</artifactId>\n      <version>1.0</version>\n      <description>a &lt; b</description>"
        ));
        assert_eq!(own.matches("<archetype>").count(), 2);
        let both = joined(&items, "<archetype-catalog><archetypes><archetype><artifactId>x</artifactId></archetype></archetypes></archetype-catalog>");
        assert_eq!(both.matches("<archetype>").count(), 3);
        assert_eq!(joined(&items, "<archetype-catalog/>"), own);
        assert_eq!(marked(&mark("a:b", "1-x/y")), Some(("a:b", "1-x/y")));
    }
}
