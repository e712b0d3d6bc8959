//! Tags in JSON: a value is a text or a list of texts, as in the configuration file.

use std::collections::{BTreeMap, BTreeSet};

use entrepot_kit::accounts::Tags;
use entrepot_kit::{Error, Result};
use serde::{Deserialize, Serialize};

/// One value, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(untagged, expecting = "the value of a tag is a text or a list of texts")]
pub(super) enum Values {
    /// One.
    One(String),
    /// Several.
    Several(BTreeSet<String>),
}

/// Tags as clients write them.
pub(super) type Written = BTreeMap<String, Values>;

/// Takes tags over.
///
/// # Errors
/// 400 with the rule that one breaks.
pub(super) fn read(written: Written) -> Result<Tags> {
    let several = |values| match values {
        Values::One(value) => BTreeSet::from([value]),
        Values::Several(values) => values,
    };
    let tags = written.into_iter().map(|(key, values)| (key, several(values))).collect();
    crate::access::check_tags(&tags).map_err(|error| Error::bad_request(format!("tags: {}", error.message())))?;
    Ok(tags)
}

/// Tags as they are answered: the shorter form where there is one.
pub(super) fn write(tags: &Tags) -> Written {
    let shortest = |values: &BTreeSet<String>| match values.first() {
        Some(only) if values.len() == 1 => Values::One(only.clone()),
        _ => Values::Several(values.clone()),
    };
    tags.iter().map(|(key, values)| (key.clone(), shortest(values))).collect()
}

#[cfg(test)]
mod tests {
    use super::{Written, read, write};

    #[test]
    fn both_forms_are_read_and_the_shorter_is_written() {
        let written: Written = serde_json::from_str(r#"{"a": "x", "b": ["y", "z"], "c": ["w"]}"#).unwrap();
        let tags = read(written).unwrap();
        assert_eq!(serde_json::to_string(&write(&tags)).unwrap(), r#"{"a":"x","b":["y","z"],"c":"w"}"#);
        assert!(serde_json::from_str::<Written>(r#"{"a": 1}"#).unwrap_err().to_string().contains("a text or a list of texts"));
        assert_eq!(read([("a b".to_owned(), super::Values::One("x".to_owned()))].into()).unwrap_err().status(), 400);
    }
}
