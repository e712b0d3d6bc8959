//! What clients ask about known vulnerabilities: questions from which private names are taken, and answers joined. Pure.

use std::collections::{BTreeMap, HashSet};

use entrepot_kit::{Error, Result};
use serde_json::{Map, Value, json};

/// Most advisories about one package that one upstream may send.
const MAX_ADVISORIES: usize = 1000;

/// The names in a bulk question: `{"name": ["1.0.0"]}`.
///
/// # Errors
/// 400 when it is none.
pub fn read_bulk(body: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(body).map_err(|_| Error::bad_request("the body is not a JSON object of package names and versions"))
}

/// Joins what several upstreams say about the names that were asked.
#[must_use]
pub fn join_bulk<'a>(asked: &Map<String, Value>, answers: impl Iterator<Item = &'a [u8]>) -> Value {
    let mut joined: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for answer in answers {
        let Ok(advisories) = serde_json::from_slice::<Map<String, Value>>(answer) else { continue };
        for (name, found) in advisories {
            let (true, Value::Array(found)) = (asked.contains_key(&name), found) else { continue };
            let known = joined.entry(name).or_default();
            for advisory in found.into_iter().take(MAX_ADVISORIES) {
                let is_known = |other: &Value| if advisory.get("id").is_some() { other.get("id") == advisory.get("id") } else { *other == advisory };
                if !known.iter().any(is_known) {
                    known.push(advisory);
                }
            }
        }
    }
    joined.into_iter().map(|(name, found)| (name, Value::Array(found))).collect::<Map<_, _>>().into()
}

/// Every package name in a question of the older kind, which sends the whole tree.
#[must_use]
pub fn names_in_tree(tree: &Value) -> HashSet<String> {
    let mut names = HashSet::new();
    let mut left = vec![tree];
    while let Some(node) = left.pop() {
        for key in ["requires", "dependencies"] {
            for (name, child) in node.get(key).and_then(Value::as_object).into_iter().flatten() {
                names.insert(name.clone());
                left.push(child);
            }
        }
    }
    names
}

/// The same question without these names, and without the name of the project that asks.
#[must_use]
pub fn strip_tree(mut tree: Value, private: &HashSet<String>) -> Value {
    if let Some(root) = tree.as_object_mut() {
        root.insert(String::from("name"), "project".into());
        root.insert(String::from("version"), "0.0.0".into());
        root.insert(String::from("install"), json!([]));
        root.insert(String::from("remove"), json!([]));
    }
    strip_node(&mut tree, private);
    tree
}

/// As deep as the parser allowed the document to be.
fn strip_node(node: &mut Value, private: &HashSet<String>) {
    for key in ["requires", "dependencies"] {
        if let Some(children) = node.get_mut(key).and_then(Value::as_object_mut) {
            children.retain(|name, _| !private.contains(name));
            for child in children.values_mut() {
                strip_node(child, private);
            }
        }
    }
}

/// The answer of the older kind that knows of nothing.
#[must_use]
pub fn empty_report() -> Value {
    json!({
        "actions": [], "advisories": {}, "muted": [],
        "metadata": {"vulnerabilities": {"info": 0, "low": 0, "moderate": 0, "high": 0, "critical": 0}, "dependencies": 0, "devDependencies": 0, "optionalDependencies": 0, "totalDependencies": 0}
    })
}

#[cfg(test)]
mod tests {
    use super::{join_bulk, names_in_tree, read_bulk, strip_tree};
    use serde_json::json;
    use std::collections::HashSet;

    #[test]
    fn answers_are_joined_once_each_and_only_about_what_was_asked() {
        let asked = read_bulk(br#"{"a":["1.0.0"]}"#).unwrap();
        let answers: [&[u8]; 3] = [br#"{"a":[{"id":1}],"secret":[{"id":9}]}"#, br#"{"a":[{"id":1},{"id":2}]}"#, b"<html>"];
        assert_eq!(join_bulk(&asked, answers.into_iter()), json!({"a": [{"id": 1}, {"id": 2}]}));
        assert!(read_bulk(b"[]").is_err());
    }

    #[test]
    fn private_names_are_taken_out_at_every_depth() {
        let tree = json!({"name": "my-secret-app", "version": "3.1.4", "install": ["x"], "requires": {"a": "1", "@acme/b": "1"},
            "dependencies": {"a": {"version": "1.0.0", "requires": {"@acme/b": "1"}, "dependencies": {"@acme/b": {"version": "1.0.0"}}}, "@acme/b": {"version": "1.0.0"}}});
        assert_eq!(names_in_tree(&tree), HashSet::from([String::from("a"), String::from("@acme/b")]));
        let stripped = strip_tree(tree, &HashSet::from([String::from("@acme/b")])).to_string();
        assert!(!stripped.contains("acme") && !stripped.contains("secret") && !stripped.contains("3.1.4"), "{stripped}");
        assert!(stripped.contains("\"a\":{\"version\":\"1.0.0\""));
    }
}
