//! Plain files with the real curl: the commands of the page about them, as they are printed there.
#![cfg(test)]

use std::io::Write as _;
use std::path::Path;

use crate::support::clients::Home;
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::token;

/// The commands of a page.
fn commands(page: &str) -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("    ")).filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

/// An archive with one file in it, called `README.md`.
fn archive(path: &Path) {
    let compressed = flate2::write::GzEncoder::new(std::fs::File::create(path).unwrap(), flate2::Compression::default());
    let mut archive = tar::Builder::new(compressed);
    let text = b"read me";
    let mut header = tar::Header::new_gnu();
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, "README.md", &text[..]).unwrap();
    archive.into_inner().unwrap().finish().unwrap().flush().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn generic_page_says_what_works() {
    let server = TestServer::start();
    let token = token(&server).await;
    let home = Home::new();
    // Everywhere curl looks for settings of its own: fail on an error, and say what it is.
    std::fs::write(home.path().join("home/.curlrc"), "fail-with-body\nsilent\nshow-error\nnoproxy = *\n").unwrap();
    let (sent, received) = (home.project("sent"), home.project("received"));
    archive(&sent.join("tool-1.0.tar.gz"));
    std::fs::write(sent.join("tool.bin"), "a tool").unwrap();
    let commands = commands("docs/clients/generic.md");
    assert!(commands.len() >= 9, "{commands:?}");
    for command in &commands {
        let folder = if command.contains(" -T ") { &sent } else { &received };
        if command.contains(" -C - ") {
            let file = std::fs::File::options().write(true).open(received.join("tool-1.0.tar.gz")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }
        let line = command.replace("SERVER", &server.url("")).replace("-u alice", &format!("-u admin:{ADMIN_PASSWORD}")).replace("$TOKEN", &token);
        let output = home.shell(folder, &line);
        let output = output.succeeded();
        if command.contains("format=json") {
            assert!(output.json().to_string().contains("/1.0"), "{output}");
        } else if command.contains(" -O ") {
            let name = command.split(['/', ' ', '\'']).rfind(|word| word.contains('.') && word.contains(['z', 'm'])).unwrap();
            assert!(received.join(name).exists(), "{command} brought no {name}");
        }
    }
    assert_eq!(std::fs::read_to_string(received.join("README.md")).unwrap(), "read me");
    assert_eq!(std::fs::read(received.join("tool-1.0.tar.gz")).unwrap(), std::fs::read(sent.join("tool-1.0.tar.gz")).unwrap());
    for deleted in ["tool.bin", "tools/1.0/tool-1.0.tar.gz"] {
        server.anonymous().get(&format!("/main/generic/{deleted}")).await.is(404);
    }
}
