//! One system's principal reaches nothing of another's: not by name, digest, mount or upload.
#![cfg(test)]

use http::{Method, StatusCode};

use super::{at, digest, get, house, push_blob, push_image};
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn another_systems_images_cannot_be_mounted_guessed_listed_or_resumed() {
    let house = house().await;
    let secret = b"a layer of another system";
    push_blob(&house, "beta-owner", "beta/images/app", secret).await;
    let manifest = push_image(&house, "beta-owner", "beta/images/app", "1", "filling").await;
    let begun = house.call_as("beta-owner", at(Method::POST, "beta/images/app/blobs/uploads/")).await;
    let upload = begun.header("location").to_owned();
    let (blob, name) = (digest(secret), digest(&manifest));

    // Every look at what is there is answered like a look at what is not.
    for path in [format!("blobs/{blob}"), format!("manifests/{name}"), "manifests/1".into(), "tags/list".into(), format!("referrers/{name}")] {
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            let there = house.call_as("alpha-owner", at(method.clone(), &format!("beta/images/app/{path}"))).await;
            let nowhere = house.call_as("alpha-owner", at(method.clone(), &format!("beta/imagez/app/{path}"))).await;
            assert_eq!((there.status, there.text().replace("images", "imagez")), (nowhere.status, nowhere.text()), "{method} {path}");
            assert!(there.status.is_client_error());
        }
    }
    for call in [Call::get(&*upload), Call::new(Method::PATCH, &*upload), Call::put(format!("{upload}?digest={blob}"), ""), Call::new(Method::DELETE, &*upload)]
    {
        assert_eq!(house.call_as("alpha-owner", call).await.status, StatusCode::NOT_FOUND);
    }
    for from in ["&from=beta/images/app", "&from=beta/images/nothing", ""] {
        let mount = at(Method::POST, &format!("alpha/images/mine/blobs/uploads/?mount={blob}{from}"));
        let begun = house.call_as("alpha-owner", mount).await;
        assert_eq!(begun.status, StatusCode::ACCEPTED, "{from}: {}", begun.text());
    }
    assert_eq!(house.call_as("alpha-owner", get(&format!("alpha/images/mine/blobs/{blob}"))).await.status, StatusCode::NOT_FOUND);
    let catalog = house.call_as("alpha-owner", get("_catalog")).await;
    assert!(!catalog.text().contains("beta/"), "{}", catalog.text());

    // Whoever has the bytes has them: a push of the same is a push.
    push_blob(&house, "alpha-owner", "alpha/images/mine", secret).await;
    assert_eq!(house.call_as("alpha-owner", get(&format!("alpha/images/mine/blobs/{blob}"))).await.body.as_ref(), secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_deleted_is_gone_from_its_image_only() {
    let house = house().await;
    for image in ["alpha/images/one", "alpha/images/two"] {
        push_blob(&house, "alpha-owner", image, b"shared").await;
    }
    let (one, two) = (format!("alpha/images/one/blobs/{}", digest(b"shared")), format!("alpha/images/two/blobs/{}", digest(b"shared")));
    assert_eq!(house.call_as("bob", get(&one)).await.status, StatusCode::OK);
    assert_eq!(house.call_as("alpha-owner", at(Method::DELETE, &one)).await.status, StatusCode::ACCEPTED);
    assert_eq!(house.call_as("bob", get(&one)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.call_as("bob", get(&two)).await.body.as_ref(), b"shared");
    push_blob(&house, "alpha-owner", "alpha/images/one", b"shared").await;
    assert_eq!(house.call_as("bob", get(&one)).await.body.as_ref(), b"shared", "pushed again");
}
