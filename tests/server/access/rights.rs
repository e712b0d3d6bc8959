//! Who may read is told what it may not do besides; every route demands its right.
#![cfg(test)]

use entrepot_kit::Kind;
use http::Method;
use serde_json::json;

use super::{every_route, furnished, publish};
use crate::house::{House, PASSWORD};
use crate::raw::Call;
use crate::upstream::ScriptedUpstream;

/// On every route of every format that changes something: 403 for a reader, and nothing changed.
#[tokio::test(flavor = "multi_thread")]
async fn readers_cannot_change_anything() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    let addresses = furnished(&house, &upstream).await;
    house.user("alpha-reader", &[("system", "alpha")]).await;
    let before = addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>();
    let mut tried = 0;
    for probe in every_route(&house).iter().filter(|probe| !probe.reads && !probe.open) {
        for address in addresses.iter().filter(|address| address.contains(probe.format)) {
            let reply = house.call_as("alpha-reader", probe.at(address)).await;
            assert_eq!(reply.status, 403, "{} {} of {address}: {}", probe.method, probe.path, reply.text());
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
    assert_eq!(addresses.iter().map(|address| house.head(address)).collect::<Vec<_>>(), before, "nothing was changed");
}

/// A public repository is read by everyone, and changed by nobody without an account: 401, so that clients send one.
#[tokio::test(flavor = "multi_thread")]
async fn public_repositories_are_read_only_for_others() {
    let house = House::start().await;
    for format in ["npm", "pypi", "maven", "helm", "alpine", "rpm", "generic", "oci", "toy"] {
        house.repository(&format!("alpha/open-{format}"), format, Kind::Hosted, true, json!({})).await;
    }
    for probe in every_route(&house).iter().filter(|probe| !probe.open) {
        let address = format!("alpha/open-{}", probe.format);
        let (nobody, other) = (house.call(probe.at(&address)).await, house.call_as("beta-owner", probe.at(&address)).await);
        if probe.reads {
            assert_ne!(other.status, 403, "{} {}", probe.method, probe.path);
        } else {
            assert_eq!((nobody.status.as_u16(), other.status.as_u16()), (401, 403), "{} {}", probe.method, probe.path);
        }
        assert_eq!(house.head(&address), 0);
    }
}

/// Publishing is not deleting, and deleting is not publishing.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_cannot_delete() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    furnished(&house, &upstream).await;
    house.user("alpha-publisher", &[("system", "alpha"), ("role", "publisher")]).await;
    let deletions = [
        (Method::DELETE, "alpha/npm-hosted/left-pad/-rev/1", "alpha/npm-hosted"),
        (Method::PUT, "alpha/npm-hosted/left-pad/-rev/1", "alpha/npm-hosted"),
        (Method::DELETE, "alpha/npm-hosted/left-pad/-/left-pad-1.0.0.tgz/-rev/1", "alpha/npm-hosted"),
        (Method::DELETE, "alpha/npm-group/left-pad/-rev/1", "alpha/npm-hosted"),
        (Method::DELETE, "alpha/pypi-hosted/manage/left-pad", "alpha/pypi-hosted"),
        (Method::DELETE, "alpha/pypi-hosted/manage/left-pad/1.0.0", "alpha/pypi-hosted"),
        (Method::DELETE, "alpha/generic-hosted/folder/file.txt", "alpha/generic-hosted"),
        (Method::DELETE, "alpha/generic-hosted/folder/", "alpha/generic-hosted"),
        (Method::DELETE, "alpha/toy-hosted/left-pad", "alpha/toy-hosted"),
    ];
    for (method, target, changed) in deletions {
        let before = house.head(changed);
        let reply = house.call_as("alpha-publisher", Call::new(method.clone(), format!("/{target}"))).await;
        assert_eq!((reply.status.as_u16(), house.head(changed)), (403, before), "{method} {target}: {}", reply.text());
    }
    assert_eq!(publish(&house, "alpha-publisher", "alpha/npm-hosted", "left-pad", "1.0.1").await.status, 201);
}

/// Whoever is refused the write is refused before its body is read: no upload reaches the disk for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_does_not_wait_for_the_body() {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({})).await;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut socket = tokio::net::TcpStream::connect(&house.host).await.unwrap();
    socket.write_all(b"PUT /alpha/files/big HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 12];
    tokio::time::timeout(std::time::Duration::from_secs(5), socket.read_exact(&mut answer)).await.expect("an answer without the body").unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
}

/// A handler cannot be reached with more than its route demands by a spelling of the method.
#[tokio::test(flavor = "multi_thread")]
async fn methods_are_taken_literally() {
    let (house, upstream) = (House::start().await, ScriptedUpstream::start().await);
    furnished(&house, &upstream).await;
    house.user("alpha-reader", &[("system", "alpha")]).await;
    let before = house.head("alpha/generic-hosted");
    let target = "/alpha/generic-hosted/folder/file.txt";
    for name in ["X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"] {
        let reply = house.call_as("alpha-owner", Call::get(target).with(name, "DELETE")).await;
        assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, "secret"), "{name}");
    }
    assert_eq!(house.call_as("alpha-owner", Call::get(format!("{target}?_method=DELETE"))).await.status, 200);
    for method in ["delete", "Delete", "TRACE", "CONNECT", "PROPFIND", "MKCOL", "COPY"] {
        let reply = house.call_as("alpha-owner", Call::new(Method::from_bytes(method.as_bytes()).unwrap(), target)).await;
        assert!(reply.status.is_client_error(), "{method}: {}", reply.status);
        assert!(!reply.text().contains("secret"), "{method}");
    }
    assert_eq!(house.head("alpha/generic-hosted"), before);
    assert_eq!(house.call(Call::get(target).signed("alpha-reader", PASSWORD)).await.text(), "secret");
}
