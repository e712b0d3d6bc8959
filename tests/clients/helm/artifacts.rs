//! Charts by `oci://`.

use super::{HELMS, Helm, pair, same};
use crate::support::{ADMIN_PASSWORD, TestServer};

#[tokio::test(flavor = "multi_thread")]
async fn helm_pushes_and_pulls_the_same_charts_both_ways() {
    let group = "[[repository]]\nname = \"helm\"\nformat = \"helm\"\ntags = { visibility = \"public\" }\n[[repository]]\nname = \"helm-all\"\n\
                 format = \"helm\"\nkind = \"group\"\ntags = { visibility = \"public\" }\nmembers = [\"main/helm\"]\n";
    let server = TestServer::builder().config(group).start();
    for version in HELMS {
        let helm = Helm::new(version);
        let (public, secret) = helm.signing_keys();
        let sign = ["--sign", "--key", "signer@example.com", "--keyring", secret.as_str()];
        helm.run(&["registry", "login", server.address(), "--plain-http", "--username", "admin", "--password", ADMIN_PASSWORD]).succeeded();
        // Pushed, and found in the index.
        let pushed = format!("pushed-{version}");
        let file = helm.package(&pushed, "1.0.0+build.1", &sign);
        let to = format!("oci://{}/main/helm", server.address());
        let said = helm.run(&["push", &file.display().to_string(), &to, "--plain-http"]).succeeded().text();
        assert!(said.contains("sha256:"), "{said}");
        let digest = said.lines().find_map(|line| line.split("Digest: ").nth(1)).unwrap().trim().to_owned();
        helm.run(&["push", &file.display().to_string(), &to, "--plain-http"]).succeeded();
        helm.add("charts", &server.url("/main/helm"));
        helm.run(&["repo", "update"]).succeeded();
        let target = helm.target("classic");
        let folder = target.display().to_string();
        let pull = ["pull", &format!("charts/{pushed}"), "--version", "1.0.0+build.1", "--verify", "--keyring", &public, "-d", &folder];
        helm.run(&pull).succeeded();
        same(&target.join(format!("{pushed}-1.0.0+build.1.tgz")), &file);
        // Published classically, and pulled as an artifact.
        let classic = format!("classic-{version}");
        let second = helm.package(&classic, "2.0.0+build.2", &sign);
        helm.cm_push(&server.url("/main/helm/api/charts"), &second).succeeded();
        let prov = std::fs::read(second.with_extension("tgz.prov")).unwrap();
        server.admin().put(&format!("/main/helm/{classic}-2.0.0+build.2.tgz.prov"), prov).await.succeeded();
        let target = helm.target("artifacts");
        let folder = target.display().to_string();
        for repository in ["main/helm", "helm", "main/helm-all"] {
            for (name, chart_version, original) in [(&classic, "2.0.0+build.2", &second), (&pushed, "1.0.0+build.1", &file)] {
                let from = format!("oci://{}/{repository}/{name}", server.address());
                let pull = ["pull", &from, "--version", chart_version, "--plain-http", "--verify", "--keyring", &public, "-d", &folder];
                helm.run(&pull).succeeded();
                let pulled = target.join(format!("{name}-{chart_version}.tgz"));
                same(&pulled, original);
                same(&pulled.with_extension("tgz.prov"), &original.with_extension("tgz.prov"));
                let newest = helm.run(&["show", "chart", &from, "--plain-http"]).succeeded().stdout;
                assert!(newest.contains(&format!("version: {chart_version}")), "found by its tags: {newest}");
                std::fs::remove_file(pulled).unwrap();
            }
        }
        let rendered = helm.run(&["template", "release", &format!("{to}/{pushed}@{digest}"), "--plain-http"]).succeeded().stdout;
        assert!(rendered.contains("kind: Deployment"), "{rendered}");
        // Other bytes under the same version.
        std::fs::remove_file(file.with_extension("tgz.prov")).unwrap();
        let other = helm.package(&pushed, "1.0.0+build.1", &["--app-version", "9"]);
        let refused = helm.run(&["push", &other.display().to_string(), &to, "--plain-http"]).failed();
        assert!(refused.text().contains("already exists"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_pulls_from_a_classic_upstream_as_if_it_were_a_registry() {
    let (origin, server) = pair();
    for version in HELMS {
        let helm = Helm::new(version);
        let name = format!("theirs-{version}");
        let file = helm.package(&name, "1.0.0+build.1", &[]);
        helm.cm_push(&origin.url("/main/helm/api/charts"), &file).succeeded();
        for repository in ["main/helm-remote", "main/helm-all"] {
            let target = helm.target(&repository.replace('/', "-"));
            let from = format!("oci://{}/{repository}/{name}", server.address());
            helm.run(&["pull", &from, "--version", "1.0.0+build.1", "--plain-http", "-d", &target.display().to_string()]).succeeded();
            same(&target.join(format!("{name}-1.0.0+build.1.tgz")), &file);
            let newest = helm.run(&["show", "chart", &from, "--plain-http"]).succeeded().stdout;
            assert!(newest.contains("version: 1.0.0+build.1"), "found by its tags: {newest}");
        }
    }
}
