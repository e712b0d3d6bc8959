//! JSON objects whose values stay the text that they were: large documents are edited without a tree of values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a JSON object in their order, values as raw text borrowed from the document.
#[derive(Debug, Clone, Default)]
pub struct RawObject<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> RawObject<'a> {
    /// Reads an object; `None` when the text is anything else.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Reads an object from UTF-8; `None` when the bytes are anything else.
    #[must_use]
    pub fn parse_bytes(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The text of a member's value. The last of several members of one name counts, as it does to every client.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    /// A member that is a string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        self.get(key).and_then(|text| serde_json::from_str(text).ok())
    }

    /// A member that is an object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<RawObject<'a>> {
        self.get(key).and_then(RawObject::parse)
    }

    /// Every member, each name once.
    pub fn members(&self) -> impl Iterator<Item = (&str, &'a str)> {
        let mut last = std::collections::HashMap::with_capacity(self.0.len());
        for (index, (name, _)) in self.0.iter().enumerate() {
            last.insert(name.as_ref(), index);
        }
        self.0
            .iter()
            .enumerate()
            .filter(move |(index, (name, _))| last.get(name.as_ref()) == Some(index))
            .map(|(_, (name, value))| (name.as_ref(), value.get()))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for RawObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor).map(Self)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((key, value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            members.push((key.0, value));
        }
        Ok(members)
    }
}

/// A key, borrowed unless it is escaped.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// Writes a JSON object member by member.
pub struct ObjectWriter<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> ObjectWriter<'a> {
    /// Begins an object at the end of `out`.
    pub fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a key; the caller writes the value next.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        write_string(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// Writes a member whose value is JSON text.
    pub fn raw(&mut self, key: &str, text: &str) {
        self.key(key).extend_from_slice(text.as_bytes());
    }

    /// Writes a member that is a string.
    pub fn string(&mut self, key: &str, value: &str) {
        write_string(self.key(key), value);
    }

    /// Ends the object.
    pub fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    // Neither a text nor a vector has anything to refuse.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use super::{ObjectWriter, RawObject};

    #[test]
    fn values_keep_their_text_and_the_last_of_two_counts() {
        let object = RawObject::parse(r#"{"a": 1.0e2 ,"__proto__":{"x":1},"\u0061":[ 2 ],"s":"\u0041"}"#).unwrap();
        assert_eq!(object.members().collect::<Vec<_>>(), [("__proto__", r#"{"x":1}"#), ("a", "[ 2 ]"), ("s", r#""\u0041""#)]);
        assert_eq!(object.get("a"), Some("[ 2 ]"));
        assert_eq!(object.string("s").as_deref(), Some("A"));
        assert!(RawObject::parse("[]").is_none());
        assert!(RawObject::parse("{\"a\":\"\u{1}\"}").is_none(), "the mark of the base URL cannot come from a document");
    }

    #[test]
    fn the_writer_escapes() {
        let mut out = Vec::new();
        let mut object = ObjectWriter::begin(&mut out);
        object.string("a\"b", "c\nd");
        object.raw("n", "1");
        object.end();
        assert_eq!(out, br#"{"a\"b":"c\nd","n":1}"#);
    }
}
