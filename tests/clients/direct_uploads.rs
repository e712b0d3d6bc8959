//! Very large files, whose parts clients send to the bucket themselves.
#![cfg(test)]

use bytes::Bytes;
use entrepot_kit::Sha256Digest;
use http::{Method, StatusCode};
use serde_json::Value;

use crate::support::TestServer;
use crate::support::api::{Api, Reply};
use crate::support::clients::Home;

/// Two parts, of which the second is the smaller.
const SIZE: usize = 70 << 20;
const PART: usize = 64 << 20;

fn bytes() -> Bytes {
    (0..SIZE / 8).flat_map(|at| (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect::<Vec<_>>().into()
}

async fn post(api: &Api, path: &str) -> Reply {
    api.send(api.request(Method::POST, path).header("tus-resumable", "1.0.0")).await
}

/// Begins an upload, and gives the path of its address.
async fn begin(server: &TestServer, path: &str, claim: Option<&str>) -> String {
    let mut request = server.admin().request(Method::POST, path).header("tus-resumable", "1.0.0").header("upload-length", SIZE);
    if let Some(claim) = claim {
        request = request.header("x-checksum-sha256", claim);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    answer.headers()["location"].to_str().unwrap().strip_prefix(&server.url("")).unwrap().to_owned()
}

/// A client that knows nothing but URLs; whether the part was taken. Who is refused may find the connection cut before all is sent.
async fn send(url: &Value, part: Bytes) -> bool {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    client.put(url.as_str().unwrap()).body(part).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_to_the_bucket_and_the_server_checks_them() {
    let server = TestServer::builder().replicas().start();
    let (admin, reader) = (server.admin(), server.anonymous());
    let body = bytes();
    let (path, digest) = ("/main/generic/images/big.img", Sha256Digest::of(&body).hex());
    let upload = begin(&server, path, Some(&digest)).await;

    let parts = post(&admin, &format!("{upload}&parts=1-2")).await.is(200).json();
    assert_eq!((&parts["count"], &parts["part_size"]), (&2.into(), &PART.into()));
    let (first, second) = (&parts["parts"][0], &parts["parts"][1]);
    assert_eq!((&second["number"], &second["offset"], &second["size"]), (&2.into(), &PART.into(), &(SIZE - PART).into()));
    for wrong in ["parts=1-3", "parts=0-1", "parts=2-1", "parts=x", "complete=false"] {
        post(&admin, &format!("{upload}&{wrong}")).await.is(400);
    }
    post(&reader, &format!("{upload}&parts=1-2")).await.is(401);
    let patch = admin.request(Method::PATCH, &upload).header("tus-resumable", "1.0.0").header("upload-offset", 0);
    admin.send(patch.header("content-type", "application/offset+octet-stream").body("bytes")).await.is(409);

    // Exactly the bytes that were said, all of them, by whatever client.
    assert!(!send(&first["url"], body.slice(..PART - 1)).await, "a shorter part");
    assert!(send(&second["url"], body.slice(PART..)).await);
    let refused = post(&admin, &format!("{upload}&complete=true")).await.is(409);
    assert!(refused.text().contains("part 1 of 2 is missing"), "{}", refused.text());
    let home = Home::new();
    let folder = home.project("parts");
    std::fs::write(folder.join("part"), &body[..PART]).unwrap();
    home.shell(&folder, &format!("curl -sS --fail --noproxy '*' -T part {}", first["url"])).succeeded();
    reader.get(path).await.is(404);
    // Whichever replica is asked, and how often.
    for _ in 0..2 {
        post(&admin, &format!("{upload}&complete=true")).await.is(201);
    }
    assert!(reader.get(path).await.is(200).body == body, "other bytes than were sent");
    let head = reader.request(Method::HEAD, path).send().await.unwrap();
    assert_eq!(head.headers()["etag"].to_str().unwrap(), format!("\"{digest}\""));

    // The URLs are of no use any more.
    assert!(!send(&first["url"], Bytes::from(vec![0; PART])).await, "a part of what is whole");
    assert!(reader.get(path).await.is(200).body == body, "other bytes than were sent");
    post(&admin, &format!("{upload}&parts=1-2")).await.is(409);

    // Other bytes than were promised are no file.
    let wrong = "/main/generic/images/wrong.img";
    let upload = begin(&server, wrong, Some(&digest)).await;
    let parts = post(&admin, &format!("{upload}&parts=1-2")).await.is(200).json();
    assert!(send(&parts["parts"][0]["url"], Bytes::from(vec![0; PART])).await);
    assert!(send(&parts["parts"][1]["url"], body.slice(PART..)).await);
    let refused = post(&admin, &format!("{upload}&complete=true")).await;
    assert!(refused.status.is_client_error() && refused.text().to_lowercase().contains("sha"), "{} {}", refused.status, refused.text());
    reader.get(wrong).await.is(404);
    post(&admin, &format!("{upload}&complete=true")).await.is(404);

    assert_eq!(server.log_lines(&["X-Amz-"]), 0, "a URL is in the log");
    server.command(&["verify"]).succeeded();
}

/// Where bytes are local files there is nobody else to send them to, and an upload goes one way or the other.
#[tokio::test(flavor = "multi_thread")]
async fn uploads_go_to_the_server_where_they_cannot_go_elsewhere() {
    let server = TestServer::builder().alone().start();
    let upload = begin(&server, "/main/generic/big.img", None).await;
    for way in ["parts=1-2", "complete=true"] {
        post(&server.admin(), &format!("{upload}&{way}")).await.is(501);
    }

    let server = TestServer::builder().replicas().start();
    let admin = server.admin();
    let upload = begin(&server, "/main/generic/big.img", None).await;
    let patch = admin.request(Method::PATCH, &upload).header("tus-resumable", "1.0.0").header("upload-offset", 0);
    admin.send(patch.header("content-type", "application/offset+octet-stream").body("bytes")).await.is(204);
    for way in ["parts=1-2", "complete=true"] {
        let refused = post(&admin, &format!("{upload}&{way}")).await.is(409);
        assert!(refused.text().contains("PATCH"), "{}", refused.text());
    }
}
