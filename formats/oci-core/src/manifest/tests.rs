use super::{MAX_MANIFEST, Manifest, ManifestKind};
use crate::media;
use proptest::prelude::*;
use serde_json::{Value, json};

fn parse(document: &Value, content_type: Option<&str>) -> entrepot_kit::Result<Manifest> {
    Manifest::parse(document.to_string().as_bytes(), content_type, &[])
}

fn descriptor(media_type: &str) -> Value {
    json!({ "mediaType": media_type, "digest": format!("sha256:{}", "0a".repeat(32)), "size": 3 })
}

fn image() -> Value {
    json!({ "schemaVersion": 2, "mediaType": media::IMAGE, "config": descriptor("application/vnd.oci.empty.v1+json"), "layers": [] })
}

fn changed(mut document: Value, key: &str, value: Value) -> Value {
    document[key] = value;
    document
}

#[test]
fn manifests_of_each_kind_are_read() {
    let manifest = parse(&image(), Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8")).unwrap();
    assert_eq!((manifest.kind, manifest.blobs().count()), (ManifestKind::Image, 1));
    assert_eq!(manifest.referrer_type(), Some("application/vnd.oci.empty.v1+json"));
    let index = json!({ "schemaVersion": 2, "manifests": [changed(descriptor(media::IMAGE), "platform", json!({ "os": "linux", "architecture": "arm64" }))] });
    let manifest = parse(&index, None).unwrap();
    assert_eq!((manifest.kind, manifest.media_type.as_str()), (ManifestKind::Index, media::INDEX));
    assert_eq!(manifest.manifests[0].platform.as_deref(), Some("linux/arm64"));
    assert_eq!(manifest.referrer_type(), None);
    let foreign = changed(image(), "layers", json!([descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")]));
    assert_eq!(parse(&foreign, None).unwrap().blobs().count(), 1, "what must not be distributed may be missing");
    let schema1 = json!({ "schemaVersion": 1, "fsLayers": [], "signatures": [] });
    assert_eq!(parse(&schema1, None).unwrap().kind, ManifestKind::Schema1);
    assert_eq!(Manifest::parse(b"{}", Some("application/x"), &[String::from("application/x")]).unwrap().kind, ManifestKind::Opaque);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for bad in [
        changed(image(), "manifests", json!([])),
        changed(json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": [] }), "layers", json!([])),
        changed(image(), "schemaVersion", json!(1)),
        changed(image(), "mediaType", json!("application/x")),
        changed(image(), "config", json!(null)),
        changed(image(), "layers", json!({})),
        changed(image(), "layers", json!([{}])),
        changed(image(), "annotations", json!({ "a": 1 })),
        changed(image(), "subject", json!({ "digest": "sha256:short" })),
        json!([]),
        json!({}),
    ] {
        let error = parse(&bad, None).expect_err(&bad.to_string());
        assert_eq!((error.status().as_u16(), error.code()), (400, Some("MANIFEST_INVALID")), "{bad}");
    }
    assert!(parse(&image(), Some(media::INDEX)).is_err(), "the header and the document disagree");
    let twice = image().to_string().replace("\"layers\":[]", "\"layers\":[],\"layers\":[]");
    assert!(Manifest::parse(twice.as_bytes(), None, &[]).is_err());
    for size in [json!(-1), json!(1.5), json!(u64::MAX), json!("3")] {
        assert!(parse(&changed(image(), "config", changed(descriptor("a/b"), "size", size)), None).is_err());
    }
}

#[test]
fn data_must_be_what_its_descriptor_says() {
    let empty = json!({ "mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "data": "e30=",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" });
    assert!(parse(&changed(image(), "config", empty.clone()), None).is_ok());
    for bad in [json!("e30"), json!("e31="), json!("e30gIA=="), json!(1)] {
        assert!(parse(&changed(image(), "config", changed(empty.clone(), "data", bad)), None).is_err());
    }
}

#[test]
fn bombs_are_refused() {
    assert_eq!(Manifest::parse(&vec![b' '; MAX_MANIFEST + 1], None, &[]).unwrap_err().status().as_u16(), 413);
    let many = format!("[{}]", vec![descriptor("a/b").to_string(); 10_001].join(","));
    let document = image().to_string().replace("\"layers\":[]", &format!("\"layers\":{many}"));
    assert!(Manifest::parse(document.as_bytes(), None, &[]).is_err());
}

proptest! {
    #[test]
    fn nothing_makes_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(Manifest::parse(&bytes, None, &[]));
    }
}
