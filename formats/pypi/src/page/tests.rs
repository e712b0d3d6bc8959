use entrepot_kit::{BaseUrl, Records, VersionRecord};
use serde_json::{Value, json};

use super::{CoreMetadata, FileRecord, Form, PageFile, ProjectDocument, Status, negotiate, render_html, render_json, render_list_html, render_list_json};

fn base() -> BaseUrl {
    BaseUrl { origin: String::from("https://packages.example"), path: String::from("/main/pypi") }
}

pub(super) fn records(document: &ProjectDocument, files: &[FileRecord]) -> Records {
    let record = |record: &FileRecord| VersionRecord { version: record.file.filename.clone(), published: None, bytes: record.to_text().unwrap().into() };
    Records {
        package: String::from("acme-foo"),
        document: document.to_text().unwrap(),
        versions: files.iter().map(record).collect(),
        stamp: String::from("17"),
        ..Records::default()
    }
}

fn wheel() -> FileRecord {
    let mut file = PageFile::named("acme-foo", "acme_foo-1.0+x-py3-none-any.whl").with_provenance("acme-foo", "1.0+x");
    file.core_metadata = CoreMetadata::sha256("bb");
    file.hashes.insert(String::from("sha256"), String::from("aa"));
    (file.size, file.requires_python, file.yanked) = (Some(7), Some(String::from(">=3.8, <4")), Some(String::from("it's \"broken\" & <old>")));
    file.upload_time = Some(String::from("2026-11-01T12:00:00.000000Z"));
    FileRecord { file, version: String::from("1.0+x"), private: json!({"blake2": "cc"}).as_object().unwrap().clone() }
}

fn source() -> FileRecord {
    let file = PageFile { size: Some(1), yanked: Some(String::new()), ..PageFile::named("acme-foo", "acme_foo-0.9.tar.gz") };
    FileRecord { file, version: String::from("0.9"), ..FileRecord::default() }
}

