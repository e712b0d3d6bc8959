//! Names and numbers that mean something to somebody's implementation.
#![cfg(test)]
#![expect(clippy::string_slice, reason = "a test may cut texts that it made itself")]

use entrepot_kit::Kind;
use serde_json::{Value, json};

use super::refused;
use crate::access::publish;
use crate::house::{House, PASSWORD};
use crate::raw::Call;

/// Names of things that every JavaScript object has are plain names here.
#[tokio::test(flavor = "multi_thread")]
async fn prototype_pollution() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    for name in ["constructor", "prototype", "hasownproperty", "@acme/constructor"] {
        let path = name.replace('/', "%2f");
        assert_eq!(house.call(Call::get(format!("/alpha/npm/{path}"))).await.status, 404, "{name} before it exists");
        assert_eq!(publish(&house, "alpha-owner", "alpha/npm", name, "1.0.0").await.status, 201, "{name}");
        let document = house.call(Call::get(format!("/alpha/npm/{path}"))).await.json();
        assert_eq!((&document["name"], document["versions"].as_object().unwrap().len()), (&json!(name), 1));
    }
    let before = house.head("alpha/npm");
    for name in ["__proto__", "@__proto__/x", "@acme/__proto__"] {
        refused(&publish(&house, "alpha-owner", "alpha/npm", name, "1.0.0").await, name);
        assert_eq!(house.call(Call::get(format!("/alpha/npm/{}", name.replace('/', "%2f")))).await.status, 404, "{name}");
    }
    let mut manifest = entrepot_format_npm::testing::manifest("horse", "1.0.0");
    manifest["dependencies"] = json!({ "__proto__": "1.0.0", "constructor": "1.0.0" });
    let tarball = entrepot_format_npm::testing::tarball(&manifest);
    let body = entrepot_format_npm::testing::publish_body(&manifest, &tarball, "__proto__").to_string();
    let reply = house.call_as("alpha-owner", Call::put("/alpha/npm/horse", body)).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let document = house.call(Call::get("/alpha/npm/horse")).await.json();
    assert_eq!(document["dist-tags"]["__proto__"], "1.0.0");
    assert_eq!(document["versions"]["1.0.0"]["dependencies"], manifest["dependencies"], "kept as they were sent");
    assert_eq!(house.head("alpha/npm"), before + 1);
    for path in ["__proto__", "constructor/prototype", "toString"] {
        assert_eq!(house.call(Call::get(format!("/alpha/files/{path}"))).await.status, 404);
        assert_eq!(house.call_as("alpha-owner", Call::put(format!("/alpha/files/{path}"), path)).await.status, 201);
        assert_eq!(house.call(Call::get(format!("/alpha/files/{path}"))).await.text(), path);
    }
}

/// Sizes and offsets that no list has, and texts that are no words.
#[tokio::test(flavor = "multi_thread")]
async fn search_and_listing_numbers() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    for number in 0..3 {
        assert_eq!(publish(&house, "alpha-owner", "alpha/npm", &format!("horse{number}"), "1.0.0").await.status, 201);
        assert_eq!(house.call_as("alpha-owner", Call::put(format!("/alpha/files/horse{number}"), "x")).await.status, 201);
    }
    for (query, most) in [
        ("size=1000000000", 3),
        ("size=-1", 3),
        ("size=99999999999999999999999", 3),
        ("size=NaN", 3),
        ("size=0x10", 3),
        ("size=0", 0),
        ("size=2", 2),
        ("size=20&from=-5", 3),
        ("from=1000000000", 0),
        ("from=18446744073709551615", 0),
        ("size=1&size=1000", 1),
    ] {
        let reply = house.call(Call::get(format!("/alpha/npm/-/v1/search?text=horse&{query}"))).await;
        assert_eq!((reply.status.as_u16(), reply.json()["objects"].as_array().unwrap().len()), (200, most), "{query}");
    }
    for text in
        ["%25", "_", "'%20OR%201=1--", "%22*%22", "horse'", "%00", "%ff%fe", "%f0%9f%90%b4", &"x".repeat(3000), "*", "%5c", "horse%20%25", &"q%20".repeat(500)]
    {
        let reply = house.call(Call::get(format!("/alpha/npm/-/v1/search?text={text}"))).await;
        assert_eq!(reply.status, 200, "{text:.40}: {}", reply.text());
        if text != "horse'" {
            assert_eq!(reply.json()["objects"], json!([]), "{text:.40} is no pattern");
        }
    }
    for (query, expected) in [("limit=1000000000", 3), ("limit=-1", 3), ("limit=0", 1), ("limit=2", 2), ("recursive=true&limit=99999999999999999999", 3)] {
        let reply = house.call(Call::get(format!("/alpha/files/?format=json&{query}"))).await;
        assert_eq!((reply.status.as_u16(), reply.json()["items"].as_array().unwrap().len()), (200, expected), "{query}");
    }
    for after in ["%00", "%ff", "%25", "../x", "horse1'%20OR%201=1", &"x".repeat(5000)] {
        let reply = house.call(Call::get(format!("/alpha/files/?format=json&after={after}"))).await;
        let fine = reply.status == 400 || reply.json()["items"].as_array().is_some_and(|items: &Vec<Value>| items.len() <= 3);
        assert!(fine, "{after:.40}: {}", reply.text());
    }
}

