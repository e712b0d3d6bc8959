//! A server that cannot serve says so, and why.
#![cfg(test)]

use http::StatusCode;

use super::until;
use crate::house::House;
use crate::raw::{self, Call};
use crate::support::TestServer;
use crate::support::process;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_its_storage_is_alive_but_not_ready() {
    let server = TestServer::builder().alone().start();
    let ask = async |path: &str| raw::send(server.address(), &Call::get(path)).await.unwrap();
    assert_eq!(ask("/health/ready").await.status, StatusCode::OK);
    let (folder, away) = (server.data().join("blobs/staging"), server.data().join("blobs/away"));
    std::fs::rename(&folder, &away).unwrap();
    until("the missing folder is noticed", async || ask("/health/ready").await.status == StatusCode::SERVICE_UNAVAILABLE).await;
    let reply = ask("/health/ready").await;
    assert!(reply.json()["reason"].as_str().unwrap().contains("the storage of blobs"), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), "5");
    assert!(!reply.text().contains(server.data().to_str().unwrap()), "no paths of ours for everybody: {}", reply.text());
    assert_eq!(ask("/health").await.status, StatusCode::OK);
    std::fs::rename(&away, &folder).unwrap();
    until("the folder is there again", async || ask("/health/ready").await.status == StatusCode::OK).await;
    // Ten questions, and no line of any that went well: they are for debugging.
    assert_eq!(server.log_lines(&["entrepot::http", "/health", "status=200"]), 0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_asked_to_end_is_not_ready() {
    let house = House::alone_with(|_| {}).await;
    assert_eq!(house.call(Call::get("/health/ready")).await.status, StatusCode::OK);
    house.listening().announce_end();
    let reply = house.call(Call::get("/health/ready")).await;
    assert_eq!((reply.status, reply.json()["reason"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("the server is shutting down")));
    assert_eq!(house.call(Call::get("/health")).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_asks_its_own_server() {
    let mut server = TestServer::builder().alone().start();
    let ask = |server: &TestServer| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_entrepot"));
        process::clean(&mut command);
        command.arg("health").env("ENTREPOT_LISTEN", server.address()).current_dir(server.data());
        process::run(command, super::PATIENCE)
    };
    assert!(ask(&server).succeeded().stdout.contains("ready"));
    server.stop();
    assert!(ask(&server).failed().stderr.contains("no server answers on"));
}
