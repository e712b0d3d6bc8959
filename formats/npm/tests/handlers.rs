//! The handlers over a repository in memory: what npm's clients do, request by request.

// Marked so that the lints for code outside tests leave it alone.
#[cfg(test)]
mod support;

use std::sync::Arc;

use base64::Engine as _;
use entrepot_format_npm::packument::ABBREVIATED_TYPE;
use entrepot_format_npm::testing::{manifest, minimal_publish, publish_body, tarball};
use entrepot_kit::{Change, Death, Kind};
use flate2::read::GzEncoder;
use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};
use support::Memory;

fn hosted() -> Arc<Memory> {
    Arc::new(Memory::new(Kind::Hosted))
}

async fn publish(memory: &Arc<Memory>, name: &str, version: &str, tag: &str) {
    let manifest = manifest(name, version);
    let body = publish_body(&manifest, &tarball(&manifest), tag);
    let answer = memory.send(Method::PUT, &name.replace('/', "%2f"), body.to_string()).await;
    assert_eq!(answer.status, 201, "{:?}", answer.body);
}

#[tokio::test]
async fn a_publish_can_be_installed() {
    let memory = hosted();
    publish(&memory, "@acme/wid.get", "1.0.0", "latest").await;
    assert_eq!(memory.paths(), ["@acme/wid.get/-/wid.get-1.0.0.tgz"]);
    let document = memory.get("@acme%2fwid.get").await.json();
    assert_eq!(document["dist-tags"], json!({"latest": "1.0.0"}));
    assert_eq!(document["readme"], "# A small package");
    assert_eq!(document["description"], "A small package");
    assert_eq!(document["_rev"], "1");
    let dist = &document["versions"]["1.0.0"]["dist"];
    assert_eq!(dist["tarball"], "https://host.example/main/npm/@acme/wid.get/-/wid.get-1.0.0.tgz");
    assert_eq!(dist["signatures"][0]["sig"], format!("@acme/wid.get@1.0.0:{}", dist["integrity"].as_str().unwrap()));
    assert_eq!(dist["fileCount"], 2);
    let package = tarball(&manifest("@acme/wid.get", "1.0.0"));
    for path in ["@acme/wid.get/-/wid.get-1.0.0.tgz", "@acme%2fwid.get/-/wid.get-1.0.0.tgz", "@acme/wid.get/-/@acme/wid.get-1.0.0.tgz"] {
        assert_eq!(memory.get(path).await.body, package, "{path}");
    }
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("application/vnd.npm.install-v1+json; q=1.0, application/json; q=0.8, */*"));
    let short = memory.send_with(Method::GET, "@acme/wid.get", "", headers.clone()).await;
    assert!(short.json()["versions"]["1.0.0"].get("main").is_none());
    assert_eq!(short.headers["vary"], "Accept");
    let write = memory.send_with(Method::GET, "@acme/wid.get?write=true", "", headers).await;
    assert_eq!(write.json()["_rev"], "1");
    assert_eq!(memory.get("@acme/wid.get/latest").await.json()["version"], "1.0.0");
    assert_eq!(memory.get("@acme/wid.get/9.9.9").await.status, 404);
    assert_eq!(memory.get("other").await.json(), json!({"error": "Not found"}));
    assert_eq!(ABBREVIATED_TYPE, "application/vnd.npm.install-v1+json");
}

#[tokio::test]
async fn a_version_is_published_once() {
    let memory = hosted();
    publish(&memory, "a", "1.0.0", "latest").await;
    let again = memory.send(Method::PUT, "a", minimal_publish("a", "1.0.0").to_string()).await;
    assert_eq!(again.status, 403);
    assert!(again.json()["error"].as_str().unwrap().contains("cannot publish over the previously published"));
    publish(&memory, "a", "1.1.0", "latest").await;
    let rev = memory.head();
    let removed = memory.send(Method::PUT, &format!("a/-rev/{rev}"), json!({"_id": "a", "versions": {"1.1.0": {}}}).to_string()).await;
    assert_eq!(removed.status, 201);
    assert_eq!(memory.send(Method::PUT, "a", minimal_publish("a", "1.0.0").to_string()).await.status, 403, "a burnt version stays burnt");
    let document = memory.get("a").await.json();
    assert!(document["versions"].get("1.0.0").is_none());
    assert!(document["time"]["1.0.0"].is_string(), "its time survives");
    let deleted = memory.send(Method::DELETE, &format!("a/-rev/{}", memory.head()), "").await;
    assert_eq!(deleted.status, 200);
    assert_eq!(memory.get("a").await.status, 404);
    assert_eq!(memory.send(Method::PUT, "a", minimal_publish("a", "1.1.0").to_string()).await.status, 403);
}