/// Characters and lengths that a database takes ill.
#[tokio::test(flavor = "multi_thread")]
async fn nul_characters_and_the_longest_paths() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    let mut manifest = entrepot_format_npm::testing::manifest("horse", "1.0.0");
    manifest["description"] = json!("a\0b c");
    manifest["keywords"] = json!(["d\0e", "mane\u{0}", "\0", "tail"]);
    let body = entrepot_format_npm::testing::publish_body(&manifest, &entrepot_format_npm::testing::tarball(&manifest), "latest").to_string();
    let reply = house.call_as("alpha-owner", Call::put("/alpha/npm/horse", body)).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let document = house.call(Call::get("/alpha/npm/horse")).await.json();
    assert_eq!(document["versions"]["1.0.0"]["keywords"], manifest["keywords"], "kept as they were sent");
    let found = house.call(Call::get("/alpha/npm/-/v1/search?text=tail")).await.json();
    assert_eq!(found["total"], 1, "{found}");
    let policy = "// \0\npermit (principal, action, resource) when { context.x == \"\0\" };";
    for call in [
        Call::put("/api/v1/policies/horse", json!({ "text": policy }).to_string()),
        Call::get("/api/v1/policies/%00"),
        Call::get("/api/v1/policies?after=%00"),
        Call::get("/api/v1/audit?principal=%00"),
        Call::get("/api/v1/audit?resource=a%00b"),
        Call::get("/api/v1/audit?before=%00"),
        Call::get("/api/v1/tokens?after=%00"),
        Call::new(http::Method::DELETE, "/api/v1/tokens/%00"),
        Call::post("/api/v1/tokens", json!({ "name": "\0" }).to_string()),
        Call::post("/api/v1/users", json!({ "name": "a\0", "password": PASSWORD }).to_string()),
        Call::post("/api/v1/users", json!({ "name": "tagged", "password": PASSWORD, "tags": { "a\0": "b\0" } }).to_string()),
        Call::post("/api/v1/systems", json!({ "name": "a\0" }).to_string()),
        Call::get("/api/v1/repositories/alpha/npm/packages?after=%00"),
        Call::get("/api/v1/repositories/alpha/npm/packages/%00"),
        Call::new(http::Method::DELETE, "/api/v1/repositories/alpha/npm/packages/%00"),
        Call::get("/alpha/files/?format=json&after=%00"),
        Call::get("/alpha/npm/-/v1/search?text=%00"),
        Call::put("/alpha/npm/-/package/horse/dist-tags/a%00", "\"1.0.0\""),
        Call::put("/alpha/npm/-/package/horse/dist-tags/a", "\"\\u0000\""),
    ] {
        let call = call.with("Content-Type", "application/json").signed("admin", PASSWORD);
        let reply = house.call(call.clone()).await;
        assert!(!reply.status.is_server_error(), "{} {}: {} {}", call.method, call.target, reply.status, reply.text());
    }
    let nobody = house.call(Call::get("/alpha/npm/horse").signed("a\0", PASSWORD)).await;
    assert!(nobody.status.is_client_error(), "{}", nobody.status);

    // Segments that no compression makes shorter.
    let segment = |number: u8| {
        (0..200u32).map(|at| char::from(b'a' + (at.wrapping_mul(2_654_435_761).wrapping_add(u32::from(number) * 97) >> 13) as u8 % 26)).collect::<String>()
    };
    let path: Vec<String> = (0..20).map(segment).collect();
    let (mut longest, mut refused_at) = (0, 0);
    for length in 1..=path.len() {
        let target = format!("/alpha/files/{}", path[..length].join("/"));
        let status = house.call_as("alpha-owner", Call::put(format!("{target}.txt"), "x")).await.status.as_u16();
        match status {
            201 => longest = length,
            414 => refused_at = length,
            other => panic!("{other} for a path of {} bytes", target.len()),
        }
    }
    assert_eq!((longest, refused_at), (10, 20));
}

