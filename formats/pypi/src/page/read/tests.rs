use std::collections::BTreeMap;

use entrepot_kit::{BaseUrl, Records, VersionRecord};
use proptest::prelude::*;
use serde_json::json;

use super::{UpstreamPage, file, join, project, projects, serial};
use crate::page::{CoreMetadata, FileRecord, PageFile, ProjectDocument, Status, render_html, render_json, render_list_html, render_list_json};

const SHA: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn json_page() -> Vec<u8> {
    json!({
        "meta": {"api-version": "1.4", "_last-serial": 99, "other": {}}, "name": "Acme.Foo", "alternate-locations": [], "versions": ["0.9", "1.0", 3, "x\ny", ""],
        "project-status": {"status": "archived", "reason": "done\u{1}"},
        "files": [
            {"filename": "acme_foo-1.0-py3-none-any.whl", "url": "https://files.elsewhere.example/ab/acme_foo-1.0-py3-none-any.whl#egg=x",
                "hashes": {"sha256": SHA.to_uppercase(), "md5": "no", "blake2b_256": "cc"}, "requires-python": ">=3.8", "size": 7, "upload-time": "2026-11-01T12:00:00.123456Z",
                "yanked": "broken", "data-dist-info-metadata": {"sha256": SHA}, "core-metadata": {"sha256": SHA}, "gpg-sig": true, "provenance": "https://elsewhere.example/p"},
            {"filename": "acme_foo-0.9.tar.gz", "url": "../../packages/acme_foo-0.9.tar.gz", "hashes": {}, "requires-python": null, "yanked": "", "size": "7",
                "upload-time": "2026-11-01 12:00:00+02:00", "dist-info-metadata": true, "gpg-sig": null, "provenance": null},
            {"filename": "acme_foo-0.9.tar.gz", "url": "https://second.example/acme_foo-0.9.tar.gz", "hashes": {}},
            {"filename": "../../etc/passwd", "url": "x", "hashes": {}},
            {"filename": "a.zip", "url": "file:///etc/passwd", "hashes": {}},
            {"filename": "b.zip", "url": "javascript:alert(1)", "hashes": {}},
            {"filename": "c.zip"}, {"filename": 3, "url": "x"}, null, 17, "x", []
        ]
    })
    .to_string()
    .into_bytes()
}

#[test]
fn json_is_read_leniently() {
    let page = project("acme-foo", &json_page()).unwrap();
    assert_eq!((page.status, page.reason.as_str()), (Status::Archived, "done "));
    assert_eq!(page.versions, ["0.9", "1.0"]);
    let wheel = PageFile {
        filename: String::from("acme_foo-1.0-py3-none-any.whl"),
        url: String::from("https://files.elsewhere.example/ab/acme_foo-1.0-py3-none-any.whl"),
        hashes: BTreeMap::from([(String::from("sha256"), SHA.to_owned()), (String::from("blake2b_256"), String::from("cc"))]),
        requires_python: Some(String::from(">=3.8")),
        size: Some(7),
        upload_time: Some(String::from("2026-11-01T12:00:00.123456Z")),
        yanked: Some(String::from("broken")),
        core_metadata: CoreMetadata::sha256(SHA),
        gpg_sig: Some(true),
        provenance: Some(String::from("https://elsewhere.example/p")),
    };
    let source = PageFile {
        filename: String::from("acme_foo-0.9.tar.gz"),
        url: String::from("../../packages/acme_foo-0.9.tar.gz"),
        upload_time: Some(String::from("2026-11-01T10:00:00.000Z")),
        core_metadata: CoreMetadata::Unhashed,
        ..PageFile::default()
    };
    assert_eq!(page.files, [wheel.clone(), source]);
    assert_eq!(file("acme-foo", &json_page(), &wheel.filename).unwrap(), Some(wheel));
    assert_eq!(file("acme-foo", &json_page(), "a.zip").unwrap(), None);
    let quarantined = String::from_utf8(json_page()).unwrap().replace("archived", "quarantined");
    assert_eq!(file("acme-foo", quarantined.as_bytes(), "acme_foo-0.9.tar.gz").unwrap(), None);
    let html = b"<meta name=pypi:project-status content=quarantined><a href=foo-1.0.zip>";
    assert_eq!(file("foo", html, "foo-1.0.zip").unwrap(), None);
    assert_eq!(serial(&json_page()), Some(99));
}

