//! YAML: what charts and upstreams say is read into JSON values, within a budget; what is written is the plainest block form.

use std::fmt::Write as _;

use serde_json::Value;

/// How much a document may hold, whatever its anchors unfold to.
pub struct Budget {
    nodes: usize,
    bytes: usize,
    depth: usize,
    aliases: usize,
}

/// A `Chart.yaml`, or what a provenance file says of it.
pub const CHART: Budget = Budget { nodes: 100_000, bytes: 4 << 20, depth: 32, aliases: 1000 };
/// An index of an upstream: the largest have tens of megabytes.
pub const INDEX: Budget = Budget { nodes: 20_000_000, bytes: 256 << 20, depth: 32, aliases: 100_000 };

/// Reads one document. Plain numbers and truth values are such, as Helm reads them: `1.10` is a number, and `"1.10"` a text. `strict`: a key
/// that is there twice is an error; else the last one counts.
///
/// # Errors
/// What is wrong with it, for people.
pub fn read(text: &[u8], budget: &Budget, strict: bool) -> Result<Value, String> {
    use serde_saphyr::options::DuplicateKeyPolicy;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: budget.nodes.saturating_mul(2),
            max_nodes: budget.nodes,
            max_depth: budget.depth,
            max_total_scalar_bytes: budget.bytes,
            max_aliases: budget.aliases,
            max_anchors: budget.aliases,
            max_documents: 2,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: budget.nodes, max_replay_stack_depth: 8 },
        duplicate_keys: if strict { DuplicateKeyPolicy::Error } else { DuplicateKeyPolicy::LastWins },
        with_snippet: false,
    };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    serde_saphyr::from_slice_with_options(text, options).map_err(|error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().chars().take(200).collect()
    })
}

/// A text as it stands in double quotes: those of JSON are those of YAML too, but for what YAML finds unprintable.
fn quote(out: &mut String, text: &str) {
    let quoted = Value::from(text).to_string();
    for letter in quoted.chars() {
        match letter {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            _ => out.push(letter),
        }
    }
}

/// Writes a value where its first line begins; further lines are indented by `indent`.
pub fn write(out: &mut String, value: &Value, indent: usize) {
    let line = |out: &mut String, is_first: &mut bool| {
        if !std::mem::take(is_first) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let mut is_first = true;
            for (key, value) in fields {
                line(out, &mut is_first);
                quote_key(out, key);
                out.push(':');
                match value {
                    Value::Object(inner) if !inner.is_empty() => nested(out, value, indent + 2),
                    Value::Array(inner) if !inner.is_empty() => nested(out, value, indent),
                    plain => {
                        out.push(' ');
                        write(out, plain, indent);
                    }
                }
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let mut is_first = true;
            for item in items {
                line(out, &mut is_first);
                out.push_str("- ");
                write(out, item, indent + 2);
            }
        }
        Value::String(text) => quote(out, text),
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

fn nested(out: &mut String, value: &Value, indent: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n(' ', indent));
    write(out, value, indent);
}

/// Keys of this form mean nothing else to any reader.
fn quote_key(out: &mut String, key: &str) {
    let is_plain = key.bytes().next().is_some_and(|first| first.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&key.to_ascii_lowercase().as_str());
    if is_plain { out.push_str(key) } else { quote(out, key) }
}

#[cfg(test)]
mod tests {
    use super::{CHART, read, write};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn numbers_are_numbers_and_quoted_ones_texts() {
        let text = b"a: 1.10\nb: \"1.10\"\nc: '007'\nd: true\ne: ~\nf:\n- x\n- 2\n";
        assert_eq!(read(text, &CHART, true).unwrap(), json!({"a": 1.1, "b": "1.10", "c": "007", "d": true, "e": null, "f": ["x", 2]}));
        assert_eq!(read(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", &CHART, true).unwrap(), json!({"a": 1, "b": 2}));
    }

    #[test]
    fn what_unfolds_or_nests_without_end_is_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let alias = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [alias.as_str(); 10].join(", ")));
        }
        assert!(read(bomb.as_bytes(), &CHART, true).is_err());
        assert!(read("[".repeat(100_000).as_bytes(), &CHART, true).is_err());
        assert!(read("- ".repeat(10_000).as_bytes(), &CHART, true).is_err());
        assert!(read(b"a: 1\na: 2\n", &CHART, true).is_err(), "readers disagree on which counts");
        assert_eq!(read(b"a: 1\na: 2\n", &CHART, false).unwrap(), json!({"a": 2}));
        assert!(read(b"a: *b\n", &CHART, true).is_err() && read(b"\xff\xfe", &CHART, true).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), "\\PC{0,12}".prop_map(Value::from)];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec(("[a-z~:#{}\"' -]{0,8}", inner), 0..5).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in value()) {
            let mut out = String::new();
            write(&mut out, &value, 0);
            out.push('\n');
            prop_assert_eq!(read(out.as_bytes(), &CHART, true), Ok(value), "{}", out);
        }
    }
}
