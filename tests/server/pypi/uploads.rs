//! Uploads: what is taken, what is taken twice, and what is not.
#![cfg(test)]

use entrepot_format_pypi::testing::{Form, Wheel, sdist};
use entrepot_kit::Sha256Digest;
use futures::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;

use super::{HERE, OWNER, at, files, get, house, house_with, page, post, publish, refused, send};
use crate::raw::Call;

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_and_its_source_come_back_as_they_were() {
    let house = house().await;
    let wheel = Wheel::new("Acme.Foo", "1.0", "x").header("Requires-Python", ">=3.8,<4").header("Requires-Dist", "other>=1");
    let (name, source) = sdist("Acme.Foo", "1.0", "x");
    for (form, address) in [(Form::wheel(&wheel), format!("{HERE}/")), (Form::upload("acme-foo", "1.0", &name, &source), format!("{HERE}/legacy/"))] {
        let reply = house.call_as("bob", Call { target: address, ..post(&form) }).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
    let shown = page(&house, "acme-foo").await;
    assert_eq!((&shown["name"], &shown["versions"]), (&json!("acme-foo"), &json!(["1.0"])));
    assert_eq!(files(&house, "acme-foo").await, [wheel.filename(), name.clone()]);
    for (file, bytes) in shown["files"].as_array().unwrap().iter().zip([wheel.build(), source]) {
        let sha256 = Sha256Digest::of(&bytes).hex();
        assert_eq!((&file["hashes"], &file["size"]), (&json!({"sha256": sha256}), &json!(bytes.len())));
        let path = file["url"].as_str().unwrap().strip_prefix("../../").expect("a relative address");
        assert_eq!(house.call(get(path)).await.body, bytes);
        let metadata = house.call(get(&format!("{path}.metadata"))).await;
        assert_eq!(metadata.status, StatusCode::OK);
        assert_eq!(file["core-metadata"], json!({"sha256": Sha256Digest::of(&metadata.body).hex()}));
    }
    assert_eq!(shown["files"][0]["requires-python"], ">=3.8,<4");
    assert_eq!(house.call(get(&format!("files/acme-foo/{}.metadata", wheel.filename()))).await.body, wheel.metadata());
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_come_in_any_order_and_few_are_needed() {
    let house = house().await;
    for (number, change) in ["after", "none", "all"].into_iter().enumerate() {
        let wheel = Wheel::new("foo", &format!("{number}.0"), "x");
        let mut form = Form::wheel(&wheel);
        match change {
            "after" => form.after = std::mem::take(&mut form.fields),
            "none" => form.fields.clear(),
            _ => {
                for (name, value) in [
                    ("classifiers", "A :: B"),
                    ("classifiers", "C"),
                    ("requires_dist", "x"),
                    ("project_urls", "Home, http://x"),
                    ("dynamic", "y"),
                    ("comment", ""),
                ] {
                    form.fields.push((name.to_owned(), value.to_owned()));
                }
                let mut blake2 = form.with("blake2_256_digest", &blake2_256(&wheel.build()));
                blake2.fields.push((String::from("md5_digest"), String::new()));
                form = blake2;
            }
        }
        let reply = send(&house, &form).await;
        assert_eq!(reply.status, StatusCode::OK, "{change}: {}", reply.text());
    }
    assert_eq!(files(&house, "foo").await.len(), 3);
}

fn blake2_256(bytes: &[u8]) -> String {
    use std::io::Write as _;
    let mut child = std::process::Command::new("b2sum")
        .args(["--length=256", "-"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("b2sum");
    child.stdin.take().expect("an input").write_all(bytes).expect("written");
    let output = child.wait_with_output().expect("ended");
    String::from_utf8(output.stdout).expect("text").split(' ').next().expect("a digest").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_again_is_fine_and_other_bytes_are_refused() {
    let house = house().await;
    let wheel = Wheel::new("foo", "1.0", "first");
    publish(&house, &wheel).await;
    let head = house.head("alpha/pypi");
    publish(&house, &wheel).await;
    let reply = send(&house, &Form::wheel(&Wheel::new("foo", "1.0", "second"))).await;
    refused(&reply, 400, "File already exists");
    assert_eq!(reply.reason, "File already exists", "upload tools print this line");
    assert!(reply.text().contains("File already exists"), "and others the text: {}", reply.text());
    assert_eq!(house.head("alpha/pypi"), head, "nothing changed");
    assert_eq!(house.call(get(&format!("files/foo/{}", wheel.filename()))).await.body, wheel.build());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_spellings_of_a_version_are_one_release() {
    let house = house().await;
    publish(&house, &Wheel::new("foo", "1.0", "x")).await;
    publish(&house, &Wheel::new("foo", "1.0.0", "x").tagged("py3-none-win_amd64")).await;
    publish(&house, &Wheel::new("foo", "1.0+acme.1", "x")).await;
    let (name, source) = sdist("foo", "1.0.0.0", "x");
    assert_eq!(send(&house, &Form::upload("foo", "1", &name, &source)).await.status, StatusCode::OK);
    assert_eq!(page(&house, "foo").await["versions"], json!(["1.0", "1.0+acme.1"]));
    let (name, source) = sdist("foo", "1.0", "x");
    refused(&send(&house, &Form::upload("foo", "1.0", &name, &source)).await, 400, "Only one source distribution");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_narrow_what_is_taken() {
    let house = house_with(json!({"local_versions": false, "linux_wheels": false})).await;
    refused(&send(&house, &Form::wheel(&Wheel::new("foo", "1.0+x", "x"))).await, 400, "takes no local versions");
    refused(&send(&house, &Form::wheel(&Wheel::new("foo", "1.0", "x").tagged("py3-none-linux_x86_64"))).await, 400, "platform tag linux");
    publish(&house, &Wheel::new("foo", "1.0", "x").tagged("py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_actions_are_gone_and_strangers_stay_out() {
    let house = house().await;
    let form = Form::wheel(&Wheel::new("foo", "1.0", "x"));
    for action in ["submit", "doc_upload"] {
        refused(&send(&house, &form.clone().with(":action", action)).await, 410, "no longer served");
    }
    assert_eq!(house.call(post(&form)).await.status, StatusCode::UNAUTHORIZED);
    house.user("eve", &[("system", "alpha")]).await;
    refused(&house.call_as("eve", post(&form)).await, 403, "lacks the right");
    assert_eq!(house.call(get("simple/foo/")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.head("alpha/pypi"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_upload_the_same_file_and_there_is_one_truth() {
    let house = house().await;
    let wheel = Wheel::new("foo", "1.0", "x");
    let form = Form::wheel(&wheel);
    let replies = join_all((0..16).map(|_| send(&house, &form))).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK), "{:?}", replies.iter().map(|reply| reply.text()).collect::<Vec<_>>());
    assert_eq!(files(&house, "foo").await, [wheel.filename()]);
    assert_eq!(house.head("alpha/pypi"), 1, "one of them made the revision");

    let rivals: Vec<Wheel> = (0..16).map(|number| Wheel::new("foo", "2.0", &format!("rival {number}"))).collect();
    let replies = join_all(rivals.iter().map(|wheel| async { send(&house, &Form::wheel(wheel)).await })).await;
    let winners: Vec<usize> = (0..16).filter(|number| replies[*number].status == StatusCode::OK).collect();
    let [winner] = winners.as_slice() else { panic!("one winner, not {winners:?}") };
    replies.iter().filter(|reply| reply.status != StatusCode::OK).for_each(|reply| refused(reply, 400, "File already exists"));
    assert_eq!(house.call(get(&format!("files/foo/{}", rivals[*winner].filename()))).await.body, rivals[*winner].build());
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_upload_the_files_of_one_release() {
    let house = house().await;
    let wheels: Vec<Wheel> = (0..16).map(|number| Wheel::new("foo", "1.0", "x").tagged(&format!("py3-none-macosx_{number}_0_arm64"))).collect();
    let replies = join_all(wheels.iter().map(|wheel| async { send(&house, &Form::wheel(wheel)).await })).await;
    assert!(replies.iter().all(|reply| reply.status == StatusCode::OK), "{:?}", replies.iter().map(|reply| reply.text()).collect::<Vec<_>>());
    let mut wanted: Vec<String> = wheels.iter().map(Wheel::filename).collect();
    wanted.sort();
    assert_eq!(files(&house, "foo").await, wanted);
    // Of two sources one is taken, whoever comes first.
    let sources = ["1.0", "1.0.0"].map(|version| sdist("foo", version, "x"));
    let replies = join_all(sources.iter().map(|(name, bytes)| async { send(&house, &Form::upload("foo", "1.0", name, bytes)).await.status })).await;
    assert_eq!(replies.iter().filter(|status| **status == StatusCode::OK).count(), 1, "{replies:?}");
    assert_eq!(replies.iter().filter(|status| **status == StatusCode::BAD_REQUEST).count(), 1, "{replies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_never_used_again() {
    let house = house().await;
    let (first, second) = (Wheel::new("foo", "1.0", "x"), Wheel::new("foo", "2.0", "x"));
    publish(&house, &first).await;
    publish(&house, &second).await;
    let delete = |path: &str| at(Method::DELETE, &format!("manage/{path}"));
    let file = format!("foo/1.0/{}", first.filename());
    assert_eq!(house.call_as("bob", delete(&file)).await.status, StatusCode::FORBIDDEN, "who publishes may not delete");
    assert_eq!(house.call_as(OWNER, delete(&file)).await.status, StatusCode::OK);
    assert_eq!(house.call_as(OWNER, delete(&file)).await.status, StatusCode::NOT_FOUND);
    assert_eq!(files(&house, "foo").await, [second.filename()]);
    for beside in ["", ".metadata"] {
        assert_eq!(house.call(get(&format!("files/foo/{}{beside}", first.filename()))).await.status, StatusCode::NOT_FOUND);
    }
    for filling in ["x", "y"] {
        refused(&send(&house, &Form::wheel(&Wheel::new("foo", "1.0", filling))).await, 400, "This filename has already been used");
    }
    // Other files of the release may still come; after the release is gone, none.
    publish(&house, &first.clone().tagged("py3-none-win32")).await;
    assert_eq!(house.call_as(OWNER, delete("foo/1.0.0")).await.status, StatusCode::OK);
    assert_eq!(page(&house, "foo").await["versions"], json!(["2.0"]));
    refused(&send(&house, &Form::wheel(&first.clone().tagged("py3-none-win_arm64"))).await, 400, "its release was deleted");
    assert_eq!(house.call_as(OWNER, delete("foo")).await.status, StatusCode::OK);
    assert_eq!(house.call(get("simple/foo/")).await.status, StatusCode::NOT_FOUND);
    refused(&send(&house, &Form::wheel(&second)).await, 400, "This filename has already been used");
    publish(&house, &Wheel::new("foo", "3.0", "x")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_packages_count_although_only_the_form_names_them() {
    let house = house().await;
    let rule = r#"forbid (principal == User::"bob", action == Action::"publish", resource == Package::"alpha/pypi:acme-secret");"#;
    house.engine().access.operator().put_policy("secret", rule).await.expect("a policy");
    for spelling in ["acme-secret", "Acme.Secret"] {
        // Whatever the form calls it: the file counts.
        let form = Form::wheel(&Wheel::new(spelling, "1.0", "x")).with("name", "other");
        let mut reply = send(&house, &form).await;
        // A replica may learn of the rule a moment later. Until then it is the form that is wrong.
        while reply.status == StatusCode::BAD_REQUEST {
            reply = send(&house, &form).await;
        }
        refused(&reply, 403, "secret");
    }
    assert_eq!(house.head("alpha/pypi"), 0);
    publish(&house, &Wheel::new("acme-other", "1.0", "x")).await;
    assert_eq!(house.call_as(OWNER, post(&Form::wheel(&Wheel::new("acme-secret", "1.0", "x")))).await.status, StatusCode::OK);
    refused(&house.call_as("bob", at(Method::POST, "manage/acme-secret/1.0/yank")).await, 403, "secret");
}
