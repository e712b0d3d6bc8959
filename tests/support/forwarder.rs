//! Stands between clients and a server and counts what they ask: it can take headers from answers, or lose an answer.
#![cfg(test)]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::balancer::head;

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Passed {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) status: u16,
}

#[derive(Default)]
struct Shared {
    target: Option<SocketAddr>,
    /// What the names of headers begin with that no client sees; in lower case, empty for none.
    without: String,
    /// The end of the path whose next `PUT` gets no answer.
    lost: Mutex<Option<String>>,
    passed: Mutex<Vec<Passed>>,
    ended: AtomicBool,
}

/// The forwarder. Dropping it ends its listening.
pub(crate) struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Forwarder {
    /// Forwards to a server (`127.0.0.1:PORT`) and takes all headers from its answers whose names begin like this.
    pub(crate) fn without(server: &str, headers: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { target: Some(server.parse().unwrap()), without: headers.to_owned(), ..Shared::default() });
        let forward = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if forward.ended.load(Ordering::Relaxed) {
                    return;
                }
                let forward = Arc::clone(&forward);
                // Either side may be gone at any moment: that ends the request and nothing else.
                std::thread::spawn(move || drop(pass(client, &forward)));
            }
        });
        Self { address, shared }
    }

    /// Forwards everything as it is.
    pub(crate) fn start(server: &str) -> Self {
        Self::without(server, "")
    }

    /// Passes the next `PUT` of a path that ends like this on, and breaks off instead of answering.
    pub(crate) fn lose(&self, ending: &str) {
        *self.shared.lost.lock().unwrap() = Some(ending.to_owned());
    }

    /// Its URL, with a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What was asked so far.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.shared.passed.lock().unwrap().clone()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // It looks once more when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

/// One request, and its connection ends.
fn pass(mut client: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let Some((request, body)) = read_head(&mut client, Vec::new())? else { return Ok(()) };
    let text = String::from_utf8_lossy(&request).into_owned();
    let mut words = text.split_ascii_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let closing = head::for_one_request(&request).ok_or_else(|| std::io::Error::other("no plain request"))?;
    let mut server = TcpStream::connect(shared.target.expect("a server"))?;
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    server.write_all(&[closing, body].concat())?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    // Until the client closes, as closing on one that still sends would take the answer away from it.
    std::thread::spawn(move || {
        let mut chunk = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            let _ = to.write_all(&chunk[..read]);
        }
    });
    let mut surplus = Vec::new();
    loop {
        let Some((answer, rest)) = read_head(&mut server, surplus)? else { return client.shutdown(Shutdown::Both) };
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status: u16 = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        if status >= 200 {
            if method == "PUT" && is_lost(&target, shared) {
                return client.shutdown(Shutdown::Both);
            }
            shared.passed.lock().unwrap().push(Passed { method, target, status });
            client.write_all(kept(&answer, &shared.without).as_bytes())?;
            client.write_all(&rest)?;
            std::io::copy(&mut server, &mut client)?;
            return client.shutdown(Shutdown::Write);
        }
        client.write_all(answer.as_bytes())?;
        surplus = rest;
    }
}

fn is_lost(target: &str, shared: &Shared) -> bool {
    let mut lost = shared.lost.lock().unwrap();
    let is_it = lost.as_deref().is_some_and(|ending| target.ends_with(ending));
    if is_it {
        *lost = None;
    }
    is_it
}

/// A head with its empty line, and what came behind it.
fn read_head(stream: &mut TcpStream, mut bytes: Vec<u8>) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut chunk = vec![0; 64 << 10];
    loop {
        if let Some(end) = head::end(&bytes) {
            let rest = bytes.split_off(end);
            return Ok(Some((bytes, rest)));
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// The head of an answer without the headers that nobody shall see.
fn kept(head: &str, without: &str) -> String {
    let is_seen = |line: &&str| without.is_empty() || !line.to_ascii_lowercase().starts_with(without);
    head.split_inclusive("\r\n").filter(is_seen).collect()
}

/// What a test relies on must hold here first.
mod self_test {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::{Forwarder, Passed};

    fn ask(forwarder: &Forwarder, request: &str) -> String {
        let mut stream = TcpStream::connect(forwarder.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn requests_are_counted_headers_taken_and_answers_lost() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        std::thread::spawn(move || {
            for mut stream in server.incoming().flatten() {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX-Sum: 1\r\nContent-Length: 2\r\n\r\nhi").unwrap();
            }
        });
        let forwarder = Forwarder::without(&address.to_string(), "x-sum");
        forwarder.lose("/b");
        assert_eq!(ask(&forwarder, "PUT /a HTTP/1.1\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        assert_eq!(ask(&forwarder, "PUT /b HTTP/1.1\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
        assert!(ask(&forwarder, "PUT /b HTTP/1.1\r\n\r\n").ends_with("hi"));
        let passed = |target: &str| Passed { method: String::from("PUT"), target: target.to_owned(), status: 200 };
        assert_eq!(forwarder.passed(), [passed("/a"), passed("/b")]);
    }
}
