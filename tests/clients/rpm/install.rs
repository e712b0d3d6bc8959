//! dnf: metadata and packages with all signatures checked, upgrades, and questions.

use super::{Machine, Workshop, file_name, repositories, upload};
use crate::support::TestServer;

const ADVISORY: &str = r#"<updates><update from="security@example.com" status="stable" type="security" version="1"><id>ACME-2026:1</id><title>tool 2.0</title><issued date="2026-11-05 00:00:00"/><updated date="2026-11-05 00:00:00"/><severity>Important</severity><summary>A hole</summary><description>A hole was closed.</description><references><reference href="https://example.com/CVE-2026-1" id="CVE-2026-1" type="cve" title="CVE-2026-1"/></references><pkglist><collection short="acme"><name>acme</name><package name="tool" version="2.0" release="1" epoch="0" arch="noarch" src="tool-2.0-1.src.rpm"><filename>tool-2.0-1.noarch.rpm</filename></package></collection></pkglist></update></updates>"#;
const COMPS: &str = r#"<comps><group><id>acme-tools</id><name>Acme tools</name><description>Tools</description><default>false</default><uservisible>true</uservisible><packagelist><packagereq type="mandatory">tool</packagereq></packagelist></group></comps>"#;

#[tokio::test(flavor = "multi_thread")]
async fn rpm_dnf_installs_and_upgrades_with_all_signatures_checked() {
    let workshop = Workshop::new();
    let server = TestServer::builder().config(repositories(&workshop.key, "http://127.0.0.1:9/")).start();
    let (first, docs) = (workshop.plain("tool", "1.0"), workshop.plain("tool-docs", "1.0"));
    upload(&server, "el9/", &[first, docs]).await;
    let machine = Machine::new();
    machine.set_up(&server, "/main/rpm/el9/entrepot.repo").await;
    machine.dnf(&["makecache"]).succeeded();
    machine.dnf(&["install", "tool"]).succeeded();
    assert_eq!(std::fs::read_to_string(machine.root("usr/share/tool/version")).unwrap(), "1.0\n");
    assert!(machine.root("usr/share/tool-docs/version").exists(), "a weak dependency comes along");
    upload(&server, "el9/", &[workshop.plain("tool", "2.0")]).await;
    server.admin().put("/main/rpm/el9/repodata/updateinfo.xml", ADVISORY).await.is(201);
    server.admin().put("/main/rpm/el9/repodata/comps.xml", COMPS).await.is(201);
    let advisories = machine.dnf(&["--refresh", "updateinfo", "list", "--security"]).succeeded();
    assert!(advisories.stdout.contains("ACME-2026:1") && advisories.stdout.contains("tool-2.0-1"), "{}", advisories.stdout);
    let groups = machine.dnf(&["group", "list"]).succeeded();
    assert!(groups.stdout.contains("Acme tools"), "{}", groups.stdout);
    machine.dnf(&["upgrade", "--security"]).succeeded();
    assert_eq!(std::fs::read_to_string(machine.root("usr/share/tool/version")).unwrap(), "2.0\n");
    for (question, answer) in [
        (&["repoquery", "--recommends", "tool-2.0"][..], "tool-docs >= 1"),
        (&["repoquery", "--suggests", "tool-2.0"], "tool-extras"),
        (&["repoquery", "--list", "tool-2.0"], "/usr/share/tool/version"),
        (&["repoquery", "--whatprovides", "/usr/bin/tool"], "tool-0:2.0-1.noarch"),
        (&["repoquery", "--whatprovides", "virtual-tool = 1.0"], "tool-0:1.0-1.noarch"),
        (&["repoquery", "--file", "/usr/share/tool-docs/version"], "tool-docs-0:1.0-1.noarch"),
        (&["repoquery", "--changelogs", "tool-2.0"], "Version 2.0"),
    ] {
        let output = machine.dnf(question).succeeded();
        assert!(output.stdout.contains(answer), "{question:?}: {}", output.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_dnf_refuses_what_was_not_signed_by_whom_it_trusts() {
    let workshop = Workshop::new();
    let server = TestServer::builder().config(repositories(&workshop.key, "http://127.0.0.1:9/")).start();
    let unsigned = workshop.build("unsigned", &super::plain_spec("unsigned", "1.0"));
    let unsigned: Vec<_> = unsigned.into_iter().filter(|path| file_name(path).ends_with(".noarch.rpm")).collect();
    upload(&server, "", &unsigned).await;
    let machine = Machine::new();
    machine.set_up(&server, "/main/rpm/entrepot.repo").await;
    machine.dnf(&["makecache"]).succeeded();
    let refused = machine.dnf(&["install", "unsigned"]).failed();
    assert!(refused.stderr.contains("not signed"), "{}", refused.stderr);
    // Metadata that another key signed.
    let other = Machine::new();
    let stranger = Workshop::new();
    let text = server.anonymous().get("/main/rpm/entrepot.repo").await.succeeded().text();
    let keys = format!("gpgkey=file://{}\n", stranger.key.display());
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("gpgkey") && !line.starts_with(' ')).collect();
    std::fs::write(other.home.path().join("repos.d/entrepot.repo"), format!("{}\n{keys}", lines.join("\n"))).unwrap();
    let refused = other.dnf(&["makecache"]).failed();
    assert!(refused.stderr.contains("GPG"), "{}", refused.stderr);
}

/// Through a group of a hosted repository and a proxy of another server, whose packages and metadata are checked on the way.
#[tokio::test(flavor = "multi_thread")]
async fn rpm_dnf_installs_through_a_group_though_the_upstream_is_gone() {
    let workshop = Workshop::new();
    let mut upstream = TestServer::start();
    upload(&upstream, "", &[workshop.plain("theirs", "1.0")]).await;
    let server = TestServer::builder().config(repositories(&workshop.key, &upstream.url("/main/rpm/"))).start();
    upload(&server, "", &[workshop.plain("ours", "1.0")]).await;
    let (machine, later) = (Machine::new(), Machine::new());
    machine.set_up(&server, "/main/rpm-all/entrepot.repo").await;
    machine.dnf(&["install", "ours", "theirs"]).succeeded();
    upstream.stop();
    later.set_up(&server, "/main/rpm-all/entrepot.repo").await;
    later.dnf(&["install", "ours", "theirs"]).succeeded();
    for machine in [machine, later] {
        for name in ["ours", "theirs"] {
            assert!(machine.root(&format!("usr/share/{name}/version")).exists(), "{name}");
        }
    }
}
