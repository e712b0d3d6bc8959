//! The hooks of a proxy, over bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use entrepot_kit::{CheckedDocument, Sha256Digest, UpstreamDocument, UpstreamPath};
use serde_json::json;

use crate::media;

use super::{check, classify, full_name, index, join_pages, needs, path_of_name, records, sha512, version_path};

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", Sha256Digest::of(bytes))
}

fn image() -> Bytes {
    json!({ "schemaVersion": 2, "mediaType": media::IMAGE, "config": {"digest": digest(b"c")}, "layers": [] }).to_string().into()
}

#[test]
fn paths_are_what_the_protocol_says() {
    let (blob, long) = (digest(b"x"), format!("sha512:{}", "0".repeat(128)));
    assert!(matches!(classify(&format!("a/b/blobs/{blob}")), UpstreamPath::Immutable { expected } if expected.algorithms().count() == 1));
    assert!(matches!(classify(&format!("a/blobs/blobs/{long}")), UpstreamPath::Immutable { .. }));
    for (path, immutable) in [(format!("a/manifests/{blob}"), true), (format!("a/manifests/{long}"), true), (String::from("a/manifests/latest"), false)] {
        let UpstreamPath::Document(UpstreamDocument { immutable: is, named_by, pages: 1, .. }) = classify(&path) else { panic!("{path}") };
        assert_eq!((is, named_by.is_none()), (immutable, immutable), "{path}");
    }
    assert!(matches!(classify(&format!("a/referrers/{blob}")), UpstreamPath::Document(UpstreamDocument { immutable: false, named_by: None, .. })));
    for own in [format!("a/referrers/{blob}/{blob}"), format!("a/parents/{blob}/{blob}"), format!("a/signed/{blob}/00ff")] {
        assert_eq!(classify(&own), UpstreamPath::Own, "{own}");
    }
    for other in
        ["a/manifests/sha256:short", "A/manifests/latest", "a/manifests/-x", "a/blobs/latest", "a/tags/list", "manifests/latest", "a", "a/../b/manifests/x"]
    {
        assert_eq!(classify(other), UpstreamPath::NotOurs, "{other}");
    }
    assert_eq!(path_of_name("a/b/manifests/latest", &blob), Some(format!("a/b/manifests/{blob}")));
    assert_eq!(path_of_name("a/b/manifests/latest", "W/\"x\""), None);
}

#[test]
fn one_part_belongs_to_the_library_at_docker_hub_only() {
    assert_eq!(full_name("docker.io", "alpine").as_deref(), Some("library/alpine"));
    assert_eq!((full_name("docker.io", "a/b"), full_name("quay.io", "alpine")), (None, None));
}

