//! What a test relies on must hold here first.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{Balancer, head};

/// A replica that answers every connection with its name and what it was sent until `end`.
async fn echo(name: &'static str, end: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = Vec::new();
                while !bytes.ends_with(end.as_bytes()) {
                    if stream.read_buf(&mut bytes).await.unwrap() == 0 {
                        break;
                    }
                }
                stream.write_all(&[name.as_bytes(), b"|", &bytes].concat()).await.unwrap();
                // As servers do: whoever closes on what was not read takes the answer away with it.
                stream.shutdown().await.unwrap();
                let mut rest = vec![0; 64 << 10];
                while matches!(stream.read(&mut rest).await, Ok(1..)) {}
            });
        }
    });
    address
}

async fn ask(balancer: &Balancer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn the_balancer_alternates_and_leaves_the_rest_alone() {
    let balancer = Balancer::start();
    balancer.send_to(vec![echo("one", "!").await, echo("two", "!").await]);
    let plain = b"PUT /x HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nab!";
    let closing = "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nab!";
    for name in ["one", "two", "one", "two"] {
        assert_eq!(ask(&balancer, plain).await, format!("{name}|{closing}"));
    }
    for raw in ["half a head!", "\u{16}\u{3}!", "GET /x HTTP/1.1\r\nA: !"] {
        assert!(ask(&balancer, raw.as_bytes()).await.ends_with(&format!("|{raw}")), "{raw}");
    }
    // A replica that is away is passed over, and one that comes back takes part again.
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    balancer.send_to(vec![away, echo("three", "!").await]);
    for _ in 0..3 {
        assert!(ask(&balancer, plain).await.starts_with("three|"));
    }
    balancer.send_to(vec![away]);
    assert_eq!(ask(&balancer, plain).await, "", "closed, without an answer of its own");
}

#[tokio::test]
async fn the_balancer_delivers_answers_that_come_before_the_body() {
    let balancer = Balancer::start();
    balancer.send_to(vec![echo("early", "\r\n\r\n").await]);
    let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
    stream.write_all(b"PUT /x HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n").await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let body = vec![0; 10_000_000];
    let (sent, received) = futures::join!(write.write_all(&body), read.read_to_end(&mut answer));
    assert!(sent.is_ok() && received.is_ok(), "{sent:?} {received:?}");
    assert!(answer.starts_with(b"early|PUT /x"));
}

#[test]
fn only_plain_requests_are_changed() {
    for (head, is_plain) in [
        ("GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", true),
        ("GET / HTTP/1.1\r\n\r\n", true),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET /a b HTTP/1.1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nX: y\r\n z\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nX : y\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nX: y\nZ: a\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nConnection: Upgrade\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", false),
    ] {
        assert_eq!(head::for_one_request(head.as_bytes()).is_some(), is_plain, "{head:?}");
    }
}
