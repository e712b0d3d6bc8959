//! A release by `mvn deploy` to a stage, as the page tells people: seen by nobody, then promoted and resolved.
#![cfg(test)]

use std::path::Path;

use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::maven::{default_repository, settings};

/// The line of the page that deploys to a stage.
fn deployment(server: &str) -> Vec<String> {
    let page = include_str!("../../docs/clients/maven.md");
    let line = page.lines().find(|line| line.contains("mvn deploy -DaltDeploymentRepository")).expect("the page says how");
    line.split_whitespace().skip(1).map(|word| word.replace("SERVER/", server)).collect()
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, text).unwrap();
}

fn project(folder: &Path, artifact: &str, more: &str) {
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<groupId>com.acme</groupId><artifactId>{artifact}</artifactId><version>7</version>\n<properties><maven.compiler.source>8</maven.compiler.source><maven.compiler.target>8</maven.compiler.target><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>\n{more}</project>\n"
    );
    write(folder, "pom.xml", &pom);
    write(folder, "src/main/java/Staged.java", "public class Staged { }\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn maven_deploys_to_a_stage_and_resolves_after_the_promotion() {
    let upstream = format!("url = {:?}, mutable_ttl = 86400", default_repository());
    let server = TestServer::builder().config(crate::support::three_repositories("maven", &upstream)).start();
    let (home, token) = (Home::new(), crate::token(&server).await);
    let base = server.url("/");
    let settings_file = home.path().join("settings.xml");
    std::fs::write(&settings_file, settings(&base, &token)).unwrap();
    let folder = home.path().join("staged");
    project(&folder, "staged", "");
    let deploy = deployment(&base);
    let deploy: Vec<&str> = deploy.iter().map(String::as_str).collect();
    home.mvn("maven4", &folder, &settings_file, "m2", &deploy).succeeded();

    let (api, anonymous) = (server.with_token(&token), server.anonymous());
    let state = api.get("/main/maven/.staging/release-7").await.succeeded().json();
    assert_eq!((&state["complete"], &state["versions"]), (&serde_json::json!(true), &serde_json::json!(["com.acme:staged 7"])), "{state}");
    assert_eq!(anonymous.get("/main/maven/com/acme/staged/maven-metadata.xml").await.status.as_u16(), 404);
    assert_eq!(anonymous.get("/main/maven/com/acme/staged/7/staged-7.jar").await.status.as_u16(), 404);

    api.call(http::Method::POST, "/main/maven/.staging/release-7").await.succeeded();
    let application = home.path().join("application");
    project(
        &application,
        "application",
        "<dependencies><dependency><groupId>com.acme</groupId><artifactId>staged</artifactId><version>7</version></dependency></dependencies>\n",
    );
    home.mvn("maven4", &application, &settings_file, "m2-fresh", &["compile"]).succeeded();
}
