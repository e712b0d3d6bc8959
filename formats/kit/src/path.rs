//! The path below a repository: decoded once, here, so that access and handler see the same value.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::error::{Error, Result};

/// Longest path that is read, in bytes before decoding.
pub const MAX_PATH: usize = 4096;
/// Longest path after decoding, in bytes: what every database can have in an index.
pub const MAX_DECODED: usize = 2048;
/// Most segments of a path.
pub const MAX_SEGMENTS: usize = 128;

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b'+').remove(b'!').remove(b':');

/// A decoded path: its segments without slashes between them.
///
/// A segment is valid UTF-8 without control characters and backslashes and is never empty, `.` or `..`. It can contain a
/// slash when the client encoded one (`@scope%2fname`); only captures made for it take such a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestPath {
    segments: Vec<String>,
    trailing_slash: bool,
}

impl RequestPath {
    /// Decodes `raw`, the part of the URL's path below the repository, with or without its leading slash.
    ///
    /// # Errors
    /// 400 for what could mean another path to someone else: dot segments, empty segments, backslashes, control
    /// characters, broken encodings; and for paths over the limits.
    pub fn decode(raw: &str) -> Result<Self> {
        if raw.len() > MAX_PATH {
            return Err(Error::new(http::StatusCode::URI_TOO_LONG, format!("the path is longer than {MAX_PATH} bytes")));
        }
        let raw = raw.strip_prefix('/').unwrap_or(raw);
        if raw.is_empty() {
            return Ok(Self { segments: Vec::new(), trailing_slash: true });
        }
        let (raw, trailing_slash) = raw.strip_suffix('/').map_or((raw, false), |rest| (rest, true));
        let segments = raw.split('/').map(decode_segment).collect::<Result<Vec<_>>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(Error::bad_request(format!("the path has more than {MAX_SEGMENTS} segments")));
        }
        if segments.iter().map(|segment| segment.len() + 1).sum::<usize>() > MAX_DECODED {
            return Err(Error::new(http::StatusCode::URI_TOO_LONG, format!("the path is longer than {MAX_DECODED} bytes")));
        }
        Ok(Self { segments, trailing_slash })
    }

    /// The decoded segments.
    #[must_use]
    pub fn segments(&self) -> &[String] {
        &self.segments
    }

    /// Whether the path ended with a slash, or is empty.
    #[must_use]
    pub fn trailing_slash(&self) -> bool {
        self.trailing_slash
    }

    /// The segments joined by slashes, decoded.
    #[must_use]
    pub fn joined(&self) -> String {
        self.segments.join("/")
    }
}

fn decode_segment(raw: &str) -> Result<String> {
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' && !(bytes.next().is_some_and(|b| b.is_ascii_hexdigit()) && bytes.next().is_some_and(|b| b.is_ascii_hexdigit())) {
            return Err(Error::bad_request("the path has a '%' that does not begin a percent-encoded byte"));
        }
    }
    let text = percent_decode_str(raw).decode_utf8().map_err(|_| Error::bad_request("the path is not UTF-8"))?;
    check_segments(&text)?;
    Ok(text.into_owned())
}

/// Checks a decoded path (or segment) by the rules of [`RequestPath`]: for paths that come from inside archives and documents.
///
/// # Errors
/// 400 naming the rule.
pub fn check_segments(text: &str) -> Result<()> {
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(Error::bad_request("the path contains a control character or a backslash"));
    }
    for part in text.split('/') {
        if matches!(part, "" | "." | "..") {
            return Err(Error::bad_request("the path contains an empty, '.' or '..' segment"));
        }
        if part.len() > 255 {
            return Err(Error::bad_request("the path has a segment longer than 255 bytes"));
        }
    }
    Ok(())
}

/// Encodes one segment for a URL; `@`, `+`, `!` and `:` stay readable, a slash does not.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Encodes a decoded path for a URL, keeping its slashes.
#[must_use]
pub fn encode_path(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for (index, segment) in text.split('/').enumerate() {
        let separator = if index == 0 { "" } else { "/" };
        let _ = write!(encoded, "{separator}{}", utf8_percent_encode(segment, SEGMENT));
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::{RequestPath, encode_path};
    use proptest::prelude::*;

    #[test]
    fn hostile_paths_are_refused() {
        for raw in
            ["a/../b", "a/%2e%2e/b", "%2E%2E%2f%2e%2e", "a//b", "//", "a%5cb", "a\\b", "a%00b", "a%0ab", "%ff", "%zz", "a%2", ".", "a/./b", "a%2f..%2fb", "%2f"]
        {
            assert!(RequestPath::decode(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn ordinary_paths_are_decoded_once() {
        let path = RequestPath::decode("/@acme%2fwidget/-/a%252fb.tgz").map(|p| p.segments().to_vec()).unwrap_or_default();
        assert_eq!(path, ["@acme/widget", "-", "a%2fb.tgz"]);
        assert!(RequestPath::decode("").is_ok_and(|p| p.segments().is_empty() && p.trailing_slash()));
        assert!(RequestPath::decode("a/b/").is_ok_and(|p| p.trailing_slash() && p.joined() == "a/b"));
    }

    proptest! {
        #[test]
        fn encoding_and_decoding_are_inverses(segments in proptest::collection::vec("[^/\\\\\\p{Cc}]{1,20}", 1..6)) {
            prop_assume!(segments.iter().all(|s| s != "." && s != ".."));
            let joined = segments.join("/");
            let decoded = RequestPath::decode(&encode_path(&joined));
            prop_assert_eq!(decoded.ok().map(|p| p.joined()), Some(joined));
        }
    }
}
