use std::io::Cursor;

use bytes::Bytes;
use entrepot_kit::{ALL_PACKAGES, Algorithm, BaseUrl, UpstreamPath};
use serde_json::{Value, json};

use super::{classify, extract, index, locate, records};
use crate::page::render_json;
use crate::testing::Zip;

const SHA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

fn page() -> Bytes {
    json!({
        "meta": {"api-version": "1.4", "_last-serial": 5}, "name": "foo", "versions": ["0.9", "1.0", "2.0"],
        "files": [
            {"filename": "foo-1.0-py3-none-any.whl", "url": "https://files.example/x/foo-1.0-py3-none-any.whl", "hashes": {"sha256": SHA}, "size": 5,
                "core-metadata": {"sha256": OTHER}, "provenance": "https://elsewhere.example/p", "upload-time": "2026-11-01T12:00:00.5Z"},
            {"filename": "foo-2.0-py3-none-any.whl", "url": "../../p/foo-2.0-py3-none-any.whl?token=x", "hashes": {"sha256": SHA}, "size": 5, "yanked": "bad"},
            {"filename": "foo-0.9.tar.gz", "url": "foo-0.9.tar.gz", "hashes": {"md5": "0123456789abcdef0123456789abcdef"}, "size": 5, "gpg-sig": false}
        ]
    })
    .to_string()
    .into()
}

#[test]
fn a_page_promises_what_is_served_here() {
    let records = records("foo", &page()).unwrap();
    assert_eq!(records.versions[0].published.map(|time| time.rfc3339()).as_deref(), Some("2026-11-01T12:00:00.500Z"));
    let base = BaseUrl { origin: String::from("https://packages.example"), path: String::from("/main/pypi") };
    let page: Value = serde_json::from_slice(&render_json(&records, &base, "json").unwrap()).unwrap();
    assert_eq!((&page["versions"], &page["meta"]), (&json!(["0.9", "1.0", "2.0"]), &json!({"api-version": "1.4"})));
    let files = page["files"].as_array().unwrap();
    assert_eq!(files[0]["url"], "../../files/foo/foo-1.0-py3-none-any.whl");
    assert_eq!(files[0]["core-metadata"], json!({"sha256": OTHER}));
    assert_eq!(files[0]["provenance"], "https://packages.example/main/pypi/integrity/foo/1.0/foo-1.0-py3-none-any.whl/provenance");
    assert_eq!((&files[1]["core-metadata"], &files[1]["yanked"], &files[1]["provenance"]), (&json!(true), &json!("bad"), &json!(null)));
    assert_eq!((&files[2]["core-metadata"], &files[2]["hashes"]), (&json!(false), &json!({"md5": "0123456789abcdef0123456789abcdef"})));
}

#[test]
fn files_and_what_is_beside_them_are_located() {
    let find = |path: &str| locate(path, "foo", &page()).unwrap();
    let wheel = find("files/foo/foo-1.0-py3-none-any.whl").unwrap();
    assert_eq!((wheel.url.as_str(), wheel.version.as_deref()), ("https://files.example/x/foo-1.0-py3-none-any.whl", Some("1.0")));
    assert_eq!(wheel.expected.hex(Algorithm::Sha256).as_deref(), Some(SHA));
    let promised = find("files/foo/foo-1.0-py3-none-any.whl.metadata").unwrap();
    assert_eq!(promised.url, "https://files.example/x/foo-1.0-py3-none-any.whl.metadata");
    assert_eq!(promised.expected.hex(Algorithm::Sha256).as_deref(), Some(OTHER));
    let instead = promised.otherwise.unwrap();
    assert_eq!((instead.url, instead.expected), (wheel.url, promised.expected));
    assert_eq!(instead.part_of.unwrap().expected, wheel.expected);
    let taken_out = find("files/foo/foo-2.0-py3-none-any.whl.metadata").unwrap();
    assert_eq!(taken_out.part_of.unwrap().path, "files/foo/foo-2.0-py3-none-any.whl");
    assert_eq!(find("files/foo/foo-2.0-py3-none-any.whl.asc").unwrap().url, "../../p/foo-2.0-py3-none-any.whl.asc?token=x");
    assert_eq!(find("files/foo/foo-1.0-py3-none-any.whl.provenance").unwrap().url, "https://elsewhere.example/p");
    let source = find("files/foo/foo-0.9.tar.gz").unwrap();
    assert_eq!(source.expected.algorithms().collect::<Vec<_>>(), [Algorithm::Md5]);
    for missing in ["foo-0.9.tar.gz.metadata", "foo-0.9.tar.gz.asc", "foo-0.9.tar.gz.provenance", "foo-3.0.tar.gz", "foo-3.0.tar.gz.metadata"] {
        assert_eq!(find(&format!("files/foo/{missing}")), None, "{missing}");
    }
    assert_eq!(locate("files/bar/foo-0.9.tar.gz", "foo", &page()).unwrap(), None);
}

