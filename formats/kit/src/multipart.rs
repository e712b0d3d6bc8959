//! `multipart/form-data`, read as it arrives: parts in any order, nothing of a part held but its headers.

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;

use crate::body::Body;
use crate::error::{Error, Result};

/// Longest headers of a part, together.
const LONGEST_HEADERS: usize = 16 << 10;
/// Most parts.
const MOST_PARTS: usize = 10_000;

/// What a part says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The name of the field.
    pub name: String,
    /// The name of the file, where there is one.
    pub filename: Option<String>,
}

/// Where the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first boundary.
    Preamble,
    /// In the bytes of a part.
    Data,
    /// Behind the boundary that ends a part.
    Between,
    /// Behind the last boundary.
    End,
}

/// A reader of parts.
pub struct Multipart {
    body: Body,
    /// A line end and the boundary, as it separates parts.
    delimiter: Finder<'static>,
    buffer: BytesMut,
    state: State,
    parts: usize,
}

impl Multipart {
    /// A reader of a body of that media type.
    ///
    /// # Errors
    /// 400 when it is no form with a boundary.
    pub fn new(content_type: Option<&str>, body: Body) -> Result<Self> {
        let content_type = content_type.unwrap_or_default();
        let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Err(Error::bad_request("an upload is a form: send multipart/form-data"));
        }
        let boundary = parameter(parameters, "boundary").filter(|boundary| (1..=200).contains(&boundary.len()));
        let boundary = boundary.ok_or_else(|| Error::bad_request("the form's Content-Type has no boundary"))?;
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first boundary may come without a line end before it: as if there were one.
        Ok(Self { body, delimiter, buffer: BytesMut::from(&b"\r\n"[..]), state: State::Preamble, parts: 0 })
    }

    async fn more(&mut self) -> Result<()> {
        match self.body.next().await? {
            Some(bytes) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(())
            }
            None => Err(Error::bad_request("the form ends before its last boundary")),
        }
    }

    /// The next part; what was not read of the one before is passed over. `None` at the end of the form.
    ///
    /// # Errors
    /// 400 for what is no form; what broke the transfer.
    pub async fn next(&mut self) -> Result<Option<Part>> {
        while matches!(self.state, State::Preamble | State::Data) {
            self.chunk().await?;
        }
        if self.state == State::End {
            return Ok(None);
        }
        while self.buffer.len() < 2 {
            self.more().await?;
        }
        if self.buffer.starts_with(b"--") {
            self.state = State::End;
            // What follows belongs to nobody, but is read: a client that still sends must get its answer.
            while self.body.next().await?.is_some() {}
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(Error::bad_request(format!("the form has more than {MOST_PARTS} parts")));
        }
        let headers = loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                let headers = self.buffer.split_to(end).freeze();
                let _ = self.buffer.split_to(4);
                break headers;
            }
            if self.buffer.len() > LONGEST_HEADERS {
                return Err(Error::bad_request("a part of the form has headers that are too long"));
            }
            self.more().await?;
        };
        self.state = State::Data;
        let text = std::str::from_utf8(&headers).map_err(|_| Error::bad_request("a part of the form has headers that are not UTF-8"))?;
        let disposition = text.split("\r\n").find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
        });
        let parameters = disposition.and_then(|value| value.split_once(';')).map_or("", |(_, parameters)| parameters);
        let name = parameter(parameters, "name").ok_or_else(|| Error::bad_request("a part of the form has no name"))?;
        Ok(Some(Part { name, filename: parameter(parameters, "filename") }))
    }

    /// The next bytes of the part; `None` at its end.
    ///
    /// # Errors
    /// 400 when the form ends within it; what broke the transfer.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        let needle = self.delimiter.needle().len();
        while matches!(self.state, State::Preamble | State::Data) {
            if let Some(end) = self.delimiter.find(&self.buffer) {
                let data = self.buffer.split_to(end).freeze();
                let _ = self.buffer.split_to(needle);
                self.state = State::Between;
                return Ok((!data.is_empty()).then_some(data));
            }
            // What could be the beginning of the delimiter waits for what follows.
            let safe = self.buffer.len().saturating_sub(needle - 1);
            if safe > 0 {
                return Ok(Some(self.buffer.split_to(safe).freeze()));
            }
            self.more().await?;
        }
        Ok(None)
    }

    /// The whole of a part as text.
    ///
    /// # Errors
    /// 400 when it is longer than `limit`, and those of [`Self::chunk`].
    pub async fn text(&mut self, limit: usize) -> Result<String> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(Error::bad_request(format!("the fields of the form are longer than the {limit} bytes that are read")));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }
}

