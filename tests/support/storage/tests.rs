//! What a test relies on must hold here first.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use diesel::Connection as _;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;

use super::Shared;

/// Whether somebody can connect to the database.
fn is_there(url: &str) -> bool {
    AsyncConnectionWrapper::<AsyncPgConnection>::establish(url).is_ok()
}

/// The status line for an unsigned look into the bucket.
fn look(blobs: &toml::Table) -> String {
    let (endpoint, bucket) = (blobs["endpoint"].as_str().unwrap(), blobs["bucket"].as_str().unwrap());
    let host = endpoint.strip_prefix("http://").unwrap();
    let mut socket = TcpStream::connect(host).unwrap();
    socket.write_all(format!("HEAD /{bucket} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn each_test_has_a_database_and_a_bucket_of_its_own() {
    let (one, other) = (Shared::new(), Shared::new());
    assert!(is_there(&one.database_url()) && is_there(&other.database_url()));
    assert_ne!(one.database_url(), other.database_url());
    assert_ne!(one.master_key(), other.master_key());
    assert_eq!(one.master_key().len(), 64);
    assert_ne!(one.blobs()["bucket"], other.blobs()["bucket"]);
    assert!(look(&one.blobs()).contains(" 403 "), "there, and closed to strangers: {}", look(&one.blobs()));
    let blobs = one.blobs();
    drop(one);
    assert!(look(&blobs).contains(" 404 ") || look(&blobs).contains(" 403 "), "{}", look(&blobs));
    assert!(is_there(&other.database_url()));
}
