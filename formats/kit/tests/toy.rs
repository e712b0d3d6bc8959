//! The toy format, held against the kit: how little a format must say, and that what it says fits together.
//!
//! The server's tests include the same file and run the conformance suite over it as hosted, proxy and group.

#[path = "toy/mod.rs"]
mod format;

use bytes::Bytes;
use entrepot_kit::conformance::Specimen as _;
use entrepot_kit::path::RequestPath;
use entrepot_kit::records::write_fragment;
use entrepot_kit::route::Found;
use entrepot_kit::{BaseUrl, Digests, Format as _, Fragment, Located, Records, Sha256Digest, UpstreamPath, VersionRecord};
use format::Toy;
use http::Method;
use serde_json::{Value, json};

const MOST_LINES: usize = 150;

#[test]
fn a_format_fits_on_two_screens() {
    let lines = include_str!("toy/mod.rs").lines().count();
    assert!(lines <= MOST_LINES, "the toy format has {lines} lines; the kit must let it be said in {MOST_LINES}");
}

#[test]
fn routes_and_built_paths_are_inverses() {
    let toy = Toy;
    for route in toy.routes().0 {
        let built = route.path(&[("package", "left-pad"), ("version", "1.3.0")]);
        let path = RequestPath::decode(&built).expect("a built path is well formed");
        let Found::Route(found, captures) = toy.routes().find(&route.method, &path) else { panic!("{} {built} leads nowhere", route.method) };
        assert_eq!(found.name, route.name, "{} {built}", route.method);
        assert_eq!(captures.get("package"), "left-pad");
        assert_eq!(captures.get("version"), if built.contains('/') { "1.3.0" } else { "" });
    }
    let path = RequestPath::decode("left-pad/1.3.0").expect("a path");
    assert!(matches!(toy.routes().find(&Method::HEAD, &path), Found::Route(route, _) if route.name == "file"));
    let Found::OtherMethods(methods) = toy.routes().find(&Method::POST, &path) else { panic!("POST has no route, but the path has") };
    assert_eq!(methods, [Method::GET, Method::PUT]);
    let deeper = RequestPath::decode("left-pad/1.3.0/x").expect("a path");
    assert!(matches!(toy.routes().find(&Method::GET, &deeper), Found::Nothing));
}

/// An index as a client of a repository at `base` sees it.
fn index(versions: &[(&str, Sha256Digest)], base: &str) -> Bytes {
    let mut parts = Vec::new();
    for (version, digest) in versions {
        for fragment in Toy.fragments("left-pad", version, &json!({ "sha256": digest }).to_string()).unwrap_or_default() {
            let mut out = Vec::new();
            write_fragment(&mut out, &fragment.bytes, base);
            parts.push(String::from_utf8_lossy(&out).into_owned());
        }
    }
    Bytes::from(format!("{{\"name\":\"left-pad\",\"versions\":{{{}}}}}", parts.join(",")))
}

#[test]
fn fragments_from_rows_and_from_an_upstream_are_the_same() {
    let digests = [("1.0.0", Sha256Digest::of(b"one")), ("1.1.0", Sha256Digest::of(b"two"))];
    let upstream = index(&digests, "https://upstream.example/main/toy");
    let parsed: Value = serde_json::from_slice(&upstream).expect("the index is JSON");
    assert_eq!(parsed["versions"]["1.1.0"]["file"], "https://upstream.example/main/toy/left-pad/1.1.0");

    let records = Toy.upstream_records("left-pad", &upstream, "index").expect("records");
    for (version, digest) in digests {
        let wanted = Toy.fragments("left-pad", version, &json!({ "sha256": digest }).to_string()).expect("fragments");
        let record = records.version(version).expect("the version");
        assert_eq!(wanted, [Fragment { kind: "index", bytes: record.bytes.clone() }], "{version}");
    }
    assert!(Toy.upstream_records("left-pad", &Bytes::from_static(b"<html>sign in</html>"), "index").is_err());
}

#[test]
fn the_engine_reads_the_upstream_by_hooks_alone() {
    assert_eq!(Toy.classify("left-pad/1.0.0"), UpstreamPath::Needs { package: String::from("left-pad") });
    assert_eq!(Toy.classify("left-pad"), UpstreamPath::NotOurs);
    assert_eq!(Toy.upstream_index("../etc"), None);
    let digest = Sha256Digest::of(b"one");
    let upstream = index(&[("1.0.0", digest)], "https://upstream.example");
    let mut expected = Digests::new();
    assert!(expected.insert_hex(entrepot_kit::Algorithm::Sha256, &digest.hex()));
    let located = Toy.locate("left-pad/1.0.0", "left-pad", &upstream).expect("located");
    assert_eq!(located, Some(Located::at("left-pad/1.0.0", expected, Some(String::from("1.0.0")))));
    assert_eq!(Toy.locate("left-pad/2.0.0", "left-pad", &upstream).expect("not located"), None);
}

#[test]
fn groups_merge_by_default_so_that_the_first_member_wins() {
    let record = |version: &str, bytes: &'static [u8]| VersionRecord { version: version.to_owned(), published: None, bytes: Bytes::from_static(bytes) };
    let part = |versions| std::sync::Arc::new(Records { package: String::from("left-pad"), versions, ..Records::default() });
    let merged = Toy.merge(&[part(vec![record("1.0.0", b"ours")]), part(vec![record("1.0.0", b"theirs"), record("2.0.0", b"theirs")])]);
    let seen: Vec<(&str, &[u8])> = merged.versions.iter().map(|record| (record.version.as_str(), &record.bytes[..])).collect();
    assert_eq!(seen, [("1.0.0", &b"ours"[..]), ("2.0.0", &b"theirs"[..])]);
}

#[test]
fn the_specimen_asks_for_what_the_routes_serve() {
    let mut asks = Toy.publish("left-pad", "1.0.0", "x");
    asks.extend(Toy.remove("left-pad", 1));
    asks.extend(Toy.indexes("left-pad").into_iter().map(|variant| entrepot_kit::conformance::Ask::get(variant.path)));
    asks.push(entrepot_kit::conformance::Ask::get(Toy.file_path("left-pad", "1.0.0")));
    for ask in asks {
        let path = RequestPath::decode(&ask.path).expect("a path");
        assert!(matches!(Toy.routes().find(&ask.method, &path), Found::Route(..)), "{} {}", ask.method, ask.path);
    }
    assert!(Toy.file("left-pad", "1.0.0", "x").len() >= 16);
    let base = BaseUrl { origin: String::from("https://packages.example"), path: String::from("/main/toy") };
    assert!(Toy.snippets(&base).is_empty());
}
