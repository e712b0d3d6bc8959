//! Signed images: made by the real cosign in each of its forms (and by Notation's library, as fixtures), pulled by crane and docker.
#![cfg(test)]

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Site;
use super::protocol::{Image, call, digest, header};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::distribution::Distribution;
use crate::support::engine::Engine;
use crate::support::images::unique;

/// How cosign is told to write a signature, and what it needs in its environment.
type Form = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// cosign's forms: under a tag, as a referrer, and its default.
const FORMS: [Form; 3] = [
    ("legacy", &["--new-bundle-format=false"], &[]),
    ("referrer", &["--new-bundle-format=false", "--registry-referrers-mode=oci-1-1"], &[("COSIGN_EXPERIMENTAL", "1")]),
    ("bundle", &[], &[]),
];
const NEEDS: &str = "needs a signature here by the ECDSA P-256 key SHA256:";

/// A server, somebody who signs there, and somebody without credentials.
struct Scene {
    server: TestServer,
    signer: Home,
    stranger: Home,
    keys: Vec<String>,
}

impl Scene {
    /// A repository `signed`, whose images need a signature by the first of two keys.
    async fn new(rule: Value) -> Self {
        let scene = Self { server: TestServer::start(), signer: Home::new(), stranger: Home::new(), keys: Vec::new() }.with_keys();
        let site = Site::of(&scene.server);
        scene.signer.crane(&["auth", "login", &site.host, "-u", site.user, "-p", &site.password]).succeeded();
        scene.make(json!({ "name": "signed", "kind": "hosted", "signatures": scene.rule(rule, &[0]) })).await;
        scene
    }

    fn with_keys(mut self) -> Self {
        for name in ["one", "two", "three"] {
            self.signer.cosign(&[], &["generate-key-pair", "--output-key-prefix", name]).succeeded();
            self.keys.push(std::fs::read_to_string(self.signer.path().join(format!("{name}.pub"))).unwrap());
        }
        self
    }

    fn rule(&self, mut rule: Value, keys: &[usize]) -> Value {
        rule["keys"] = keys.iter().map(|key| self.keys[*key].as_str()).collect();
        rule
    }

    async fn make(&self, mut repository: Value) {
        repository["format"] = "oci".into();
        repository["tags"] = json!({ "visibility": "public" });
        self.server.admin().json(Method::POST, "/api/v1/repositories", &repository).await.is(201);
    }

    async fn trust(&self, repository: &str, rule: Value, keys: &[usize]) {
        let change = json!({ "signatures": self.rule(rule, keys) });
        self.server.admin().json(Method::PATCH, &format!("/api/v1/repositories/main/{repository}"), &change).await.is(200);
    }

    /// An image that nobody signed yet: its name, and its name by digest.
    fn push(&self, name: &str) -> (String, String) {
        self.push_to(self.server.address(), name)
    }

    fn push_to(&self, host: &str, name: &str) -> (String, String) {
        let image = format!("{host}/{name}");
        let tagged = format!("{image}:1");
        self.signer.crane(&["append", "--oci-empty-base", "-f", &self.signer.layer("one"), "-t", &tagged]).succeeded();
        let digest = self.signer.crane(&["digest", &tagged]).succeeded().stdout.trim().to_owned();
        (tagged, format!("{image}@{digest}"))
    }

    fn sign(&self, key: &str, (_, flags, environment): Form, image: &str) {
        let key = format!("{key}.key");
        let first = ["sign", "--key", key.as_str(), "--use-signing-config=false", "--tlog-upload=false", "--yes", "--allow-insecure-registry"];
        self.signer.cosign(environment, &[&first, flags, &[image]].concat()).succeeded();
    }

    /// Somebody without credentials gets the image.
    #[track_caller]
    fn pulls(&self, image: &str) {
        let archive = self.stranger.path().join("pulled.tar").display().to_string();
        self.stranger.crane(&["pull", image, &archive]).succeeded();
    }

