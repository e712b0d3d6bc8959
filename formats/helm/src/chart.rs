//! What a chart says of itself in its `Chart.yaml`: the fields that Helm knows, each of the kind that Helm reads.
//!
//! Anything else is left out: older clients refuse a whole index for one key that they do not know.

use serde_json::{Map, Value};

use crate::{name, version, yaml};

/// Largest `Chart.yaml`.
pub const LARGEST: u64 = 1 << 20;

/// The metadata of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// All that it says, in the order in which Helm writes it.
    pub fields: Map<String, Value>,
}

/// What a field holds.
enum Shape {
    Text,
    Bool,
    Texts,
    Pairs,
    Maintainers,
    Dependencies,
    Anything,
}

const FIELDS: [(&str, Shape); 17] = [
    ("name", Shape::Text),
    ("home", Shape::Text),
    ("sources", Shape::Texts),
    ("version", Shape::Text),
    ("description", Shape::Text),
    ("keywords", Shape::Texts),
    ("maintainers", Shape::Maintainers),
    ("icon", Shape::Text),
    ("apiVersion", Shape::Text),
    ("condition", Shape::Text),
    ("tags", Shape::Text),
    ("appVersion", Shape::Text),
    ("deprecated", Shape::Bool),
    ("annotations", Shape::Pairs),
    ("kubeVersion", Shape::Text),
    ("dependencies", Shape::Dependencies),
    ("type", Shape::Text),
];
const MAINTAINER: [(&str, Shape); 3] = [("name", Shape::Text), ("email", Shape::Text), ("url", Shape::Text)];
const DEPENDENCY: [(&str, Shape); 8] = [
    ("name", Shape::Text),
    ("version", Shape::Text),
    ("repository", Shape::Text),
    ("condition", Shape::Text),
    ("tags", Shape::Texts),
    ("enabled", Shape::Bool),
    ("import-values", Shape::Anything),
    ("alias", Shape::Text),
];

impl Chart {
    /// Reads a `Chart.yaml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        Self::of(&yaml::read(text, &yaml::CHART, true)?)
    }

    /// Reads the fields of a chart that were read from whatever they were written in.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn of(value: &Value) -> Result<Self, String> {
        let mut fields = pick(value, &FIELDS, "it")?;
        let text = |fields: &Map<String, Value>, key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (name, version) = (text(&fields, "name"), text(&fields, "version"));
        if !name::is_name(&name) {
            return Err(format!("{name:?} is no name of a chart: letters, digits, '.', '_' and '-'"));
        }
        if !version::parse(&version).is_some_and(|_| name::fits(&name, &version)) {
            return Err(format!("{version:?} is no version that Helm reads (SemVer 2), or too long for the name of a file"));
        }
        // As Helm has it for charts that are older than the field.
        if text(&fields, "apiVersion").is_empty() {
            fields.insert(String::from("apiVersion"), "v1".into());
        }
        match text(&fields, "type").as_str() {
            "" | "application" | "library" => {}
            other => return Err(format!("\"type\" is \"application\" or \"library\", not {other:?}")),
        }
        Ok(Self { name, version, fields })
    }

    /// A text of the chart's.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// The words under which the chart is found.
    #[must_use]
    pub fn terms(&self) -> Vec<String> {
        let mut terms = vec![self.name.to_lowercase()];
        terms.extend(self.name.split(['-', '_', '.']).filter(|word| !word.is_empty()).map(str::to_lowercase));
        let keywords = self.fields.get("keywords").and_then(Value::as_array);
        terms.extend(keywords.into_iter().flatten().filter_map(Value::as_str).map(str::to_lowercase));
        terms
    }
}

/// The fields that are known, without those that say nothing.
fn pick(value: &Value, known: &[(&str, Shape)], place: &str) -> Result<Map<String, Value>, String> {
    let given = value.as_object().ok_or_else(|| format!("{place} is not a mapping of keys to values"))?;
    let mut fields = Map::new();
    for (key, shape) in known {
        let Some(value) = given.get(*key).filter(|value| !value.is_null()) else { continue };
        let value = shape.take(value, key)?;
        let is_empty = match &value {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty(),
            Value::Bool(flag) => !flag,
            Value::Null | Value::Number(_) => false,
        };
        if !is_empty {
            fields.insert((*key).to_owned(), value);
        }
    }
    Ok(fields)
}

