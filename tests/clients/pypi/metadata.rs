//! While they decide what to install, pip and uv read metadata, not packages.
#![cfg(test)]

use super::{Site, downloads};
use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::python::Project;

#[tokio::test(flavor = "multi_thread")]
async fn pypi_resolving_reads_metadata_alone() {
    let server = TestServer::start();
    let site = Site::of(&server).await;
    let home = Home::new();
    // Each version of the first asks for an older one of the second: whoever resolves must look into several.
    for (name, version, lines) in [
        ("deep", "1.0", ""),
        ("deep", "2.0", ""),
        ("middle", "1.0", "dependencies = [\"deep<2\"]"),
        ("middle", "2.0", "dependencies = [\"deep>=2\"]"),
        ("top", "1.0", "dependencies = [\"middle\", \"deep<2\"]"),
    ] {
        site.uv(&home, &home.built(&Project { name, version, lines }), &[]).succeeded();
    }
    let index = site.index();
    let environment = home.environment("resolve");
    home.pip(&environment, &["install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-", "--index-url", &index, "top"]).succeeded();
    let (whole, metadata) = downloads(&server);
    assert!(whole == 0 && metadata >= 4, "pip fetched {whole} files and {metadata} pieces of metadata\n{}", server.log());
    std::fs::write(home.path().join("in.txt"), "top\n").unwrap();
    let compiled = home.uv(home.path(), &["pip", "compile", "--quiet", "--default-index", &index, "--no-header", "in.txt"]).succeeded();
    assert!(compiled.stdout.contains("middle==1.0") && compiled.stdout.contains("deep==1.0"), "{compiled}");
    let (whole, after) = downloads(&server);
    assert!(whole == 0 && after > metadata, "uv fetched {whole} files and {} pieces of metadata\n{}", after - metadata, server.log());
}
