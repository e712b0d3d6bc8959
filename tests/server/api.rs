//! The management API as its callers see it.
#![cfg(test)]

use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use serde_json::{Value, json};

use entrepot::api::api_routes;
use entrepot_format_npm::testing::NpmSpecimen;
use entrepot_kit::conformance::{Specimen as _, Subject as _};

use crate::house::{House, PASSWORD};
use crate::raw::{Call, Reply};

const ROOT: &str = "/api/v1";
const PATIENCE: Duration = Duration::from_secs(30);

impl House {
    async fn api(&self, user: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut call = Call::new(method, format!("{ROOT}{path}"));
        if let Some(body) = body {
            call.body = body.to_string().into();
            call = call.with("Content-Type", "application/json");
        }
        if user.is_empty() { self.call(call).await } else { self.call_as(user, call).await }
    }

    async fn get(&self, user: &str, path: &str) -> Reply {
        self.api(user, Method::GET, path, None).await
    }

    async fn post(&self, user: &str, path: &str, body: Value) -> Reply {
        self.api(user, Method::POST, path, Some(body)).await
    }

    async fn patch(&self, user: &str, path: &str, body: Value) -> Reply {
        self.api(user, Method::PATCH, path, Some(body)).await
    }

    async fn delete(&self, user: &str, path: &str) -> Reply {
        self.api(user, Method::DELETE, path, None).await
    }

    async fn hosted(&self, name: &str) {
        let reply = self.post("alpha-owner", "/repositories", json!({"system": "alpha", "name": name, "format": "npm", "kind": "hosted"})).await;
        is(&reply, 201);
    }

