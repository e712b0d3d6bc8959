//! An upstream registry that does what a test tells it: one HTTP/1.1 server on a port of its own.
//!
//! ```ignore
//! let upstream = ScriptedUpstream::start().await;
//! let gate = Gate::shut();
//! upstream.answer("/big.tgz", Reply::bytes(bytes).held_after(1024, &gate));   // 1 KiB now, the rest when the gate opens
//! upstream.answer_in_turn("/left-pad", [Reply::status(503), Reply::bytes(document)]);   // the last one repeats
//! // … use upstream.url() as a proxy's upstream …
//! assert_eq!(upstream.count("/big.tgz"), 1);
//! upstream.stop().await;   // gone: connections are refused
//! ```
//!
//! It answers slowly, too short, too long or with the wrong length on purpose, which no HTTP library would do; hence the
//! handful of lines of HTTP below.
#![cfg(test)]

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Seen {
    /// The first header of that name (in lower case).
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

/// Holds an answer back until it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Lets everything through, now and later.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

/// How the length of the body is said.
#[derive(Debug, Clone, Copy)]
enum Length {
    Honest,
    Claimed(u64),
    Chunked,
}

/// An answer, with all the ways to give it badly.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    length: Length,
    delay: Duration,
    pace: Option<(usize, Duration)>,
    gate: Option<(usize, Gate)>,
    cut: Option<usize>,
    guard: Option<(String, String)>,
    ranged: bool,
}

impl Reply {
    /// 200 with a body.
    pub(crate) fn bytes(body: impl Into<Bytes>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body: body.into(),
            length: Length::Honest,
            delay: Duration::ZERO,
            pace: None,
            gate: None,
            cut: None,
            guard: None,
            ranged: false,
        }
    }

    /// A status with a short text.
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::bytes(format!("status {status}\n")) }
    }

    /// 302.
    pub(crate) fn redirect(to: impl Into<String>) -> Self {
        Self::status(302).header("Location", to)
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sends an `ETag`, and 304 to who has it already.
    pub(crate) fn etag(self, etag: &str) -> Self {
        self.header("ETag", etag)
    }

    /// Sends `Content-Encoding: gzip` and the body compressed.
    pub(crate) fn gzip(self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(&self.body).unwrap();
        let body = Bytes::from(encoder.finish().unwrap());
        Self { body, ..self }.header("Content-Encoding", "gzip")
    }

    /// Says 401 with this challenge to whoever comes without this `Authorization`.
    pub(crate) fn guarded(self, authorization: &str, challenge: impl Into<String>) -> Self {
        Self { guard: Some((authorization.to_owned(), challenge.into())), ..self }
    }

    /// Waits before the first byte of the answer.
    pub(crate) fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Sends the body in pieces of `size` bytes with a pause after each.
    pub(crate) fn paced(self, size: usize, pause: Duration) -> Self {
        Self { pace: Some((size, pause)), ..self }
    }

    /// Sends the headers and the first `bytes` of the body, and the rest when the gate opens.
    pub(crate) fn held_after(self, bytes: usize, gate: &Gate) -> Self {
        Self { gate: Some((bytes, gate.clone())), ..self }
    }

    /// Closes the connection after `bytes` of the body.
    pub(crate) fn cut_after(self, bytes: usize) -> Self {
        Self { cut: Some(bytes), ..self }
    }

    /// Says another `Content-Length` than the body has.
    pub(crate) fn claiming(self, length: u64) -> Self {
        Self { length: Length::Claimed(length), ..self }
    }

    /// Sends the body with `Transfer-Encoding: chunked`, without its length.
    pub(crate) fn chunked(self) -> Self {
        Self { length: Length::Chunked, ..self }
    }

    /// Gives the range that is asked for, 206.
    pub(crate) fn ranged(self) -> Self {
        Self { ranged: true, ..self }
    }

    /// The part of the answer that a request wants: `bytes=2-5` or `bytes=-3`.
    fn part(&self, seen: &Seen) -> Option<Self> {
        let (first, last) = seen.header("range").filter(|_| self.ranged)?.strip_prefix("bytes=")?.split_once('-')?;
        let size = self.body.len();
        let (start, end) = match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(start), Ok(last)) => (start.min(size), (last + 1).min(size)),
            (Ok(start), Err(_)) => (start.min(size), size),
            (Err(_), Ok(last)) => (size.saturating_sub(last), size),
            _ => return None,
        };
        let said = format!("bytes {start}-{}/{size}", end.saturating_sub(1));
        Some(Self { status: 206, body: self.body.slice(start..end), ranged: false, ..self.clone() }.header("Content-Range", said))
    }

    fn matches(&self, seen: &Seen) -> bool {
        let said = |wanted: &str| self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.as_str());
        let is_same = |validator: &str, condition: &str| said(validator).is_some() && seen.header(condition) == said(validator);
        let by_time = seen.header("if-none-match").is_none() && is_same("last-modified", "if-modified-since");
        self.status == 200 && (is_same("etag", "if-none-match") || by_time)
    }

    /// Whether the connection can be used for another request.
    async fn send(&self, seen: &Seen, stream: &mut TcpStream) -> std::io::Result<bool> {
        if let Some((_, challenge)) = self.guard.as_ref().filter(|(wanted, _)| seen.header("authorization") != Some(wanted)) {
            return Box::pin(Self::status(401).header("WWW-Authenticate", challenge).send(seen, stream)).await;
        }
        if let Some(part) = self.part(seen) {
            return Box::pin(part.send(seen, stream)).await;
        }
        tokio::time::sleep(self.delay).await;
        let unchanged = self.matches(seen);
        let mut head = format!("HTTP/1.1 {} scripted\r\n", if unchanged { 304 } else { self.status });
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &match self.length {
            _ if unchanged => String::new(),
            Length::Honest => format!("Content-Length: {}\r\n", self.body.len()),
            Length::Claimed(length) => format!("Content-Length: {length}\r\n"),
            Length::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
        };
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        if unchanged || seen.method == "HEAD" {
            return Ok(true);
        }
        let end = self.cut.unwrap_or(self.body.len()).min(self.body.len());
        let mut from = 0;
        while from < end {
            let mut to = self.pace.map_or(end, |(size, _)| (from + size).min(end));
            if let Some((held, gate)) = &self.gate {
                if from >= *held {
                    gate.pass().await;
                } else {
                    to = to.min(*held);
                }
            }
            let piece = &self.body[from..to];
            if matches!(self.length, Length::Chunked) {
                stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await?;
                stream.write_all(piece).await?;
                stream.write_all(b"\r\n").await?;
            } else {
                stream.write_all(piece).await?;
            }
            if let Some((_, pause)) = self.pace {
                tokio::time::sleep(pause).await;
            }
            from = to;
        }
        if self.cut.is_some() {
            return Ok(false);
        }
        if matches!(self.length, Length::Chunked) {
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Ok(!matches!(self.length, Length::Claimed(_)))
    }
}