impl Shape {
    fn take(&self, value: &Value, key: &str) -> Result<Value, String> {
        let wrong = |what: &str| format!("{key:?} must be {what}");
        let list = |value: &Value| value.as_array().cloned().ok_or_else(|| wrong("a list"));
        match self {
            Self::Text => text(value).map(Value::from).ok_or_else(|| wrong("a text")),
            Self::Bool => match value {
                Value::Bool(_) => Ok(value.clone()),
                _ => Err(wrong("true or false")),
            },
            Self::Texts => list(value)?.iter().map(|item| text(item).map(Value::from).ok_or_else(|| wrong("a list of texts"))).collect(),
            Self::Pairs => {
                let pairs = value.as_object().ok_or_else(|| wrong("a mapping"))?;
                let pair = |(key, value): (&String, &Value)| Some((key.clone(), text(value)?.into()));
                pairs.iter().map(pair).collect::<Option<Map<_, _>>>().map(Value::from).ok_or_else(|| wrong("a mapping of texts to texts"))
            }
            Self::Maintainers => each(&list(value)?, &MAINTAINER, key),
            Self::Dependencies => each(&list(value)?, &DEPENDENCY, key),
            Self::Anything => Ok(value.clone()),
        }
    }
}

fn each(items: &[Value], known: &[(&str, Shape)], key: &str) -> Result<Value, String> {
    let place = format!("an item of {key:?}");
    items.iter().map(|item| pick(item, known, &place).map(Value::from)).collect()
}

/// A scalar as Helm reads it where a text belongs.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Chart;
    use serde_json::json;

    #[test]
    fn fields_that_helm_knows_are_kept_in_its_order() {
        let text = "unknown: x\ntype: application\nversion: 1.2.3\nname: web\nappVersion: \"1.10\"\nkeywords: [a, 1]\ndeprecated: false\nicon: ''\n\
                    maintainers:\n- email: a@example.com\n  name: A\n  phone: 1\nannotations: {b: \"2\", a: true}\n\
                    dependencies:\n- name: db\n  version: 1.x\n  repository: oci://example.com/charts\n  import-values: [x, {child: a, parent: b}]\n";
        let chart = Chart::parse(text.as_bytes()).unwrap();
        assert_eq!((chart.name.as_str(), chart.version.as_str()), ("web", "1.2.3"));
        let wanted = json!({
            "name": "web",
            "version": "1.2.3",
            "keywords": ["a", "1"],
            "maintainers": [{"name": "A", "email": "a@example.com"}],
            "appVersion": "1.10",
            "annotations": {"b": "2", "a": "true"},
            "dependencies": [
                {"name": "db", "version": "1.x", "repository": "oci://example.com/charts", "import-values": ["x", {"child": "a", "parent": "b"}]}
            ],
            "type": "application",
            "apiVersion": "v1",
        });
        assert_eq!(serde_json::Value::from(chart.fields), wanted);
    }

    #[test]
    fn plain_numbers_become_the_texts_that_helm_makes_of_them() {
        let chart = Chart::parse(b"apiVersion: v2\nname: 7\nversion: 1.10\nappVersion: 2.0\n").unwrap();
        assert_eq!((chart.name.as_str(), chart.version.as_str()), ("7", "1.1"));
    }

    #[test]
    fn what_is_no_chart_is_refused() {
        for bad in [
            "",
            "x",
            "[]",
            "name: a",
            "version: 1.0.0",
            "name: ../a\nversion: 1.0.0",
            "name: a/b\nversion: 1.0.0",
            "name: a\nversion: latest",
            "name: a\nversion: [1]",
            "name: a\nversion: 1.0.0\ntype: other",
            "name: a\nversion: 1.0.0\nkeywords: a",
            "name: a\nversion: 1.0.0\nmaintainers: [a]",
            "name: a\nversion: 1.0.0\ndependencies: {a: b}",
            "name: a\nversion: 1.0.0\nname: b",
            "name: \"a\\nb\"\nversion: 1.0.0",
        ] {
            assert!(Chart::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
