//! Groups: what is ours is never asked of others.

use entrepot_format_pypi::testing::{Form, Wheel};
use entrepot_kit::Kind;
use http::StatusCode;
use serde_json::{Value, json};

use super::{JSON, Mirror, file, page};
use crate::raw::Call;
use crate::upstream::Reply;

struct Both(Mirror);

impl Both {
    async fn start(rules: Value) -> Self {
        let mirror = Mirror::start(json!({})).await;
        mirror.house.repository("alpha/own", "pypi", Kind::Hosted, true, json!({})).await;
        mirror.house.repository("alpha/both", "pypi", Kind::Group, true, json!({ "members": ["alpha/own", "alpha/mirror"], "rules": rules })).await;
        Self(mirror)
    }

    async fn publish(&self, wheel: &Wheel) {
        let form = Form::wheel(wheel);
        let reply = self.0.house.call_as("alpha-owner", Call::post("/alpha/own/", form.body()).with("Content-Type", Form::content_type())).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }

    async fn files(&self, project: &str) -> Vec<String> {
        let reply = self.0.house.call(Call::get(format!("/alpha/both/simple/{project}/")).with("Accept", JSON)).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        reply.json()["files"].as_array().expect("files").iter().map(|file| file["filename"].as_str().expect("a name").to_owned()).collect()
    }

    async fn status(&self, path: &str) -> u16 {
        self.0.house.call(Call::get(format!("/alpha/both/{path}"))).await.status.as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_name_is_never_asked_upstream() {
    let both = Both::start(json!({})).await;
    let ours = Wheel::new("secret.tool", "1.0", "ours");
    both.publish(&ours).await;
    both.0.upstream.answer("/simple/secret-tool/", page("secret-tool", 1, &[file("secret_tool-9.0.tar.gz", "x", b"evil", json!({}))]));
    both.0.upstream.answer("/simple/other/", page("other", 1, &[file("other-1.0.tar.gz", "../../p/other-1.0.tar.gz", b"other", json!({}))]));
    both.0.upstream.answer("/p/other-1.0.tar.gz", Reply::bytes("other"));
    assert_eq!(both.files("secret-tool").await, [ours.filename()]);
    for (path, status) in [
        (format!("files/secret-tool/{}", ours.filename()), 200),
        (format!("files/secret-tool/{}.metadata", ours.filename()), 200),
        (String::from("files/secret-tool/secret_tool-9.0.tar.gz"), 404),
        (String::from("files/secret-tool/secret_tool-9.0.tar.gz.metadata"), 404),
        (String::from("integrity/secret-tool/9.0/secret_tool-9.0.tar.gz/provenance"), 404),
        (String::from("pypi/secret-tool/json"), 200),
        (String::from("pypi/secret-tool/9.0/json"), 404),
        (String::from("simple/Secret_Tool/"), 301),
    ] {
        assert_eq!(both.status(&path).await, status, "{path}");
    }
    assert!(both.0.upstream.seen().is_empty(), "the upstream heard of it: {:?}", both.0.upstream.seen());
    assert_eq!(both.files("other").await, ["other-1.0.tar.gz"]);
    assert_eq!(both.status("files/other/other-1.0.tar.gz").await, 200);
    // What was deleted stays ours.
    let deleted = both.0.house.call_as("alpha-owner", Call::new(http::Method::DELETE, "/alpha/own/manage/secret-tool")).await;
    assert!(deleted.status.is_success(), "{}", deleted.text());
    assert_eq!(both.status("simple/secret-tool/").await, 404);
    assert!(both.0.upstream.seen().iter().all(|seen| !seen.target.contains("secret")), "{:?}", both.0.upstream.seen());
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_to_be_joined_are_joined_file_by_file() {
    let both = Both::start(json!({ "merge": ["torch"] })).await;
    let ours = Wheel::new("torch", "2.0+ours", "ours");
    both.publish(&ours).await;
    let theirs = [
        file(&ours.filename(), "../../p/evil.whl", b"evil", json!({})),
        file("torch-3.0.tar.gz", "../../p/torch-3.0.tar.gz", b"theirs", json!({ "yanked": true })),
    ];
    both.0.upstream.answer("/simple/torch/", page("torch", 1, &theirs));
    both.0.upstream.answer("/p/torch-3.0.tar.gz", Reply::bytes("theirs"));
    let mut files = both.files("torch").await;
    files.sort();
    assert_eq!(files, [ours.filename(), String::from("torch-3.0.tar.gz")]);
    let got = both.0.house.call(Call::get(format!("/alpha/both/files/torch/{}", ours.filename()))).await;
    assert_eq!((got.status, got.body == ours.build()), (StatusCode::OK, true));
    assert_eq!(both.status("files/torch/torch-3.0.tar.gz").await, 200);
}
