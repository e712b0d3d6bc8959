//! Charts by `index.yaml`.

use super::{HELMS, Helm, pair, same};
use crate::support::ADMIN_PASSWORD;

#[tokio::test(flavor = "multi_thread")]
async fn helm_finds_verifies_and_renders_charts_of_all_kinds_of_repositories() {
    let (origin, server) = pair();
    for version in HELMS {
        let helm = Helm::new(version);
        let (public, secret) = helm.signing_keys();
        let sign = ["--sign", "--key", "signer@example.com", "--keyring", secret.as_str()];
        let (ours, theirs) = (format!("ours-{version}"), format!("theirs-{version}"));
        for (name, to, chart_version) in [(&ours, &server, "1.2.3+build.1"), (&theirs, &origin, "0.1.0")] {
            let file = helm.package(name, chart_version, &sign);
            helm.cm_push(&to.url("/main/helm/api/charts"), &file).succeeded();
            let prov = std::fs::read(file.with_extension("tgz.prov")).unwrap();
            to.admin().put(&format!("/main/helm/{name}-{chart_version}.tgz.prov"), prov).await.succeeded();
        }
        let newer = helm.package(&ours, "2.0.0-rc.1", &[]);
        // Where a client sends it that was not told where the interface begins.
        helm.cm_push(&server.url("/api/main/helm/charts"), &newer).succeeded();
        for (repository, charts) in [("helm", vec![&ours]), ("helm-remote", vec![&theirs]), ("helm-all", vec![&ours, &theirs])] {
            helm.add(repository, &server.url(&format!("/main/{repository}")));
            helm.run(&["repo", "update", repository]).succeeded();
            let target = helm.target(&format!("{version}-{repository}"));
            for name in charts {
                let chart_version = if name == &ours { "1.2.3+build.1" } else { "0.1.0" };
                let found = helm.search(&format!("{repository}/{name}"));
                assert!(found.contains(&(format!("{repository}/{name}"), chart_version.to_owned())), "{found:?}");
                if name == &ours {
                    assert_eq!(found[0].1, "2.0.0-rc.1", "the newest comes first: {found:?}");
                }
                let folder = target.display().to_string();
                let reference = format!("{repository}/{name}");
                let pull = ["pull", &reference, "--version", chart_version, "--verify", "--keyring", &public, "-d", &folder];
                helm.run(&pull).succeeded();
                let file = format!("{name}-{chart_version}.tgz");
                same(&target.join(&file), &helm.folder.join(&file));
                same(&target.join(format!("{file}.prov")), &helm.folder.join(format!("{file}.prov")));
                let rendered = helm.run(&["template", "release", &reference, "--version", chart_version]).succeeded().stdout;
                assert!(rendered.contains("kind: Deployment") && rendered.contains(&format!("{name}-{chart_version}").replace('+', "_")), "{rendered}");
                if version != "helm3" {
                    // Helm 3 looks for a cluster all the same.
                    let installed = helm.run(&["install", "release", &reference, "--version", chart_version, "--dry-run=client"]).succeeded().stdout;
                    assert!(installed.contains("kind: Service"), "{installed}");
                }
                let shown = helm.run(&["show", "chart", &reference, "--version", chart_version]).succeeded().stdout;
                assert!(shown.contains("appVersion: \"1.10\"") || shown.contains("appVersion: '1.10'"), "{shown}");
            }
        }
        // Plain YAML is read as well: strictly, by Helm.
        let yaml = server.anonymous().get("/main/helm-all/index.yaml?format=yaml").await.succeeded().text();
        let folder = helm.home.project("plain");
        std::fs::write(folder.join("index.yaml"), yaml).unwrap();
        helm.run_in(&folder, &["repo", "index", ".", "--merge", "index.yaml"]).succeeded();
        let merged = std::fs::read_to_string(folder.join("index.yaml")).unwrap();
        assert!(merged.contains(&format!("name: {ours}")) && merged.contains(&format!("name: {theirs}")), "{merged}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_builds_what_charts_depend_on() {
    let (origin, server) = pair();
    for version in HELMS {
        let helm = Helm::new(version);
        let (near, far) = (format!("near-{version}"), format!("far-{version}"));
        let (near_file, far_file) = (helm.package(&near, "1.1.0+build.7", &[]), helm.package(&far, "0.2.0", &[]));
        helm.cm_push(&server.url("/main/helm/api/charts"), &near_file).succeeded();
        helm.cm_push(&origin.url("/main/helm/api/charts"), &far_file).succeeded();
        helm.run(&["create", "app"]).succeeded();
        let app = helm.folder.join("app");
        let declared = std::fs::read_to_string(app.join("Chart.yaml")).unwrap();
        let repository = server.url("/main/helm-all");
        let dependencies = format!(
            "dependencies:\n- name: {near}\n  version: ^1.0.0\n  repository: {repository}\n- name: {far}\n  version: 0.2.x\n  repository: {repository}\n"
        );
        std::fs::write(app.join("Chart.yaml"), declared + &dependencies).unwrap();
        helm.add("all", &repository);
        helm.run(&["dependency", "update", "app"]).succeeded();
        std::fs::remove_dir_all(app.join("charts")).unwrap();
        helm.run(&["dependency", "build", "app"]).succeeded();
        same(&app.join("charts").join(format!("{near}-1.1.0+build.7.tgz")), &near_file);
        same(&app.join("charts").join(format!("{far}-0.2.0.tgz")), &far_file);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_brings_credentials_where_they_are_needed() {
    let config = "[[system]]\nname = \"ops\"\n[[repository]]\nsystem = \"ops\"\nname = \"charts\"\nformat = \"helm\"\n";
    let server = crate::support::TestServer::builder().config(config).start();
    for version in HELMS {
        let helm = Helm::new(version);
        let name = format!("secret-{version}");
        let file = helm.package(&name, "1.0.0", &[]);
        let url = server.url("/ops/charts");
        helm.cm_push(&format!("{url}/api/charts"), &file).succeeded();
        assert!(helm.run(&["repo", "add", "ops", &url]).failed().text().contains("401"));
        helm.run(&["repo", "add", "ops", &url, "--username", "admin", "--password", ADMIN_PASSWORD]).succeeded();
        let target = helm.target("private");
        helm.run(&["pull", &format!("ops/{name}"), "-d", &target.display().to_string()]).succeeded();
        same(&target.join(format!("{name}-1.0.0.tgz")), &file);
        let again = helm.cm_push(&format!("{url}/api/charts"), &helm.package(&name, "1.0.0", &["--app-version", "2"])).failed();
        assert!(again.text().contains("file already exists"), "{again}");
    }
}
