//! One connection, byte by byte: answers that are given at its door are the right ones, in order, and what is not one whole question goes
//! the long way.
#![cfg(test)]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_format_npm::testing;
use entrepot_kit::Kind;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::house::{House, PASSWORD};
use crate::raw::Call;

/// Asked until an answer came by the door: it writes the request's id last, the web framework the date.
const OFTEN: usize = 20_000;
/// A file that leaves in several parts.
const LARGE: usize = 300_000;

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let value = found.next().map_or("", |(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        value
    }

    fn is_of_the_door(&self) -> bool {
        self.headers.last().is_some_and(|(name, _)| name == "x-request-id")
    }
}

/// A connection of a client that writes its own heads.
struct Line {
    stream: BufReader<TcpStream>,
}

impl Line {
    async fn open(house: &House) -> Self {
        Self { stream: BufReader::new(TcpStream::connect(&house.host).await.expect("a connection")) }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.expect("sent");
    }

    /// The next answer; of one to HEAD without a body.
    async fn answer(&mut self, is_head: bool) -> Answer {
        let mut status = String::new();
        self.stream.read_line(&mut status).await.expect("a status line");
        let status = status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok()).expect("a status");
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.expect("a line");
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !is_head && status != 304 {
            answer.body = vec![0; answer.header("content-length").parse().expect("a length")];
            self.stream.read_exact(&mut answer.body).await.expect("a body");
        }
        answer
    }

    async fn ask(&mut self, head: &str) -> Answer {
        self.send(head.as_bytes()).await;
        self.answer(head.starts_with("HEAD ")).await
    }

    /// Asks until the door answers, and looks at every answer.
    async fn until_the_door_answers(&mut self, head: &str, look: impl Fn(&Answer)) {
        for _ in 0..OFTEN {
            let answer = self.ask(head).await;
            look(&answer);
            if answer.is_of_the_door() {
                return;
            }
        }
        panic!("the door never answered {head}");
    }

    async fn is_at_its_end(&mut self) -> bool {
        self.stream.read(&mut [0]).await.is_ok_and(|count| count == 0)
    }
}

fn basic(password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("reader:{password}")))
}

fn get(path: &str, more: &str) -> String {
    ask_for(&format!("/alpha/files/{path}"), more)
}

fn ask_for(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.example\r\nauthorization: {}\r\n{more}\r\n", basic(PASSWORD))
}

async fn house() -> House {
    let house = House::alone_with(|_| {}).await;
    house.user("reader", &[("system", "alpha")]).await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({ "overwrite": true })).await;
    put(&house, "file", b"one".to_vec()).await;
    house
}

/// A document of more than a hundred thousand bytes: where it is, and what it is.
async fn document(house: &House) -> (&'static str, Vec<u8>) {
    house.repository("alpha/npm", "npm", Kind::Hosted, false, json!({})).await;
    let mut manifest = testing::manifest("large", "1.0.0");
    manifest["contributors"] = json!((0..2500).map(|number| format!("one of the many, number {number}")).collect::<Vec<_>>());
    let document = testing::publish_body(&manifest, &testing::tarball(&manifest), "latest");
    let put = house.call_as("alpha-owner", Call::put("/alpha/npm/large", document.to_string()).with("content-type", "application/json")).await;
    assert!(put.status.is_success(), "{}", put.text());
    let answer = Line::open(house).await.ask(&ask_for("/alpha/npm/large", "")).await;
    assert!(answer.status == 200 && answer.body.len() > 100_000, "{} {}", answer.status, answer.body.len());
    ("/alpha/npm/large", answer.body)
}

