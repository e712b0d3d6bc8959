//! A publish is one JSON document with the package inside, as base64: hundreds of megabytes in one string.
//!
//! The scanner is fed the document in pieces of any size. It copies everything but `_attachments.*.data` to an outline,
//! which is small and is parsed afterwards, and hands those texts out piece by piece. It follows the document's lexical
//! structure only: whether it is valid JSON the parser of the outline says, and for valid JSON the scanner is right.

use base64::Engine as _;
use bytes::Bytes;
use entrepot_kit::{Error, Result};

/// Largest outline: metadata of all versions and the readme.
pub const MAX_OUTLINE: usize = 32 << 20;
/// A package and its provenance.
const MAX_ATTACHMENTS: usize = 2;
/// Deeper than this no package describes itself.
const MAX_DEPTH: usize = 100;
/// Longest key that is looked at.
const MAX_KEY: usize = 1024;

/// What the scanner found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The data of the attachment of this name begins.
    Begin(String),
    /// Some of it, with JSON's escapes undone.
    Data(Bytes),
    /// It ended.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Between strings.
    Plain,
    /// In a string that goes to the outline; whether a backslash came before.
    Text { escaped: bool },
    /// In an attachment's data.
    Data,
    /// In an escape within an attachment's data.
    Escape,
}

/// See the module.
pub struct Scanner {
    mode: Mode,
    /// For each open container, whether it is an object.
    stack: Vec<bool>,
    outline: Vec<u8>,
    limit: usize,
    /// Whether the next string in this object is a key.
    expects_key: bool,
    /// The text of the last key, quotes excluded, while it is short enough to matter.
    key: Option<Vec<u8>>,
    is_key: bool,
    escape: Vec<u8>,
    /// Whether the open container at depth 2 is `_attachments`, and whether there was one.
    in_attachments: bool,
    saw_attachments: bool,
    /// The attachment whose object is open at depth 3, and whether it had data.
    attachment: Option<(String, bool)>,
    names: Vec<String>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self::with_limit(MAX_OUTLINE)
    }
}