#[tokio::test]
async fn a_refused_publish_changes_nothing() {
    let memory = hosted();
    let good = || manifest("a", "1.0.0");
    let other_inside = publish_body(&good(), &tarball(&json!({"name": "a", "version": "1.0.0", "scripts": {"postinstall": "evil"}})), "latest");
    let mut wrong_digest = minimal_publish("a", "1.0.0");
    wrong_digest["versions"]["1.0.0"]["dist"]["shasum"] = json!("0".repeat(40));
    let mut wrong_integrity = minimal_publish("a", "1.0.0");
    wrong_integrity["versions"]["1.0.0"]["dist"]["integrity"] = json!(format!("sha512-{}==", "A".repeat(86)));
    let mut wrong_length = minimal_publish("a", "1.0.0");
    wrong_length["_attachments"]["a-1.0.0.tgz"]["length"] = json!(3);
    let mut cut_off = minimal_publish("a", "1.0.0");
    cut_off["_attachments"]["a-1.0.0.tgz"]["data"] = json!("AAA");
    let mut third = minimal_publish("a", "1.0.0");
    third["_attachments"]["b.zip"] = json!({"data": "AAAA"});
    let no_archive = publish_body(&good(), b"hello", "latest");
    for (what, body, status) in [
        ("manifest confusion", other_inside.to_string(), 422),
        ("wrong shasum", wrong_digest.to_string(), 400),
        ("wrong integrity", wrong_integrity.to_string(), 400),
        ("wrong length", wrong_length.to_string(), 400),
        ("cut off", cut_off.to_string(), 400),
        ("a third attachment", third.to_string(), 400),
        ("no archive", no_archive.to_string(), 422),
        ("no package", json!({"_id": "a", "name": "a", "versions": {"1.0.0": {"name": "a", "version": "1.0.0"}}}).to_string(), 404),
        ("not JSON", String::from("hello"), 400),
        ("half of it", minimal_publish("a", "1.0.0").to_string().split_off(100), 400),
    ] {
        assert_eq!(memory.send(Method::PUT, "a", body).await.status, status, "{what}");
    }
    for name in ["_x", "%2e", "A", "constructor%20", "node_modules"] {
        let body = minimal_publish(&name.replace("%20", " "), "1.0.0").to_string();
        assert!(matches!(memory.send(Method::PUT, name, body).await.status, 400 | 404), "{name}");
    }
    assert_eq!((memory.head(), memory.paths().len()), (0, 0));
    publish(&memory, "constructor", "1.0.0", "latest").await;
}

#[tokio::test]
async fn tags_follow_the_rules() {
    let memory = hosted();
    publish(&memory, "a", "1.0.0-beta.1", "beta").await;
    let tags = async || memory.get("-/package/a/dist-tags").await.json();
    assert_eq!(tags().await, json!({"beta": "1.0.0-beta.1", "latest": "1.0.0-beta.1"}), "the first publish makes latest");
    publish(&memory, "a", "1.0.0", "latest").await;
    publish(&memory, "a", "2.0.0", "next").await;
    assert_eq!(tags().await, json!({"beta": "1.0.0-beta.1", "latest": "1.0.0", "next": "2.0.0"}));
    assert_eq!(*memory.version_listings.lock().unwrap(), 0, "no publish reads all versions");
    let put = async |tag: &str, body: &str| memory.send(Method::PUT, &format!("-/package/a/dist-tags/{tag}"), body.to_owned()).await.status;
    assert_eq!(put("stable", "\"1.0.0\"").await, 201);
    for (tag, body, status) in [("1.x", "\"1.0.0\"", 400), ("2.0.0", "\"2.0.0\"", 400), ("x", "\"1.0.0\"", 400), ("new", "\"9.0.0\"", 404), ("new", "9", 400)] {
        assert_eq!(put(tag, body).await, status, "{tag} {body}");
    }
    assert_eq!(memory.send(Method::DELETE, "-/package/a/dist-tags/stable", "").await.status, 200);
    assert_eq!(memory.send(Method::DELETE, "-/package/a/dist-tags/stable", "").await.status, 404);
    assert_eq!(memory.send(Method::DELETE, "-/package/a/dist-tags/latest", "").await.status, 400);
    // Unpublish what `next` and `latest` lead to: one goes, the other moves to the highest stable version, here none.
    let body = json!({"_id": "a", "dist-tags": {"latest": "2.0.0"}, "versions": {"1.0.0-beta.1": {}}});
    assert_eq!(memory.send(Method::PUT, &format!("a/-rev/{}", memory.head()), body.to_string()).await.status, 201);
    assert_eq!(tags().await, json!({"beta": "1.0.0-beta.1", "latest": "1.0.0-beta.1"}));
}

