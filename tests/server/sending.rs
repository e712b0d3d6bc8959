//! Files on their way out: those of this machine are sent by the kernel, in their order among the answers and to their last byte.
#![cfg(test)]

use std::path::{Path, PathBuf};

use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::House;
use crate::raw::Call;

const LARGE: usize = 5 * (1 << 20) + 12_345;

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at / 3 + at / 70_001) % 251).expect("a byte")).collect()
}

/// One machine with a large file and a small one.
async fn house() -> House {
    let house = House::alone_with(|_| {}).await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    for (path, body) in [("large", bytes(LARGE)), ("small", b"small".to_vec())] {
        let put = house.call_as("alpha-owner", Call::put(format!("/alpha/files/{path}"), body)).await;
        assert!(put.status.is_success(), "{}", put.text());
    }
    house
}

/// What a server says to requests that are sent without waiting for answers.
async fn pipelined(house: &House, requests: &[&str]) -> Vec<u8> {
    let mut stream = TcpStream::connect(&house.host).await.expect("a connection");
    let last = requests.len() - 1;
    for (number, request) in requests.iter().enumerate() {
        let end = if number == last { "connection: close\r\n" } else { "" };
        let (line, headers) = request.split_once('|').unwrap_or((request, ""));
        stream.write_all(format!("{line} HTTP/1.1\r\nhost: {}\r\n{headers}{end}\r\n", house.host).as_bytes()).await.expect("a request");
    }
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.expect("answers");
    said
}

/// Takes the next answer off: its status, its body.
fn next<'a>(said: &mut &'a [u8]) -> (u16, &'a [u8]) {
    let end = said.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = std::str::from_utf8(&said[..end]).expect("text").to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let length = head.lines().filter_map(|line| line.strip_prefix("content-length: ")).map(|length| length.parse::<usize>().expect("a number"));
    let lengths: Vec<usize> = length.collect();
    let [length] = lengths[..] else { panic!("one length is said: {head}") };
    let body = &said[end + 4..end + 4 + length];
    *said = &said[end + 4 + length..];
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status"), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_follow_each_other_on_one_connection() {
    let house = house().await;
    let (large, small) = ("GET /alpha/files/large", "GET /alpha/files/small");
    let part = "GET /alpha/files/large|range: bytes=100001-2300000\r\n";
    let said = pipelined(&house, &[small, large, part, small, large, large, small]).await;
    let whole = bytes(LARGE);
    let mut rest = said.as_slice();
    for (status, body) in
        [(200, b"small".as_slice()), (200, &whole), (206, &whole[100_001..=2_300_000]), (200, b"small"), (200, &whole), (200, &whole), (200, b"small")]
    {
        let (got, bytes) = next(&mut rest);
        assert_eq!((got, bytes.len()), (status, body.len()));
        assert!(bytes == body, "other bytes than those of the file");
    }
    assert!(rest.is_empty(), "{} bytes follow the last answer", rest.len());
}

/// The largest file below a folder.
fn largest(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.map(|entry| entry.expect("an entry").path());
    let files = entries.filter_map(|path| if path.is_dir() { largest(&path) } else { Some(path) });
    files.max_by_key(|path| path.metadata().map_or(0, |facts| facts.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_becomes_shorter_ends_its_connection() {
    // More than all buffers on the way hold: the end is not yet sent when the file changes.
    const LENGTH: u64 = 64 << 20;
    let house = house().await;
    let put = house.call_as("alpha-owner", Call::put("/alpha/files/larger", vec![7; 64 << 20])).await;
    assert!(put.status.is_success(), "{}", put.text());
    let mut stream = TcpStream::connect(&house.host).await.expect("a connection");
    stream.write_all(format!("GET /alpha/files/larger HTTP/1.1\r\nhost: {}\r\n\r\n", house.host).as_bytes()).await.expect("a request");
    let mut first = [0; 17];
    stream.read_exact(&mut first).await.expect("the beginning of an answer");
    assert_eq!(&first, b"HTTP/1.1 200 OK\r\n");
    let blob = largest(&house.data().join("blobs")).expect("the file's blob");
    let file = std::fs::File::options().write(true).open(blob).expect("the blob");
    assert_eq!(file.metadata().expect("facts").len(), LENGTH);
    file.set_len(LENGTH - 100_000).expect("shorter");
    let mut said = Vec::new();
    // The server ends it, in whatever way: the client has less than it was told.
    let _ = stream.read_to_end(&mut said).await;
    let end = said.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    assert!(((said.len() - end) as u64) < LENGTH, "{} bytes", said.len() - end);
    assert_eq!(house.call(Call::get("/alpha/files/small")).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_or_leaves_disturbs_nobody() {
    let house = house().await;
    let mut waiting = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(&house.host).await.expect("a connection");
        stream.write_all(format!("GET /alpha/files/large HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", house.host).as_bytes()).await.expect("a request");
        let mut first = [0; 17];
        stream.read_exact(&mut first).await.expect("the beginning of an answer");
        assert_eq!(&first, b"HTTP/1.1 200 OK\r\n");
        waiting.push(stream);
    }
    // Half of them leave in the middle; everybody else is served meanwhile.
    let staying = waiting.split_off(4);
    drop(waiting);
    assert_eq!(house.call(Call::get("/alpha/files/large")).await.body.len(), LARGE);
    for mut stream in staying {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.expect("the rest");
        assert!(said.ends_with(&bytes(LARGE)), "other bytes than those of the file");
    }
}
