//! The words under which a package is found, and how a found package is shown. Pure.

use std::collections::HashSet;

use entrepot_kit::PackageState;
use serde_json::{Map, Value, json};

use crate::name::NpmName;

/// Most words of a package.
const MAX_TERMS: usize = 64;
/// Longest word that is kept.
const MAX_TERM: usize = 64;

/// The words of a package: its name and parts of it, its scope, its keywords, and the words of its description.
#[must_use]
pub fn terms(name: &NpmName, package: &Map<String, Value>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut terms = Vec::new();
    let mut add = |word: &str| {
        let word = word.to_lowercase();
        if !word.is_empty() && word.len() <= MAX_TERM && terms.len() < MAX_TERMS && seen.insert(word.clone()) {
            terms.push(word);
        }
    };
    add(name.as_str());
    add(name.base());
    if let Some(scope) = name.scope() {
        add(scope);
        add(&format!("@{scope}"));
    }
    name.base().split(['-', '_', '.']).for_each(&mut add);
    for keyword in package.get("keywords").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        add(keyword.trim());
        keyword.split_whitespace().for_each(&mut add);
    }
    let description = package.get("description").and_then(Value::as_str).unwrap_or_default();
    description.split(|c: char| !c.is_alphanumeric()).for_each(&mut add);
    terms
}

/// One result, in the words of npm's search.
#[must_use]
pub fn result(state: &PackageState) -> Value {
    let document: Map<String, Value> = serde_json::from_str(&state.document).unwrap_or_default();
    let text = |key: &str| document.get(key).and_then(Value::as_str);
    let scope = NpmName::parse_lenient(&state.name).and_then(|name| name.scope().map(str::to_owned)).unwrap_or_else(|| String::from("unscoped"));
    let names: Vec<&str> =
        document.get("maintainers").and_then(Value::as_array).into_iter().flatten().filter_map(|maintainer| maintainer.get("name")?.as_str()).collect();
    let person = |name: &&str| json!({"username": name, "email": ""});
    let mut links = Map::new();
    if let Some(homepage) = text("homepage") {
        links.insert(String::from("homepage"), homepage.into());
    }
    if let Some(repository) = document.get("repository").and_then(|repository| repository.get("url").unwrap_or(repository).as_str()) {
        links.insert(String::from("repository"), repository.into());
    }
    json!({
        "package": {
            "name": state.name,
            "scope": scope,
            "version": document.get("dist-tags").and_then(|tags| tags.get("latest")).and_then(Value::as_str).unwrap_or("0.0.0"),
            "description": text("description").unwrap_or_default(),
            "keywords": document.get("keywords").filter(|keywords| keywords.is_array()).cloned().unwrap_or_else(|| json!([])),
            "date": state.modified.rfc3339(),
            "links": links,
            "publisher": names.first().map(person),
            "maintainers": names.iter().map(person).collect::<Vec<_>>(),
        },
        "score": {"final": 1.0, "detail": {"quality": 1.0, "popularity": 1.0, "maintenance": 1.0}},
        "searchScore": 1.0,
        "flags": {},
    })
}

#[cfg(test)]
mod tests {
    use super::{MAX_TERMS, result, terms};
    use crate::name::NpmName;
    use entrepot_kit::{PackageState, Timestamp};
    use serde_json::json;

    #[test]
    fn words_are_few_lower_case_and_different() {
        let name = NpmName::parse_lenient("@acme/Left-Pad.js").unwrap();
        let package = json!({"keywords": ["String Tools", "pad", 7], "description": "Pads strings, a lot: strings!"});
        let words = terms(&name, package.as_object().unwrap());
        assert_eq!(
            words,
            ["@acme/left-pad.js", "left-pad.js", "acme", "@acme", "left", "pad", "js", "string tools", "string", "tools", "pads", "strings", "a", "lot"]
        );
        let long = json!({"description": (0..1000).map(|n| format!("word{n} ")).collect::<String>(), "keywords": ["x".repeat(1000)]});
        assert_eq!(terms(&name, long.as_object().unwrap()).len(), MAX_TERMS);
    }

    #[test]
    fn a_result_has_what_clients_read() {
        let state = |document: String| PackageState { name: String::from("@acme/a"), document, changed: 1, created: Timestamp(0), modified: Timestamp(0) };
        let found = result(&state(json!({"dist-tags": {"latest": "1.0.0"}, "maintainers": [{"name": "bob"}], "repository": {"url": "git://x"}}).to_string()));
        assert_eq!(found["package"]["version"], "1.0.0");
        assert_eq!(found["package"]["maintainers"], json!([{"username": "bob", "email": ""}]));
        assert_eq!(found["package"]["links"]["repository"], "git://x");
        assert_eq!(result(&state(String::from("damaged")))["package"]["maintainers"], json!([]));
    }
}
