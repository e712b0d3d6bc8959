//! The page about Helm: its commands, in their order, as they are printed there.

use std::path::Path;

use super::{HELMS, Helm};
use crate::support::clients::PATIENCE;
use crate::support::{TestServer, process, repositories_of};

/// Programs whose lines on the page are run.
const RUN: [&str; 2] = ["helm ", "curl "];

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients/helm.md")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_page_says_what_works() {
    let page = page();
    let commands: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| RUN.iter().any(|program| line.starts_with(program))).collect();
    assert!(commands.len() >= 12, "{commands:?}");
    for version in HELMS {
        let server = TestServer::start();
        let token = server.admin().create_token("docs", &["main/*"], &["read", "publish", "delete"]).await;
        let helm = Helm::new(version);
        helm.run(&["create", "your-chart"]).succeeded();
        for command in &commands {
            let mut line = command.replace("SERVER", &server.url("")).replace("HOST", server.address());
            if let Some(rest) = line.strip_prefix("helm ") {
                // The page is about servers with TLS; this one has none.
                let plain = if line.contains("oci://") || line.contains("registry login") { " --plain-http" } else { "" };
                line = format!("{} {rest}{plain}", Helm::program(version).display());
            }
            let mut shell = helm.home.command("bash", &helm.folder);
            shell.env("TOKEN", &token).env("no_proxy", "*").args(["-euo", "pipefail", "-c", &line]);
            process::run(shell, PATIENCE).succeeded();
        }
        assert_eq!(server.anonymous().get("/main/helm/api/charts").await.succeeded().json(), serde_json::json!({}), "the last command deletes");
    }
}

/// The settings of the page are taken by the server.
#[test]
fn helm_page_shows_settings_that_are_taken() {
    let config = repositories_of(&page());
    assert_eq!(config.matches("[[repository]]").count(), 4, "{config}");
    TestServer::builder().config(config).start();
}
