//! What a token that was given can do: publish what its publisher names, until it ends, and nothing else.

use std::time::{Duration, Instant};

use entrepot_kit::Kind;
use http::Method;
use serde_json::{Value, json};

use super::{AUDIENCE, Turned, furnished, refused};
use crate::house::House;
use crate::issuer::TestIssuer;
use crate::raw::Call;
use crate::registry::push_signed;

async fn status(house: &House, call: Call) -> u16 {
    house.call(call).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_publishes_to_its_one_project_and_nowhere_else() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["@acme/app"], |_| {}).await;
    for name in ["left-pad", "@acme/app2"] {
        assert_eq!(crate::access::publish(&house, "alpha-owner", "alpha/npm", name, "1.0.0").await.status, 201);
    }
    let token = house.given(&issuer).await;
    for version in ["1.0.0", "1.1.0"] {
        let published = house.publish_with(&token, "alpha/npm", "@acme/app", version).await;
        assert_eq!(published.status, 201, "{}", published.text());
    }
    let head = house.head("alpha/npm");
    for name in ["left-pad", "@acme/app2", "@acme/ap", "new"] {
        let refused = house.publish_with(&token, "alpha/npm", name, "1.0.1").await;
        assert_eq!(refused.status, 403, "{name}: {}", refused.text());
        assert!(refused.text().contains("workload:app") && refused.text().contains("@acme/app in alpha/npm"), "{}", refused.text());
    }
    for address in ["beta/npm", "alpha/nothing", "alpha/npm.at-r1", "alpha/generic"] {
        let refused = house.publish_with(&token, address, "@acme/app", "2.0.0").await;
        assert_eq!(refused.status, 404, "{address}: {}", refused.text());
    }
    // What it published can be looked at, and nothing else of the private repository.
    let get = |path: &str| Call::get(format!("/alpha/{path}")).with_token(&token);
    assert_eq!(status(&house, get("npm/@acme%2fapp")).await, 200);
    for path in ["npm/left-pad", "npm/@acme%2fapp2", "npm/-/v1/search?text=left", "npm.at-r1/@acme%2fapp", "npm.at-20300101/@acme%2fapp"] {
        assert_eq!(status(&house, get(path)).await, 404, "{path}");
    }
    let delete = Call::new(Method::DELETE, "/alpha/npm/@acme%2fapp/-rev/1").with_token(&token);
    assert_eq!(status(&house, delete).await, 403);
    assert_eq!(house.head("alpha/npm"), head);
    let history = house.manage(Method::GET, "/repositories/alpha/npm/history", None).await.text();
    assert!(history.contains("\"workload:app\""), "{history}");
}

/// The rest of the server is none of its business, whatever it is asked with.
#[tokio::test(flavor = "multi_thread")]
async fn it_manages_nothing() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["*"], |body| body["actions"] = json!(["publish", "overwrite", "delete", "read"])).await;
    let token = house.given(&issuer).await;
    for (method, path, body) in [
        (Method::GET, "/tokens", None),
        (Method::POST, "/tokens", Some(json!({ "name": "x" }))),
        (Method::GET, "/users", None),
        (Method::GET, "/publishers", None),
        (Method::POST, "/publishers", Some(json!({ "name": "x" }))),
        (Method::DELETE, "/publishers/app", None),
        (Method::GET, "/policies", None),
        (Method::GET, "/audit", None),
        (Method::DELETE, "/repositories/alpha/npm", None),
        (Method::PATCH, "/repositories/alpha/npm", Some(json!({ "tags": {} }))),
        (Method::GET, "/repositories/beta/npm", None),
        (Method::POST, "/repositories", Some(json!({ "system": "alpha", "name": "x", "format": "npm", "kind": "hosted" }))),
        (Method::GET, "/systems/alpha", None),
    ] {
        let mut call = Call::new(method.clone(), format!("/api/v1{path}")).with_token(&token);
        if let Some(body) = &body {
            call = Call { body: body.to_string().into(), ..call.with("Content-Type", "application/json") };
        }
        let reply = house.call(call).await;
        assert!([403, 404].contains(&reply.status.as_u16()), "{method} {path}: {} {}", reply.status, reply.text());
    }
    assert_eq!(status(&house, Call::get("/alpha/npm/-/npm/v1/tokens").with_token(&token)).await, 403);
    // But what it is for.
    assert_eq!(house.publish_with(&token, "alpha/npm", "any", "1.0.0").await.status, 201);
    assert_eq!(status(&house, Call::new(Method::DELETE, "/alpha/npm/any/-rev/1").with_token(&token)).await, 200);
    // It may end itself, as npm does when it signs out.
    assert_eq!(status(&house, Call::new(Method::DELETE, format!("/alpha/npm/-/user/token/{token}")).with_token(&token)).await, 200);
    assert_eq!(house.publish_with(&token, "alpha/npm", "any", "1.0.1").await.status, 401);
}

