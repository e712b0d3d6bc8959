//! Quotas: refused when they are used up, with the reason, and open again when there is room.

use std::time::Duration;

use super::*;

/// Asks again until there is room: a figure by which something is refused may be a second old.
async fn until_there_is_room(later: &Later, call: impl Fn() -> Call) -> Reply {
    for _ in 0..300 {
        let reply = later.owner(call()).await;
        if reply.status != StatusCode::FORBIDDEN {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("there is never room");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_fit_is_refused_with_the_reason() {
    let later = Later::alone().await;
    later.repository("img", "oci", Kind::Hosted, json!({ "quota_bytes": 300_000 })).await;
    let (one, two, three) = (vec![1; 100_000], vec![2; 150_000], vec![3; 100_000]);
    later.push("img/app", Some("one"), &one).await;
    later.push("img/app", Some("two"), &two).await;
    let push = |layer: Vec<u8>| Call::post(format!("/v2/alpha/img/app/blobs/uploads/?digest={}", digest(&layer)), layer);
    let refused = later.owner(push(three.clone())).await;
    let error = refused.json()["errors"][0].clone();
    assert_eq!((refused.status, &error["code"]), (StatusCode::FORBIDDEN, &json!("DENIED")), "{}", refused.text());
    assert!(error["message"].as_str().is_some_and(|text| text.contains("of the 300000 bytes")), "{error}");
    assert_eq!(refused.header("x-artifact-policy"), "quota_bytes");
    // What is there already costs nothing, under whichever name.
    assert_eq!(later.push("img/other", Some("one"), &one).await.len(), 71);
    let used = later.owner(Call::get("/api/v1/repositories/alpha/img")).await.json();
    let bytes = used["usage"]["bytes"].as_u64().expect("bytes");
    assert!((250_002..300_000).contains(&bytes) && used["quota_bytes"] == 300_000, "{used}");
    // Deletion makes room, and restoration takes it.
    assert_eq!(later.owner(Call::new(Method::DELETE, "/api/v1/repositories/alpha/img/packages/app")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(until_there_is_room(&later, || push(three.clone())).await.status, StatusCode::CREATED);
    assert_eq!(later.owner(Call::post("/api/v1/repositories/alpha/img/packages/app/restore", "")).await.status, StatusCode::OK);
    // Now it is over: refused before the body is taken.
    let mut refused = later.owner(Call::post("/v2/alpha/img/app/blobs/uploads/", "")).await;
    for _ in 0..300 {
        if refused.status == StatusCode::FORBIDDEN {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        refused = later.owner(Call::post("/v2/alpha/img/app/blobs/uploads/", "")).await;
    }
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text());
    assert_eq!(later.status("img/app/manifests/two").await, StatusCode::OK, "reading goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_has_one_quota_for_all_its_repositories() {
    let later = Later::alone().await;
    for name in ["one", "two"] {
        later.repository(name, "generic", Kind::Hosted, json!({})).await;
    }
    let system = |quota: Value| {
        let call = Call { method: Method::PATCH, ..Call::put("/api/v1/systems/gamma", json!({ "quota_bytes": quota }).to_string()) };
        later.house.call_as("admin", call.with("Content-Type", "application/json"))
    };
    let made = Call::post("/api/v1/systems", json!({ "name": "gamma", "quota_bytes": 1000 }).to_string()).with("Content-Type", "application/json");
    let made = later.house.call_as("admin", made).await;
    assert_eq!((made.status, made.json()["quota_bytes"].clone()), (StatusCode::CREATED, json!(1000)), "{}", made.text());
    for name in ["one", "two"] {
        later.house.repository(&format!("gamma/{name}"), "generic", Kind::Hosted, true, json!({})).await;
    }
    let put = |path: &str, size: usize| later.house.call_as("admin", Call::put(format!("/gamma/{path}"), vec![size as u8; size]));
    assert_eq!(put("one/a", 600).await.status, StatusCode::CREATED);
    let refused = put("two/b", 500).await;
    assert!(refused.status == StatusCode::FORBIDDEN && refused.text().contains("the system gamma has 600 of the 1000 bytes"), "{}", refused.text());
    assert_eq!(put("two/c", 400).await.status, StatusCode::CREATED);
    assert_eq!(put("one/d", 1).await.status, StatusCode::FORBIDDEN);
    assert_eq!(later.owner(Call::put("/alpha/one/a", "elsewhere")).await.status, StatusCode::CREATED, "others have their own");
    let lifted = system(Value::Null).await;
    assert!(lifted.status == StatusCode::OK && lifted.json().get("quota_bytes").is_none(), "{}", lifted.text());
    assert_eq!(put("one/d", 1).await.status, StatusCode::CREATED);
    let body = Call { method: Method::PATCH, ..Call::put("/api/v1/systems/alpha", json!({ "quota_bytes": 5 }).to_string()) };
    let refused = later.owner(body.with("Content-Type", "application/json")).await;
    assert!([StatusCode::FORBIDDEN, StatusCode::CONFLICT].contains(&refused.status), "who manages a system does not set its quota: {}", refused.text());
}
