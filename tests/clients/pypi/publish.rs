//! Every tool uploads, and what it uploaded is read by the library that people read pages with.
#![cfg(test)]

use serde_json::json;

use super::{Site, plain};
use crate::support::TestServer;
use crate::support::clients::Home;

#[tokio::test(flavor = "multi_thread")]
async fn pypi_every_tool_publishes() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let home = Home::new();
    let folder = |name: &'static str| home.built(&plain(name, "1.0"));
    site.twine_all(&home, &folder("by-twine")).succeeded();
    site.uv(&home, &folder("by-uv"), &[]).succeeded();
    site.poetry(&home, &folder("by-poetry")).succeeded();
    site.pdm(&home, &folder("by-pdm")).succeeded();
    let projects = server.anonymous().get("/main/pypi/simple/?format=application/vnd.pypi.simple.v1%2Bjson").await.succeeded().json();
    assert_eq!(projects["projects"], json!([{"name": "by-pdm"}, {"name": "by-poetry"}, {"name": "by-twine"}, {"name": "by-uv"}]));
    for name in ["by-pdm", "by-poetry", "by-twine", "by-uv"] {
        let page = server.anonymous().get(&format!("/main/pypi/simple/{name}/?format=application/vnd.pypi.simple.v1%2Bjson")).await.succeeded().json();
        assert_eq!(page["files"].as_array().map(Vec::len), Some(2), "{name}: a wheel and a source distribution: {page}");
    }
}

/// Both forms of a page, as the library `pypi-simple` reads them, carry the same.
#[tokio::test(flavor = "multi_thread")]
async fn pypi_pages_are_read_without_loss() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let home = Home::new();
    let folder = home.built(&crate::support::python::Project { name: "read-me", version: "1.0", lines: "requires-python = \">=3.8,<4\"" });
    site.uv(&home, &folder, &[]).succeeded();
    server
        .with_token(&site.token)
        .json(http::Method::POST, "/main/pypi/manage/read-me/1.0/read_me-1.0.tar.gz/yank", &json!({"reason": "an <odd> \"one\""}))
        .await
        .succeeded();
    let script = r#"
import sys, json
from pypi_simple import PyPISimple, ACCEPT_JSON_ONLY, ACCEPT_HTML_ONLY
from packaging.utils import parse_wheel_filename, parse_sdist_filename
facts = []
for accept in [ACCEPT_JSON_ONLY, ACCEPT_HTML_ONLY]:
    with PyPISimple(sys.argv[1], accept=accept) as client:
        assert list(client.get_index_page().projects) == ["read-me"]
        page = client.get_project_page("Read.Me")
        found = []
        for package in page.packages:
            assert package.version == "1.0", package
            (parse_wheel_filename if package.filename.endswith(".whl") else parse_sdist_filename)(package.filename)
            metadata = client.get_package_metadata(package)
            assert "Name: read-me" in metadata
            client.download_package(package, "download-" + package.filename)
            found.append([package.filename, package.url, package.digests, package.requires_python, package.is_yanked, package.yanked_reason,
                          package.has_metadata, package.metadata_digests])
        if accept is ACCEPT_JSON_ONLY:
            assert page.repository_version == "1.4" and page.versions == ["1.0"], page
            assert all(package.size and package.upload_time for package in page.packages)
        facts.append(found)
assert facts[0] == facts[1], facts
print(json.dumps(facts[0]))
"#;
    let project = home.project("reader");
    let facts = home.python(&project, &script.replace("sys.argv[1]", &format!("{:?}", site.index()))).succeeded().json();
    assert_eq!(facts.as_array().map(Vec::len), Some(2), "{facts}");
    assert_eq!((&facts[0][3], &facts[0][4]), (&json!(">=3.8,<4"), &json!(false)));
    assert_eq!((&facts[1][4], &facts[1][5]), (&json!(true), &json!("an <odd> \"one\"")));
}
