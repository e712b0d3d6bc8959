//! A plain HTTP/1.1 client that sends a path exactly as it is given: others quietly resolve `..` and `%2e%2e`.
#![cfg(test)]

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest that one exchange may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, target: impl Into<String>) -> Self {
        Self { method, target: target.into(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    pub(crate) fn put(target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::PUT, target) }
    }

    pub(crate) fn post(target: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::POST, target) }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Basic credentials.
    pub(crate) fn signed(self, name: &str, password: &str) -> Self {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        self.with("Authorization", format!("Basic {encoded}"))
    }

    /// Bearer credentials.
    pub(crate) fn with_token(self, token: &str) -> Self {
        self.with("Authorization", format!("Bearer {token}"))
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    /// What the line with the status says in words.
    pub(crate) reason: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {} {}", self.status, self.text()))
    }
}

/// Sends one request on a connection of its own (`host` is `address:port`) and reads the whole answer.
pub(crate) async fn send(host: &str, call: &Call) -> Result<Reply, String> {
    tokio::time::timeout(PATIENCE, exchange(host, call)).await.map_err(|_| format!("{} {}: no answer", call.method, call.target))?
}

async fn exchange(host: &str, call: &Call) -> Result<Reply, String> {
    let failed = |what: &str, error: std::io::Error| format!("{} {}: {what}: {error}", call.method, call.target);
    let mut socket = TcpStream::connect(host).await.map_err(|error| failed("connect", error))?;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n", call.method, call.target);
    for (name, value) in &call.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !call.body.is_empty() || matches!(call.method, Method::PUT | Method::POST | Method::PATCH) {
        head.push_str(&format!("Content-Length: {}\r\n", call.body.len()));
    }
    head.push_str("\r\n");
    socket.write_all(head.as_bytes()).await.map_err(|error| failed("send", error))?;
    // A server that refuses early may close before it has read the body: its answer counts, not the broken pipe.
    let _ = socket.write_all(&call.body).await;
    let mut bytes = Vec::new();
    loop {
        match socket.read_buf(&mut bytes).await {
            Ok(0) => break,
            Err(error) if bytes.is_empty() => return Err(failed("receive", error)),
            Err(_) => break,
            // A server that has not read all of a refused body keeps the connection for a while: the answer is whole before that.
            Ok(_) if is_whole(call, &bytes) => break,
            Ok(_) => {}
        }
    }
    parse(call, &bytes)
}

/// Whether a body of known length has arrived.
fn is_whole(call: &Call, bytes: &[u8]) -> bool {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let length = head.split("\r\ncontent-length:").nth(1).and_then(|rest| rest.split("\r\n").next()).and_then(|value| value.trim().parse::<usize>().ok());
    length.is_some_and(|length| call.method == Method::HEAD || bytes.len() - end - 4 >= length)
}

fn parse(call: &Call, bytes: &[u8]) -> Result<Reply, String> {
    let malformed = |what: &str| format!("{} {}: {what}: {:?}", call.method, call.target, String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(|| malformed("no head"))?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| malformed("head is not text"))?;
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let reason = first.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
    let status = first.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok()).ok_or_else(|| malformed("no status"))?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("header"))?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed("header name"))?;
        headers.append(name, HeaderValue::from_str(value.trim()).map_err(|_| malformed("header value"))?);
    }
    let rest = &bytes[end + 4..];
    let bodyless = call.method == Method::HEAD || status == StatusCode::NOT_MODIFIED || status == StatusCode::NO_CONTENT;
    let body = if bodyless {
        Bytes::new()
    } else if headers.get("transfer-encoding").is_some_and(|value| value == "chunked") {
        unchunk(rest).ok_or_else(|| malformed("the chunked body is broken"))?
    } else if let Some(length) = headers.get("content-length").and_then(|value| value.to_str().ok()).and_then(|value| value.parse::<usize>().ok()) {
        if rest.len() != length {
            return Err(malformed(&format!("{} bytes of the {length} announced", rest.len())));
        }
        Bytes::copy_from_slice(rest)
    } else {
        Bytes::copy_from_slice(rest)
    };
    Ok(Reply { status, reason, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Bytes> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line + 2..];
        if size == 0 {
            return Some(body.into());
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