    /// Somebody without credentials does not, and is told why.
    #[track_caller]
    fn declines(&self, image: &str, complaint: &str) {
        let said = self.stranger.crane(&["manifest", image]).failed().text();
        assert!(said.contains("DENIED") && said.contains(complaint), "{image}: {complaint} is not in\n{said}");
    }
}

/// The tag under which cosign keeps the signatures of an image.
fn signature_tag(by_digest: &str) -> String {
    let (image, digest) = by_digest.split_once('@').unwrap();
    format!("{image}:{}.sig", digest.replace(':', "-"))
}

async fn form_works(form: Form) {
    let scene = Scene::new(json!({ "mode": "pull" })).await;
    let pull = || json!({ "mode": "pull" });
    let (tagged, by_digest) = scene.push(&format!("signed/{}/app", form.0));
    scene.declines(&tagged, NEEDS);
    scene.declines(&by_digest, "it has no signature");
    // Who publishes sees what there is to sign, by its digest.
    scene.signer.crane(&["manifest", &by_digest]).succeeded();
    let said = scene.signer.crane(&["manifest", &tagged]).failed().text();
    assert!(said.contains(NEEDS), "{said}");

    scene.sign("two", form, &by_digest);
    scene.declines(&tagged, "the signature is by none of the keys");
    scene.sign("one", form, &by_digest);
    scene.pulls(&tagged);
    scene.pulls(&by_digest);
    // What cosign itself says, to somebody without credentials.
    std::fs::write(scene.stranger.path().join("one.pub"), &scene.keys[0]).unwrap();
    let (_, flags, environment) = form;
    let first = ["verify", "--key", "one.pub", "--insecure-ignore-tlog=true", "--allow-insecure-registry"];
    let own: Vec<&str> = flags.iter().copied().filter(|flag| flag.starts_with("--new")).collect();
    let experimental: &[&str] = if environment.is_empty() { &[] } else { &["--experimental-oci11"] };
    scene.stranger.cosign(environment, &[&first, &own[..], experimental, &[&tagged]].concat()).succeeded();

    // A key that is not trusted any more vouches for nothing, at once; one that is trusted later does.
    scene.trust("signed", pull(), &[2]).await;
    scene.declines(&tagged, "the signature is by none of the keys");
    scene.trust("signed", pull(), &[2, 1]).await;
    scene.pulls(&tagged);
    scene.trust("signed", pull(), &[0]).await;
    scene.pulls(&by_digest);

    // An image that is not the signed one, under the same tag.
    scene.push(&format!("signed/{}/app", form.0));
    scene.declines(&tagged, "it has no signature");
    scene.pulls(&by_digest);
    assert_eq!(scene.server.log_lines(&["status=5"]), 0, "{}", scene.server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn images_need_a_signature_under_a_tag() {
    form_works(FORMS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_need_a_signature_among_their_referrers() {
    form_works(FORMS[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_need_a_signature_in_a_bundle() {
    form_works(FORMS[2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_go_with_their_signatures() {
    let scene = Scene::new(json!({ "mode": "pull" })).await;
    let (tagged, by_digest) = scene.push("signed/app");
    let image = by_digest.split_once('@').unwrap().0.to_owned();
    let tag = signature_tag(&by_digest);
    scene.sign("one", FORMS[0], &by_digest);
    scene.pulls(&tagged);
    // A tag that leads elsewhere, or nowhere, signs nothing.
    scene.signer.crane(&["copy", &tag, &format!("{image}:kept")]).succeeded();
    scene.signer.crane(&["delete", &tag]).succeeded();
    scene.declines(&tagged, "it has no signature");
    scene.signer.crane(&["copy", &format!("{image}:kept"), &tag]).succeeded();
    scene.pulls(&tagged);
    let (_, other) = scene.push("signed/app");
    scene.signer.crane(&["copy", &tag, &signature_tag(&other)]).succeeded();
    scene.declines(&other, "the signature is of another image");
    scene.signer.crane(&["append", "--oci-empty-base", "-f", &scene.signer.layer("x"), "-t", &tag]).succeeded();
    scene.declines(&by_digest, "it has no signature");
    // The manifest of a signature is deleted, and its verdict with it.
    scene.sign("one", FORMS[2], &by_digest);
    scene.pulls(&by_digest);
    let referrers = scene.server.anonymous().get(&format!("/v2/signed/app/referrers/{}", by_digest.split_once('@').unwrap().1)).await.is(200).json();
    let signature = referrers["manifests"][0]["digest"].as_str().unwrap();
    scene.signer.crane(&["delete", &format!("{image}@{signature}")]).succeeded();
    scene.declines(&by_digest, NEEDS);
    assert_eq!(scene.server.log_lines(&["status=5"]), 0, "{}", scene.server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_covers_what_it_names() {
    let scene = Scene::new(json!({ "mode": "pull" })).await;
    let image = format!("{}/signed/app", scene.server.address());
    let children = ["amd64", "arm64"].map(|architecture| {
        let (tagged, _) = scene.push("signed/app");
        let made = format!("{image}:{architecture}");
        // Whoever signs reads by digest.
        let digest = scene.signer.crane(&["digest", &tagged]).succeeded().stdout.trim().to_owned();
        scene.signer.crane(&["mutate", "--set-platform", &format!("linux/{architecture}"), "-t", &made, &format!("{image}@{digest}")]).succeeded();
        format!("{image}@{}", scene.signer.crane(&["digest", &made]).succeeded().stdout.trim())
    });
    scene.signer.crane(&["index", "append", "-m", &children[0], "-m", &children[1], "-t", &format!("{image}:both")]).succeeded();
    let index = format!("{image}@{}", scene.signer.crane(&["digest", &format!("{image}:both")]).succeeded().stdout.trim());
    scene.declines(&children[1], NEEDS);
    scene.sign("one", FORMS[2], &index);
    scene.pulls(&format!("{image}:both"));
    scene.pulls(&children[0]);
    scene.pulls(&children[1]);
    // For a key that is trusted later as well: a child alone is asked for.
    scene.sign("two", FORMS[0], &index);
    scene.trust("signed", json!({ "mode": "pull" }), &[1]).await;
    scene.pulls(&children[1]);
    scene.trust("signed", json!({ "mode": "pull" }), &[2]).await;
    scene.declines(&children[0], NEEDS);
    let (_, stranger) = scene.push("signed/app");
    scene.declines(&stranger, NEEDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_prints_why_it_may_not() {
    let scene = Scene::new(json!({ "mode": "pull" })).await;
    let (home, engine) = (Home::new(), Engine::shared());
    let (tagged, by_digest) = scene.push("signed/app");
    let refused = home.docker(engine, &["pull", &tagged]).failed().text();
    assert!(refused.contains("denied") && refused.contains(NEEDS), "{refused}");
    scene.sign("one", FORMS[2], &by_digest);
    home.docker(engine, &["pull", "--quiet", &tagged]).succeeded();
    home.docker(engine, &["rmi", &tagged]).succeeded();
    // Pushing again a tag that nobody signed goes on working.
    let said = scene.signer.crane(&["tag", &by_digest, "2"]).succeeded();
    assert!(!said.text().contains("DENIED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn some_tags_and_other_modes() {
    let scene = Scene::new(json!({ "mode": "pull", "tags": "v[0-9.]+" })).await;
    let (tagged, by_digest) = scene.push("signed/app");
    let image = by_digest.split_once('@').unwrap().0.to_owned();
    scene.signer.crane(&["tag", &tagged, "v1.0"]).succeeded();
    scene.pulls(&tagged);
    scene.pulls(&by_digest);
    scene.declines(&format!("{image}:v1.0"), NEEDS);
    scene.sign("one", FORMS[0], &by_digest);
    scene.pulls(&format!("{image}:v1.0"));

    // No tag without a signature; what signs has tags of its own.
    scene.trust("signed", json!({ "mode": "tag", "tags": "v.*" }), &[0]).await;
    let (tagged, by_digest) = scene.push("signed/other");
    let refused = scene.signer.crane(&["tag", &tagged, "v1"]).failed().text();
    assert!(refused.contains("DENIED") && refused.contains(NEEDS), "{refused}");
    scene.sign("two", FORMS[0], &by_digest);
    let refused = scene.signer.crane(&["tag", &tagged, "v1"]).failed().text();
    assert!(refused.contains("by none of the keys"), "{refused}");
    scene.sign("one", FORMS[2], &by_digest);
    scene.signer.crane(&["tag", &tagged, "v1"]).succeeded();
    scene.trust("signed", json!({ "mode": "tag" }), &[0]).await;
    let refused = scene.signer.crane(&["append", "--oci-empty-base", "-f", &scene.signer.layer("x"), "-t", &tagged]).failed().text();
    assert!(refused.contains("DENIED") && refused.contains(NEEDS), "{refused}");

    // A warning, and a line in the log.
    scene.trust("signed", json!({ "mode": "pull" }), &[2]).await;
    scene.declines(&tagged, NEEDS);
    scene.trust("signed", json!({ "mode": "warn" }), &[2]).await;
    scene.pulls(&tagged);
    let api = scene.server.anonymous();
    let answer = call(&api, Method::GET, "/v2/signed/other/manifests/1", None).await;
    let warning = header(&answer, "warning");
    assert!(answer.status() == 200 && warning.starts_with("299 - \"other:1 (sha256:") && warning.contains(NEEDS), "{warning}");
    assert_eq!(scene.server.log_lines(&["WARN", NEEDS]), 0, "{}", scene.server.log());
    scene.trust("signed", json!({ "mode": "audit" }), &[2]).await;
    let answer = call(&api, Method::GET, "/v2/signed/other/manifests/1", None).await;
    assert!(answer.status() == 200 && !answer.headers().contains_key("warning"));
    assert!(scene.server.log_lines(&["WARN", NEEDS]) > 0, "{}", scene.server.log());

    // What the setting does not mean is refused by name.
    for (rule, complaint) in [
        (json!({ "mode": "pull", "keys": ["key.pub"] }), "keys[0]: this is no PEM text"),
        (json!({ "mode": "always", "keys": [scene.keys[0]] }), "the mode \"always\""),
        (json!({ "mode": "pull", "keys": [scene.keys[0]], "tags": "(" }), "\"tags\" is no regular expression"),
    ] {
        let reply = scene.server.admin().json(Method::PATCH, "/api/v1/repositories/main/signed", &json!({ "signatures": rule })).await.is(400);
        let said = reply.json().to_string().replace("\\\"", "\"");
        assert!(said.contains("the setting \"signatures\"") && said.contains(complaint), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tampered_signatures_are_refused() {
    let scene = Scene::new(json!({ "mode": "pull" })).await;
    let admin = scene.server.admin();
    for form in FORMS {
        let (tagged, by_digest) = scene.push(&format!("signed/tampered/{}", form.0));
        let (image, subject) = by_digest.split_once('@').unwrap();
        scene.sign("one", form, &by_digest);
        scene.pulls(&tagged);
        let path = format!("/v2/{}", image.split_once('/').unwrap().1);
        let tag = signature_tag(&by_digest).rsplit_once(':').unwrap().1.to_owned();
        let reference = if form.0 == "legacy" {
            tag.clone()
        } else {
            admin.get(&format!("{path}/referrers/{subject}")).await.json()["manifests"][0]["digest"].as_str().unwrap().to_owned()
        };
        let manifest = admin.get(&format!("{path}/manifests/{reference}")).await.is(200).json();
        let layer = manifest["layers"][0].clone();
        let content = admin.get(&format!("{path}/blobs/{}", layer["digest"].as_str().unwrap())).await.is(200).text();
        // Who signs is no stranger: what is deleted here is the good signature.
        scene.signer.crane(&["delete", &format!("{image}@{}", digest(&admin.get(&format!("{path}/manifests/{reference}")).await.body))]).succeeded();
        scene.declines(&tagged, "it has no signature");
        let changes: Vec<(&str, String)> = match form.0 {
            "bundle" => vec![
                ("a bit of the signature", flip(&content, "\"sig\":\"")),
                ("a bit of the payload", flip(&content, "\"payload\":\"")),
                ("another type", content.replace("vnd.in-toto", "vnd.in-tutu")),
            ],
            _ => vec![
                ("another image", content.replace(subject, &digest(b"another image"))),
                ("another type", content.replace("cosign container", "kosign container")),
            ],
        };
        for (what, changed) in changes {
            assert_ne!(changed, content, "{what}");
            let mut manifest = manifest.clone();
            manifest["layers"][0]["digest"] = digest(changed.as_bytes()).into();
            manifest["layers"][0]["size"] = changed.len().into();
            push_signature(&scene, &path, &manifest, &changed, (form.0 == "legacy").then_some(tag.as_str())).await;
            scene.declines(&tagged, NEEDS);
        }
        if form.0 != "bundle" {
            let mut manifest = manifest.clone();
            let signature = flip(&manifest["layers"][0].to_string(), "cosign/signature\":\"");
            manifest["layers"][0] = serde_json::from_str(&signature).unwrap();
            push_signature(&scene, &path, &manifest, &content, (form.0 == "legacy").then_some(tag.as_str())).await;
            scene.declines(&tagged, "is");
        }
        // The good one brought back: it was not the image that was at fault.
        push_signature(&scene, &path, &manifest, &content, (form.0 == "legacy").then_some(tag.as_str())).await;
        scene.pulls(&tagged);
    }
}

/// The text with one letter of the base64 behind a place changed.
fn flip(text: &str, place: &str) -> String {
    let at = text.find(place).unwrap() + place.len() + 20;
    let mut bytes = text.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

/// Pushes the manifest of a signature, with its one layer and whatever else it names.
async fn push_signature(scene: &Scene, path: &str, manifest: &Value, layer: &str, tag: Option<&str>) {
    let manifest = Bytes::from(manifest.to_string());
    let config: Value = serde_json::from_slice(&manifest).unwrap();
    assert!(config["config"]["digest"].is_string());
    let image = Image { path: path.to_owned(), blobs: vec![Bytes::from(layer.to_owned()), Bytes::from_static(b"{}")], manifest };
    let own = digest(&image.manifest);
    let reference = tag.unwrap_or(&own);
    let answer = image.push(&scene.server.admin(), reference, 0).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.text().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn notation_vouches_by_certificates_of_files() {
    let fixture = |name: &str| std::fs::read(format!("{}/fixtures/oci/notation/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let place = |name: &str| format!("{}/fixtures/oci/notation/{name}", env!("CARGO_MANIFEST_DIR"));
    let config = |root: &str| {
        format!(
            "[[repository]]\nname = \"signed\"\nformat = \"oci\"\ntags = {{ visibility = \"public\" }}\nsignatures = {{ mode = \"pull\", keys = [{:?}] }}\n",
            place(root)
        )
    };
    let mut server = TestServer::builder().config(config("p256.root.pem")).start();
    let envelopes = [
        ("p256.root.pem", "p256.jws", true),
        ("p256.root.pem", "p256.cose", true),
        ("p256.root.pem", "p256.expired.jws", false),
        ("p256.root.pem", "p256.old-certificate.cose", false),
        ("p256.root.pem", "p256.plugin.jws", false),
        ("p384.root.pem", "p256.jws", false),
        ("rsa2048.root.pem", "rsa2048.jws", true),
        ("rsa3072.root.pem", "rsa3072.cose", true),
        ("p384.root.pem", "p384.cose", true),
    ];
    let subject = Bytes::from(fixture("image.json"));
    for (number, (root, envelope, vouches)) in envelopes.into_iter().enumerate() {
        server.reconfigure(&config(root));
        let path = format!("/v2/signed/app-{number}");
        let image = Image { path: path.clone(), blobs: vec![Bytes::from_static(b"{}")], manifest: subject.clone() };
        assert_eq!(image.push(&server.admin(), "1", 0).await.status(), StatusCode::CREATED);
        let refused = server.anonymous().get(&image.manifest_at("1")).await.is(403);
        assert!(refused.text().contains("the certificate CN=root "), "{}", refused.text());
        let layer = Bytes::from(fixture(envelope));
        let kind = if envelope.ends_with("jws") { "application/jose+json" } else { "application/cose" };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": { "mediaType": "application/vnd.cncf.notary.signature", "digest": digest(b"{}"), "size": 2 },
            "layers": [{ "mediaType": kind, "digest": digest(&layer), "size": layer.len() }],
            "subject": { "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(&subject), "size": subject.len() },
        });
        let signature = Image { path, blobs: vec![Bytes::from_static(b"{}"), layer], manifest: manifest.to_string().into() };
        let own = digest(&signature.manifest);
        assert_eq!(signature.push(&server.admin(), &own, 0).await.status(), StatusCode::CREATED);
        let status = if vouches { 200 } else { 403 };
        server.anonymous().get(&image.manifest_at("1")).await.is(status);
        server.anonymous().get(&image.manifest_at(&digest(&subject))).await.is(status);
        server.anonymous().get(&signature.manifest_at(&own)).await.is(200);
    }
    assert_eq!(server.log_lines(&["status=5"]), 0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_brings_signatures_before_it_gives_an_image() {
    let upstream = Distribution::start();
    let scene = Scene::new(json!({ "mode": "pull" })).await;
    let proxy = |name: &str, keys: &[usize]| {
        let rule = scene.rule(json!({ "mode": "pull" }), keys);
        let upstream = json!({ "url": format!("http://{}/", upstream.host()), "allow_private": true, "mutable_ttl": 0, "negative_ttl": 0 });
        json!({ "name": name, "kind": "proxy", "upstream": upstream, "signatures": rule })
    };
    scene.make(proxy("remote", &[0])).await;
    scene.make(proxy("distrustful", &[1])).await;
    scene.make(json!({ "name": "all", "kind": "group", "members": ["main/signed", "main/remote"] })).await;
    scene.make(json!({ "name": "strict", "kind": "group", "members": ["main/remote"], "signatures": scene.rule(json!({ "mode": "pull" }), &[1]) })).await;
    for form in FORMS {
        let name = format!("{}-{}", form.0, hex::encode(unique(4)));
        let (_, by_digest) = scene.push_to(upstream.host(), &name);
        let here = |repository: &str| format!("{}/{repository}/{name}:1", scene.server.address());
        scene.declines(&here("remote"), NEEDS);
        scene.declines(&here("all"), NEEDS);
        scene.sign("one", form, &by_digest);
        scene.pulls(&here("all"));
        scene.pulls(&here("remote"));
        scene.declines(&here("distrustful"), "by none of the keys");
        scene.declines(&here("strict"), "by none of the keys");
        let own = by_digest.replace(upstream.host(), &format!("{}/remote", scene.server.address()));
        scene.pulls(&own);
    }
    // A signed index, and then what it names.
    let image = format!("{}/both", upstream.host());
    super::containerd::fill(&scene.signer, &image);
    let index = scene.signer.crane(&["digest", &format!("{image}:1")]).succeeded().stdout.trim().to_owned();
    let child = scene.signer.crane(&["digest", "--platform", "linux/arm64", &format!("{image}:1")]).succeeded().stdout.trim().to_owned();
    scene.sign("one", FORMS[2], &format!("{image}@{index}"));
    let here = format!("{}/remote/both", scene.server.address());
    scene.declines(&format!("{here}@{child}"), NEEDS);
    scene.pulls(&format!("{here}:1"));
    scene.pulls(&format!("{here}@{child}"));
    assert_eq!(scene.server.log_lines(&["status=5"]), 0, "{}", scene.server.log());
}
