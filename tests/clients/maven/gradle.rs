//! Gradle, as the distribution has it, resolves from a group.

use std::time::Duration;

use super::{deploy_release, repositories};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::maven::{JVM, write};
use crate::support::process;

const PATIENCE: Duration = Duration::from_secs(600);

/// The line of the page that names the repository.
fn repositories_of_page(server: &str) -> String {
    let page = include_str!("../../../docs/clients/maven.md");
    let line = page.lines().find(|line| line.trim_start().starts_with("repositories { maven")).expect("the page says it");
    line.replace("SERVER/", server)
}

#[tokio::test(flavor = "multi_thread")]
async fn gradle_resolves_ours_and_others_through_the_group() {
    let server = TestServer::builder().config(repositories()).start();
    let home = Home::new();
    deploy_release(&server).await;
    let folder = home.project("gradle");
    let script = format!(
        "apply plugin: 'java'\n{}\ndependencies {{\n    compile 'com.acme:lib:1.+'\n    compile 'org.apache.commons:commons-text:1.12.0'\n}}\n\
         task jars(type: Copy) {{ from configurations.compile; into 'jars' }}\n",
        repositories_of_page(&server.url("/"))
    );
    write(&folder.join("build.gradle"), &script);
    write(
        &folder.join("src/main/java/Application.java"),
        "public class Application { public static void main(String[] arguments) { System.out.println(com.acme.Lib.name()); } }\n",
    );
    let mut gradle = home.command("gradle", &folder);
    gradle.env("GRADLE_USER_HOME", home.path().join("gradle")).env("GRADLE_OPTS", format!("{JVM} -Duser.home={}", home.path().join("home").display()));
    gradle.args(["--no-daemon", "--console=plain", "jars", "assemble"]);
    let built = process::run(gradle, PATIENCE).succeeded();
    for jar in ["lib-1.0.jar", "commons-text-1.12.0.jar", "commons-lang3-3.14.0.jar"] {
        assert!(folder.join("jars").join(jar).exists(), "{jar} is missing: {built}");
    }
    let (_, ours) = crate::support::maven::release().into_iter().find(|(name, _)| name.ends_with("/lib-1.0.jar")).unwrap();
    assert_eq!(std::fs::read(folder.join("jars/lib-1.0.jar")).unwrap(), ours);
}