#[tokio::test]
async fn deprecation_changes_nothing_else() {
    let memory = hosted();
    publish(&memory, "a", "1.0.0", "latest").await;
    publish(&memory, "a", "1.1.0", "latest").await;
    let mut document = memory.get("a?write=true").await.json();
    let before = document.clone();
    document["versions"]["1.0.0"]["deprecated"] = json!("too old");
    document["versions"]["1.0.0"]["dist"]["integrity"] = json!("sha512-evil");
    document["versions"]["1.0.0"]["dependencies"] = json!({"evil": "*"});
    document["dist-tags"]["latest"] = json!("1.0.0");
    assert_eq!(memory.send(Method::PUT, "a", document.to_string()).await.status, 201);
    let after = memory.get("a").await.json();
    let mut expected = before["versions"].clone();
    expected["1.0.0"]["deprecated"] = json!("too old");
    assert_eq!(after["versions"], expected);
    assert_eq!(after["dist-tags"], before["dist-tags"]);
    assert_eq!(memory.send(Method::PUT, "a", document.to_string()).await.status, 409, "it was read before the change");
    let mut again = after.clone();
    again["versions"]["1.0.0"]["deprecated"] = json!("");
    assert_eq!(memory.send(Method::PUT, "a", again.to_string()).await.status, 201);
    assert_eq!(memory.get("a").await.json()["versions"], before["versions"]);
    let mut unknown = memory.get("a").await.json();
    unknown["versions"]["7.0.0"] = json!({});
    assert_eq!(memory.send(Method::PUT, "a", unknown.to_string()).await.status, 400);
    let owners = json!({"_id": "a", "maintainers": []}).to_string();
    assert_eq!(memory.send(Method::PUT, "a", owners).await.status, 501);
}

#[tokio::test]
async fn unpublish_in_three_requests() {
    let memory = hosted();
    publish(&memory, "@acme/a", "1.0.0", "latest").await;
    publish(&memory, "@acme/a", "1.1.0", "latest").await;
    let mut document = memory.get("@acme%2fa?write=true").await.json();
    let file = "@acme/a/-/a-1.1.0.tgz";
    assert_eq!(memory.send(Method::DELETE, &format!("{file}/-rev/2"), "").await.status, 409, "a live version keeps its file");
    document["versions"].as_object_mut().unwrap().remove("1.1.0");
    assert_eq!(memory.send(Method::PUT, "@acme%2fa/-rev/1", document.to_string()).await.status, 409, "a stale state");
    assert_eq!(memory.send(Method::PUT, "@acme%2fa/-rev/nonsense", document.to_string()).await.status, 409);
    assert_eq!(memory.send(Method::PUT, "@acme%2fa/-rev/2", document.to_string()).await.status, 201);
    for _ in 0..2 {
        assert_eq!(memory.send(Method::DELETE, &format!("{file}/-rev/3"), "").await.status, 200, "as often as the client likes");
    }
    assert_eq!(memory.get(file).await.status, 404);
    let left = memory.get("@acme/a").await.json();
    assert_eq!(left["dist-tags"], json!({"latest": "1.0.0"}));
    assert_eq!(left["versions"].as_object().unwrap().len(), 1);
    assert_eq!(memory.send(Method::DELETE, "@acme%2fa/-rev/2", "").await.status, 409);
    assert_eq!(memory.send(Method::PUT, "@acme%2fa/-rev/3", json!({"_id": "@acme/a", "versions": {}}).to_string()).await.status, 201);
    assert_eq!(memory.get("@acme/a").await.status, 404, "without versions there is no package");
    assert!(memory.paths().is_empty());
}