#[test]
fn html_is_read_as_old_indexes_wrote_it() {
    let text = format!(
        "<!DOCTYPE html><html><head><title>Links for <a href='no-1.0.zip'></title><META name=pypi:repository-version content=1.3>
        <meta name=\"pypi:project-status\" content=\"deprecated\"><meta name=\"pypi:project-status-reason\" content=\"use &lt;bar&gt;\">
        <body><a href=\"../\">Parent</a> <a href=\"https://home.example/\" rel=\"homepage\">home</a> <a href=\"foo-1.0.zip\" rel=homepage>x</a>
        <A HREF='/whl/cu121/foo-2.1.0%2Bcu121-cp311-cp311-linux_x86_64.whl#sha256={SHA}' data-requires-python='&gt;=3.8' DATA-DIST-INFO-METADATA=true>foo</A>
        <a href=\"../../packages/foo-2.0+x.tar.gz#md5=0123456789abcdef0123456789abcdef\" data-yanked=\"\" data-yanked=\"second\" data-gpg-sig=true>t</a>
        <a href=\"//other.example/f/foo-1.0.tar.gz?download=1#sha256=short\" data-yanked=\"&quot;bad&quot;\" data-core-metadata=\"sha256={SHA}\" data-provenance=\"https://p.example/x\">t</a>
        <a href=\"foo-0.1-py2.7.egg\" data-core-metadata=\"false\">t</a><a href=\"foo-%00.zip\">x</a><a href=\"foo%2f-1.zip\">x</a><a href=\"a\\b.zip\">x</a>
        <a href=\"ftp://x.example/foo-1.0.zip\">x</a><a>x</a><a href>x</a><a href=\"Odd%20Old%20Name.win32.exe\">x</a>
        <!--SERIAL 41--><!-- SERIAL 42 --></body>"
    );
    let page = project("foo", text.as_bytes()).unwrap();
    let wheel = PageFile {
        filename: String::from("foo-2.1.0+cu121-cp311-cp311-linux_x86_64.whl"),
        url: String::from("/whl/cu121/foo-2.1.0%2Bcu121-cp311-cp311-linux_x86_64.whl"),
        hashes: BTreeMap::from([(String::from("sha256"), SHA.to_owned())]),
        requires_python: Some(String::from(">=3.8")),
        core_metadata: CoreMetadata::Unhashed,
        ..PageFile::default()
    };
    let source = PageFile {
        filename: String::from("foo-2.0+x.tar.gz"),
        url: String::from("../../packages/foo-2.0+x.tar.gz"),
        hashes: BTreeMap::from([(String::from("md5"), String::from("0123456789abcdef0123456789abcdef"))]),
        yanked: Some(String::new()),
        gpg_sig: Some(true),
        ..PageFile::default()
    };
    let elsewhere = PageFile {
        filename: String::from("foo-1.0.tar.gz"),
        url: String::from("//other.example/f/foo-1.0.tar.gz?download=1"),
        yanked: Some(String::from("\"bad\"")),
        core_metadata: CoreMetadata::sha256(SHA),
        provenance: Some(String::from("https://p.example/x")),
        ..PageFile::default()
    };
    let plain = |name: &str, url: &str| PageFile { filename: name.to_owned(), url: url.to_owned(), ..PageFile::default() };
    let (egg, odd) = (plain("foo-0.1-py2.7.egg", "foo-0.1-py2.7.egg"), plain("Odd Old Name.win32.exe", "Odd%20Old%20Name.win32.exe"));
    assert_eq!(page.files, [wheel, source, elsewhere, egg, odd]);
    assert_eq!((page.status, page.reason.as_str()), (Status::Deprecated, "use <bar>"));
    assert_eq!(page.versions, ["0.1", "1.0", "2.0+x", "2.1.0+cu121"]);
    assert_eq!(serial(text.as_bytes()), Some(42));
}