/// A parameter of a header: plain, or in quotes with backslashes or percent signs before what is special.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text.trim_start_matches([';', ' ', '\t']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim();
        let (value, after) = match after.trim_start().strip_prefix('"') {
            None => {
                let (value, after) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), after)
            }
            Some(quoted) => {
                let mut value = String::new();
                let mut escaped = false;
                let end = quoted.char_indices().find_map(|(at, character)| {
                    if !escaped && character == '"' {
                        return Some(at);
                    }
                    escaped = !escaped && character == '\\';
                    if !escaped {
                        value.push(character);
                    }
                    None
                })?;
                (value.replace("%22", "\""), quoted.get(end + 1..)?)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after.trim_start_matches([';', ' ', '\t']);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Multipart, parameter};
    use crate::body::Body;
    use bytes::Bytes;
    use proptest::prelude::*;

    type Parts = Vec<(String, Option<String>, Vec<u8>)>;

    fn read(body: &[u8], step: usize) -> Result<Parts, u16> {
        let chunks: Vec<_> = body.chunks(step.max(1)).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let body = Body::new(Box::pin(futures::stream::iter(chunks)), None);
        let outcome = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let mut form = Multipart::new(Some("multipart/form-data; boundary=\"b0\""), body)?;
            let mut parts = Vec::new();
            while let Some(part) = form.next().await? {
                let mut data = Vec::new();
                while let Some(chunk) = form.chunk().await? {
                    data.extend_from_slice(&chunk);
                }
                parts.push((part.name, part.filename, data));
            }
            Ok(parts)
        });
        outcome.map_err(|error: crate::Error| error.status().as_u16())
    }

    fn write(parts: &Parts) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, filename, data) in parts {
            body.extend_from_slice(format!("--b0\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes());
            if let Some(filename) = filename {
                body.extend_from_slice(format!("; filename=\"{filename}\"\r\nContent-Type: application/octet-stream").as_bytes());
            }
            body.extend_from_slice(b"\r\n\r\n");
            body.extend_from_slice(data);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--b0--\r\n");
        body
    }

    #[test]
    fn parts_are_read_whatever_the_steps() {
        let parts: Parts = vec![
            (String::from("name"), None, b"foo".to_vec()),
            (String::from("empty"), None, Vec::new()),
            (String::from("content"), Some(String::from("a.whl")), b"PK\r\n--b\r\n--b1--\r\n".to_vec()),
            (String::from("last"), None, b"\r\n".to_vec()),
        ];
        for step in [1, 2, 3, 7, 1000] {
            assert_eq!(read(&write(&parts), step), Ok(parts.clone()), "{step}");
        }
    }

    #[test]
    fn what_is_no_form_is_refused() {
        for bad in
            ["", "hello", "--b0\r\n", "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx", "--b0\r\nContent-Type: x\r\n\r\nx\r\n--b0--", "--b1--\r\n"]
        {
            assert_eq!(read(bad.as_bytes(), 4), Err(400), "{bad:?}");
        }
        assert_eq!(read(b"--b0--", 4), Ok(Vec::new()));
        let long = format!("--b0\r\n{}", "x".repeat(100_000));
        assert_eq!(read(long.as_bytes(), 999), Err(400));
        for content_type in [None, Some("application/json"), Some("multipart/form-data"), Some("multipart/form-data; boundary=\"\"")] {
            assert!(Multipart::new(content_type, Body::empty()).is_err(), "{content_type:?}");
        }
    }

    #[test]
    fn parameters_are_plain_or_quoted() {
        let of = |text: &str| parameter(text, "filename");
        assert_eq!(of(" name=a; filename=b.whl").as_deref(), Some("b.whl"));
        assert_eq!(of("; name=\"a;filename=x\"; filename=\"b\\\"c%22.whl\"").as_deref(), Some("b\"c\".whl"));
        assert_eq!(of("; filename*=utf-8''x; FileName=\"y\"").as_deref(), Some("y"));
        for none in ["", "filename", "name=\"a", "filename=\"a"] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in proptest::collection::vec(("[a-z_:]{1,9}", proptest::option::of("[a-z.-]{0,9}"), "[\\r\\n b-]{0,40}"), 0..6), step in 1usize..50) {
            let parts: Parts = parts.into_iter().map(|(name, filename, data)| (name, filename, data.into_bytes())).collect();
            prop_assume!(!parts.iter().any(|(.., data)| memchr::memmem::find(&[b"\r\n", &data[..]].concat(), b"\r\n--b0").is_some()));
            prop_assert_eq!(read(&write(&parts), step), Ok(parts));
        }
    }
}
