//! The page about Alpine says what works.

use std::path::Path;

use super::build;
use crate::support::alpine::{listed, read};
use crate::support::clients::Home;
use crate::support::{ADMIN_PASSWORD, TestServer};

/// The commands of the page.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients/alpine.md")).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn alpine_page_says_what_works() {
    let server = TestServer::start();
    let home = Home::new();
    std::fs::write(home.path().join("home/.curlrc"), "noproxy = *\n").unwrap();
    let folder = home.project("packages");
    let keys = folder.join("keys");
    std::fs::create_dir(&keys).unwrap();
    let package = build(&home, &folder, "hello", "1.0-r0", "x86_64");
    let index = "/main/alpine/v3.22/main/x86_64/APKINDEX.tar.gz";
    let fill = |command: &str| {
        let command = command.replace("SERVER", &server.url("")).replace("NAME:TOKEN", &format!("admin:{ADMIN_PASSWORD}"));
        command.replace("/etc/apk/keys", "keys").replace("/etc/apk/repositories", "repositories")
    };
    let run = |command: &str| home.shell(&folder, &fill(command)).succeeded();
    let commands = commands();
    let those = |word: &str| commands.iter().filter(|command| command.contains(word)).cloned().collect::<Vec<_>>();
    let (uploads, deletions) = (those("--upload-file"), those("DELETE"));
    assert_eq!((uploads.len(), deletions.len()), (2, 1), "{commands:?}");

    for upload in &uploads {
        run(upload);
        server.anonymous().get("/main/alpine/v3.22/main/x86_64/hello-1.0-r0.apk").await.is(200);
    }
    let sent = std::fs::read(&package).unwrap();
    assert_eq!(server.anonymous().get("/main/alpine/v3.22/main/x86_64/hello-1.0-r0.apk").await.body, sent);

    // As somebody installs: the key, the line, and what apk asks for by that.
    run(&those("curl --fail --silent")[0]);
    run(&those("echo ")[0]);
    let line = std::fs::read_to_string(folder.join("repositories")).unwrap();
    let asked = home.shell(&folder, &format!("curl --fail --silent --show-error --output index {}/x86_64/APKINDEX.tar.gz", line.trim()));
    asked.succeeded();
    let verified = || read(&std::fs::read(folder.join("index")).unwrap(), &keys);
    assert_eq!(verified()["verified"].as_array().map(Vec::len), Some(2), "{}", verified());
    assert_eq!(listed(&verified()), ["hello-1.0-r0 x86_64"]);
    assert_eq!(verified()["records"][0]["p"], "cmd:hello=1.0-r0");

    // The operator's commands, beside the server.
    let list = server.command_beside(&["admin", "key", "list", "main/alpine"]).await.succeeded().text();
    assert!(list.starts_with("rsa ") && list.lines().count() == 1, "{list}");
    let exported = server.command_beside(&["admin", "key", "export", "main/alpine"]).await.succeeded().text();
    assert_eq!(server.anonymous().get("/main/alpine/key").await.text().trim(), exported.trim());
    let rotate = those("admin key rotate")[0].clone();
    let arguments: Vec<&str> = rotate.trim_start_matches("entrepot ").split(' ').collect();
    server.command_beside(&arguments).await.succeeded();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while server.anonymous().get("/main/alpine/key").await.text().trim() == exported.trim() {
        assert!(std::time::Instant::now() < until, "the server does not notice the new key");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    std::fs::write(folder.join("index"), server.anonymous().get(index).await.body).unwrap();
    assert_eq!(verified()["verified"].as_array().map(Vec::len), Some(2), "clients with the old key only go on: {}", verified());
    let list = server.command_beside(&["admin", "key", "list", "main/alpine"]).await.succeeded().text();
    assert!(list.lines().count() == 2 && list.contains("signs until"), "{list}");
    for private in ["PRIVATE KEY", "BEGIN RSA"] {
        assert!(!server.log().contains(private) && !list.contains(private) && !exported.contains(private), "what is private stays so");
    }

    run(&deletions[0]);
    server.anonymous().get("/main/alpine/v3.22/main/x86_64/hello-1.0-r0.apk").await.is(404);
}
