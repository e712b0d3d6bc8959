//! The end of a server: what runs is finished, what is idle is closed, what comes is refused.
#![cfg(test)]

use bytes::Bytes;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::until;
use crate::raw::{self, Call};
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::upstream::{Gate, Reply, ScriptedUpstream};

/// More than the system's buffers between two processes hold.
const LARGE: usize = 32 << 20;

/// So long that only what should end ends.
const PATIENT: &str = "[limits]\nshutdown_timeout = 600\nkeep_alive = 600\nidle_timeout = 600\n";

fn large() -> Bytes {
    (0..LARGE).map(|index| (index ^ (index >> 9)) as u8).collect::<Vec<_>>().into()
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.address()).await.unwrap()
}

/// Sends a head and reads the answer's.
async fn ask(stream: &mut TcpStream, head: &str) -> String {
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(answer).unwrap()
}

async fn is_refused(server: &TestServer) {
    until("new connections are refused", async || TcpStream::connect(server.address()).await.is_err()).await;
}

async fn put(server: &TestServer, path: &str, body: Bytes) {
    let call = Call::put(format!("/main/generic/{path}"), body).signed("admin", ADMIN_PASSWORD);
    assert_eq!(raw::send(server.address(), &call).await.unwrap().status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn transfers_under_way_are_finished_and_nothing_new_begins() {
    let mut server = TestServer::builder().alone().config(PATIENT).start();
    let body = large();
    put(&server, "large", body.clone()).await;

    let mut idle = connect(&server).await;
    assert!(ask(&mut idle, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut silent = connect(&server).await;

    let mut download = connect(&server).await;
    assert!(ask(&mut download, "GET /main/generic/large HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut upload = connect(&server).await;
    let token = server.admin().create_token("upload", &[], &[]).await;
    let head =
        format!("PUT /main/generic/late HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {LARGE}\r\nExpect: 100-continue\r\n\r\n");
    assert!(ask(&mut upload, &head).await.starts_with("HTTP/1.1 100"));
    upload.write_all(&body[..LARGE / 2]).await.unwrap();
    until("the upload has begun", async || {
        let metrics = raw::send(server.address(), &Call::get("/metrics")).await.unwrap().text();
        metrics.contains("\nentrepot_uploads_staged 1\n")
    })
    .await;

    server.ask_to_end();
    is_refused(&server).await;
    let mut rest = Vec::new();
    // The answer of /health, and then the end.
    tokio::time::timeout(super::PATIENCE, idle.read_to_end(&mut rest)).await.expect("an idle connection is closed").unwrap();
    tokio::time::timeout(super::PATIENCE, silent.read_to_end(&mut rest)).await.expect("a silent connection is closed").unwrap();

    let mut received = vec![0; LARGE];
    download.read_exact(&mut received).await.unwrap();
    assert!(received == body, "the download was finished byte for byte");
    upload.write_all(&body[LARGE / 2..]).await.unwrap();
    let answer = ask(&mut upload, "").await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    server.has_ended();
    assert!(server.log().contains("everything was finished"), "{}", server.log());

    server.restart();
    let late = raw::send(server.address(), &Call::get("/main/generic/late")).await.unwrap();
    assert!(late.body == body, "the upload was kept byte for byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_delay_the_end() {
    let mut server = TestServer::builder().alone().config(PATIENT).start();
    let mut idle = Vec::new();
    for _ in 0..20 {
        let mut stream = connect(&server).await;
        ask(&mut stream, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
        idle.push(stream);
    }
    // A minute for what would take ten.
    server.stop();
    drop(idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_whose_reader_left_is_finished() {
    let (upstream, gate) = (ScriptedUpstream::start().await, Gate::shut());
    let body = large().slice(..4 << 20);
    upstream.answer("/file", Reply::bytes(body.clone()).held_after(1 << 20, &gate));
    let proxy = format!(
        "[[repository]]\nname = \"far\"\nformat = \"generic\"\nkind = \"proxy\"\ntags = {{ visibility = \"public\" }}\nupstream = {{ url = \"{}/\", mutable_ttl = 86400 }}\n",
        upstream.url()
    );
    let mut server = TestServer::builder().alone().config(format!("{PATIENT}{proxy}")).start();
    let mut reader = connect(&server).await;
    assert!(ask(&mut reader, "GET /main/far/file HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    drop(reader);
    server.ask_to_end();
    is_refused(&server).await;
    gate.open();
    server.has_ended();
    upstream.stop().await;
    server.restart();
    let kept = raw::send(server.address(), &Call::get("/main/far/file")).await.unwrap();
    assert_eq!((kept.status, kept.header("x-artifact-source"), kept.body == body), (StatusCode::OK, "cache", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_never_ends_is_cut_off_in_time() {
    let mut server = TestServer::builder().alone().config("[limits]\nshutdown_timeout = 1\n").start();
    put(&server, "large", large()).await;
    let mut stuck = connect(&server).await;
    assert!(ask(&mut stuck, "GET /main/generic/large HTTP/1.1\r\nHost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    server.stop();
    assert!(server.log().contains("what still ran is cut off"), "{}", server.log());
}
