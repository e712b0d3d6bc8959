//! Ivy resolves from a group and publishes to a hosted repository.

use std::path::Path;
use std::time::Duration;

use super::{deploy_release, repositories};
use crate::support::TestServer;
use crate::support::clients::{Home, installed};
use crate::support::maven::{JVM, from_page, release, write};
use crate::support::process::{self, Output};

const PATIENCE: Duration = Duration::from_secs(600);

/// Ivy with the settings of the page.
fn ivy(home: &Home, folder: &Path, arguments: &[&str]) -> Output {
    let mut java = home.command("java", folder);
    java.args(JVM.split(' ')).arg(format!("-Duser.home={}", folder.join("home").display()));
    java.arg("-jar").arg(installed().join("ivy/ivy.jar")).args(["-settings", "ivysettings.xml"]).args(arguments);
    process::run(java, PATIENCE)
}

#[tokio::test(flavor = "multi_thread")]
async fn ivy_resolves_from_the_group_and_publishes() {
    let server = TestServer::builder().config(repositories()).start();
    let home = Home::new();
    deploy_release(&server).await;
    let token = crate::token(&server).await;
    let settings = from_page("ivysettings", &server.url("/")).replace("HOST", "127.0.0.1").replace("TOKEN", &token);
    let (publisher, reader) = (home.project("publisher"), home.project("reader"));
    for folder in [&publisher, &reader] {
        write(&folder.join("ivysettings.xml"), &settings);
    }
    let module = "<ivy-module version=\"2.0\">\n<info organisation=\"com.example\" module=\"by-ivy\" revision=\"1.0\"/>\n<configurations><conf name=\"default\"/></configurations>\n<publications><artifact type=\"jar\" ext=\"jar\" conf=\"default\"/><artifact type=\"pom\" ext=\"pom\" conf=\"default\"/></publications>\n<dependencies>\n<dependency org=\"com.acme\" name=\"lib\" rev=\"1.+\" conf=\"default->default\"/>\n<dependency org=\"org.apache.commons\" name=\"commons-text\" rev=\"1.12.0\" conf=\"default->default\"/>\n</dependencies>\n</ivy-module>\n";
    let pom = "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n<groupId>com.example</groupId><artifactId>by-ivy</artifactId><version>1.0</version>\n<dependencies><dependency><groupId>com.acme</groupId><artifactId>lib</artifactId><version>1.0</version></dependency></dependencies>\n</project>\n";
    write(&publisher.join("ivy.xml"), module);
    write(&publisher.join("made/by-ivy.pom"), pom);
    let (_, jar) = release().into_iter().find(|(name, _)| name.ends_with("/lib-1.0.jar")).unwrap();
    std::fs::write(publisher.join("made/by-ivy.jar"), &jar).unwrap();
    let publish = ["-ivy", "ivy.xml", "-retrieve", "lib/[artifact]-[revision].[ext]", "-publish", "deploy", "-publishpattern", "made/[artifact].[ext]"];
    let published = ivy(&home, &publisher, &[&publish[..], &["-revision", "1.0"]].concat()).succeeded();
    for jar in ["lib-1.0.jar", "commons-text-1.12.0.jar", "commons-lang3-3.14.0.jar"] {
        assert!(publisher.join("lib").join(jar).exists(), "{jar} is missing: {published}");
    }
    // By its range, for which the metadata is read, and with what its pom needs.
    let read = ["-dependency", "com.example", "by-ivy", "[1.0,2.0)", "-retrieve", "lib/[artifact]-[revision].[ext]"];
    let read = ivy(&home, &reader, &read).succeeded();
    for file in ["by-ivy-1.0.jar", "lib-1.0.jar"] {
        assert!(reader.join("lib").join(file).exists(), "{file} is missing: {read}");
    }
    assert_eq!(std::fs::read(reader.join("lib/by-ivy-1.0.jar")).unwrap(), jar);
}
