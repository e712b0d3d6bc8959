//! The list of projects: large, and so never fetched while somebody waits for it.

use std::time::Duration;

use entrepot_format_pypi::testing::{Form, Wheel};
use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::{Value, json};

use super::{HTML, JSON, Mirror};
use crate::raw::{Call, Reply as Answer};
use crate::upstream::{Gate, Reply};

fn names(reply: &Answer) -> Vec<String> {
    let list = reply.json();
    let projects = list["projects"].as_array().expect("a list");
    projects.iter().map(|project| project["name"].as_str().expect("a name").to_owned()).collect()
}

fn list(projects: &[&str]) -> Reply {
    let projects: Vec<Value> = projects.iter().map(|name| json!({ "name": name })).collect();
    Reply::bytes(json!({ "meta": { "api-version": "1.4" }, "projects": projects }).to_string()).header("Content-Type", JSON)
}

async fn get(mirror: &Mirror, repository: &str) -> Answer {
    mirror.house.call(Call::get(format!("/alpha/{repository}/simple/")).with("Accept", JSON)).await
}

/// Asks again until the names are these.
async fn becomes(mirror: &Mirror, repository: &str, wanted: &[&str]) {
    for _ in 0..600 {
        let reply = get(mirror, repository).await;
        if reply.status == StatusCode::OK && names(&reply) == wanted {
            return;
        }
        assert!(matches!(reply.status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE), "{} {}", reply.status, reply.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the list never became {wanted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_list() {
    let (mirror, gate) = (Mirror::start(json!({ "mutable_ttl": 0 })).await, Gate::shut());
    mirror.upstream.answer("/simple/", list(&["B.c", "a"]).held_after(10, &gate));
    for _ in 0..2 {
        let early = get(&mirror, "mirror").await;
        assert_eq!((early.status, early.header("retry-after").is_empty()), (StatusCode::SERVICE_UNAVAILABLE, false), "{}", early.text());
    }
    gate.open();
    becomes(&mirror, "mirror", &["a", "b-c"]).await;
    mirror.upstream.answer("/simple/", list(&["a", "b-c", "d"]));
    becomes(&mirror, "mirror", &["a", "b-c", "d"]).await;
    let html = mirror.house.call(Call::get("/alpha/mirror/simple/").with("Accept", HTML)).await;
    assert!(html.text().contains("<a href=\"b-c/\">b-c</a>"), "{}", html.text());
    mirror.upstream.stop().await;
    for _ in 0..3 {
        assert_eq!(names(&get(&mirror, "mirror").await), ["a", "b-c", "d"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_lists_what_its_members_have_by_their_rules() {
    let mirror = Mirror::start(json!({})).await;
    mirror.upstream.answer("/simple/", list(&["a", "denied", "ours"]));
    mirror.house.repository("alpha/own", "pypi", Kind::Hosted, true, json!({})).await;
    let members = json!(["alpha/own", "alpha/mirror"]);
    mirror.house.repository("alpha/both", "pypi", Kind::Group, true, json!({ "members": members, "rules": { "deny": ["denied"] } })).await;
    for name in ["ours", "private"] {
        let form = Form::wheel(&Wheel::new(name, "1.0", "x"));
        let reply = mirror.house.call_as("alpha-owner", Call::post("/alpha/own/", form.body()).with("Content-Type", Form::content_type())).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    assert_eq!(names(&get(&mirror, "own").await), ["ours", "private"]);
    becomes(&mirror, "both", &["a", "ours", "private"]).await;
    becomes(&mirror, "mirror", &["a", "denied", "ours"]).await;
    let owner = r#"unless { principal has name && principal.name == "alpha-owner" }"#;
    let rule = format!(r#"forbid (principal, action == Action::"read", resource == Package::"alpha/own:private") {owner};"#);
    mirror.house.engine().access.operator().put_policy("hide", &rule).await.expect("a policy");
    for (repository, wanted) in [("own", &["ours"][..]), ("both", &["a", "ours"])] {
        becomes(&mirror, repository, wanted).await;
        let call = Call::get(format!("/alpha/{repository}/simple/")).with("Accept", JSON);
        assert!(names(&mirror.house.call_as("alpha-owner", call).await).contains(&String::from("private")), "{repository}");
    }
}
