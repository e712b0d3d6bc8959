//! Answers that are given again at the connection itself, before the web framework sees their question.
//!
//! A head that the framework just read, byte by byte the same from the same address, is the same question: what [`recent`] keeps for it
//! leaves in one write. That is only done while the framework owes this connection nothing, so that no answer overtakes another: each thing
//! that it was given was one whole head without a body, and the answer to it is out. A connection that ever sends otherwise (in parts,
//! several at once, with a body) is the framework's from then on. So are the times of connections: every connection shows it a question at
//! least once in a second.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::web;
use entrepot_kit::Timestamp;

use crate::http::Server;
use crate::http::observe;
use crate::http::ready::Ready;
use crate::http::recent::{self, Given};
use crate::http::sending::FilePart;
use crate::http::socket::Outlet;

/// Longest head that is compared, in bytes.
const LONGEST: usize = 4096;
/// Most headers of one that is read.
const MOST_HEADERS: usize = 48;
/// The framework sees a question of each connection as often as this, in milliseconds.
const OFTEN: i64 = 1000;
/// The shortest time of idle connections for which that is often enough.
const SHORTEST_KEEP_ALIVE: Duration = Duration::from_secs(5);

thread_local! {
    static PASSED: RefCell<Passed> = const { RefCell::new(Passed { outlet: 0, head: Vec::new() }) };
}

/// The head that the framework was just given, if it is one whose answer may be given here the next time.
struct Passed {
    /// Where the outlet of its connection is.
    outlet: usize,
    head: Vec<u8>,
}

/// Keeps the answer to the question that the framework was just given on a connection: the next time it is given here.
pub(crate) fn keep(given: &Rc<Given>, peer: Option<IpAddr>, outlet: &Outlet) {
    PASSED.with_borrow_mut(|passed| {
        if std::mem::take(&mut passed.outlet) == std::ptr::from_ref(outlet).addr() {
            recent::keep_ready(&passed.head, peer, given);
        }
    });
}

/// What a connection sends, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// One whole head, whose answer depends on what its bytes say and on nothing else.
    Question,
    /// One whole head without a body.
    Head,
    /// Anything else.
    Other,
}

impl Sent {
    fn read(bytes: &[u8]) -> Self {
        let is_get = bytes.starts_with(b"GET ");
        if bytes.len() > LONGEST || !(is_get || bytes.starts_with(b"HEAD ")) {
            return Self::Other;
        }
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        let is_whole = matches!(request.parse(bytes), Ok(httparse::Status::Complete(length)) if length == bytes.len());
        if !is_whole || request.version != Some(1) {
            return Self::Other;
        }
        let mut sent = if is_get { Self::Question } else { Self::Head };
        for header in request.headers.iter() {
            let is = |name: &str| header.name.eq_ignore_ascii_case(name);
            if is("content-length") || is("transfer-encoding") || is("upgrade") || is("expect") {
                return Self::Other;
            }
            // It ends the connection, or it names the request.
            if (is("connection") && !header.value.eq_ignore_ascii_case(b"keep-alive")) || is("x-request-id") {
                sent = Self::Head;
            }
        }
        sent
    }
}

/// Whose turn it is on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The client's: the framework owes nothing.
    Client,
    /// The framework's: it has one question.
    Framework,
    /// The framework's for good.
    Handed,
}

/// What becomes of bytes that came in.
pub(super) enum Coming {
    /// They are the framework's.
    Passed,
    /// They are a question with a known answer.
    Known(Rc<Ready>),
}

/// What stands before the framework on one connection.
pub(super) struct Door {
    server: web::Data<Server>,
    peer: Option<IpAddr>,
    turn: Turn,
    /// When the framework was given something last.
    passed: Timestamp,
}

impl Door {
    /// The door of a connection with `peer`.
    pub(super) fn new(server: web::Data<Server>, peer: Option<IpAddr>) -> Self {
        let is_open = server.settings.keep_alive >= SHORTEST_KEEP_ALIVE && !server.engine.catalog.is_shared();
        Self { server, peer, turn: if is_open { Turn::Client } else { Turn::Handed }, passed: Timestamp(0) }
    }

    /// What becomes of what came in.
    pub(super) fn comes(&mut self, bytes: &[u8], outlet: &Outlet) -> Coming {
        if self.turn != Turn::Client {
            self.hand_over();
            return Coming::Passed;
        }
        let now = self.server.engine.now();
        if (0..OFTEN).contains(&now.0.saturating_sub(self.passed.0))
            && !self.server.ending.is_asked()
            && let Some(ready) = recent::ready(bytes, self.peer, &self.server.engine, now)
        {
            return Coming::Known(ready);
        }
        self.passed = now;
        match Sent::read(bytes) {
            Sent::Other => self.hand_over(),
            sent => {
                self.turn = Turn::Framework;
                outlet.begin();
                PASSED.with_borrow_mut(|passed| {
                    passed.head.clear();
                    passed.outlet = 0;
                    if sent == Sent::Question {
                        passed.outlet = std::ptr::from_ref(outlet).addr();
                        passed.head.extend_from_slice(bytes);
                    }
                });
            }
        }
        Coming::Passed
    }

    /// Notes that all is out that the framework has written.
    pub(super) fn flushed(&mut self, outlet: &Outlet) {
        if self.turn == Turn::Framework && outlet.has_ended() {
            self.turn = Turn::Client;
        }
    }

    fn hand_over(&mut self) {
        self.turn = Turn::Handed;
        PASSED.with_borrow_mut(|passed| passed.outlet = 0);
    }

    /// Counts an answer, and writes what leaves before its body.
    pub(super) fn begin(&self, ready: &Ready, head: &mut Vec<u8>) {
        let id = observe::repeated(ready.given(), &self.server, Instant::now());
        ready.write(id.as_bytes(), head);
    }

    /// The body as part of a file that the kernel has in memory.
    pub(super) fn part(&self, ready: &Ready) -> Option<FilePart> {
        ready.given().part(&self.server.engine).filter(FilePart::is_hot)
    }
}

#[cfg(test)]
mod tests {
    use super::Sent;

    #[test]
    fn only_whole_heads_without_a_body_are_questions() {
        for (bytes, sent) in [
            ("GET /a HTTP/1.1\r\nhost: a\r\n\r\n", Sent::Question),
            ("GET /a?b=c HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n", Sent::Question),
            ("GET /a HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", Sent::Head),
            ("GET /a HTTP/1.1\r\nhost: a\r\nX-Request-Id: 1\r\n\r\n", Sent::Head),
            ("HEAD /a HTTP/1.1\r\nhost: a\r\n\r\n", Sent::Head),
            ("GET /a HTTP/1.0\r\nhost: a\r\n\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\n\r\nG", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\n\r\nGET /a HTTP/1.1\r\nhost: a\r\n\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\nContent-Length: 0\r\n\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\nupgrade: h2c\r\n\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost: a\r\nExpect: 100-continue\r\n\r\n", Sent::Other),
            ("GET /a HTTP/1.1\r\nhost : a\r\n\r\n", Sent::Other),
            ("PUT /a HTTP/1.1\r\nhost: a\r\n\r\n", Sent::Other),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Sent::Other),
        ] {
            assert_eq!(Sent::read(bytes.as_bytes()), sent, "{bytes:?}");
        }
    }
}