#[test]
fn tags_are_versions_and_dirt_is_passed_over() {
    let list = Bytes::from_static(br#"{"name":"library/alpine","tags":["b","a","a","../x",7,""]}"#);
    let found = records("alpine", &list).unwrap();
    assert_eq!(found.versions.iter().map(|record| record.version.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(records("a", &Bytes::from_static(br#"{"name":"a","tags":null}"#)).unwrap().versions.len(), 0);
    for bad in ["", "<html>", "[]", "{}", r#"{"tags":{}}"#, r#"{"tags":null}"#] {
        assert_eq!(records("a", &Bytes::from(bad)).map_err(|error| error.status().as_u16()).map(drop), Err(502), "{bad}");
    }
    assert_eq!(index("a/b").unwrap().path, "a/b/tags/list?n=1000");
    assert!(index("../a").is_none());
}

#[test]
fn pages_become_one_document() {
    let page = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let joined = join_pages(&[page(r#"{"name":"a","tags":["1"]}"#), page(r#"{"name":"a","tags":["2","3"]}"#), page(r#"{"name":"a","tags":null}"#)]).unwrap();
    assert_eq!(joined, r#"{"name":"a","tags":["1","2","3"]}"#);
    let joined = join_pages(&[page(r#"{"manifests":[]}"#), page(r#"{"manifests":[{"digest":"x"}]}"#)]).unwrap();
    assert_eq!(joined, r#"{"manifests":[{"digest":"x"}]}"#);
    assert!(join_pages(&[page(r#"{"tags":[]}"#), page("<html>")]).is_err());
    assert!(join_pages(&[page(r#"{"tags":[]}"#), page(r#"{"manifests":[]}"#)]).is_err());
    assert!(join_pages(&[]).is_err());
}

#[test]
fn a_manifest_is_kept_at_its_digest_too() {
    let document = image();
    let by_digest = format!("a/manifests/{}", digest(&document));
    let expected = CheckedDocument { content_type: Some(media::IMAGE.to_owned()), also: vec![by_digest.clone()], data: String::new() };
    for content_type in [Some(media::IMAGE), Some("application/json; charset=utf-8"), Some("text/plain"), None] {
        assert_eq!(check("a/manifests/latest", content_type, &document).unwrap(), expected);
    }
    assert!(check(&by_digest, Some(media::IMAGE), &document).is_ok());
    assert!(check(&format!("a/manifests/{}", sha512(&document).unwrap()), None, &document).is_ok());
    assert_eq!(
        check("a/manifests/latest", Some("application/vnd.docker.distribution.manifest.v2+json;x=y"), &document).unwrap().content_type.as_deref(),
        Some(media::DOCKER_IMAGE)
    );
    assert!(check(&format!("a/manifests/{}", digest(b"other")), Some(media::IMAGE), &document).is_err());
    for bad in ["", "<!DOCTYPE html><title>Log in</title>", "{}", "[]", r#"{"errors":[]}"#, r#"{"layers":[]}"#, r#"{"schemaVersion":2}"#] {
        assert_eq!(check("a/manifests/latest", Some("text/html"), &Bytes::from(bad)).map_err(|error| error.status().as_u16()).map(drop), Err(502), "{bad}");
    }
}

#[test]
fn the_digest_of_a_signed_schema_1_manifest_is_that_of_its_payload() {
    let unsigned = "{\n   \"schemaVersion\": 1,\n   \"fsLayers\": []\n}";
    let length = unsigned.len() - 2;
    let protected = URL_SAFE_NO_PAD.encode(format!(r#"{{"formatLength":{length},"formatTail":"{}"}}"#, URL_SAFE_NO_PAD.encode("\n}")));
    let signed = Bytes::from(format!("{},\n   \"signatures\": [{{\"protected\": \"{protected}\"}}]\n}}", unsigned.strip_suffix("\n}").unwrap()));
    let named = digest(unsigned.as_bytes());
    let by_digest = format!("a/manifests/{named}");
    let found = check("a/manifests/old", None, &signed).unwrap();
    assert_eq!((found.also.as_slice(), found.data), (&[by_digest.clone()][..], json!({ "digest": named }).to_string()));
    assert_eq!(found.content_type.as_deref(), Some(media::SCHEMA1_SIGNED));
    assert!(check(&by_digest, Some(media::SCHEMA1_SIGNED), &signed).is_ok());
    // Another signature changes the whole and not the name; another payload does.
    assert!(check(&by_digest, None, &Bytes::from(signed.iter().copied().chain(*b"\n").collect::<Vec<_>>())).is_ok());
    let forged = String::from_utf8(signed.to_vec()).unwrap().replace("\"fsLayers\": []", "\"fsLayers\": {}");
    assert!(check(&by_digest, None, &forged.into()).is_err());
}

#[test]
fn referrers_are_an_index() {
    let path = format!("a/referrers/{}", digest(b"x"));
    assert_eq!(check(&path, Some("application/json"), &Bytes::from_static(br#"{"manifests":[]}"#)).unwrap().content_type.as_deref(), Some(media::INDEX));
    assert!(check(&path, Some(media::INDEX), &Bytes::from_static(b"<html>")).is_err());
    assert!(check(&path, Some(media::INDEX), &image()).is_err());
}

#[test]
fn a_prefetch_finds_what_an_image_needs() {
    let (one, two, three) = (digest(b"1"), digest(b"2"), digest(b"3"));
    let child = |digest: &str, os: &str, architecture: &str| json!({ "digest": digest, "platform": {"os": os, "architecture": architecture, "variant": "v8"} });
    let list = json!({ "manifests": [child(&one, "linux", "amd64"), child(&two, "linux", "arm64"), child(&three, "unknown", "unknown")] }).to_string();
    let count = |platforms: &[&str]| {
        let platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        needs("a/manifests/latest", &Bytes::from(list.clone()), &platforms).unwrap().iter().filter(|need| need.document).count()
    };
    assert_eq!((count(&[]), count(&["linux/amd64"]), count(&["linux/arm64/v8", "linux/amd64"]), count(&["windows/amd64"])), (3, 1, 2, 0));
    let layer = json!([{ "digest": one }, { "digest": two, "urls": ["https://elsewhere.example/"] }, { "digest": "md5:1" }]);
    let manifest = json!({ "config": {"digest": three}, "layers": layer }).to_string();
    let found = needs("a/manifests/latest", &manifest.into(), &[]).unwrap();
    assert_eq!(found.iter().map(|need| need.path.as_str()).collect::<Vec<_>>(), [format!("a/blobs/{three}"), format!("a/blobs/{one}")]);
    assert_eq!(version_path("a", "latest").as_deref(), Some("a/manifests/latest"));
    assert_eq!((version_path("a", "-x"), version_path("../a", "x")), (None, None));
}