async fn put(house: &House, path: &str, bytes: Vec<u8>) {
    let put = house.call_as("alpha-owner", Call::put(format!("/alpha/files/{path}"), bytes)).await;
    assert!(put.status.is_success(), "{}", put.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_door_gives_what_the_long_way_gives() {
    let house = house().await;
    let (path, large) = document(&house).await;
    let etag = Line::open(&house).await.ask(&get("file", "")).await.header("etag").to_owned();
    let unchanged = format!("if-none-match: {etag}\r\n");
    for (head, status, body) in [
        (get("file", ""), 200, b"one".to_vec()),
        (get("file", "range: bytes=1-\r\n"), 206, b"ne".to_vec()),
        (get("file", &unchanged), 304, Vec::new()),
        (ask_for(path, ""), 200, large.clone()),
    ] {
        let mut line = Line::open(&house).await;
        let first = line.ask(&head).await;
        let told = |answer: &Answer| {
            let mut told: Vec<_> = answer.headers.iter().filter(|(name, _)| name != "date" && name != "x-request-id").cloned().collect();
            told.sort();
            told
        };
        let ids = std::cell::RefCell::new(std::collections::HashSet::new());
        for _ in 0..3 {
            line.until_the_door_answers(&head, |answer| {
                assert_eq!((answer.status, &answer.body), (status, &body), "{head}");
                assert_eq!(told(answer), told(&first), "{head}");
                assert!(answer.header("date").ends_with(" GMT") && ids.borrow_mut().insert(answer.header("x-request-id").to_owned()), "{head}");
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_counts_at_once_and_nobody_gets_what_is_not_theirs() {
    let house = house().await;
    let (mut line, head) = (Line::open(&house).await, get("file", ""));
    let mut text = b"one".to_vec();
    for next in ["two", "three", "four"] {
        line.until_the_door_answers(&head, |answer| assert_eq!(answer.body, text)).await;
        text = next.into();
        put(&house, "file", text.clone()).await;
        assert_eq!(line.ask(&head).await.body, text);
    }
    line.until_the_door_answers(&head, |answer| assert_eq!(answer.body, text)).await;
    let stranger = head.replace(&basic(PASSWORD), &basic("not the password"));
    assert_eq!(line.ask(&stranger).await.status, 401);
    assert_eq!(line.ask(&head.replace("/file ", "/none ")).await.status, 404);
    assert_eq!(line.ask(&head).await.body, text);
}

/// Answers come in the order of their questions, whatever is sent together, in parts, or in the middle of something else.
#[tokio::test(flavor = "multi_thread")]
async fn no_answer_overtakes_another() {
    let house = house().await;
    put(&house, "other", b"the other".to_vec()).await;
    put(&house, "large", vec![7; LARGE]).await;
    let (path, known) = document(&house).await;
    let (file, other, large, document) = (get("file", ""), get("other", ""), get("large", ""), ask_for(path, ""));
    let warm = async || {
        let mut line = Line::open(&house).await;
        for head in [&file, &other, &document] {
            line.until_the_door_answers(head, |_| {}).await;
        }
        line
    };
    for _ in 0..5 {
        // Several at once, known and unknown ones.
        let mut line = warm().await;
        line.send([large.as_str(), &file, &document, &get("none", ""), &other].concat().as_bytes()).await;
        for (status, length) in [(200, LARGE), (200, 3), (200, known.len()), (404, 0), (200, 9)] {
            let answer = line.answer(false).await;
            assert!(answer.status == status && (status == 404 || answer.body.len() == length), "{} {}", answer.status, answer.body.len());
        }
        assert_eq!(line.ask(&file).await.body, b"one");
        // One more while the answer before it is on its way, which is not read yet.
        let mut line = warm().await;
        line.send(get("large", "accept: */*\r\n").as_bytes()).await;
        tokio::task::yield_now().await;
        line.send(file.as_bytes()).await;
        assert_eq!(line.answer(false).await.body.len(), LARGE);
        assert_eq!(line.answer(false).await.body, b"one");
        // The same of two that the door knows.
        let mut line = warm().await;
        for _ in 0..20 {
            line.send(document.as_bytes()).await;
            line.send(file.as_bytes()).await;
        }
        for _ in 0..20 {
            assert!(line.answer(false).await.body == known, "another document");
            assert_eq!(line.answer(false).await.body, b"one");
        }
        // In parts.
        let mut line = warm().await;
        let (begin, end) = file.split_at(20);
        line.send(begin.as_bytes()).await;
        tokio::task::yield_now().await;
        line.send(end.as_bytes()).await;
        assert_eq!(line.answer(false).await.body, b"one");
        assert_eq!(line.ask(&other).await.body, b"the other");
        // HEAD between two others.
        let mut line = warm().await;
        let head = line.ask(&file.replace("GET ", "HEAD ")).await;
        assert_eq!((head.status, head.header("content-length")), (200, "3"));
        assert_eq!(line.ask(&file).await.body, b"one");
    }
}

/// What a client calls a body is no question, even when its bytes are one that the door knows.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_no_question() {
    let house = house().await;
    let file = get("file", "");
    for more in [format!("content-length: {}\r\n", file.len()), String::from("transfer-encoding: chunked\r\n")] {
        let mut line = Line::open(&house).await;
        line.until_the_door_answers(&file, |_| {}).await;
        let body = if more.starts_with('c') { file.clone() } else { format!("{:x}\r\n{file}\r\n0\r\n\r\n", file.len()) };
        let first = line.ask(&get("file", &more)).await;
        line.send(body.as_bytes()).await;
        assert_eq!(first.body, b"one");
        // The body gave no answer: the next one is that of the next question, or the connection has ended.
        line.send(get("none", "").as_bytes()).await;
        let mut rest = Vec::new();
        line.send(get("none", "connection: close\r\n").as_bytes()).await;
        line.stream.read_to_end(&mut rest).await.expect("an end");
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("HTTP/1.1 200"), "{rest}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_end_when_they_should() {
    let house = house().await;
    let mut line = Line::open(&house).await;
    line.until_the_door_answers(&get("file", ""), |_| {}).await;
    let last = get("file", "connection: close\r\n");
    assert_eq!(line.ask(&last).await.body, b"one");
    assert!(line.is_at_its_end().await);
    for _ in 0..3 {
        let mut line = Line::open(&house).await;
        let answer = line.ask(&last).await;
        assert_eq!((answer.body.as_slice(), answer.header("connection")), (b"one".as_slice(), "close"));
        assert!(line.is_at_its_end().await);
    }
}
