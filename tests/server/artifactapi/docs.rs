//! The page about it: its file is taken, and its commands do what they say.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::support::{ADMIN_PASSWORD, TestServer, process};
use crate::upstream::{Reply, ScriptedUpstream};

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations/artifactapi.md")).unwrap()
}

/// The lines that stand as code below a first one.
fn block(page: &str, first: &str) -> String {
    let lines = page.lines().skip_while(|line| *line != format!("    {first}")).take_while(|line| line.starts_with("    "));
    lines.filter_map(|line| line.strip_prefix("    ")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_page_about_artifactapi_says_what_works() {
    let (folder, upstream, page) = (TempDir::new().unwrap(), ScriptedUpstream::start().await, page());
    for path in ["/acme/tool/releases/download/1.0/tool.tar.gz", "/acme/tool/archive/main.tar.gz"] {
        upstream.answer(path, Reply::bytes("bytes"));
    }
    upstream.answer("/v3/main/x86_64/", Reply::bytes("<a href=\"tool-1.0-r0.apk\">tool</a>").header("Content-Type", "text/html"));
    upstream.answer("/v3/main/x86_64/tool-1.0-r0.apk", Reply::bytes("apk"));
    let remotes = block(&page, "remotes:");
    for name in ["base_url", "type", "package", "description", "immutable_patterns", "mutable_patterns", "check_mutable_updates", "username", "password"] {
        assert!(remotes.contains(&format!("{name}:")) && page.contains(&format!("`{name}`")), "{name} is not on the page");
    }
    let remotes = remotes.replace("https://releases.example/", &upstream.url()).replace("https://mirror.example/alpine/", &upstream.url());
    let file = folder.path().join("remotes.yaml");
    std::fs::write(&file, remotes).unwrap();
    std::fs::write(folder.path().join("tool.bin"), "a tool").unwrap();
    let server = TestServer::builder().config(format!("[artifactapi]\nremotes = {:?}\n", file.display().to_string())).start();
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("curl ")).collect();
    assert!(commands.len() >= 5, "{commands:?}");
    let (address, path) = (server.url(""), folder.path().to_owned());
    let run = move |command: String| {
        let mut shell = Command::new("bash");
        process::clean(&mut shell);
        let line = command.replace("SERVER", &address).replace("-u alice", &format!("-u admin:{ADMIN_PASSWORD}"));
        let line = line.replacen("curl ", "curl --silent --show-error --fail-with-body --noproxy '*' ", 1);
        shell.args(["-euo", "pipefail", "-c", &line]).current_dir(&path);
        process::run(shell, std::time::Duration::from_secs(60)).succeeded().stdout
    };
    let mut said = Vec::new();
    for command in commands {
        let (run, command) = (run.clone(), command.to_owned());
        said.push(tokio::task::spawn_blocking(move || run(command)).await.unwrap());
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("tool.tar.gz")).unwrap(), "bytes");
    assert!(said[1].to_ascii_lowercase().contains("x-artifact-source: remote"), "{}", said[1]);
    assert!(said[3].contains("releases/download/1.0/tool.tar.gz") && said[4].contains("\"cached\":1"), "{said:?}");
    assert_eq!(server.anonymous().get("/api/own/tools/tool.bin").await.succeeded().text(), "a tool");
}