#[derive(Debug, Default)]
struct Script {
    routes: HashMap<String, VecDeque<Reply>>,
    seen: Vec<Seen>,
}

/// The server. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct ScriptedUpstream {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl ScriptedUpstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self { address, script: Arc::default(), serving: Mutex::default() };
        upstream.serve(listener);
        upstream
    }

    fn serve(&self, listener: TcpListener) {
        let script = Arc::clone(&self.script);
        let accept = async move {
            // Dropped with the task: stopping the server breaks its connections.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(converse(stream, Arc::clone(&script)));
                while connections.try_join_next().is_some() {}
            }
        };
        *self.serving.lock().unwrap() = Some(tokio::spawn(accept));
    }

    /// Stops listening and breaks what is under way. The port stays ours in name only.
    pub(crate) async fn stop(&self) {
        let serving = self.serving.lock().unwrap().take();
        if let Some(serving) = serving {
            serving.abort();
            serving.await.ok();
        }
    }

    /// Listens again on the same port.
    pub(crate) async fn start_again(&self) {
        self.stop().await;
        self.serve(TcpListener::bind(self.address).await.unwrap());
    }

    /// `http://127.0.0.1:PORT`, without a slash at its end.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers every request for a path, or for a path with query, with one reply. What has no answer is 404.
    pub(crate) fn answer(&self, target: &str, reply: Reply) {
        self.answer_in_turn(target, [reply]);
    }

    /// Answers with one reply after the other; the last one repeats.
    pub(crate) fn answer_in_turn(&self, target: &str, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().unwrap().routes.insert(target.to_owned(), replies.into_iter().collect());
    }

    /// Everything that was asked, in the order of arrival.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.lock().unwrap().seen.clone()
    }

    /// What was asked of a path, whatever its query.
    pub(crate) fn seen_at(&self, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path() == path).collect()
    }

    /// How often a path was asked for.
    pub(crate) fn count(&self, path: &str) -> usize {
        self.seen_at(path).len()
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.abort();
        }
    }
}

/// One connection with any number of requests.
async fn converse(stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read_request(&mut stream).await {
        let reply = {
            let mut script = script.lock().unwrap();
            script.seen.push(seen.clone());
            let key = if script.routes.contains_key(&seen.target) { seen.target.clone() } else { seen.path().to_owned() };
            match script.routes.get_mut(&key) {
                Some(replies) if replies.len() > 1 => replies.pop_front(),
                Some(replies) => replies.front().cloned(),
                None => None,
            }
        };
        let reply = reply.unwrap_or_else(|| Reply::status(404));
        if !matches!(reply.send(&seen, stream.get_mut()).await, Ok(true)) {
            return;
        }
    }
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { method, target, headers, body: body.into() })
}

