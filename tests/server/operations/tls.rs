//! TLS from files, and new files without a restart.
#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::Command;

use http::StatusCode;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::until;
use crate::support::{ADMIN_PASSWORD, TestServer, process};

/// An authority and a certificate of it for 127.0.0.1.
struct Authority {
    pem: String,
    chain: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let (own, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // An authority by the name of its server would look like a certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&own).unwrap();
        let server = CertificateParams::new(vec![String::from("127.0.0.1")]).unwrap();
        let server = server.signed_by(&key, &Issuer::new(params, own)).unwrap();
        Self { pem: authority.pem(), chain: server.pem(), key: key.serialize_pem() }
    }

    fn write(&self, folder: &Path) {
        std::fs::write(folder.join("chain.pem"), &self.chain).unwrap();
        std::fs::write(folder.join("key.pem"), &self.key).unwrap();
    }

    /// A client that trusts nobody else.
    fn client(&self) -> reqwest::Client {
        let own = reqwest::Certificate::from_pem(self.pem.as_bytes()).unwrap();
        // No connection is kept: each request shows which certificate the server has now.
        reqwest::Client::builder().no_proxy().tls_certs_only([own]).pool_max_idle_per_host(0).build().unwrap()
    }
}

fn config(folder: &Path) -> String {
    let path = |name: &str| folder.join(name).display().to_string();
    format!("[tls]\ncertificate = {:?}\nkey = {:?}\n[limits]\nshutdown_timeout = 600\nkeep_alive = 600\n", path("chain.pem"), path("key.pem"))
}

fn entrepot(arguments: &[&str], config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrepot"));
    process::clean(&mut command);
    command.args(arguments).arg("--config").arg(config);
    command
}

async fn serves(client: &reqwest::Client, url: &str) -> bool {
    client.get(format!("{url}/health")).send().await.is_ok_and(|reply| reply.status() == StatusCode::OK)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_shown_without_a_restart() {
    let folder = TempDir::new().unwrap();
    let (first, second, third) = (Authority::new(), Authority::new(), Authority::new());
    first.write(folder.path());
    let mut server = TestServer::builder().alone().config(config(folder.path())).start();
    let url = format!("https://{}", server.address());
    assert!(serves(&first.client(), &url).await && !serves(&second.client(), &url).await);
    assert!(reqwest::Client::builder().no_proxy().build().unwrap().get(server.url("/health")).send().await.is_err(), "plain HTTP is not spoken here");

    // A client that goes on with its connection is not disturbed by any of it.
    let steady = reqwest::Client::builder().no_proxy().tls_certs_only([reqwest::Certificate::from_pem(first.pem.as_bytes()).unwrap()]).build().unwrap();
    let home = steady.get(format!("{url}/")).send().await.unwrap();
    assert_eq!(home.version(), http::Version::HTTP_2);
    assert!(home.text().await.unwrap().contains(&format!("{url}/main/npm/")), "addresses begin with https and the right host");

    second.write(folder.path());
    until("the second certificate is shown", async || serves(&second.client(), &url).await).await;
    assert!(!serves(&first.client(), &url).await, "the first is not shown any more");

    std::fs::write(folder.path().join("chain.pem"), "this is no certificate").unwrap();
    until("the broken file is noticed", async || server.log_lines(&["ERROR", "holds no certificate", "cannot be used"]) > 0).await;
    assert!(serves(&second.client(), &url).await, "the good pair is kept");

    // Asked for by a signal, in place of a change that is noticed by itself.
    third.write(folder.path());
    assert!(Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().unwrap().success());
    until("the third certificate is shown", async || serves(&third.client(), &url).await).await;
    assert!(serves(&steady, &url).await, "the connection of the beginning lives");
    // An idle connection of HTTP/2 is no reason to stay: a minute for what would take ten.
    server.stop();
    drop(steady);
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_publishes_and_reads_over_tls() {
    let folder = TempDir::new().unwrap();
    let authority = Authority::new();
    authority.write(folder.path());
    std::fs::write(folder.path().join("authority.pem"), &authority.pem).unwrap();
    let body: Vec<u8> = (0..3_000_000u32).map(|index| (index ^ (index >> 7)) as u8).collect();
    std::fs::write(folder.path().join("body"), &body).unwrap();
    let server = TestServer::builder().alone().config(config(folder.path())).start();
    let url = format!("https://{}/main/generic/file", server.address());
    for (version, name) in [("--http1.1", "one"), ("--http2", "two")] {
        let curl = |arguments: &[&str]| {
            let mut command = Command::new("curl");
            process::clean(&mut command);
            command.args(["-q", "-sS", "--fail-with-body", "--noproxy", "*", "--cacert", "authority.pem", version]).args(arguments).current_dir(folder.path());
            process::run(command, super::PATIENCE).succeeded().stdout
        };
        let url = format!("{url}-{name}");
        curl(&["-u", &format!("admin:{ADMIN_PASSWORD}"), "-T", "body", &url]);
        assert_eq!(curl(&["-o", name, "-w", "%{http_version}", &url]), if version == "--http2" { "2" } else { "1.1" });
        assert!(std::fs::read(folder.path().join(name)).unwrap() == body, "{version}");
    }
    let file = folder.path().join("config.toml");
    std::fs::write(&file, format!("{}[server]\nlisten = \"{}\"\n", config(folder.path()), server.address())).unwrap();
    assert!(process::run(entrepot(&["health"], &file), super::PATIENCE).succeeded().stdout.contains("ready"));
}

#[test]
fn check_says_what_is_wrong_with_the_files() {
    let folder = TempDir::new().unwrap();
    let (one, other) = (Authority::new(), Authority::new());
    let file: PathBuf = folder.path().join("config.toml");
    std::fs::write(&file, config(folder.path())).unwrap();
    let check = || process::run(entrepot(&["check"], &file), super::PATIENCE);
    assert!(check().failed().stderr.contains("config.toml:2: tls.certificate: cannot read"));
    one.write(folder.path());
    check().succeeded();
    std::fs::write(folder.path().join("key.pem"), &other.key).unwrap();
    let said = check().failed().stderr;
    assert!(said.contains("config.toml:3: tls.key: ") && said.contains("is not the key of the first certificate"), "{said}");
}