/// Knowing what a file hashes to is no way to get it.
#[tokio::test(flavor = "multi_thread")]
async fn a_blob_of_another_repository_by_its_digest() {
    let house = House::start().await;
    house.repository("beta/secret", "generic", Kind::Hosted, false, json!({})).await;
    house.repository("alpha/files", "generic", Kind::Hosted, false, json!({})).await;
    house.repository("alpha/npm", "npm", Kind::Hosted, false, json!({})).await;
    let treasure = "treasure ".repeat(20_000);
    assert_eq!(house.call_as("beta-owner", Call::put("/beta/secret/x", treasure.clone())).await.status, 201);
    let digest = house.call_as("beta-owner", Call::get("/beta/secret/x")).await.header("x-checksum-sha256").to_owned();
    assert_eq!(digest.len(), 64);
    for path in [
        digest.clone(),
        format!("sha256:{digest}"),
        format!("sha256/{}/{}/{digest}", &digest[..2], &digest[2..4]),
        format!("blobs/sha256/{digest}"),
        format!("index/{digest}"),
    ] {
        assert_eq!(house.call_as("alpha-owner", Call::get(format!("/alpha/files/{path}"))).await.status, 404, "{path}");
    }
    let put = |name: &str, value: &str| Call::put("/alpha/files/stolen", "").with(name, value);
    for call in [
        put("X-Checksum-Deploy", "true").with("X-Checksum-Sha256", &digest),
        put("X-Checksum-Sha256", &digest),
        put("If-Match", &format!("\"{digest}\"")),
        put("Content-Range", "bytes 0-0/9"),
    ] {
        let reply = house.call_as("alpha-owner", call.clone()).await;
        assert!(reply.status.is_client_error() || reply.status == 501, "{:?}: {}", call.headers, reply.status);
    }
    let manifest = entrepot_format_npm::testing::manifest("thief", "1.0.0");
    let mut body = entrepot_format_npm::testing::publish_body(&manifest, &entrepot_format_npm::testing::tarball(&manifest), "latest");
    body["_attachments"]["thief-1.0.0.tgz"]["digest"] = json!(format!("sha256-{digest}"));
    body["_attachments"]["thief-1.0.0.tgz"]["stub"] = json!(true);
    body["_attachments"]["thief-1.0.0.tgz"].as_object_mut().unwrap().remove("data");
    refused(&house.call_as("alpha-owner", Call::put("/alpha/npm/thief", body.to_string())).await, "an attachment by its digest");
    assert_eq!((house.head("alpha/files"), house.head("alpha/npm")), (0, 0), "nothing was changed");
    // Whoever has the bytes may store them, and learns nothing from how it goes.
    let (fresh, known) = (Call::put("/alpha/files/fresh", "other  ".repeat(20_000)), Call::put("/alpha/files/known", treasure));
    assert_eq!(
        (house.call_as("alpha-owner", fresh).await.status, house.call_as("alpha-owner", known).await.status),
        (http::StatusCode::CREATED, http::StatusCode::CREATED)
    );
}