impl Scanner {
    /// A scanner whose outline may have so many bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self {
            mode: Mode::Plain,
            stack: Vec::new(),
            outline: Vec::new(),
            limit,
            expects_key: false,
            key: None,
            is_key: false,
            escape: Vec::new(),
            in_attachments: false,
            saw_attachments: false,
            attachment: None,
            names: Vec::new(),
        }
    }

    /// Takes the next bytes of the document.
    ///
    /// # Errors
    /// 413 when the outline grows over its limit; 400 for what no publish contains.
    pub fn feed(&mut self, chunk: &Bytes) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut at = 0;
        while let Some(rest) = chunk.get(at..).filter(|rest| !rest.is_empty()) {
            at += match self.mode {
                Mode::Plain => self.plain(rest, &mut events)?,
                Mode::Text { escaped } => self.text(rest, escaped)?,
                Mode::Data => self.data(chunk, at, rest, &mut events)?,
                Mode::Escape => self.escape(rest, &mut events)?,
            };
        }
        Ok(events)
    }

    /// The outline: the document with empty texts in place of the attachments' data.
    ///
    /// # Errors
    /// 400 when the document is cut off.
    pub fn finish(self) -> Result<Vec<u8>> {
        if self.mode == Mode::Plain && self.stack.is_empty() {
            Ok(self.outline)
        } else {
            Err(Error::bad_request("the body ends in the middle of its JSON document"))
        }
    }

    fn copy(&mut self, bytes: &[u8]) -> Result<()> {
        if self.outline.len() + bytes.len() > self.limit {
            return Err(Error::too_large(format!("the metadata of a publish may have at most {} bytes besides the package itself", self.limit)));
        }
        self.outline.extend_from_slice(bytes);
        Ok(())
    }

    /// Structure up to the next string. Returns how many bytes it took.
    fn plain(&mut self, rest: &[u8], events: &mut Vec<Event>) -> Result<usize> {
        for (index, byte) in rest.iter().enumerate() {
            match byte {
                b'"' => {
                    self.copy(rest.get(..index).unwrap_or_default())?;
                    self.open_string(events)?;
                    return Ok(index + 1);
                }
                b'{' | b'[' => self.open(*byte == b'{')?,
                b'}' | b']' => self.close(*byte == b'}')?,
                b',' => self.expects_key = self.stack.last() == Some(&true),
                b':' => self.expects_key = false,
                _ => {}
            }
        }
        self.copy(rest)?;
        Ok(rest.len())
    }

    fn open(&mut self, is_object: bool) -> Result<()> {
        match self.stack.len() {
            MAX_DEPTH => return Err(Error::bad_request("the JSON document is nested too deeply")),
            1 if self.last_key().as_deref() == Some("_attachments") => {
                if std::mem::replace(&mut self.saw_attachments, true) {
                    return Err(Error::bad_request("the body has two members \"_attachments\""));
                }
                self.in_attachments = is_object;
            }
            2 if self.in_attachments && is_object => {
                let name = self.last_key().ok_or_else(|| Error::bad_request("the name of an attachment is not text, or too long"))?;
                if self.names.contains(&name) || self.names.len() >= MAX_ATTACHMENTS {
                    return Err(Error::bad_request(format!(
                        "a publish has at most {MAX_ATTACHMENTS} attachments of different names: the package and its provenance"
                    )));
                }
                self.names.push(name.clone());
                self.attachment = Some((name, false));
            }
            _ => {}
        }
        self.stack.push(is_object);
        self.expects_key = is_object;
        self.key = None;
        Ok(())
    }

    fn close(&mut self, is_object: bool) -> Result<()> {
        if self.stack.pop() != Some(is_object) {
            return Err(Error::bad_request("the body is not valid JSON: its brackets do not match"));
        }
        match self.stack.len() {
            1 => self.in_attachments = false,
            2 => self.attachment = None,
            _ => {}
        }
        self.expects_key = false;
        Ok(())
    }

    /// The key of the value that begins now, with its escapes undone.
    fn last_key(&self) -> Option<String> {
        if self.expects_key || self.stack.last() != Some(&true) {
            return None;
        }
        let quoted = [b"\"", self.key.as_deref()?, b"\""].concat();
        serde_json::from_slice(&quoted).ok()
    }

    fn open_string(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if self.stack.len() == 3
            && self.attachment.is_some()
            && self.last_key().as_deref() == Some("data")
            && let Some((name, had_data)) = &mut self.attachment
        {
            if std::mem::replace(had_data, true) {
                return Err(Error::bad_request("an attachment has two members \"data\""));
            }
            events.push(Event::Begin(name.clone()));
            self.mode = Mode::Data;
            return self.copy(b"\"\"");
        }
        self.is_key = self.expects_key;
        if self.is_key {
            self.key = Some(Vec::new());
        }
        self.mode = Mode::Text { escaped: false };
        self.copy(b"\"")
    }

    /// A string that goes to the outline.
    fn text(&mut self, rest: &[u8], mut escaped: bool) -> Result<usize> {
        let mut end = rest.len();
        let mut closed = false;
        for (index, byte) in rest.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    (end, closed) = (index, true);
                    break;
                }
                _ => {}
            }
        }
        let text = rest.get(..end).unwrap_or_default();
        if self.is_key
            && let Some(key) = &mut self.key
        {
            if key.len() + text.len() > MAX_KEY {
                self.key = None;
            } else {
                key.extend_from_slice(text);
            }
        }
        self.copy(text)?;
        if closed {
            self.copy(b"\"")?;
            self.expects_key = false;
            self.mode = Mode::Plain;
            return Ok(end + 1);
        }
        self.mode = Mode::Text { escaped };
        Ok(end)
    }

    fn data(&mut self, chunk: &Bytes, at: usize, rest: &[u8], events: &mut Vec<Event>) -> Result<usize> {
        let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let run = chunk.slice(at..at + end);
        if run.iter().any(|byte| *byte < 0x20) {
            return Err(Error::bad_request("the data of an attachment contains a control character"));
        }
        if !run.is_empty() {
            events.push(Event::Data(run));
        }
        match rest.get(end) {
            None => Ok(end),
            Some(b'"') => {
                events.push(Event::End);
                self.mode = Mode::Plain;
                Ok(end + 1)
            }
            Some(_) => {
                self.mode = Mode::Escape;
                self.escape.clear();
                self.escape.push(b'\\');
                Ok(end + 1)
            }
        }
    }

    /// One byte of an escape; a character beyond the first plane is two escapes.
    fn escape(&mut self, rest: &[u8], events: &mut Vec<Event>) -> Result<usize> {
        let Some(byte) = rest.first() else { return Ok(0) };
        self.escape.push(*byte);
        let is_high_surrogate = || self.escape.get(2..4).is_some_and(|digits| matches!(digits, [b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']));
        let complete = match (self.escape.len(), self.escape.get(1)) {
            (2, Some(b'u')) => false,
            (2, _) => true,
            (6, _) => !is_high_surrogate(),
            (7, _) if *byte != b'\\' => true,
            (8, _) if *byte != b'u' => true,
            (length, _) => length >= 12,
        };
        if complete {
            let quoted = [b"\"", self.escape.as_slice(), b"\""].concat();
            let text: String = serde_json::from_slice(&quoted).map_err(|_| Error::bad_request("the data of an attachment has a broken escape"))?;
            events.push(Event::Data(text.into()));
            self.mode = Mode::Data;
        }
        Ok(1)
    }
}

/// Decodes base64 that arrives in pieces.
#[derive(Default)]
pub struct Base64Decoder {
    carry: Vec<u8>,
    ended: bool,
}

impl Base64Decoder {
    /// Decodes what is complete so far.
    ///
    /// # Errors
    /// 400 when it is not base64.
    pub fn feed(&mut self, text: &[u8]) -> Result<Bytes> {
        let refuse = || Error::bad_request("the data of the package's attachment is not valid base64");
        let joined: std::borrow::Cow<'_, [u8]> = if self.carry.is_empty() { text.into() } else { [self.carry.as_slice(), text].concat().into() };
        let (whole, rest) = joined.split_at_checked(joined.len() / 4 * 4).ok_or_else(refuse)?;
        if self.ended && !joined.is_empty() {
            return Err(refuse());
        }
        let decoded = base64::engine::general_purpose::STANDARD.decode(whole).map_err(|_| refuse())?;
        self.ended = whole.last() == Some(&b'=');
        self.carry = rest.to_vec();
        Ok(decoded.into())
    }

    /// Ends the text.
    ///
    /// # Errors
    /// 400 when it is cut off.
    pub fn finish(self) -> Result<()> {
        if self.carry.is_empty() { Ok(()) } else { Err(Error::bad_request("the data of the package's attachment is cut off: its base64 is incomplete")) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Base64Decoder, Event, Scanner};
    use base64::Engine as _;
    use bytes::Bytes;
    use entrepot_kit::Result;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    type Scanned = (Vec<u8>, Vec<(String, String)>);

    fn scan<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> Result<Scanned> {
        let mut scanner = Scanner::default();
        let mut found: Vec<(String, Vec<u8>)> = Vec::new();
        for chunk in chunks {
            for event in scanner.feed(&Bytes::copy_from_slice(chunk))? {
                match event {
                    Event::Begin(name) => found.push((name, Vec::new())),
                    Event::Data(bytes) => found.last_mut().unwrap().1.extend_from_slice(&bytes),
                    Event::End => {}
                }
            }
        }
        Ok((scanner.finish()?, found.into_iter().map(|(name, data)| (name, String::from_utf8(data).unwrap())).collect()))
    }

    /// What the scanner should find, by a parser that holds everything.
    fn expected(mut document: Value) -> (Value, Vec<(String, String)>) {
        let mut data = Vec::new();
        if let Some(attachments) = document.get_mut("_attachments").and_then(Value::as_object_mut) {
            for (name, attachment) in attachments {
                if let Some(text) = attachment.get_mut("data").filter(|data| data.is_string()) {
                    data.push((name.clone(), text.as_str().unwrap().to_owned()));
                    *text = json!("");
                }
            }
        }
        (document, data)
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![Just(String::from("data")), Just(String::from("_attachments")), any::<String>()];
        let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i32>().prop_map(Value::from), text.clone().prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((text.clone(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn in_pieces_it_finds_what_a_parser_finds(
            before in values(), after in values(), name in any::<String>(), data in any::<String>(), second in values(), sizes in proptest::collection::vec(1usize..40, 1..20), pretty in any::<bool>()
        ) {
            let document = json!({"x": before, "_attachments": {name: {"length": 3, "data": data}, "other.sigstore": second}, "y": after});
            let text = if pretty { serde_json::to_string_pretty(&document).unwrap() } else { document.to_string() };
            let mut rest = text.as_bytes();
            let mut sizes = sizes.into_iter().cycle();
            let chunks = std::iter::from_fn(|| {
                let (chunk, left) = rest.split_at(sizes.next()?.min(rest.len()));
                rest = left;
                (!chunk.is_empty()).then_some(chunk)
            });
            let (outline, found) = scan(chunks).unwrap();
            let (expected_outline, expected_data) = expected(document);
            prop_assert_eq!(serde_json::from_slice::<Value>(&outline).unwrap(), expected_outline);
            prop_assert_eq!(found, expected_data);
        }

        #[test]
        fn base64_in_pieces(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1usize..30) {
            let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
            let mut decoder = Base64Decoder::default();
            let mut out = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                out.extend_from_slice(&decoder.feed(piece).unwrap());
            }
            prop_assert!(decoder.finish().is_ok());
            prop_assert_eq!(out, bytes);
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(prop_oneof![Just(b'"'), Just(b'{'), Just(b'}'), Just(b':'), Just(b','), Just(b'\\'), any::<u8>()], 0..60)) {
            let _ = scan(noise.chunks(3));
        }
    }

    #[test]
    fn escapes_are_undone_and_keys_too() {
        let text = r#"{"\u005fattachments":{"a.tgz":{"d\u0061ta":"AA\/\u002b\ud83d\ude00\n"}}}"#;
        for size in 1..text.len() {
            let (outline, found) = scan(text.as_bytes().chunks(size)).unwrap();
            assert_eq!(found, [(String::from("a.tgz"), String::from("AA/+😀\n"))]);
            assert_eq!(outline, br#"{"\u005fattachments":{"a.tgz":{"d\u0061ta":""}}}"#);
        }
    }

    #[test]
    fn what_no_publish_contains_is_refused() {
        let deep = format!("{}{}", "[".repeat(101), "]".repeat(101));
        for text in [
            r#"{"_attachments":{"a":{"data":"x","data":"y"}}}"#,
            r#"{"_attachments":{"a":{"data":"x"},"a":{"data":"y"}}}"#,
            r#"{"_attachments":{},"_attachments":{}}"#,
            r#"{"_attachments":{"a":{},"b":{},"c":{}}}"#,
            r#"{"_attachments":{"a":{"data":"\ud800x"}}}"#,
            r#"{"_attachments":{"a":{"data":"\q"}}}"#,
            "{\"_attachments\":{\"a\":{\"data\":\"x\ny\"}}}",
            r#"{"_attachments":{"a":{"data":"x"#,
            "{]",
            "{",
            &deep,
        ] {
            assert_eq!(scan(std::iter::once(text.as_bytes())).unwrap_err().status(), 400, "{text}");
        }
    }

    #[test]
    fn the_outline_is_bounded_and_the_data_is_not() {
        let mut scanner = Scanner::with_limit(100);
        assert!(scanner.feed(&Bytes::from_static(br#"{"_attachments":{"a.tgz":{"data":""#)).is_ok());
        assert!(scanner.feed(&Bytes::from(vec![b'A'; 100_000])).is_ok());
        assert!(scanner.feed(&Bytes::from_static(b"\"}},\"x\":\"")).is_ok());
        assert_eq!(scanner.feed(&Bytes::from(vec![b'A'; 100])).unwrap_err().status(), 413);
    }

    #[test]
    fn broken_base64_is_refused() {
        for text in ["A", "AA", "AAA", "AA=A", "AAAA\n", "AA==AAAA", "A===", "!!!!"] {
            let mut decoder = Base64Decoder::default();
            let fed: Result<Vec<_>> = text.as_bytes().chunks(4).map(|piece| decoder.feed(piece)).collect();
            assert!(fed.is_err() || decoder.finish().is_err(), "{text}");
        }
    }
}
