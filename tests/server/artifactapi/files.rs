//! Where files are, what is said of them, and that they are stored.

use http::{Method, StatusCode};

use super::{Caching, is};
use crate::house::PASSWORD;
use crate::raw::Call;
use crate::upstream::{Gate, Reply};

const REMOTES: &str = "  files:\n    base_url: UPSTREAM/root\n  own:\n    type: local\n    package: generic\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_fetched_once_stored_and_served_at_both_addresses() {
    let caching = Caching::start(REMOTES).await;
    caching.upstream.answer("/root/a/tool.tar.gz", Reply::bytes("bytes"));
    assert_eq!(caching.file("/api/files/a/tool.tar.gz").await, is(200, "remote", "bytes"));
    for address in ["/api/files/a/tool.tar.gz", "/api/v1/remote/files/a/tool.tar.gz", "/main/files/a/tool.tar.gz"] {
        assert_eq!(caching.file(address).await, is(200, "cache", "bytes"), "{address}");
    }
    assert_eq!(caching.asked("/root/a/tool.tar.gz"), ["GET"]);
    caching.upstream.stop().await;
    assert_eq!(caching.file("/api/v1/remote/files/a/tool.tar.gz").await, is(200, "cache", "bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_address_fetches_as_well() {
    let caching = Caching::start(REMOTES).await;
    caching.upstream.answer("/root/b.zip", Reply::bytes("zip"));
    assert_eq!(caching.file("/api/v1/remote/files/b.zip").await, is(200, "remote", "zip"));
    assert_eq!(caching.file("/api/files/b.zip").await, is(200, "cache", "zip"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_type_name_and_length() {
    let caching = Caching::start(REMOTES).await;
    for (name, said, expected) in [
        ("a.tar.gz", None, "application/gzip"),
        ("a.rpm", Some("application/octet-stream"), "application/x-rpm"),
        ("a.xml", None, "application/xml"),
        ("a.zip", None, "application/zip"),
        ("a.txt", Some("text/plain"), "text/plain"),
        ("a.json", None, "application/json"),
        ("unknown", Some("application/x-own"), "application/x-own"),
        ("unknown2", None, "application/octet-stream"),
    ] {
        let reply = Reply::bytes("some bytes");
        caching.upstream.answer(
            &format!("/root/d/{name}"),
            match said {
                Some(said) => reply.header("Content-Type", said),
                None => reply,
            },
        );
        for source in ["remote", "cache"] {
            let answer = caching.get(&format!("/api/files/d/{name}")).await;
            assert_eq!((answer.status, answer.header("x-artifact-source"), answer.header("content-type")), (StatusCode::OK, source, expected), "{name}");
            assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{name}\""));
            assert_eq!(answer.header("content-length"), "10");
        }
        let head = caching.head(&format!("/api/v1/remote/files/d/{name}")).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!((head.header("content-type"), head.header("content-length"), head.header("x-artifact-source")), (expected, "10", "cache"));
        assert!(head.header("content-disposition").contains(name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_fetches_what_is_not_there_yet() {
    let caching = Caching::start(REMOTES).await;
    caching.upstream.answer("/root/h.bin", Reply::bytes("12345"));
    let head = caching.head("/api/files/h.bin").await;
    assert_eq!((head.status, head.header("content-length"), head.header("x-artifact-source")), (StatusCode::OK, "5", "remote"));
    // The fill goes on without its client: whoever comes next reads along, or what was kept.
    assert_eq!(caching.get("/api/files/h.bin").await.text(), "12345");
    let asked = caching.asked("/root/h.bin");
    assert!(asked.len() <= caching.house.engines() && asked.iter().all(|method| method == "GET"), "{asked:?}");
    assert_eq!(caching.head("/api/files/none").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_and_one_download_feeds_them() {
    let caching = Caching::start(REMOTES).await;
    let (gate, body) = (Gate::shut(), "x".repeat(200_000));
    caching.upstream.answer("/root/big", Reply::bytes(body.clone()).held_after(100_000, &gate));
    let calls = (0..20).map(|_| caching.get("/api/files/big"));
    let all = futures::future::join_all(calls);
    let open = async {
        while caching.upstream.count("/root/big") == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        gate.open();
    };
    let (answers, ()) = futures::future::join(all, open).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK && answer.text() == body));
    assert!(caching.upstream.count("/root/big") <= caching.house.engines());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_remote_stores_what_clients_put() {
    let caching = Caching::start(REMOTES).await;
    let put = |target: &str| Call::put(target, "uploaded");
    assert_eq!(caching.house.call(put("/api/own/a/b.bin")).await.status, StatusCode::UNAUTHORIZED, "everybody reads, and nobody writes unasked");
    let answer = caching.house.call(put("/api/own/a/b.bin").signed("admin", PASSWORD)).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
    assert_eq!(answer.header("location"), format!("http://{}/api/own/a/b.bin", caching.house.host));
    assert_eq!(caching.house.call(put("/api/v1/remote/own/c.bin").signed("admin", PASSWORD)).await.status, StatusCode::CREATED);
    for path in ["a/b.bin", "c.bin"] {
        assert_eq!(caching.file(&format!("/api/own/{path}")).await, is(200, "cache", "uploaded"));
        assert_eq!(caching.get(&format!("/api/v1/remote/own/{path}")).await.header("content-length"), "8");
    }
    assert_eq!(caching.upstream.seen().len(), 0);
    let refused = caching.house.call(put("/api/files/a").signed("admin", PASSWORD)).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "a remote takes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_addresses_stay_ours() {
    let caching = Caching::start(REMOTES).await;
    assert_eq!(caching.get("/api/v1/openapi.json").await.status, StatusCode::OK);
    assert_eq!(caching.get("/api/v1/repositories").await.status, StatusCode::OK);
    assert_eq!(caching.get("/api/v1/nothing").await.status, StatusCode::NOT_FOUND);
    // Folders that chart repositories have are folders like others of a remote.
    caching.upstream.answer("/root/acme/charts/a.tgz", Reply::bytes("chart"));
    assert_eq!(caching.file("/api/files/acme/charts/a.tgz").await, is(200, "remote", "chart"));
    caching.house.repository("alpha/helm", "helm", entrepot_kit::Kind::Hosted, true, serde_json::json!({})).await;
    assert_eq!(caching.get("/api/alpha/helm/charts").await.text(), "{}");
    assert_eq!(caching.house.call(Call::new(Method::DELETE, "/api/v1/remote/files/x").signed("admin", PASSWORD)).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// What nobody may know of looks like what is not there, at these addresses too.
#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_repository_looks_like_none() {
    let caching = Caching::start(REMOTES).await;
    caching.house.repository("main/hidden", "generic", entrepot_kit::Kind::Hosted, false, serde_json::json!({})).await;
    for (prefix, path) in
        [("/api", "a"), ("/api", "x/charts"), ("/api", "x/charts/y"), ("/api", ""), ("/api/v1/remote", "a"), ("/api/v1/remote", "x/charts"), ("/artifacts", "")]
    {
        for user in [None, Some("beta-owner")] {
            let ask = async |name: &str| {
                let call = Call::get(format!("{prefix}/{name}/{path}").trim_end_matches('/').to_owned());
                let answer = caching.house.call(match user {
                    Some(user) => call.signed(user, PASSWORD),
                    None => call,
                });
                let answer = answer.await;
                (answer.status, answer.header("www-authenticate").to_owned(), answer.text().replace(name, "NAME"))
            };
            let (hidden, missing) = (ask("hidden").await, ask("nobody").await);
            assert_eq!(hidden, missing, "{prefix}/…/{path} as {user:?}");
            assert!([401, 404].contains(&hidden.0.as_u16()), "{hidden:?}");
        }
    }
}
