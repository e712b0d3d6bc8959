//! Answers as the bytes that go over an HTTP/1.1 connection.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HttpDate};
use bytes::Bytes;
use entrepot_kit::Timestamp;

use crate::http::recent::Given;

/// Largest body, in bytes. What does not fit into the buffer of a connection at once is cheaper through the framework.
const LARGEST: usize = 256 << 10;
/// What ends a line of a head.
const END: &[u8] = b"\r\n";

/// A kept answer, and the head that it has every time.
pub(crate) struct Ready {
    given: Rc<Given>,
    /// From the status line to the name of the last header, which is the request's id.
    head: Vec<u8>,
}

impl Ready {
    /// The answer with its head; `None` for one that is better written by the framework.
    pub(crate) fn new(given: &Rc<Given>, now: Timestamp) -> Option<Self> {
        let (status, headers, body) = given.parts();
        let length = body.map_or(0, Bytes::len);
        if length > LARGEST || (length == 0) != (status == StatusCode::NOT_MODIFIED) {
            return None;
        }
        let mut head = Vec::with_capacity(512);
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| head.extend_from_slice(part));
            head.extend_from_slice(END);
        };
        line(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", status.canonical_reason().unwrap_or_default().as_bytes()]);
        if length > 0 {
            line(&[b"content-length: ", itoa::Buffer::new().format(length).as_bytes()]);
        }
        for (name, value) in headers {
            match *name {
                header::CONTENT_LENGTH if length > 0 => {}
                header::CONNECTION | header::TRANSFER_ENCODING | header::DATE => {}
                _ if name.as_str() == "x-request-id" => {}
                _ => line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]),
            }
        }
        let date = HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_millis(now.0.unsigned_abs()));
        line(&[b"date: ", date.to_string().as_bytes()]);
        head.extend_from_slice(b"x-request-id: ");
        Some(Self { given: Rc::clone(given), head })
    }

    /// The answer.
    pub(crate) fn given(&self) -> &Given {
        &self.given
    }

    /// Its body.
    pub(crate) fn body(&self) -> Bytes {
        self.given.parts().2.cloned().unwrap_or_default()
    }

    /// Bytes of its head.
    pub(crate) fn head_length(&self) -> usize {
        self.head.len()
    }

    /// Writes the head for a request with this id.
    pub(crate) fn write(&self, id: &[u8], head: &mut Vec<u8>) {
        head.clear();
        head.extend_from_slice(&self.head);
        head.extend_from_slice(id);
        head.extend_from_slice(END);
        head.extend_from_slice(END);
    }
}
