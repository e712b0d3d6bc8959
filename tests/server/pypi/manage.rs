//! Yanking, and the state of a project: seen at once, by everybody.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Wheel};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{OWNER, at, files, get, house, page, publish, refused, send};
use crate::house::House;
use crate::raw::Call;

fn yank(path: &str, body: &'static str) -> Call {
    Call { body: body.into(), ..at(Method::POST, &format!("manage/{path}/yank")) }
}

fn unyank(path: &str) -> Call {
    at(Method::DELETE, &format!("manage/{path}/yank"))
}

async fn yanked(house: &House) -> Vec<Value> {
    page(house, "foo").await["files"].as_array().unwrap().iter().map(|file| file["yanked"].clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn yanked_files_stay_and_say_so() {
    let house = house().await;
    for (version, tags) in [("1.0", "py3-none-any"), ("1.0", "py3-none-win32"), ("2.0", "py3-none-any")] {
        publish(&house, &Wheel::new("foo", version, "x").tagged(tags)).await;
    }
    let before = page(&house, "foo").await;
    assert_eq!(yanked(&house).await, [json!(false), json!(false), json!(false)]);
    let reply = house.call_as("bob", yank("foo/1.0.0", r#"{"reason": "breaks <things> & \"more\""}"#)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    let reason = json!("breaks <things> & \"more\"");
    assert_eq!(yanked(&house).await, [reason.clone(), reason.clone(), json!(false)]);
    let html = house.call(get("simple/foo/")).await.text();
    assert_eq!(html.matches("data-yanked=\"breaks &lt;things&gt; &amp; &quot;more&quot;\"").count(), 2, "{html}");
    let head = house.head("alpha/pypi");
    assert_eq!(house.call_as("bob", yank("foo/1.0", r#"{"reason": "breaks <things> & \"more\""}"#)).await.status, StatusCode::OK);
    assert_eq!(house.head("alpha/pypi"), head, "what is so already makes no revision");
    assert_eq!(house.call_as("bob", unyank("foo/1.0/foo-1.0-py3-none-win32.whl")).await.status, StatusCode::OK);
    assert_eq!(yanked(&house).await, [reason, json!(false), json!(false)]);
    assert_eq!(house.call_as("bob", unyank("foo/1.0")).await.status, StatusCode::OK);
    assert_eq!(page(&house, "foo").await["files"], before["files"], "as before: times and hashes too");
    assert_eq!(house.call_as("bob", yank("foo/2.0/foo-2.0-py3-none-any.whl", "")).await.status, StatusCode::OK);
    assert_eq!(yanked(&house).await, [json!(false), json!(false), json!(true)]);
    let json: Value = house.call(get("pypi/foo/json")).await.json();
    assert_eq!(json["info"]["version"], "1.0", "the newest that is not yanked");

    for (call, status) in [
        (yank("foo/3.0", ""), 404),
        (yank("foo/1.0/foo-2.0-py3-none-any.whl", ""), 404),
        (yank("bar/1.0", ""), 404),
        (yank("Foo/1.0", ""), 404),
        (yank("foo/1.0", "{\"why\": 1}"), 400),
        (yank("foo/1.0", "{\"reason\": \"two\\nlines\"}"), 400),
    ] {
        let reply = house.call_as("bob", call.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{} {}", call.target, reply.text());
    }
    assert_eq!(house.call(yank("foo/1.0", "")).await.status, StatusCode::UNAUTHORIZED);
    let past = house.call(Call::get(format!("/alpha/pypi.at-r{head}/simple/foo/")).with("Accept", super::JSON)).await.json();
    assert_eq!(past["files"][1]["yanked"], json!("breaks <things> & \"more\""), "the past stays");
}

async fn set(house: &House, status: &str, reason: &str) -> Value {
    let call = Call { body: json!({"status": status, "reason": reason}).to_string().into(), ..at(Method::PUT, "manage/foo/status") };
    assert_eq!(house.call_as("bob", call.clone()).await.status, StatusCode::FORBIDDEN);
    let reply = house.call_as(OWNER, call).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    house.call(get("manage/foo/status")).await.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_state_of_a_project_is_seen_at_once() {
    let house = house().await;
    let wheel = Wheel::new("foo", "1.0", "x");
    publish(&house, &wheel).await;
    let next = Form::wheel(&Wheel::new("foo", "2.0", "x"));
    assert_eq!(page(&house, "foo").await["project-status"], json!({"status": "active"}));

    assert_eq!(set(&house, "archived", "use bar").await, json!({"status": "archived", "reason": "use bar"}));
    assert_eq!(page(&house, "foo").await["project-status"], json!({"status": "archived", "reason": "use bar"}));
    refused(&send(&house, &next).await, 403, "archived");
    publish(&house, &wheel).await;
    let html = house.call(get("simple/foo/")).await.text();
    assert!(html.contains("<meta name=\"pypi:project-status\" content=\"archived\">") && html.contains("content=\"use bar\""), "{html}");

    set(&house, "quarantined", "malware").await;
    assert!(files(&house, "foo").await.is_empty(), "a quarantined project offers nothing");
    refused(&send(&house, &next).await, 403, "quarantined");
    let file = get(&format!("files/foo/{}", wheel.filename()));
    refused(&house.call(file.clone()).await, 403, "quarantined");
    refused(&house.call(get(&format!("files/foo/{}.metadata", wheel.filename()))).await, 403, "quarantined");

    set(&house, "deprecated", "").await;
    assert_eq!(page(&house, "foo").await["project-status"], json!({"status": "deprecated"}));
    assert_eq!(house.call(file).await.body, wheel.build());
    assert_eq!(send(&house, &next).await.status, StatusCode::OK);
    assert_eq!(page(&house, "foo").await["project-status"], json!({"status": "deprecated"}), "a release does not change it");
    set(&house, "active", "").await;
    assert_eq!(files(&house, "foo").await.len(), 2);
}