#[tokio::test]
async fn a_change_that_was_overtaken_is_made_again() {
    let memory = hosted();
    publish(&memory, "a", "1.0.0", "latest").await;
    publish(&memory, "a", "1.1.0", "latest").await;
    *memory.overtake.lock().unwrap() = Some(Change::new("test", "").end(Death::Version { package: String::from("a"), version: String::from("1.0.0") }));
    publish(&memory, "a", "1.2.0", "next").await;
    let document = memory.get("a").await.json();
    assert_eq!(document["versions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["1.1.0", "1.2.0"]);
    let tag = async |version: &str| memory.send(Method::PUT, "-/package/a/dist-tags/t", format!("{version:?}")).await.status;
    *memory.overtake.lock().unwrap() = Some(Change::new("test", "").end(Death::Version { package: String::from("a"), version: String::from("1.1.0") }));
    assert_eq!(tag("1.1.0").await, 404, "the version went away meanwhile");
}

#[tokio::test]
async fn provenance_is_kept_and_served() {
    let memory = hosted();
    let manifest = manifest("@acme/a", "1.0.0");
    let package = tarball(&manifest);
    let mut body = publish_body(&manifest, &package, "latest");
    let mut hasher = entrepot_kit::Hasher::new(&[entrepot_kit::Algorithm::Sha512]);
    hasher.update(&package);
    let digest = hasher.finish().1.hex(entrepot_kit::Algorithm::Sha512);
    let statement = json!({"predicateType": "https://slsa.dev/provenance/v1", "subject": [{"name": "pkg:npm/%40acme/a@1.0.0", "digest": {"sha512": digest}}]});
    let bundle = json!({"mediaType": "é\"\n", "dsseEnvelope": {"payload": base64::engine::general_purpose::STANDARD.encode(statement.to_string())}});
    body["_attachments"]["@acme/a-1.0.0.sigstore"] = json!({"content_type": "x", "data": bundle.to_string(), "length": 1});
    assert_eq!(memory.send(Method::PUT, "@acme%2fa", body.to_string()).await.status, 201);
    let dist = memory.get("@acme/a").await.json()["versions"]["1.0.0"]["dist"].clone();
    assert_eq!(
        dist["attestations"],
        json!({"url": "https://host.example/main/npm/-/npm/v1/attestations/@acme/a@1.0.0", "provenance": {"predicateType": "https://slsa.dev/provenance/v1"}})
    );
    for path in ["-/npm/v1/attestations/@acme/a@1.0.0", "-/npm/v1/attestations/@acme%2fa@1.0.0"] {
        assert_eq!(memory.get(path).await.json(), json!({"attestations": [{"predicateType": "https://slsa.dev/provenance/v1", "bundle": bundle}]}));
    }
    assert_eq!(memory.get("-/npm/v1/attestations/@acme/a@1.0.1").await.status, 404);
}

#[tokio::test]
async fn accounts() {
    let memory = hosted();
    let login = async |name: &str, body: Value| memory.send(Method::PUT, &format!("-/user/org.couchdb.user:{name}"), body.to_string()).await;
    let good = login("bob", json!({"_id": "org.couchdb.user:bob", "name": "bob", "password": "right", "type": "user", "roles": [], "date": "x"})).await;
    assert_eq!((good.status, good.json()["token"].as_str()), (201, Some("ent_abc_secret")));
    assert_eq!(good.headers["cache-control"], "no-store");
    assert_eq!(login("bob", json!({"name": "bob", "password": "wrong"})).await.status, 401);
    assert_eq!(login("eve", json!({"name": "bob", "password": "right"})).await.status, 400);
    assert_eq!(memory.get("-/whoami").await.json(), json!({"username": "bob"}));
    let web = memory.send(Method::POST, "-/v1/login", "{}").await.json();
    assert_eq!(web, json!({"loginUrl": "https://host.example/-/login/page1", "doneUrl": "https://host.example/main/npm/-/v1/done?sessionId=poll1"}));
    let waiting = memory.get("-/v1/done?sessionId=poll1").await;
    assert_eq!((waiting.status, waiting.headers["retry-after"].to_str().unwrap()), (202, "2"));
    assert_eq!(memory.get("-/v1/done?sessionId=poll2").await.json(), json!({"token": "ent_abc_secret"}));
    assert_eq!(memory.get("-/v1/done?sessionId=x").await.status, 404);
    let tokens = memory.get("-/npm/v1/tokens").await.json();
    assert_eq!((&tokens["objects"][0]["key"], &tokens["objects"][0]["readonly"], &tokens["urls"]), (&json!("abc"), &json!(true), &json!({})));
    let made = memory.send(Method::POST, "-/npm/v1/tokens", json!({"password": "right", "name": "ci", "readonly": true}).to_string()).await.json();
    assert_eq!((&made["token"], &made["readonly"], &made["name"]), (&json!("ent_abc_secret"), &json!(true), &json!("ci")));
    assert_eq!(memory.send(Method::POST, "-/npm/v1/tokens", json!({"password": "wrong"}).to_string()).await.status, 401);
    assert_eq!(memory.send(Method::DELETE, "-/npm/v1/tokens/token/abc", "").await.status, 204);
    assert_eq!(memory.send(Method::DELETE, "-/npm/v1/tokens/token/nope", "").await.status, 404);
    assert_eq!(memory.send(Method::DELETE, "-/user/token/ent_abc_secret", "").await.status, 200);
    assert_eq!(memory.get("-/package/a/collaborators").await.json(), json!({"bob": "write"}));
    assert_eq!(memory.get("-/ping").await.json(), json!({}));
}

#[tokio::test]
async fn audits_do_not_tell_private_names() {
    let path = "-/npm/v1/security/advisories/bulk";
    let memory = Arc::new(Memory::new(Kind::Group).private("@acme/secret").upstream(path, json!({"a": [{"id": 1}]})));
    let question = json!({"a": ["1.0.0"], "@acme/secret": ["1.0.0"]}).to_string();
    let mut packed = Vec::new();
    std::io::Read::read_to_end(&mut GzEncoder::new(question.as_bytes(), flate2::Compression::fast()), &mut packed).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-encoding", HeaderValue::from_static("gzip"));
    assert_eq!(memory.send_with(Method::POST, path, packed, headers).await.json(), json!({"a": [{"id": 1}]}));
    let tree = json!({"name": "app", "requires": {"@acme/secret": "1"}, "dependencies": {"a": {"version": "1.0.0"}, "@acme/secret": {"version": "1.0.0"}}});
    assert_eq!(memory.send(Method::POST, "-/npm/v1/security/audits/quick", tree.to_string()).await.status, 200);
    let only_private = memory.send(Method::POST, path, json!({"@acme/secret": ["1.0.0"]}).to_string()).await;
    assert_eq!(only_private.json(), json!({}));
    let questions = std::mem::take(&mut *memory.questions.lock().unwrap());
    assert_eq!(questions.len(), 2, "what is only about private names is not asked");
    assert!(questions.iter().all(|question| !String::from_utf8_lossy(&question.body).contains("secret")));
    assert_eq!(hosted().send(Method::POST, path, "{\"a\":[\"1.0.0\"]}").await.json(), json!({}));
}

#[tokio::test]
async fn search_and_keys_are_joined_with_upstreams() {
    let found = |name: &str| json!({"package": {"name": name}});
    let theirs = json!({"objects": [found("pad-a"), found("pad"), found("pad-b")], "total": 3});
    let memory = Arc::new(
        Memory::new(Kind::Group)
            .private("pad")
            .upstream("-/v1/search", theirs)
            .upstream("-/npm/v1/keys", json!({"keys": [{"keyid": "SHA256:theirs"}, {"keyid": "SHA256:ours", "key": "evil"}]})),
    );
    publish(&memory, "pad", "1.0.0", "latest").await;
    let page = memory.get("-/v1/search?text=pad&size=20").await.json();
    let names: Vec<&str> = page["objects"].as_array().unwrap().iter().map(|object| object["package"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["pad", "pad-a", "pad-b"]);
    assert_eq!(page["objects"][0]["package"]["version"], "1.0.0");
    assert_eq!(page["total"], 4);
    let keys = memory.get("-/npm/v1/keys").await.json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert_eq!(keys["keys"][0]["key"], "ours", "an upstream cannot replace our key");
}

#[tokio::test]
async fn what_is_not_served_says_so() {
    let memory = hosted();
    for (method, path, status) in [
        (Method::GET, "-/all", 404),
        (Method::GET, "-/stage", 404),
        (Method::PUT, "-/team/acme/core/package", 404),
        (Method::POST, "-/npm/v1/user", 405),
        (Method::POST, "-/package/a/access", 405),
        (Method::GET, "a/../b", 400),
        (Method::GET, "%2e%2e/b", 400),
        (Method::GET, "@acme%252fb", 404),
    ] {
        assert_eq!(memory.send(method.clone(), path, "").await.status, status, "{method} {path}");
    }
    let proxy = Arc::new(Memory::new(Kind::Proxy));
    assert_eq!(proxy.send(Method::PUT, "a", minimal_publish("a", "1.0.0").to_string()).await.status, 405);
}