/// The server itself, asked in plain text: what a test relies on must hold here first.
mod self_test {
    use super::{Gate, Reply, ScriptedUpstream};
    use std::time::Duration;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    async fn ask(upstream: &ScriptedUpstream, request: &str) -> String {
        let mut stream = TcpStream::connect(upstream.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[tokio::test]
    async fn replies_are_given_as_told() {
        let upstream = ScriptedUpstream::start().await;
        assert!(upstream.url().starts_with("http://127.0.0.1:"));
        upstream.answer("/a", Reply::bytes("hello").etag("\"1\"").delayed(Duration::from_millis(1)));
        upstream.answer("/a?b=1", Reply::bytes("query").with_status(203));
        upstream.answer_in_turn("/turn", [Reply::status(503), Reply::redirect("/a")]);
        upstream.answer("/bad", Reply::bytes("short").claiming(9));
        upstream.answer("/cut", Reply::bytes("hello").cut_after(2));
        upstream.answer("/chunked", Reply::bytes("hello").chunked().paced(3, Duration::from_millis(1)));
        upstream.answer("/gzip", Reply::bytes("hello").gzip());
        upstream.answer("/ranged", Reply::bytes("hello").ranged());
        for (request, expected) in [
            ("GET /a HTTP/1.1\r\n\r\n", "HTTP/1.1 200 scripted\r\nETag: \"1\"\r\nContent-Length: 5\r\n\r\nhello"),
            ("HEAD /a HTTP/1.1\r\n\r\n", "HTTP/1.1 200 scripted\r\nETag: \"1\"\r\nContent-Length: 5\r\n\r\n"),
            ("GET /a HTTP/1.1\r\nIf-None-Match: \"1\"\r\n\r\n", "HTTP/1.1 304 scripted\r\nETag: \"1\"\r\n\r\n"),
            ("GET /a?b=1 HTTP/1.1\r\n\r\n", "HTTP/1.1 203 scripted\r\nContent-Length: 5\r\n\r\nquery"),
            ("GET /turn HTTP/1.1\r\n\r\n", "HTTP/1.1 503 scripted\r\nContent-Length: 11\r\n\r\nstatus 503\n"),
            ("GET /turn HTTP/1.1\r\n\r\n", "HTTP/1.1 302 scripted\r\nLocation: /a\r\nContent-Length: 11\r\n\r\nstatus 302\n"),
            ("GET /bad HTTP/1.1\r\n\r\n", "HTTP/1.1 200 scripted\r\nContent-Length: 9\r\n\r\nshort"),
            ("GET /cut HTTP/1.1\r\n\r\n", "HTTP/1.1 200 scripted\r\nContent-Length: 5\r\n\r\nhe"),
            ("GET /chunked HTTP/1.1\r\n\r\n", "HTTP/1.1 200 scripted\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
            ("GET /ranged HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n", "HTTP/1.1 206 scripted\r\nContent-Range: bytes 1-2/5\r\nContent-Length: 2\r\n\r\nel"),
            ("GET /ranged HTTP/1.1\r\nRange: bytes=-9\r\n\r\n", "HTTP/1.1 206 scripted\r\nContent-Range: bytes 0-4/5\r\nContent-Length: 5\r\n\r\nhello"),
            ("GET /ranged HTTP/1.1\r\n\r\n", "HTTP/1.1 200 scripted\r\nContent-Length: 5\r\n\r\nhello"),
            ("GET /none HTTP/1.1\r\n\r\n", "HTTP/1.1 404 scripted\r\nContent-Length: 11\r\n\r\nstatus 404\n"),
        ] {
            assert_eq!(ask(&upstream, request).await, expected, "{request}");
        }
        assert!(ask(&upstream, "GET /gzip HTTP/1.1\r\n\r\n").await.contains("Content-Encoding: gzip"));
        ask(&upstream, "POST /a HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi").await;
        let post = upstream.seen_at("/a").pop().unwrap();
        assert_eq!((post.method.as_str(), &*post.body, post.header("content-length")), ("POST", &b"hi"[..], Some("2")));
        assert_eq!((upstream.count("/a"), upstream.count("/none")), (5, 1));
    }

    #[tokio::test]
    async fn a_gate_holds_the_rest_back_and_a_stop_is_an_end() {
        let upstream = ScriptedUpstream::start().await;
        let gate = Gate::shut();
        upstream.answer("/a", Reply::bytes("hello").held_after(2, &gate));
        let mut stream = TcpStream::connect(upstream.address).await.unwrap();
        stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        let mut first = [0; "HTTP/1.1 200 scripted\r\nContent-Length: 5\r\n\r\nhe".len()];
        stream.read_exact(&mut first).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await.is_err());
        gate.open();
        assert_eq!(stream.read_u8().await.unwrap(), b'l');
        upstream.stop().await;
        assert!(TcpStream::connect(upstream.address).await.is_err());
        upstream.start_again().await;
        assert!(ask(&upstream, "GET /a HTTP/1.1\r\n\r\n").await.ends_with("hello"));
    }
}