#[test]
fn a_base_moves_addresses() {
    for (base, url, joined) in [
        ("https://a.example/simple/foo/", "x.whl", "https://a.example/simple/foo/x.whl"),
        ("https://a.example/simple/foo/?q#f", "../x.whl", "https://a.example/simple/foo/../x.whl"),
        ("https://a.example", "x.whl", "https://a.example/x.whl"),
        ("https://a.example/simple/", "/p/x.whl", "https://a.example/p/x.whl"),
        ("https://a.example/simple/", "//b.example/x.whl", "https://b.example/x.whl"),
        ("https://a.example/simple/", "http://b.example/x.whl", "http://b.example/x.whl"),
        ("/packages/", "x.whl", "/packages/x.whl"),
        ("packages", "x.whl", "x.whl"),
        ("/packages/", "/x.whl", "/x.whl"),
    ] {
        assert_eq!(join(Some(base), url), joined, "{base} {url}");
    }
    let page = project("foo", b"<html><base href='https://files.example/p/'><base href='https://late.example/'><a href='foo-1.0.zip#x'>").unwrap();
    assert_eq!(page.files[0].url, "https://files.example/p/foo-1.0.zip");
}

#[test]
fn what_is_no_page_of_that_project_is_refused() {
    for bad in [
        "",
        "no",
        "[]",
        "{}",
        "{",
        "{\"files\":3}",
        "{\"name\":\"other\",\"files\":[]}",
        "{\"meta\":{\"api-version\":\"2.0\"},\"name\":\"foo\",\"files\":[]}",
        "<html><form action=login><input name=user></form></html>",
        "<html><a href='https://portal.example/login'>sign in</a></html>",
        "<meta name='pypi:repository-version' content='2.0'>",
        "\u{0}<a href='foo-1.0.zip'>",
        "{\"error\": \"no\"}",
    ] {
        assert_eq!(project("foo", bad.as_bytes()).map_err(|error| error.status().as_u16()), Err(502), "{bad}");
    }
    let deep = format!("{{\"name\":\"foo\",\"files\":[{}{}]}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(project("foo", deep.as_bytes()).is_ok_and(|page| page.files.is_empty()));
    for empty in ["<!DOCTYPE html><html><body></body></html>", "<h1>Links for foo</h1><a href='/'>up</a>", "{\"name\":\"Foo\",\"files\":[]}"] {
        assert_eq!(project("foo", empty.as_bytes()).unwrap(), UpstreamPage::default(), "{empty}");
    }
    let many = "{\"files\":[".to_owned() + &"0,".repeat(super::MOST_FILES) + "0]}";
    assert!(project("foo", many.as_bytes()).is_err());
}

#[test]
fn lists_of_projects_are_read_in_both_forms() {
    let names = ["a", "b-c", "Zope.Interface"];
    assert_eq!(projects(&render_list_json(names).unwrap()).unwrap(), names);
    assert_eq!(projects(&render_list_html(names)).unwrap(), ["a", "b-c", "zope-interface"]);
    let dirt = json!({"meta": {"api-version": "1.0"}, "projects": [{"name": "b"}, {"name": "../x"}, {"name": 3}, null, {"name": "B"}, {"name": "a", "x": 1}]});
    assert_eq!(projects(dirt.to_string().as_bytes()).unwrap(), ["a", "b"]);
    assert_eq!(projects(b"<title>Simple index</title><a href='/simple/foo/?x'>Foo</a><a href='bar'>x</a><a href='../'>up</a>").unwrap(), ["bar", "foo"]);
    for bad in ["", "{}", "<html><a href='.'>x</a>", "{\"projects\":3}"] {
        assert!(projects(bad.as_bytes()).is_err(), "{bad}");
    }
}

fn hex() -> impl Strategy<Value = String> {
    "[0-9a-f]{64}"
}

fn page_file() -> impl Strategy<Value = FileRecord> {
    let metadata = prop_oneof![Just(CoreMetadata::None), Just(CoreMetadata::Unhashed), hex().prop_map(CoreMetadata::sha256)];
    let text = "[ -~äöü→]{1,40}".prop_filter("a text", |text| !text.trim().is_empty());
    let one = ("[a-zA-Z0-9_.+! é'\"&<>%#?;=]{1,20}", "[0-9]{1,3}(\\.[0-9]{1,3}){0,2}", prop::option::of(hex()), prop::option::of(text.clone()));
    let other =
        (prop::option::of(prop_oneof![Just(String::new()), text]), metadata, prop::option::of(any::<bool>()), any::<bool>(), prop::option::of(any::<u64>()));
    (one, other).prop_filter_map("a name", |((odd, version, sha, python), (yanked, core_metadata, gpg_sig, attested, size))| {
        let filename = format!("foo-{version}{odd}.zip");
        if !crate::name::is_filename(&filename) {
            return None;
        }
        let mut file = PageFile { requires_python: python, yanked, core_metadata, gpg_sig, size, ..PageFile::named("foo", &filename) };
        file.hashes.extend(sha.map(|sha| (String::from("sha256"), sha)));
        let file = if attested { file.with_provenance("foo", &version) } else { file };
        Some(FileRecord { file, version, ..FileRecord::default() })
    })
}

/// What HTML has no place for.
fn without_json_facts(page: UpstreamPage) -> UpstreamPage {
    let files = page.files.into_iter().map(|file| PageFile { size: None, upload_time: None, ..file }).collect();
    UpstreamPage { files, versions: Vec::new(), ..page }
}

proptest! {
    #[test]
    fn both_forms_carry_the_same_facts(files in prop::collection::vec(page_file(), 0..8), status in 0_usize..4, reason in "[ -~é]{0,30}") {
        let status = [Status::Active, Status::Archived, Status::Quarantined, Status::Deprecated][status];
        let document = ProjectDocument { status, reason, ..ProjectDocument::default() };
        let record = |record: &FileRecord| VersionRecord { version: record.file.filename.clone(), published: None, bytes: record.to_text().unwrap().into() };
        let records = Records {
            package: String::from("foo"),
            document: document.to_text().unwrap(),
            versions: files.iter().map(record).collect(),
            ..Records::default()
        };
        let base = BaseUrl { origin: String::from("https://packages.example"), path: String::from("/main/pypi") };
        let json = project("foo", &render_json(&records, &base, "json").unwrap()).unwrap();
        let html = project("foo", &render_html(&records, &base, "html").unwrap()).unwrap();
        prop_assert_eq!(without_json_facts(json.clone()), without_json_facts(html));
        prop_assert_eq!(json.status, document.status);
        let mut names = std::collections::HashSet::new();
        let mut wanted: Vec<PageFile> = files.into_iter().map(|record| record.file).filter(|file| names.insert(file.filename.clone())).collect();
        for file in &mut wanted {
            file.provenance = file.provenance.take().map(|url| url.replace('\u{1}', "https://packages.example/main/pypi"));
        }
        if status == Status::Quarantined {
            wanted.clear();
        }
        prop_assert_eq!(json.files, wanted);
    }

    #[test]
    fn anything_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "[<>a href='\"/{}\\[\\]:,files]{0,200}") {
        for document in [&bytes[..], text.as_bytes()] {
            let _ = (project("foo", document), projects(document), serial(document), file("foo", document, "a"));
        }
    }
}
