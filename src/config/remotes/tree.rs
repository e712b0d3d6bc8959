//! A file in YAML or TOML as a tree in which every name and value knows its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::reader::line_at;

/// Most names and values of a file, whatever its anchors unfold to, and most bytes of it.
const MOST: (usize, usize) = (200_000, 4 << 20);
/// How deep it may nest.
const MOST_DEPTH: usize = 16;

/// A value and its line.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Tree,
}

/// A name and its line.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) name: String,
}

#[derive(Debug)]
pub(super) enum Tree {
    Nothing,
    Truth(bool),
    Number(u64),
    Text(String),
    List(Vec<Node>),
    Table(Vec<(Key, Node)>),
    /// What none of the settings is: a negative number, a date.
    Other,
}

/// What keeps a file from being read, and the line where that is known.
pub(super) type Broken = (Option<usize>, String);

/// Reads YAML.
pub(super) fn yaml(text: &str) -> Result<Node, Broken> {
    use serde_saphyr::options::DuplicateKeyPolicy;
    let (most, bytes) = MOST;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: most * 2,
            max_nodes: most,
            max_depth: MOST_DEPTH,
            max_total_scalar_bytes: bytes,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: most, max_replay_stack_depth: 8 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text.trim_start_matches('\u{feff}'), options).map_err(|error| {
        let line = error.location().and_then(|location| usize::try_from(location.line()).ok());
        let message = error.to_string();
        (line.filter(|line| *line > 0), message.lines().next().unwrap_or_default().chars().take(300).collect())
    })
}

/// Reads TOML.
pub(super) fn toml(text: &str) -> Result<Node, Broken> {
    let document = DeTable::parse(text).map_err(|error| (error.span().map(|span| line_at(text, span.start)), error.message().to_owned()))?;
    Ok(Node { line: 1, value: table(text, document.get_ref()) })
}

fn table(text: &str, table: &DeTable<'_>) -> Tree {
    let entry = |key: &toml::Spanned<std::borrow::Cow<'_, str>>, value: &toml::Spanned<DeValue<'_>>| {
        let key = Key { line: line_at(text, key.span().start), name: key.get_ref().to_string() };
        (key, node(text, value))
    };
    Tree::Table(table.iter().map(|(key, value)| entry(key, value)).collect())
}

fn node(text: &str, value: &toml::Spanned<DeValue<'_>>) -> Node {
    let tree = match value.get_ref() {
        DeValue::String(text) => Tree::Text(text.to_string()),
        DeValue::Boolean(truth) => Tree::Truth(*truth),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).map_or(Tree::Other, Tree::Number),
        DeValue::Array(items) => Tree::List(items.iter().map(|item| node(text, item)).collect()),
        DeValue::Table(inner) => table(text, inner),
        DeValue::Float(_) | DeValue::Datetime(_) => Tree::Other,
    };
    Node { line: line_at(text, value.span().start), value: tree }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Tree>::deserialize(deserializer)?;
        Ok(Self { line: usize::try_from(referenced.line()).unwrap_or(0), value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whatever)
    }
}

struct Whatever;

impl<'de> Visitor<'de> for Whatever {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Tree, E> {
        Ok(Tree::Truth(truth))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Tree, E> {
        Ok(u64::try_from(number).map_or(Tree::Other, Tree::Number))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut table = Vec::new();
        while let Some(Spanned { value: name, referenced, .. }) = entries.next_key::<Spanned<String>>()? {
            let key = Key { line: usize::try_from(referenced.line()).unwrap_or(0), name };
            table.push((key, entries.next_value()?));
        }
        Ok(Tree::Table(table))
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Tree, toml, yaml};

    /// Every name and plain value with its line.
    fn lines(node: &Node, found: &mut Vec<(usize, String)>) {
        match &node.value {
            Tree::Table(entries) => {
                for (key, value) in entries {
                    found.push((key.line, key.name.clone()));
                    lines(value, found);
                }
            }
            Tree::List(items) => items.iter().for_each(|item| lines(item, found)),
            plain => found.push((node.line, format!("{plain:?}"))),
        }
    }

    fn of(node: &Node) -> Vec<String> {
        let mut found = Vec::new();
        lines(node, &mut found);
        found.into_iter().map(|(line, text)| format!("{line} {text}")).collect()
    }

    #[test]
    fn every_name_and_value_knows_its_line() {
        let text = "remotes:\n  # a comment\n  one:\n    base_url: https://a.example\n    list:\n      - \"x\"\n      - 'y'\n    ttl: 0\n    check: true\n    empty:\n";
        let expected = [
            "1 remotes",
            "3 one",
            "4 base_url",
            "4 Text(\"https://a.example\")",
            "5 list",
            "6 Text(\"x\")",
            "7 Text(\"y\")",
            "8 ttl",
            "8 Number(0)",
            "9 check",
            "9 Truth(true)",
            "10 empty",
            "10 Nothing",
        ];
        assert_eq!(of(&yaml(text).unwrap()), expected);
        let text = "[remotes.one]\nbase_url = \"https://a.example\"\nlist = [\n  \"x\",\n  'y',\n]\nttl = 0\ndate = 2026-01-01\n";
        let found = of(&toml(text).unwrap());
        for line in ["1 one", "2 base_url", "4 Text(\"x\")", "5 Text(\"y\")", "7 Number(0)", "8 Other"] {
            assert!(found.iter().any(|known| known == line), "{line}: {found:?}");
        }
    }

    #[test]
    fn anchors_unfold_and_merge_where_they_are_used() {
        let text = "base: &base\n  type: remote\none:\n  <<: *base\n  base_url: x\n";
        let found = of(&yaml(text).unwrap());
        assert_eq!(found.iter().filter(|line| line.contains("\"remote\"")).count(), 2, "{found:?}");
        let (line, message) = yaml("a: 1\na: 2\n").unwrap_err();
        assert_eq!(line, Some(2), "{message}");
        assert_eq!(toml("a = 1\nb = \n").unwrap_err().0, Some(2));
        assert!(yaml(&"[".repeat(10_000)).is_err());
    }
}