#[test]
fn a_record_is_what_it_was() {
    for record in [wheel(), source()] {
        assert_eq!(FileRecord::parse(&record.to_text().unwrap()).unwrap(), record);
    }
    for bad in ["", "{}", "[]", "{\"page\":3}", "{\"page\":{}}"] {
        assert!(FileRecord::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_page_in_json() {
    let page = render_json(&records(&ProjectDocument::default(), &[wheel(), source()]), &base(), "json").unwrap();
    let page: Value = serde_json::from_slice(&page).unwrap();
    assert_eq!(
        page,
        json!({
            "meta": {"api-version": "1.4", "_last-serial": 17}, "name": "acme-foo", "project-status": {"status": "active"}, "versions": ["0.9", "1.0+x"],
            "files": [
                {"filename": "acme_foo-1.0+x-py3-none-any.whl", "url": "../../files/acme-foo/acme_foo-1.0+x-py3-none-any.whl", "hashes": {"sha256": "aa"},
                    "requires-python": ">=3.8, <4", "size": 7, "upload-time": "2026-11-01T12:00:00.000000Z", "yanked": "it's \"broken\" & <old>",
                    "core-metadata": {"sha256": "bb"}, "dist-info-metadata": {"sha256": "bb"},
                    "provenance": "https://packages.example/main/pypi/integrity/acme-foo/1.0+x/acme_foo-1.0+x-py3-none-any.whl/provenance"},
                {"filename": "acme_foo-0.9.tar.gz", "url": "../../files/acme-foo/acme_foo-0.9.tar.gz", "hashes": {}, "size": 1, "yanked": true,
                    "core-metadata": false, "dist-info-metadata": false, "provenance": null}
            ]
        })
    );
}

#[test]
fn the_page_in_html() {
    let document = ProjectDocument { status: Status::Deprecated, reason: String::from("use \"bar\""), ..ProjectDocument::default() };
    let page = String::from_utf8(render_html(&records(&document, &[wheel(), source()]), &base(), "html").unwrap()).unwrap();
    for wanted in [
        "<meta name=\"pypi:repository-version\" content=\"1.4\">",
        "<meta name=\"pypi:project-status\" content=\"deprecated\">",
        "<meta name=\"pypi:project-status-reason\" content=\"use &quot;bar&quot;\">",
        "<a href=\"../../files/acme-foo/acme_foo-1.0+x-py3-none-any.whl#sha256=aa\" data-requires-python=\"&gt;=3.8, &lt;4\" \
         data-dist-info-metadata=\"sha256=bb\" data-core-metadata=\"sha256=bb\" data-yanked=\"it&#39;s &quot;broken&quot; &amp; &lt;old&gt;\" \
         data-provenance=\"https://packages.example/main/pypi/integrity/acme-foo/1.0+x/acme_foo-1.0+x-py3-none-any.whl/provenance\">\
         acme_foo-1.0+x-py3-none-any.whl</a>",
        "<a href=\"../../files/acme-foo/acme_foo-0.9.tar.gz\" data-yanked=\"\">acme_foo-0.9.tar.gz</a>",
    ] {
        assert!(page.contains(wanted), "{wanted}\n{page}");
    }
}

#[test]
fn what_a_quarantine_and_a_namespace_say() {
    let document = ProjectDocument { status: Status::Quarantined, reason: String::from("malware"), ..ProjectDocument::default() };
    let records = records(&document, &[wheel()]);
    let page: Value = serde_json::from_slice(&render_json(&records, &base(), "json").unwrap()).unwrap();
    assert_eq!((&page["files"], &page["versions"]), (&json!([]), &json!(["1.0+x"])));
    assert_eq!(page["project-status"], json!({"status": "quarantined", "reason": "malware"}));
    assert!(page.get("namespaces").is_none());
    assert!(!String::from_utf8(render_html(&records, &base(), "html").unwrap()).unwrap().contains("<a "));
    for value in [json!(null), json!([{"name": "acme", "owned": true}])] {
        let variant = super::variant_with_namespaces("json", &value);
        let page: Value = serde_json::from_slice(&render_json(&records, &base(), &variant).unwrap()).unwrap();
        assert_eq!((&page["namespaces"], &page["meta"]["api-version"]), (&value, &json!("1.5")));
    }
}

#[test]
fn sizes_are_promised_only_where_they_are_known() {
    let mut record = source();
    record.file.size = None;
    let page: Value = serde_json::from_slice(&render_json(&records(&ProjectDocument::default(), &[wheel(), record]), &base(), "json").unwrap()).unwrap();
    assert_eq!(page["meta"]["api-version"], "1.0");
}

#[test]
fn lists_of_projects() {
    let list: Value = serde_json::from_slice(&render_list_json(["a", "B.c"]).unwrap()).unwrap();
    assert_eq!(list, json!({"meta": {"api-version": "1.4"}, "projects": [{"name": "a"}, {"name": "B.c"}]}));
    let list = String::from_utf8(render_list_html(["a", "B.c"])).unwrap();
    assert!(list.contains("<a href=\"a/\">a</a>") && list.contains("<a href=\"b-c/\">B.c</a>"), "{list}");
}

#[test]
fn clients_get_the_form_that_they_want() {
    const JSON: &str = "application/vnd.pypi.simple.v1+json";
    const HTML: &str = "application/vnd.pypi.simple.v1+html";
    let pip = format!("{JSON}, {HTML};q=0.1, text/html;q=0.01");
    for (accept, format, form) in [
        ("", None, Form::PlainHtml),
        ("*/*", None, Form::PlainHtml),
        ("text/*", None, Form::PlainHtml),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", None, Form::PlainHtml),
        (&pip, None, Form::Json),
        ("application/vnd.pypi.simple.v1+json;q=0.2, application/vnd.pypi.simple.v1+html;q=0.9", None, Form::Html),
        ("application/vnd.pypi.simple.latest+json", None, Form::Json),
        ("application/vnd.pypi.simple.latest+html", None, Form::Html),
        ("application/*", None, Form::Html),
        ("*/*;q=0.1, application/vnd.pypi.simple.v1+json;q=0", None, Form::PlainHtml),
        ("text/html;q=0, */*", None, Form::Html),
        ("Application/VND.pypi.simple.V1+JSON ; Q=1", None, Form::Json),
        ("image/png, application/vnd.pypi.simple.v2+json, text/html;q=0.001", None, Form::PlainHtml),
        ("text/html", Some(JSON), Form::Json),
        ("", Some("application/vnd.pypi.simple.v1 html"), Form::Html),
        ("", Some("application/vnd.pypi.simple.latest+json"), Form::Json),
    ] {
        assert_eq!(negotiate([accept], format).ok(), Some(form), "{accept} {format:?}");
    }
    for (accept, format) in [
        ("image/png", None),
        ("application/json", None),
        ("application/vnd.pypi.simple.v2+json", None),
        ("text/html;q=0", None),
        ("text/html;q=x", None),
        ("*/*", Some("application/json")),
        ("*/*", Some("*/*")),
    ] {
        assert_eq!(negotiate([accept], format).map_err(|error| error.status().as_u16()), Err(406), "{accept} {format:?}");
    }
}