/// Files that belong to no package are named by their paths, which only the change itself says.
#[tokio::test(flavor = "multi_thread")]
async fn plain_files_are_named_by_their_paths() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("files", &issuer, "alpha/generic", &["releases/app/*"], |_| {}).await;
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/generic/other/a.txt", "a")).await.status, 201);
    let token = house.given(&issuer).await;
    let put = |path: &str| Call::put(format!("/alpha/generic/{path}"), "text").with_token(&token);
    assert_eq!(status(&house, put("releases/app/1.0.txt")).await, 201);
    let head = house.head("alpha/generic");
    for path in ["releases/app", "releases/app2/1.0.txt", "other/a.txt", "new.txt", "releases/app%2f..%2fx", "x/releases/app/1"] {
        let code = status(&house, put(path)).await;
        assert!(code == 403 || code == 400, "{path}: {code}");
    }
    // An upload in several requests ends in a change too.
    for (path, code) in [("other/b.txt", 403), ("releases/app/2.0.txt", 204)] {
        let begin = Call::post(format!("/alpha/generic/{path}"), "").with("Tus-Resumable", "1.0.0").with("Upload-Length", "4").with_token(&token);
        let begun = house.call(begin).await;
        assert_eq!(begun.status, 201, "{}", begun.text());
        let place = begun.header("Location").split_once(&house.host).map_or(begun.header("Location"), |(_, place)| place).to_owned();
        let rest = Call { body: "text".into(), ..Call::new(Method::PATCH, place) };
        let rest = rest.with("Tus-Resumable", "1.0.0").with("Upload-Offset", "0").with("Content-Type", "application/offset+octet-stream");
        let reply = house.call(rest.with_token(&token)).await;
        assert_eq!(reply.status, code, "{path}: {}", reply.text());
    }
    let head = head + 1;
    assert_eq!(house.call_as("alpha-owner", Call::get("/alpha/generic/other/b.txt")).await.status, 404);
    for path in ["releases/app/1.0.txt", "other/a.txt", "releases/", "releases/app/"] {
        assert_eq!(status(&house, Call::new(Method::DELETE, format!("/alpha/generic/{path}")).with_token(&token)).await, 403, "{path}");
    }
    assert_eq!(house.head("alpha/generic"), head);
    // With the right to delete, a folder is deleted only where all that may be in it is named.
    house.repository("beta/files", "generic", Kind::Hosted, true, json!({})).await;
    house.publisher("cleaner", &issuer, "beta/files", &["a/*"], |body| body["actions"] = json!(["publish", "delete"])).await;
    let reply = house.exchange(json!({ "token": issuer.token(AUDIENCE), "repository": "beta/files" })).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let token = reply.json()["token"].as_str().unwrap().to_owned();
    for path in ["a/b/c.txt", "a/d.txt"] {
        assert_eq!(status(&house, Call::put(format!("/beta/files/{path}"), "x").with_token(&token)).await, 201);
    }
    assert_eq!(house.call_as("beta-owner", Call::put("/beta/files/b.txt", "x")).await.status, 201);
    for (path, allowed) in [("b.txt", false), ("", false), ("a/d.txt", true), ("a/b/", true)] {
        let reply = house.call(Call::new(Method::DELETE, format!("/beta/files/{path}")).with_token(&token)).await;
        assert_eq!(reply.status.is_success(), allowed, "{path}: {} {}", reply.status, reply.text());
    }
    assert_eq!(house.call(Call::get("/beta/files/b.txt")).await.status, 200);
}

