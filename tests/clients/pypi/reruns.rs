//! An upload whose answer got lost is run again: the same files succeed, others are refused with a text that the tool prints.
#![cfg(test)]

use super::{Site, built_file, plain};
use crate::support::TestServer;
use crate::support::clients::Home;

#[tokio::test(flavor = "multi_thread")]
async fn pypi_uploads_are_run_again() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let home = Home::new();
    for name in ["again-twine", "again-uv"] {
        let folder = home.built(&plain(name, "1.0"));
        let wheel = built_file(&folder, ".whl");
        let upload = |folder| match name {
            "again-twine" => site.twine_all(&home, folder),
            _ => site.uv(&home, folder, &[]),
        };
        upload(&folder).succeeded();
        upload(&folder).succeeded();
        // The same name and other bytes: built again from another source.
        let honest = std::fs::read(&wheel).unwrap();
        std::fs::remove_dir_all(folder.join("dist")).unwrap();
        std::fs::write(folder.join(name.replace('-', "_")).join("more.py"), "MORE = True\n").unwrap();
        let mut build = home.python_command("python", "python", &folder);
        build.args(["-m", "build", "--no-isolation", "--quiet", "."]);
        crate::support::process::run(build, crate::support::clients::PATIENCE).succeeded();
        assert_ne!(std::fs::read(&wheel).unwrap(), honest);
        let refused = upload(&folder).failed();
        assert!(refused.text().contains("File already exists"), "{refused}");
        let kept = server.anonymous().get(&format!("/main/pypi/files/{name}/{}", wheel.file_name().unwrap().to_string_lossy())).await.succeeded();
        assert_eq!(kept.body, honest);
    }
    assert_eq!(server.log_lines(&["status=5"]), 0, "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_tools_print_why_an_upload_is_refused() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let home = Home::new();
    let folder = home.built(&plain("why-not", "1.0"));
    site.uv(&home, &folder, &[]).succeeded();
    let api = server.with_token(&site.token);
    api.json(http::Method::PUT, "/main/pypi/manage/why-not/status", &serde_json::json!({"status": "archived"})).await.succeeded();
    let next = home.built(&plain("why-not", "2.0"));
    let (twine, uv) = (site.twine(&home, &next, &["dist/why_not-2.0.tar.gz"]).failed(), site.uv(&home, &next, &[]).failed());
    for refused in [twine, uv] {
        assert!(refused.text().contains("archived"), "{refused}");
    }
    let wrong = Site { base: site.base.clone(), token: String::from("wrong") };
    wrong.twine(&home, &next, &["dist/why_not-2.0.tar.gz"]).failed();
    wrong.uv(&home, &next, &[]).failed();
}
