//! zypper: refresh with the metadata's signature checked, install, update.

use super::{Machine, Workshop, repositories, upload};
use crate::support::TestServer;
use crate::support::process::{self, Output};

impl Machine {
    pub(super) fn zypper(&self, arguments: &[&str]) -> Output {
        let mut command = self.home.command("zypper", self.home.path());
        command.arg("--root").arg(self.home.path().join("root")).args(["--non-interactive", "--gpg-auto-import-keys"]).args(arguments);
        process::run(command, super::PATIENCE)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_zypper_refreshes_installs_and_updates() {
    let workshop = Workshop::new();
    let server = TestServer::builder().config(repositories(&workshop.key, "http://127.0.0.1:9/")).start();
    upload(&server, "", &[workshop.plain("tool", "1.0")]).await;
    let machine = Machine::new();
    machine.set_up(&server, "/main/rpm/entrepot.repo").await;
    let file = machine.home.path().join("repos.d/entrepot.repo").display().to_string();
    machine.zypper(&["addrepo", &file]).succeeded();
    machine.zypper(&["refresh"]).succeeded();
    machine.zypper(&["install", "tool"]).succeeded();
    assert_eq!(std::fs::read_to_string(machine.root("usr/share/tool/version")).unwrap(), "1.0\n");
    upload(&server, "", &[workshop.plain("tool", "2.0")]).await;
    machine.zypper(&["refresh", "--force"]).succeeded();
    let found = machine.zypper(&["search", "--provides", "/usr/bin/tool"]).succeeded();
    assert!(found.stdout.contains("tool"), "{}", found.stdout);
    machine.zypper(&["update", "tool"]).succeeded();
    assert_eq!(std::fs::read_to_string(machine.root("usr/share/tool/version")).unwrap(), "2.0\n");
}