/// What an upload of Python's tools is of, only its body says.
#[tokio::test(flavor = "multi_thread")]
async fn a_distribution_is_uploaded_to_its_one_project() {
    use entrepot_format_pypi::testing::{Form, Wheel};
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    for address in ["alpha/pypi", "beta/pypi"] {
        house.repository(address, "pypi", Kind::Hosted, false, json!({})).await;
    }
    house.publisher("app", &issuer, "alpha/pypi", &["acme-app"], |_| {}).await;
    let reply = house.call(Call::post("/_/oidc/alpha/pypi/mint-token", json!({ "token": issuer.token(AUDIENCE) }).to_string())).await;
    let token = reply.json()["token"].as_str().expect("a token").to_owned();
    let upload = async |address: &str, name: &str, version: &str| {
        let call = Call::post(format!("/{address}/legacy/"), Form::wheel(&Wheel::new(name, version, "")).body());
        house.call(call.with("Content-Type", Form::content_type()).signed("__token__", &token)).await
    };
    for (name, version) in [("acme-app", "1.0"), ("Acme_App", "1.1")] {
        let reply = upload("alpha/pypi", name, version).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let head = house.head("alpha/pypi");
    for name in ["other", "acme-app2", "acme", "acme-app-x"] {
        let reply = upload("alpha/pypi", name, "1.0").await;
        assert_eq!(reply.status, 403, "{name}: {}", reply.text());
    }
    for address in ["beta/pypi", "alpha/pypi.at-r1", "alpha/none"] {
        assert_eq!(upload(address, "acme-app", "2.0").await.status, 404, "{address}");
    }
    assert_eq!((house.head("alpha/pypi"), house.head("beta/pypi")), (head, 0));
    let read = async |path: &str| status(&house, Call::get(format!("/alpha/pypi/{path}")).signed("__token__", &token)).await;
    assert_eq!((read("simple/acme-app/").await, read("simple/other/").await, read("simple/").await), (200, 404, 404));
}

/// What waits in a stage belongs to no package yet, and is about one all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_is_staged_and_promoted_by_its_own_builds() {
    use entrepot_format_maven::testing::{checksum, jar, path, pom};
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.repository("alpha/maven", "maven", Kind::Hosted, true, json!({})).await;
    house.publisher("app", &issuer, "alpha/maven", &["com.acme:app"], |_| {}).await;
    let token = house.given(&issuer).await;
    let put = async |path: &str, body: Vec<u8>| status(&house, Call::put(format!("/alpha/maven/{path}"), body).with_token(&token)).await;
    let promote = async |stage: &str| status(&house, Call::post(format!("/alpha/maven/.staging/{stage}"), "").with_token(&token)).await;
    for base in [".staging/one/", ""] {
        let version = if base.is_empty() { "2.0" } else { "1.0" };
        for (artifact, expected) in [("app", 201), ("other", 403), ("app2", 403)] {
            let at = |ending: &str| format!("{base}{}", path("com.acme", artifact, version, ending));
            let sum = checksum(&jar(&[]), entrepot_kit::Algorithm::Sha1).into_bytes();
            assert_eq!(put(&at(".jar.sha1"), sum).await, expected, "{}", at(".jar.sha1"));
            assert_eq!(put(&at(".jar"), jar(&[])).await, expected, "{}", at(".jar"));
            assert_eq!(put(&at(".pom"), pom("com.acme", artifact, version, "jar").into_bytes()).await, expected);
        }
    }
    let other = format!("/alpha/maven/.staging/two/{}", path("com.acme", "other", "1.0", ".pom"));
    assert_eq!(house.call_as("alpha-owner", Call::put(other, pom("com.acme", "other", "1.0", "pom"))).await.status, 201);
    let see = async |path: &str| status(&house, Call::get(format!("/alpha/maven/.staging/{path}")).with_token(&token)).await;
    let file = |stage: &str, artifact: &str| format!("{stage}/{}", path("com.acme", artifact, "1.0", ".pom"));
    assert_eq!((see("one").await, see(&file("one", "app")).await), (200, 200));
    assert_eq!((see("two").await, see(&file("two", "other")).await), (403, 403), "what others deploy is none of its business");
    assert_eq!((promote("one").await, promote("two").await), (200, 403));
    assert_eq!(status(&house, Call::new(Method::DELETE, "/alpha/maven/.staging/two").with_token(&token)).await, 403);
    let listed = house.call(Call::get("/alpha/maven/com/acme/app/maven-metadata.xml")).await.text();
    assert!(listed.contains("<version>1.0</version>") && listed.contains("<version>2.0</version>"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_by_docker_s_way_too() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("image", &issuer, "alpha/oci", &["team/app"], |_| {}).await;
    let token = house.given(&issuer).await;
    let direct = push_signed(&house, "alpha/oci/team/app", "one", &|call| call.signed("__token__", &token)).await;
    assert_eq!(direct.status, 201, "{}", direct.text());
    let ask = "/v2/token?service=x&scope=repository:alpha/oci/team/app:pull,push&scope=repository:alpha/oci/team/other:pull,push";
    let registry = house.call(Call::get(ask).signed("x", &token)).await.json()["token"].as_str().expect("a token").to_owned();
    let by_token = push_signed(&house, "alpha/oci/team/app", "two", &|call| call.with_token(&registry)).await;
    assert_eq!(by_token.status, 201, "{}", by_token.text());
    assert_eq!(status(&house, Call::get("/v2/alpha/oci/team/app/manifests/two").with_token(&registry)).await, 200);
    let head = house.head("alpha/oci");
    for name in ["alpha/oci/team/other", "alpha/oci/team/app/x", "beta/oci/team/app"] {
        for sign in [&|call: Call| call.signed("x", &token) as Call, &|call: Call| call.with_token(&registry)] as [&dyn Fn(Call) -> Call; 2] {
            assert!(push_signed(&house, name, "one", sign).await.status.is_client_error(), "{name}");
        }
    }
    assert_eq!(house.head("alpha/oci"), head);
    // The registry's own token ends with the one that it was made with.
    assert_eq!(house.manage(Method::DELETE, "/publishers/image", None).await.status, 204);
    assert_eq!(status(&house, Call::get("/v2/alpha/oci/team/app/manifests/two").with_token(&registry)).await, 401);
}

/// Where everybody may read, so may a build: in its own repository.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_repository_is_read_as_by_everybody() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.repository("alpha/open", "npm", Kind::Hosted, true, json!({})).await;
    house.repository("beta/open", "npm", Kind::Hosted, true, json!({})).await;
    for address in ["alpha/open", "beta/open"] {
        let owner = format!("{}-owner", address.split('/').next().unwrap());
        assert_eq!(crate::access::publish(&house, &owner, address, "left-pad", "1.0.0").await.status, 201);
    }
    house.publisher("app", &issuer, "alpha/open", &["app"], |_| {}).await;
    let token = house.given(&issuer).await;
    assert_eq!(status(&house, Call::get("/alpha/open/left-pad").with_token(&token)).await, 200);
    assert_eq!(house.publish_with(&token, "alpha/open", "left-pad", "1.0.1").await.status, 403);
    assert_eq!(house.publish_with(&token, "alpha/open", "app", "1.0.0").await.status, 201);
    for call in [Call::get("/beta/open/left-pad"), Call::get("/alpha/open.at-r1/left-pad")] {
        assert_eq!(status(&house, call.with_token(&token)).await, 404);
    }
}

/// A group that publishes to the repository is another repository.
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_no_way_round() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.repository("alpha/all", "npm", Kind::Group, true, json!({ "members": ["alpha/npm"], "publish_to": "alpha/npm" })).await;
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    let token = house.given(&issuer).await;
    assert!(house.publish_with(&token, "alpha/all", "app", "1.0.0").await.status.is_client_error());
    assert_eq!(house.head("alpha/npm"), 0);
    let group = json!({
        "name": "group", "issuer": issuer.url(), "allow_private": true, "claims": { "a": "b" }, "repository": "alpha/all", "packages": ["app"],
    });
    let made = house.manage(Method::POST, "/publishers", Some(group)).await;
    assert!(made.status == 400 && made.text().contains("not hosted"), "{}", made.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_publisher_s_end_is_its_end() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    let token = house.given(&issuer).await;
    assert_eq!(house.publish_with(&token, "alpha/npm", "app", "1.0.0").await.status, 201);
    assert_eq!(house.manage(Method::DELETE, "/publishers/app", None).await.status, 204);
    for version in ["1.0.1", "1.0.2"] {
        // Whichever replica is asked.
        assert_eq!(house.publish_with(&token, "alpha/npm", "app", version).await.status, 401);
    }
    assert_eq!(house.manage(Method::DELETE, "/publishers/app", None).await.status, 404);
    assert_eq!(refused(&house.mint(&issuer.token(AUDIENCE)).await), "invalid-token");
    // One of the same name is another one.
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    assert_eq!(house.publish_with(&token, "alpha/npm", "app", "1.0.1").await.status, 401);
    let begun = Instant::now();
    let audit = loop {
        let audit = house.manage(Method::GET, "/audit?limit=1000", None).await.text();
        // Another replica than the one that is asked may still hold a line.
        if ["create-publisher", "delete-publisher", "exchange-token"].iter().all(|action| audit.contains(action)) {
            break audit;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{audit}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(audit.contains("publisher:app") && audit.contains("repo:acme/app:ref:refs/heads/main"), "{audit}");
    assert!(!audit.contains(&token), "the audit log has no tokens");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_time_is_its_end() {
    let turned = Turned::default();
    let (house, issuer) = (furnished(&turned).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |body| body["expires_in"] = json!(1800)).await;
    let reply = house.mint(&issuer.token(AUDIENCE)).await.json();
    let (token, expires) = (reply["token"].as_str().unwrap(), reply["expires"].as_i64().unwrap());
    let left = expires - crate::issuer::seconds();
    assert!((1790..=1800).contains(&left), "{left}");
    turned.wait(1700);
    assert_eq!(house.publish_with(token, "alpha/npm", "app", "1.0.0").await.status, 201);
    turned.wait(101);
    assert_eq!(house.publish_with(token, "alpha/npm", "app", "1.0.1").await.status, 401);
}

/// No policy has to be written, and one that forbids counts; what a platform lets its builds claim gives no rights.
#[tokio::test(flavor = "multi_thread")]
async fn policies_may_forbid_and_claims_permit_nothing() {
    let (house, issuer) = (furnished(&Turned::default()).await, TestIssuer::start().await);
    house.publisher("app", &issuer, "alpha/npm", &["app"], |_| {}).await;
    let given = async |change: &dyn Fn(&mut Value)| {
        let mut claims = issuer.claims(AUDIENCE);
        change(&mut claims);
        let reply = house.mint(&issuer.key.token(&claims)).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()["token"].as_str().unwrap().to_owned()
    };
    let claiming = given(&|claims| {
        for (name, value) in [("system", "alpha"), ("role", "owner"), ("server-role", "admin"), ("name", "admin")] {
            claims[name] = json!(value);
        }
    })
    .await;
    assert_eq!(house.publish_with(&claiming, "alpha/npm", "other", "1.0.0").await.status, 403);
    assert_eq!(status(&house, Call::get("/api/v1/users").with_token(&claiming)).await, 403);
    assert_eq!(house.publish_with(&claiming, "alpha/npm", "app", "1.0.0").await.status, 201);

    let text = "forbid (principal is Workload, action, resource in System::\"alpha\") unless { principal.hasTag(\"claim:ref\") && \
                principal.getTag(\"claim:ref\").contains(\"refs/heads/main\") };"
        .replace("\\\n", "");
    let put = house.manage(Method::PUT, "/policies/branches", Some(json!({ "text": text }))).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let main = given(&|_| {}).await;
    let branch = given(&|claims| claims["ref"] = json!("refs/heads/other")).await;
    assert_eq!(house.publish_with(&main, "alpha/npm", "app", "1.0.1").await.status, 201);
    let refused = house.publish_with(&branch, "alpha/npm", "app", "1.0.2").await;
    assert!(refused.status == 403 && refused.text().contains("branches"), "{}", refused.text());
}
