//! Whole builds: a project of several modules is deployed, found again, and built once more without its upstream.

use std::path::{Path, PathBuf};

use super::{repositories, three_repositories};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::maven::{MAVENS, from_page, settings};

/// A parent with a library (and its sources) and a bill of materials.
fn project(home: &Home, name: &str, version: &str, server: &str) -> PathBuf {
    let folder = home.path().join(name);
    let module = |module: &str, packaging: &str, more: &str| {
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<parent><groupId>com.acme</groupId><artifactId>parent</artifactId><version>{version}</version></parent>\n<artifactId>{module}</artifactId>\n<packaging>{packaging}</packaging>\n{more}</project>\n"
        )
    };
    let management = from_page("distributionManagement", server);
    let parent = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<groupId>com.acme</groupId><artifactId>parent</artifactId><version>{version}</version>\n<packaging>pom</packaging>\n<properties><maven.compiler.source>8</maven.compiler.source><maven.compiler.target>8</maven.compiler.target><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>\n<modules><module>lib</module><module>bom</module></modules>\n{management}\n<build><plugins><plugin><groupId>org.apache.maven.plugins</groupId><artifactId>maven-source-plugin</artifactId><version>3.3.1</version><executions><execution><goals><goal>jar-no-fork</goal></goals></execution></executions></plugin></plugins></build>\n</project>\n"
    );
    let bom = "<dependencyManagement><dependencies><dependency><groupId>com.acme</groupId><artifactId>lib</artifactId><version>${project.version}</version></dependency></dependencies></dependencyManagement>\n";
    for (path, text) in [
        ("pom.xml", parent),
        ("lib/pom.xml", module("lib", "jar", "")),
        ("bom/pom.xml", module("bom", "pom", bom)),
        ("lib/src/main/java/com/acme/Lib.java", String::from("package com.acme;\npublic class Lib { public static String name() { return \"lib\"; } }\n")),
    ] {
        write(&folder.join(path), &text);
    }
    folder
}

/// An application that takes the library by its bill of materials.
fn application(home: &Home, name: &str, version: &str) -> PathBuf {
    let folder = home.path().join(name);
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<groupId>com.example</groupId><artifactId>app</artifactId><version>1</version>\n<properties><maven.compiler.source>8</maven.compiler.source><maven.compiler.target>8</maven.compiler.target><project.build.sourceEncoding>UTF-8</project.build.sourceEncoding></properties>\n<dependencyManagement><dependencies><dependency><groupId>com.acme</groupId><artifactId>bom</artifactId><version>{version}</version><type>pom</type><scope>import</scope></dependency></dependencies></dependencyManagement>\n<dependencies><dependency><groupId>com.acme</groupId><artifactId>lib</artifactId></dependency></dependencies>\n</project>\n"
    );
    write(&folder.join("pom.xml"), &pom);
    write(&folder.join("src/main/java/App.java"), "public class App { public static void main(String[] a) { System.out.println(com.acme.Lib.name()); } }\n");
    folder
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_are_deployed_and_built_upon_and_outlive_the_upstream() {
    let mut server = TestServer::builder().config(repositories()).start();
    let (home, token) = (Home::new(), crate::token(&server).await);
    let settings_file = home.path().join("settings.xml");
    std::fs::write(&settings_file, settings(&server.url("/"), &token)).unwrap();
    let base = server.url("/");
    for (number, client) in MAVENS.into_iter().enumerate() {
        for version in [format!("1.{number}"), format!("2.{number}-SNAPSHOT")] {
            let folder = project(&home, &format!("{client}-{version}"), &version, &base);
            home.mvn(client, &folder, &settings_file, &format!("{client}-m2"), &["deploy"]).succeeded();
            let again = home.mvn(client, &folder, &settings_file, &format!("{client}-m2"), &["deploy"]);
            if version.ends_with("SNAPSHOT") {
                again.succeeded();
            }
            let built = application(&home, &format!("{client}-app-{version}"), &version);
            home.mvn(client, &built, &settings_file, &format!("{client}-fresh-{version}"), &["package"]).succeeded();
        }
    }
    let api = server.anonymous();
    let versions = api.get("/main/maven/com/acme/lib/maven-metadata.xml").await.text();
    for number in 0..MAVENS.len() {
        for version in [format!("<version>1.{number}</version>"), format!("<version>2.{number}-SNAPSHOT</version>")] {
            assert!(versions.contains(&version), "{versions}");
        }
        assert_eq!(api.get(&format!("/main/maven/com/acme/lib/1.{number}/lib-1.{number}-sources.jar")).await.status.as_u16(), 200);
    }

    // Other bytes under a version that is there: refused, and the client says why.
    let changed = project(&home, "changed", "1.0", &base);
    write(&changed.join("lib/src/main/java/com/acme/More.java"), "package com.acme;\npublic class More { }\n");
    let refused = home.mvn("mvn", &changed, &settings_file, "mvn-m2", &["deploy"]).failed();
    assert!(refused.text().contains("exists with other bytes and is not replaced"), "{}", refused.text());

    // The upstream is gone; nothing listens there.
    server.reconfigure(&three_repositories("http://127.0.0.1:9/"));
    std::fs::write(&settings_file, settings(&server.url("/"), &token)).unwrap();
    for client in MAVENS {
        let built = application(&home, &format!("{client}-alone"), "1.0");
        home.mvn(client, &built, &settings_file, &format!("{client}-alone-m2"), &["package"]).succeeded();
    }
}