    /// Waits for a line of the audit log: another replica than the one that is asked may still hold it.
    async fn written_down(&self, filter: &str, action: &str, resource: &str, outcome: &str) {
        let until = Instant::now() + PATIENCE;
        loop {
            let log = self.get("admin", &format!("/audit?{filter}")).await.json();
            let lines = log["items"].as_array().expect("items");
            if lines.iter().any(|line| line["action"] == action && line["resource"] == resource && line["outcome"] == outcome) {
                return;
            }
            assert!(self.engines() > 1 && Instant::now() < until, "no {action} of {resource} was {outcome}: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn publish(&self, versions: &[&str]) {
        for version in versions {
            for ask in NpmSpecimen.publish("left-pad", version, version) {
                is(&self.send("npm", ask).await.expect("an answer"), 201);
            }
        }
    }
}

trait Answered {
    fn told(&self) -> (u16, String);
}

impl Answered for Reply {
    fn told(&self) -> (u16, String) {
        (self.status.as_u16(), self.text())
    }
}

impl Answered for entrepot_kit::conformance::Reply {
    fn told(&self) -> (u16, String) {
        (self.status.as_u16(), self.describe())
    }
}

#[track_caller]
fn is(reply: &impl Answered, status: u16) {
    let (found, text) = reply.told();
    assert_eq!(found, status, "{text}");
}

#[track_caller]
fn refused(reply: &Reply, status: u16, word: &str) {
    is(reply, status);
    let message = reply.json()["error"].as_str().expect("an error").to_owned();
    assert!(message.contains(word), "{message} should say {word:?}");
}

fn names(reply: &Reply, field: &str) -> Vec<String> {
    let body = reply.json();
    body["items"].as_array().expect("items").iter().map(|item| item[field].as_str().expect("a text").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_what_was_agreed() {
    let house = House::start().await;
    let reply = house.get("", "/openapi.json").await;
    is(&reply, 200);
    insta::with_settings!({ snapshot_path => "../snapshots", prepend_module_to_snapshot => false }, {
        insta::assert_json_snapshot!("openapi", reply.json());
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_route_is_served_and_tells_strangers_nothing() {
    let house = House::start().await;
    house.hosted("npm").await;
    house.publish(&["1.0.0"]).await;
    house.user("stranger", &[("system", "beta")]).await;
    let routes = api_routes();
    assert!(routes.len() > 30, "{routes:?}");
    for (method, template) in routes {
        let open = matches!(template.as_str(), "/api/v1/openapi.json" | "/api/v1/access/schema");
        let list = method == Method::GET && matches!(template.as_str(), "/api/v1/systems" | "/api/v1/repositories");
        let path = |system: &str, name: &str| {
            let path = template.replace("{system}", system).replace("{package}", "left-pad").replace("{version}", "1.0.0").replace("{id}", "x");
            path.replace("{name}", name)
        };
        let ask = |path: String| Call { body: "{}".into(), ..Call::new(method.clone(), path).with("Content-Type", "application/json") };
        let nobody = house.call(ask(path("alpha", "npm"))).await;
        if open || list {
            is(&nobody, 200);
            assert!(open || !nobody.text().contains("alpha/npm"), "{method} {template}: {}", nobody.text());
            continue;
        }
        assert_eq!(nobody.status, 401, "{method} {template}: {}", nobody.text());
        let hidden = house.call_as("stranger", ask(path("alpha", "npm"))).await;
        // A stranger's own tokens are nobody else's: there is nothing hidden or missing about them.
        if template == "/api/v1/tokens" {
            assert!(hidden.status.is_success() && !hidden.text().contains("alpha"), "{method} {template}: {}", hidden.text());
            continue;
        }
        let missing = house.call_as("stranger", ask(path("gamma", "npm"))).await;
        assert!(!hidden.status.is_success(), "{method} {template}: {}", hidden.text());
        assert_eq!(
            (hidden.status, hidden.text().replace("alpha", "gamma")),
            (missing.status, missing.text()),
            "{method} {template}: what is hidden looks like what is missing"
        );
    }
    for list in ["/systems", "/repositories"] {
        assert_eq!(house.get("stranger", list).await.text().matches("alpha").count(), 0, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn systems_come_and_go() {
    let house = House::start().await;
    refused(&house.post("alpha-owner", "/systems", json!({"name": "gamma"})).await, 403, "administrator");
    let made = house.post("admin", "/systems", json!({"name": "gamma", "tags": {"team": ["a", "b"], "visibility": "public"}})).await;
    is(&made, 201);
    assert_eq!(made.json()["tags"], json!({"team": ["a", "b"], "visibility": "public"}));
    refused(&house.post("admin", "/systems", json!({"name": "gamma"})).await, 409, "gamma");
    refused(&house.post("admin", "/systems", json!({"name": "v2"})).await, 400, "reserved");
    refused(&house.post("admin", "/systems", json!({"name": "delta", "tag": {}})).await, 400, "`tag`");
    assert_eq!(names(&house.get("", "/systems").await, "name"), ["gamma"], "public systems are for everybody");

    is(&house.patch("admin", "/systems/gamma", json!({"tags": {}})).await, 200);
    assert_eq!(house.get("", "/systems").await.json()["items"], json!([]));
    refused(&house.patch("admin", "/systems/alpha", json!({"tags": {}})).await, 409, "declared");
    refused(&house.delete("admin", "/systems/alpha").await, 409, "declared");

    // `/v2/a/b/c` must mean one thing only.
    is(&house.post("admin", "/repositories", json!({"name": "delta", "format": "generic", "kind": "hosted"})).await, 201);
    refused(&house.post("admin", "/systems", json!({"name": "delta"})).await, 409, "main/delta");
    refused(&house.post("admin", "/repositories", json!({"name": "gamma", "format": "generic", "kind": "hosted"})).await, 409, "gamma");

    is(&house.post("admin", "/repositories", json!({"system": "gamma", "name": "files", "format": "generic", "kind": "hosted"})).await, 201);
    refused(&house.delete("admin", "/systems/gamma").await, 409, "repositories");
    is(&house.delete("admin", "/repositories/gamma/files").await, 204);
    is(&house.delete("admin", "/systems/gamma").await, 204);
    is(&house.get("admin", "/systems/gamma").await, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_keep_their_rules() {
    let house = House::start().await;
    house.hosted("npm").await;
    let post = |body: Value| house.post("alpha-owner", "/repositories", body);
    refused(&post(json!({"system": "alpha", "name": "npm", "format": "npm", "kind": "hosted"})).await, 409, "npm");
    refused(&post(json!({"system": "alpha", "name": "x", "format": "nuget", "kind": "hosted"})).await, 400, "nuget");
    refused(&post(json!({"system": "alpha", "name": "x", "format": "npm", "kind": "hosted", "colour": 1})).await, 400, "`colour`");
    refused(&post(json!({"system": "alpha", "name": "x", "format": "npm", "kind": "hosted", "declared": true})).await, 400, "declared");
    refused(&post(json!({"system": "alpha", "name": "x.at-r1", "format": "npm", "kind": "hosted"})).await, 400, ".at-");
    is(&post(json!({"system": "beta", "name": "x", "format": "npm", "kind": "hosted"})).await, 404);
    is(&post(json!({"system": "gamma", "name": "x", "format": "npm", "kind": "hosted"})).await, 404);

    let group = |members: Value| json!({"system": "alpha", "name": "all", "format": "npm", "kind": "group", "members": members});
    is(&house.post("beta-owner", "/repositories", json!({"system": "beta", "name": "npm", "format": "npm", "kind": "hosted"})).await, 201);
    let hidden = post(group(json!(["beta/npm"]))).await;
    let missing = post(group(json!(["beta/nowhere"]))).await;
    refused(&hidden, 400, "beta/npm");
    assert_eq!(hidden.text().replace("beta/npm", "beta/nowhere"), missing.text(), "members tell nothing either");
    is(&post(json!({"system": "alpha", "name": "files", "format": "generic", "kind": "hosted", "overwrite": true})).await, 201);
    refused(&post(group(json!(["alpha/files"]))).await, 400, "generic");
    is(&post(group(json!(["alpha/npm"]))).await, 201);
    is(&post(json!({"system": "alpha", "name": "outer", "format": "npm", "kind": "group", "members": ["alpha/all"], "publish_to": null})).await, 201);
    let all = "/repositories/alpha/all";
    refused(&house.patch("alpha-owner", all, json!({"members": ["alpha/npm", "alpha/outer"]})).await, 400, "itself");
    refused(&house.patch("alpha-owner", all, json!({"publish_to": "alpha/outer"})).await, 400, "publish_to");
    refused(&house.patch("alpha-owner", all, json!({"kind": "hosted"})).await, 400, "kind");
    refused(&house.patch("alpha-owner", all, json!({"memebers": []})).await, 400, "`memebers`");
    refused(&house.patch("alpha-owner", all, json!({"redirect_downloads": "yes"})).await, 400, "redirect_downloads");
    is(&house.patch("alpha-owner", all, json!({"redirect_downloads": true})).await, 200);
    is(&house.patch("alpha-owner", all, json!({"publish_to": "alpha/npm", "tags": {"visibility": "public"}})).await, 200);
    refused(&house.delete("alpha-owner", "/repositories/alpha/npm").await, 409, "alpha/all");

    let own = house.get("alpha-owner", all).await.json();
    assert_eq!((&own["members"], &own["publish_to"]), (&json!(["alpha/npm"]), &json!("alpha/npm")));
    is(&house.patch("alpha-owner", all, own.clone()).await, 200);
    let seen = house.get("", all).await.json();
    assert_eq!((&seen["members"], seen.get("publish_to")), (&json!([]), None), "members are shown to those who may read them");
    is(&house.get("beta-owner", "/repositories/alpha/npm").await, 404);
    is(&house.get("", "/repositories/alpha/npm").await, 401);
    refused(&house.patch("beta-owner", all, json!({"tags": {}})).await, 403, "manage");

    assert_eq!(names(&house.get("alpha-owner", "/repositories?limit=2").await, "name"), ["all", "files"]);
    let page = house.get("alpha-owner", "/repositories?limit=2&after=alpha%2Ffiles").await;
    assert_eq!((names(&page, "name"), page.json().get("next").cloned()), (vec!["npm".to_owned(), "outer".to_owned()], None));
    refused(&house.get("alpha-owner", "/repositories?limit=0").await, 400, "limit");
    refused(&house.get("alpha-owner", "/repositories?limti=1").await, 400, "limti");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_of_upstreams_stay_where_they_are() {
    let house = House::start().await;
    let upstream = json!({"url": "https://registry.example/npm/", "username": "u", "password": "hunter2", "mutable_ttl": 60});
    let body = json!({"system": "alpha", "name": "far", "format": "npm", "kind": "proxy", "upstream": upstream, "tags": {"visibility": "public"}});
    let made = house.post("alpha-owner", "/repositories", body).await;
    is(&made, 201);
    let far = "/repositories/alpha/far";
    let shown = house.get("alpha-owner", far).await;
    assert_eq!(shown.json()["upstream"], json!({"url": "https://registry.example/npm/", "username": "u", "password": "(set)", "mutable_ttl": 60}));
    assert_eq!(house.get("", far).await.json()["upstream"], json!({"url": "https://registry.example/npm/"}));

    let changed = house.patch("alpha-owner", far, shown.json()).await;
    is(&changed, 200);
    let stolen = house.patch("alpha-owner", far, json!({"upstream": {"url": "https://thief.example/", "password": "(set)"}})).await;
    refused(&stolen, 400, "upstream.password");
    for reach in
        [json!({"allow_private": true}), json!({"proxy": "http://proxy.example:3128", "password": "x"}), json!({"ca_file": "/etc/passwd", "password": "x"})]
    {
        refused(&house.patch("alpha-owner", far, json!({ "upstream": reach })).await, 403, "administrator");
    }
    is(&house.patch("admin", far, json!({"upstream": {"allow_private": true}})).await, 200);
    refused(&house.patch("alpha-owner", far, json!({"upstream": {"url": "https://registry.example/other/"}})).await, 403, "administrator");
    is(&house.patch("alpha-owner", far, json!({"tags": {}})).await, 200);

    let row = house.engine().catalog.repositories().await.expect("rows").into_iter().find(|row| row.address.to_string() == "alpha/far").expect("the row");
    assert_eq!(row.settings["upstream"]["password"], "hunter2");
    for reply in [made, shown, changed, stolen, house.get("admin", "/audit").await, house.get("admin", "/repositories").await] {
        assert!(!reply.text().contains("hunter2"), "{}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_are_deleted_and_come_back() {
    let house = House::start().await;
    house.hosted("npm").await;
    house.publish(&["1.0.0", "1.1.0"]).await;
    let root = "/repositories/alpha/npm";
    let package = format!("{root}/packages/left-pad");
    assert_eq!(names(&house.get("alpha-owner", &format!("{root}/packages")).await, "name"), ["left-pad"]);
    assert_eq!(names(&house.get("alpha-owner", &format!("{root}/packages?q=left")).await, "name"), ["left-pad"]);
    assert_eq!(house.get("alpha-owner", &format!("{root}/packages?q=right")).await.json()["items"], json!([]));
    assert_eq!(house.get("alpha-owner", &package).await.json()["name"], "left-pad");
    is(&house.get("alpha-owner", &format!("{root}/packages/@acme%2fwidget")).await, 404);
    assert_eq!(names(&house.get("alpha-owner", &format!("{package}/versions")).await, "version"), ["1.0.0", "1.1.0"]);

    house.user("reader", &[("system", "alpha")]).await;
    refused(&house.delete("reader", &package).await, 403, "delete");
    is(&house.delete("alpha-owner", &format!("{package}/versions/1.0.0")).await, 204);
    is(&house.delete("alpha-owner", &format!("{package}/versions/1.0.0")).await, 404);
    let deleted = house.get("alpha-owner", &format!("{package}/versions")).await.json();
    assert_eq!((&deleted["items"][0]["deleted"], &deleted["items"][1]["deleted"]), (&json!(true), &json!(false)));
    let tarball = "/alpha/npm/left-pad/-/left-pad-1.0.0.tgz";
    is(&house.call_as("reader", Call::get(tarball)).await, 404);
    let back = house.api("alpha-owner", Method::POST, &format!("{package}/versions/1.0.0/restore"), None).await;
    is(&back, 200);
    is(&house.call_as("reader", Call::get(tarball)).await, 200);

    is(&house.delete("alpha-owner", &package).await, 204);
    is(&house.get("alpha-owner", &package).await, 404);
    is(&house.call_as("reader", Call::get("/alpha/npm/left-pad")).await, 404);
    is(&house.api("alpha-owner", Method::POST, &format!("{package}/restore"), None).await, 200);
    refused(&house.api("alpha-owner", Method::POST, &format!("{package}/restore"), None).await, 409, "nothing to restore");
    is(&house.call_as("reader", Call::get(tarball)).await, 200);

    let history = house.get("reader", &format!("{root}/history?limit=3")).await.json();
    let actions: Vec<_> = history["items"].as_array().expect("items").iter().map(|item| item["action"].as_str().expect("text")).collect();
    assert_eq!(actions, ["restore", "delete", "restore"]);
    assert_eq!(history["items"][0]["principal"], "user:alpha-owner");
    let before = history["next"].as_str().expect("more");
    let rest = house.get("reader", &format!("{root}/history?before={before}")).await.json();
    assert!(rest["items"].as_array().is_some_and(|items| items.iter().any(|item| item["action"] == "publish")), "{rest}");

    // The last version takes the package with it, and brings it back.
    is(&house.delete("alpha-owner", &format!("{package}/versions/1.0.0")).await, 204);
    is(&house.delete("alpha-owner", &format!("{package}/versions/1.1.0")).await, 204);
    is(&house.call_as("reader", Call::get("/alpha/npm/left-pad")).await, 404);
    is(&house.api("alpha-owner", Method::POST, &format!("{package}/versions/1.1.0/restore"), None).await, 200);
    is(&house.call_as("reader", Call::get("/alpha/npm/left-pad")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_comes_back() {
    let house = House::start().await;
    is(&house.post("alpha-owner", "/repositories", json!({"system": "alpha", "name": "files", "format": "generic", "kind": "hosted"})).await, 201);
    is(&house.call_as("alpha-owner", Call::put("/alpha/files/a/b.txt", "hello")).await, 201);
    is(&house.call_as("alpha-owner", Call::new(Method::DELETE, "/alpha/files/a/b.txt")).await, 204);
    let restore = "/repositories/alpha/files/entries/restore";
    refused(&house.post("alpha-owner", restore, json!({"path": "/a/b.txt"})).await, 400, "slash");
    is(&house.post("alpha-owner", restore, json!({"path": "a/c.txt"})).await, 404);
    is(&house.post("alpha-owner", restore, json!({"path": "a/b.txt"})).await, 200);
    assert_eq!(house.call_as("alpha-owner", Call::get("/alpha/files/a/b.txt")).await.text(), "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_robots_and_their_tokens() {
    let house = House::start().await;
    for path in ["/users", "/robots", "/policies", "/audit"] {
        refused(&house.get("alpha-owner", path).await, 403, "administrator");
        is(&house.get("", path).await, 401);
    }
    let new = json!({"name": "alice", "password": PASSWORD, "tags": {"system": "alpha"}});
    let made = house.post("admin", "/users", new.clone()).await;
    is(&made, 201);
    assert!(!made.text().contains(PASSWORD) && !made.text().contains("argon2"));
    refused(&house.post("admin", "/users", new).await, 409, "alice");
    refused(&house.post("admin", "/users", json!({"name": "bob", "pasword": "x"})).await, 400, "`pasword`");
    assert_eq!(names(&house.get("admin", "/users").await, "name"), ["admin", "alice", "alpha-owner", "beta-owner"]);

    let token = house.post("alice", "/tokens", json!({"name": "ci", "repositories": ["alpha/*"], "actions": ["read"], "expires_in": 3600})).await;
    is(&token, 201);
    let (id, text) = (token.json()["id"].as_str().expect("an id").to_owned(), token.json()["token"].as_str().expect("a token").to_owned());
    let listed = house.get("alice", "/tokens").await;
    assert_eq!(listed.json()["items"][0]["actions"], json!(["read"]));
    assert!(!listed.text().contains(&text));
    let with_token = |path: &str| Call::get(format!("{ROOT}{path}")).with_token(&text);
    is(&house.call(with_token("/systems/alpha")).await, 200);
    refused(&house.call(with_token("/tokens")).await, 403, "token");
    is(&house.delete("alpha-owner", &format!("/tokens/{id}")).await, 404);
    is(&house.delete("alice", &format!("/tokens/{id}")).await, 204);
    is(&house.call(with_token("/systems/alpha")).await, 401);
    refused(&house.post("alice", "/tokens", json!({"actions": ["sign-in"]})).await, 400, "sign-in");

    is(&house.post("admin", "/robots", json!({"name": "ci", "tags": {"system": "alpha"}})).await, 201);
    refused(&house.post("alice", "/tokens", json!({"robot": "ci"})).await, 403, "administrator");
    let robot = house.post("admin", "/tokens", json!({"robot": "ci"})).await;
    is(&robot, 201);
    let robot = robot.json()["token"].as_str().expect("a token").to_owned();
    let ask = || Call::get(format!("{ROOT}/systems/alpha")).with_token(&robot);
    is(&house.call(ask()).await, 200);
    is(&house.patch("admin", "/robots/ci", json!({"disabled": true})).await, 200);
    is(&house.call(ask()).await, 401);

    is(&house.patch("admin", "/users/alice", json!({"password": "another long secret"})).await, 200);
    is(&house.get("alice", "/systems").await, 401);
    is(&house.delete("admin", "/users/alice").await, 204);
    is(&house.get("admin", "/users/alice").await, 404);
    refused(&house.delete("admin", "/users/admin").await, 409, "last administrator");
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_count_at_once_and_are_explained() {
    let house = House::start().await;
    house.hosted("npm").await;
    let question = json!({"principal": "user:beta-owner", "action": "read", "resource": "alpha/npm:left-pad"});
    let denied = house.post("admin", "/access/explain", question.clone()).await;
    is(&denied, 200);
    assert_eq!((&denied.json()["decision"], &denied.json()["rules"]), (&json!("deny"), &json!([])));
    refused(&house.post("alpha-owner", "/access/explain", question.clone()).await, 403, "administrator");
    is(&house.post("beta-owner", "/access/explain", json!({"action": "read", "resource": "alpha/npm"})).await, 404);

    let text = "permit (principal == User::\"beta-owner\", action == Action::\"read\", resource in System::\"alpha\");";
    let put = |text: &str| {
        let call = Call::put(format!("{ROOT}/policies/guests"), text.to_owned()).with("Content-Type", "application/json");
        house.call_as("admin", call)
    };
    is(&put(&json!({ "text": text }).to_string()).await, 200);
    assert_eq!(house.get("admin", "/policies/guests").await.json()["text"], text);
    is(&house.get("beta-owner", "/repositories/alpha/npm").await, 200);
    let allowed = house.post("admin", "/access/explain", question).await.json();
    assert_eq!((&allowed["decision"], &allowed["rules"]), (&json!("allow"), &json!(["guests"])));
    let plain = Call::put(format!("{ROOT}/policies/guests"), text.replace("read", "raed")).with("Content-Type", "text/plain");
    refused(&house.call_as("admin", plain).await, 400, "raed");
    is(&house.delete("admin", "/policies/guests").await, 204);
    is(&house.get("beta-owner", "/repositories/alpha/npm").await, 404);
    refused(&put(&format!("{{\"text\": \"{}\"}}", "x".repeat(300_000))).await, 413, "larger");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_denials_are_written_down() {
    let house = House::start().await;
    house.hosted("npm").await;
    house.publish(&["1.0.0"]).await;
    is(&house.get("beta-owner", "/repositories/alpha/npm").await, 404);
    is(&house.delete("alpha-owner", "/repositories/alpha/npm/packages/left-pad").await, 204);
    house.written_down("principal=user:alpha-owner", "create-repository", "alpha/npm", "changed").await;
    house.written_down("principal=user:alpha-owner", "delete", "alpha/npm:left-pad", "changed").await;
    house.written_down("resource=alpha/npm&principal=user:beta-owner", "read", "alpha/npm", "denied").await;
    let page = house.get("admin", "/audit?limit=1").await.json();
    let next = page["next"].as_str().expect("more");
    let older = house.get("admin", &format!("/audit?limit=1&before={next}")).await.json();
    assert_ne!(older["items"][0]["id"], page["items"][0]["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_told_why() {
    let house = House::start().await;
    refused(&house.get("admin", "/nowhere").await, 404, "openapi.json");
    let wrong = house.api("admin", Method::PUT, "/systems", None).await;
    refused(&wrong, 405, "method");
    assert_eq!(wrong.header("allow"), "GET, POST");
    assert!(!wrong.header("x-request-id").is_empty());
    let form = Call::post(format!("{ROOT}/systems"), "{}").with("Content-Type", "text/plain");
    refused(&house.call_as("admin", form).await, 415, "application/json");
    let forged = Call::post(format!("{ROOT}/systems"), "{}").with("Content-Type", "application/json").with("Sec-Fetch-Site", "cross-site");
    refused(&house.call_as("admin", forged).await, 403, "another site");
    refused(&house.post("admin", "/systems", json!({"name": "x".repeat(70_000)})).await, 413, "larger");
    refused(&house.post("admin", "/systems", json!([1])).await, 400, "body");
    refused(&house.get("admin", "/repositories/alpha/npm%00/packages").await, 404, "npm");
    let guessed = house.call(Call::get(format!("{ROOT}/systems")).signed("admin", "wrong")).await;
    is(&guessed, 401);
    assert_eq!(guessed.status, StatusCode::UNAUTHORIZED);
    assert!(guessed.header("www-authenticate").starts_with("Basic"));
}
