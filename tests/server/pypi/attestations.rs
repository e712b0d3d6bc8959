//! Attestations: checked in form, kept, and served.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Wheel, attestation};
use entrepot_kit::Sha256Digest;
use http::StatusCode;
use serde_json::json;

use super::{get, house, page, refused, send};

#[tokio::test(flavor = "multi_thread")]
async fn attestations_are_kept_and_served() {
    let house = house().await;
    let wheel = Wheel::new("foo", "1.0", "x");
    let sha256 = Sha256Digest::of(&wheel.build()).hex();
    let one = attestation(&wheel.filename(), &sha256);
    let form = |list: serde_json::Value| {
        let mut form = Form::wheel(&wheel);
        // As uv sends them: behind the file.
        form.after.push((String::from("attestations"), list.to_string()));
        form
    };
    refused(&send(&house, &form(json!([attestation("bar-1.0-py3-none-any.whl", &sha256)]))).await, 400, "Invalid attestations");
    refused(&send(&house, &form(json!([attestation(&wheel.filename(), &"0".repeat(64))]))).await, 400, "Invalid attestations");
    assert_eq!(house.head("alpha/pypi"), 0);
    let reply = send(&house, &form(json!([one]))).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());

    let file = page(&house, "foo").await["files"][0].clone();
    let path = format!("integrity/foo/1.0/{}/provenance", wheel.filename());
    assert_eq!(file["provenance"], format!("http://{}/alpha/pypi/{path}", house.host));
    let reply = house.call(get(&path).with("Accept", "application/vnd.pypi.integrity.v1+json")).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, "application/vnd.pypi.integrity.v1+json"));
    let provenance = reply.json();
    assert_eq!((&provenance["version"], &provenance["attestation_bundles"][0]["attestations"]), (&json!(1), &json!([one])));
    assert!(provenance["attestation_bundles"][0]["publisher"]["kind"].is_string());

    let other = Wheel::new("foo", "1.1", "x");
    super::publish(&house, &other).await;
    for path in [format!("integrity/foo/1.1/{}/provenance", other.filename()), format!("integrity/foo/1.1/{}/provenance", wheel.filename())] {
        let reply = house.call(get(&path)).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND);
        assert!(reply.json()["message"].is_string());
    }
    assert_eq!(page(&house, "foo").await["files"][1]["provenance"], json!(null));
    assert_eq!(house.call(get(&path).with("Accept", "text/html")).await.status, StatusCode::NOT_ACCEPTABLE);
}
