//! Manifests, tags and what refers to them.
#![cfg(test)]

use entrepot_format_oci::testing;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{INDEX, at, digest, get, house, house_with, push_blob, push_image, put_manifest, refusal, with_body};
use crate::house::House;

async fn tags(house: &House, path: &str) -> Value {
    let reply = house.call_as("bob", get(path)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    reply.json()["tags"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn images_come_back_byte_for_byte_under_names_of_any_depth() {
    let house = house().await;
    for image in ["alpha/images/app", "alpha/images/a/b/c/d/e", "alpha/images/blobs/manifests/tags", "alpha/images/uploads/blobs"] {
        let manifest = push_image(&house, "bob", image, "1.0", "filling").await;
        let name = digest(&manifest);
        for reference in ["1.0", name.as_str()] {
            let got = house.call_as("bob", get(&format!("{image}/manifests/{reference}"))).await;
            assert_eq!((got.body.clone(), got.header("docker-content-digest")), (manifest.clone(), name.as_str()));
            assert_eq!(got.header("content-type"), super::MANIFEST);
            let tag = format!("\"{name}\"");
            assert_eq!(got.header("etag"), tag);
            for seen in [&tag, &name] {
                let unchanged = get(&format!("{image}/manifests/{reference}")).with("if-none-match", seen.clone());
                assert_eq!(house.call_as("bob", unchanged).await.status, StatusCode::NOT_MODIFIED);
            }
        }
        assert_eq!(tags(&house, &format!("{image}/tags/list")).await, json!(["1.0"]));
    }
    assert_eq!(refusal(&house.call_as("bob", get("alpha/images/app/manifests/nothing")).await), (404, "MANIFEST_UNKNOWN".into()));
    assert_eq!(refusal(&house.call_as("bob", get("alpha/images/nothing/tags/list")).await), (404, "NAME_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_needs_its_parts_and_an_index_does_not() {
    let house = house().await;
    push_blob(&house, "bob", "alpha/images/other", b"filling").await;
    push_blob(&house, "bob", "alpha/images/app", b"{}").await;
    let manifest = testing::manifest("app", "1", "filling");
    let refused = house.call_as("bob", put_manifest("alpha/images/app/manifests/1", manifest)).await;
    assert_eq!(refusal(&refused), (400, "MANIFEST_BLOB_UNKNOWN".into()));
    assert!(refused.text().contains(&digest(b"filling")), "{}", refused.text());
    assert_eq!(house.call_as("bob", get("alpha/images/app/manifests/1")).await.status, StatusCode::NOT_FOUND);
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [{ "mediaType": super::MANIFEST, "digest": digest(b"nowhere"), "size": 7 }] });
    let sparse = with_body(Method::PUT, "alpha/images/app/manifests/1", index.to_string()).with("content-type", INDEX);
    assert_eq!(house.call_as("bob", sparse).await.status, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_paged_moved_on_conditions_and_deleted() {
    let house = house().await;
    let image = "alpha/images/app";
    let first = push_image(&house, "bob", image, "b", "one").await;
    let name = digest(&first);
    let many = house.call_as("bob", put_manifest(&format!("{image}/manifests/{name}?tag=a&tag=c&tag=A&tag=a"), first.clone())).await;
    assert_eq!(many.status, StatusCode::CREATED, "{}", many.text());
    assert_eq!(many.headers.get_all("oci-tag").iter().count(), 3);
    assert_eq!(tags(&house, &format!("{image}/tags/list")).await, json!(["A", "a", "b", "c"]));
    let page = house.call_as("bob", get(&format!("{image}/tags/list?n=2&last=A"))).await;
    assert_eq!((page.json()["tags"].clone(), page.header("link")), (json!(["a", "b"]), "</v2/alpha/images/app/tags/list?n=2&last=b>; rel=\"next\""));
    assert_eq!(tags(&house, &format!("{image}/tags/list?n=0")).await, json!([]));
    for bad in ["-1", "x", "1e3", ""] {
        assert_eq!(refusal(&house.call_as("bob", get(&format!("{image}/tags/list?n={bad}"))).await).0, 400, "{bad}");
    }
    assert_eq!(tags(&house, &format!("{image}/tags/list?n=99999999999999999999")).await.as_array().map(Vec::len), Some(4));

    // What was seen decides.
    let second = testing::manifest(image, "2", "one");
    let put = |condition: (&str, String)| put_manifest(&format!("{image}/manifests/a"), second.clone()).with(condition.0, condition.1);
    assert_eq!(house.call_as("bob", put(("if-none-match", "*".into()))).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(house.call_as("bob", put(("if-match", format!("\"{}\"", digest(b"x"))))).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(house.call_as("bob", put(("if-match", format!("\"{name}\"")))).await.status, StatusCode::CREATED);
    assert_eq!(house.call_as("bob", get(&format!("{image}/manifests/a"))).await.body, second);

    // A tag alone, then a manifest with all that are on it.
    let delete = |reference: &str| at(Method::DELETE, &format!("{image}/manifests/{reference}"));
    assert_eq!(house.call_as("bob", delete("b")).await.status, StatusCode::FORBIDDEN, "a publisher deletes nothing");
    assert_eq!(house.call_as("alpha-owner", delete("b")).await.status, StatusCode::ACCEPTED);
    assert_eq!(tags(&house, &format!("{image}/tags/list")).await, json!(["A", "a", "c"]));
    assert_eq!(house.call_as("alpha-owner", delete(&name)).await.status, StatusCode::ACCEPTED);
    assert_eq!(tags(&house, &format!("{image}/tags/list")).await, json!(["a"]));
    for gone in ["A", "c", &name] {
        assert_eq!(refusal(&house.call_as("bob", get(&format!("{image}/manifests/{gone}"))).await), (404, "MANIFEST_UNKNOWN".into()), "{gone}");
    }
    assert_eq!(refusal(&house.call_as("alpha-owner", delete(&name)).await), (404, "MANIFEST_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_was_moved_or_deleted_is_still_in_the_past() {
    let house = house().await;
    let image = "alpha/images/app";
    let first = push_image(&house, "bob", image, "latest", "one").await;
    let before = house.head("alpha/images");
    let second = push_image(&house, "bob", image, "latest", "two").await;
    assert_eq!(house.call_as("bob", get(&format!("alpha/images.at-r{before}/app/manifests/latest"))).await.body, first);
    assert_eq!(house.call_as("bob", get(&format!("{image}/manifests/latest"))).await.body, second);
    house.call_as("alpha-owner", at(Method::DELETE, &format!("{image}/manifests/latest"))).await;
    assert_eq!(tags(&house, &format!("{image}/tags/list")).await, json!([]));
    assert_eq!(tags(&house, &format!("alpha/images.at-r{before}/app/tags/list")).await, json!(["latest"]));
    let restore = crate::raw::Call::post("/api/v1/repositories/alpha/images/packages/app/versions/latest/restore", "");
    let restored = house.call_as("alpha-owner", restore).await;
    assert!(restored.status.is_success(), "{}", restored.text());
    assert_eq!(house.call_as("bob", get(&format!("{image}/manifests/latest"))).await.body, second);
    assert_eq!(tags(&house, &format!("{image}/tags/list")).await, json!(["latest"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn immutable_tags_stay() {
    let house = house_with(json!({ "immutable_tags": ["v[0-9]+"] })).await;
    let image = "alpha/images/app";
    let first = push_image(&house, "bob", image, "v1", "one").await;
    push_image(&house, "bob", image, "latest", "one").await;
    push_image(&house, "bob", image, "v1", "one").await;
    let other = testing::manifest(image, "2", "one");
    let moved = house.call_as("bob", put_manifest(&format!("{image}/manifests/v1"), other.clone())).await;
    assert_eq!(refusal(&moved), (409, "DENIED".into()));
    assert_eq!(house.call_as("bob", put_manifest(&format!("{image}/manifests/latest"), other)).await.status, StatusCode::CREATED);
    for reference in ["v1", &digest(&first)] {
        let deleted = house.call_as("alpha-owner", at(Method::DELETE, &format!("{image}/manifests/{reference}"))).await;
        assert_eq!(deleted.status, StatusCode::CONFLICT, "{reference}: {}", deleted.text());
    }
    assert_eq!(house.call_as("bob", get(&format!("{image}/manifests/v1"))).await.body, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_listed_filtered_paged_and_die() {
    let house = house().await;
    let image = "alpha/images/app";
    let subject = digest(&push_image(&house, "bob", image, "1", "one").await);
    let mut names = Vec::new();
    for number in 0..5 {
        let mut referrer: Value = serde_json::from_slice(&testing::manifest(image, &number.to_string(), "one")).expect("JSON");
        referrer["artifactType"] = json!(format!("application/vnd.example.{}", number % 2));
        referrer["subject"] = json!({ "mediaType": super::MANIFEST, "digest": subject, "size": 1 });
        let body = referrer.to_string();
        let put = house.call_as("bob", put_manifest(&format!("{image}/manifests/{}", digest(body.as_bytes())), body.clone())).await;
        assert_eq!((put.status, put.header("oci-subject")), (StatusCode::CREATED, subject.as_str()), "{}", put.text());
        names.push(digest(body.as_bytes()));
    }
    let listed = |reply: &crate::raw::Reply| -> Vec<String> {
        reply.json()["manifests"].as_array().expect("a list").iter().map(|item| item["digest"].as_str().expect("a digest").to_owned()).collect()
    };
    let all = house.call_as("bob", get(&format!("{image}/referrers/{subject}"))).await;
    assert_eq!((all.header("content-type"), listed(&all)), (INDEX, names.clone()), "the newest is the last");
    assert_eq!(all.json()["manifests"][0]["annotations"]["filling"], "one");
    let some = house.call_as("bob", get(&format!("{image}/referrers/{subject}?artifactType=application/vnd.example.1"))).await;
    assert_eq!((listed(&some).len(), some.header("oci-filters-applied")), (2, "artifactType"));
    let (mut paged, mut target) = (Vec::new(), format!("/v2/{image}/referrers/{subject}?n=2"));
    loop {
        let page = house.call_as("bob", crate::raw::Call::get(&*target)).await;
        assert!(listed(&page).len() <= 2);
        paged.extend(listed(&page));
        match page.header("link").strip_prefix('<').and_then(|link| link.split_once('>')) {
            Some((next, _)) => target = next.to_owned(),
            None => break,
        }
    }
    paged.sort();
    let mut sorted = names.clone();
    sorted.sort();
    assert_eq!(paged, sorted);
    house.call_as("alpha-owner", at(Method::DELETE, &format!("{image}/manifests/{}", names[0]))).await;
    assert_eq!(listed(&house.call_as("bob", get(&format!("{image}/referrers/{subject}"))).await), names[1..]);
    let unknown = house.call_as("bob", get(&format!("{image}/referrers/{}", digest(b"nobody")))).await;
    assert_eq!((unknown.status, listed(&unknown).len()), (StatusCode::OK, 0));
    assert_eq!(house.call_as("bob", get(&format!("{image}/referrers/sha256:short"))).await.status, StatusCode::BAD_REQUEST);
}
