//! The page about Python's tools: its commands, in their order, as they are printed there.
#![cfg(test)]

use std::path::Path;

use super::{Site, plain};
use crate::support::clients::{Home, PATIENCE};
use crate::support::process;
use crate::support::{TestServer, repositories_of};

/// Programs whose lines on the page are run.
const RUN: [&str; 6] = ["twine ", "uv ", "poetry ", "pdm ", "pip ", "curl "];

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients/pypi.md")).unwrap()
}

/// The commands of the page, with the headings that they stand under.
fn commands(page: &str) -> Vec<String> {
    let lines = page.lines().filter_map(|line| line.strip_prefix("    "));
    lines.filter(|line| RUN.iter().any(|program| line.starts_with(program))).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn pypi_page_says_what_works() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let home = Home::new();
    let commands = commands(&page());
    assert!(commands.len() >= 15, "{commands:?}");
    let folder = home.built(&plain("your-package", "1.0"));
    let environment = home.environment("reader");
    for command in &commands {
        let mut line = command.replace("SERVER", &server.url("")).replace("$TOKEN", &site.token);
        for (tool, client) in [("twine", "python"), ("uv", "python"), ("poetry", "poetry"), ("pdm", "pdm")] {
            if let Some(rest) = line.strip_prefix(&format!("{tool} ")) {
                line = format!("{} {rest}", home.python_command(client, tool, &folder).get_program().to_string_lossy());
            }
        }
        if let Some(rest) = line.strip_prefix("pip install ") {
            line = format!(
                "{} --python {}/bin/python install {rest}",
                home.python_command("python", "pip", &folder).get_program().to_string_lossy(),
                environment.display()
            );
        } else if let Some(rest) = line.strip_prefix("pip config ") {
            line = format!("{} config {rest}", home.python_command("python", "pip", &folder).get_program().to_string_lossy());
        }
        let line = line.replace(" pip install --default-index", &format!(" pip install --python {}/bin/python --default-index", environment.display()));
        let mut shell = home.python_command("python", "python", &folder);
        // The settings of a user, which `pip config` writes.
        shell.env_remove("PIP_CONFIG_FILE");
        let variables: Vec<_> = shell.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let mut run = home.command("bash", &folder);
        run.envs(variables).env("no_proxy", "*").args(["-euo", "pipefail", "-c", &line]);
        process::run(run, PATIENCE).succeeded();
        if command.starts_with("curl") && command.contains("/1.0/yank") {
            let page = server.anonymous().get("/main/pypi/simple/your-package/").await.succeeded().text();
            assert_eq!(page.contains("breaks on Windows"), command.contains("POST"), "{command}: {page}");
        }
        if command.contains("install") {
            home.run_in(&environment, "import your_package; assert your_package.VERSION == '1.0'").succeeded();
            home.uv(home.path(), &["pip", "uninstall", "--python", &environment.join("bin/python").display().to_string(), "your-package"]).succeeded();
        }
    }
    server.anonymous().get("/main/pypi/simple/your-package/").await.is(404);
}

/// The settings of the page are taken by the server.
#[test]
fn pypi_page_shows_settings_that_are_taken() {
    let config = repositories_of(&page());
    assert_eq!(config.matches("[[repository]]").count(), 3, "{config}");
    let config = config + "\n[[system]]\nname = \"ops\"\n[[repository]]\nname = \"pypi\"\nformat = \"pypi\"\n";
    TestServer::builder().config(config).start();
}