#[test]
fn paths_are_classified() {
    assert_eq!(classify("files/foo/foo-1.0.tar.gz"), UpstreamPath::Needs { package: String::from("foo") });
    for path in ["simple/foo", "files/foo", "", "deleted/foo/x", "files/Foo/x"] {
        assert_eq!(classify(path), UpstreamPath::NotOurs, "{path}");
    }
    assert_eq!(index("foo").map(|index| index.path).as_deref(), Some("foo/"));
    assert_eq!(index(ALL_PACKAGES).map(|index| index.path).as_deref(), Some(""));
    assert!(index("Foo").is_none() && index("../x").is_none() && index("").is_none());
    let list = Bytes::from_static(br#"{"meta":{"api-version":"1.0"},"projects":[{"name":"B.c"},{"name":"a"}]}"#);
    let names = records(ALL_PACKAGES, &list).unwrap();
    assert_eq!(names.versions.iter().map(|record| record.version.as_str()).collect::<Vec<_>>(), ["a", "b-c"]);
}

fn taken_out(filename: &str, wheel: Vec<u8>) -> Result<Bytes, u16> {
    extract(&format!("files/acme-foo/{filename}.metadata"), &mut Cursor::new(wheel)).map_err(|error| error.status().as_u16())
}

#[test]
fn metadata_is_taken_out_of_wheels() {
    const NAME: &str = "acme_foo-1.0-py3-none-any.whl";
    let text = format!("Metadata-Version: 2.1\nName: acme-foo\nVersion: 1.0\n\n{}", "long ".repeat(10_000));
    let good = || Zip::new().stored("acme_foo/__init__.py", b"").deflated("Acme.Foo-1.0.dist-info/METADATA", text.as_bytes()).stored("x", b"METADATA");
    assert_eq!(taken_out(NAME, good().finish()).as_deref(), Ok(text.as_bytes()));
    assert_eq!(taken_out("acme_foo-1.0.0-1x-py3-none-any.whl", Zip::new().stored("acme_foo-1.0.dist-info/METADATA", b"m").finish()).as_deref(), Ok(&b"m"[..]));
    let mut commented = good().finish();
    commented.extend_from_slice(b"a comment");
    assert!(taken_out(NAME, commented).is_ok());
    let nested = Zip::new().stored("x/acme_foo-1.0.dist-info/METADATA", b"no").stored("other-1.0.dist-info/METADATA", b"no");
    let twice = good().stored("acme-foo-1.0.dist-info/METADATA", b"m");
    let lying = Zip::new().raw_deflated("acme_foo-1.0.dist-info/METADATA", text.as_bytes(), 10);
    let huge = Zip::new().raw_deflated("acme_foo-1.0.dist-info/METADATA", b"x", 5 << 20);
    for bad in [nested, twice, lying, huge, Zip::new()] {
        assert_eq!(taken_out(NAME, bad.finish()), Err(502));
    }
    let whole = good().finish();
    for end in (0..whole.len()).step_by(7) {
        assert_eq!(taken_out(NAME, whole[..end].to_vec()), Err(502), "{end}");
    }
    for at in whole.len() - 200..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        // Whatever comes of it, it ends.
        let _ = taken_out(NAME, damaged);
    }
    assert!(extract("files/acme-foo/acme_foo-1.0.tar.gz.metadata", &mut Cursor::new(whole)).is_err());
}
