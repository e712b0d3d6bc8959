//! RPM packages by the tools that build, sign and install them: rpmbuild, rpmsign, createrepo_c, dnf, zypper.
#![cfg(test)]

mod compare;
mod docs;
mod install;
mod keys;
mod many;
mod upstreams;
mod zypper;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::gpg::Gpg;
use crate::support::process::{self, Output};

/// A command on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// A workshop: packages are built and signed in it.
pub(crate) struct Workshop {
    pub(crate) home: Home,
    gpg: Gpg,
    /// The public key that packages are signed with.
    key: PathBuf,
}

/// Who signs packages.
const PACKAGER: &str = "Packager <packager@example.com>";

impl Workshop {
    pub(crate) fn new() -> Self {
        let gpg = Gpg::new();
        let key = gpg.generate(PACKAGER);
        Self { home: Home::new(), gpg, key }
    }

    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = self.home.command(program, self.home.path());
        command.args(arguments);
        process::run(command, PATIENCE)
    }

    /// Builds all packages of a spec, sources too.
    fn build(&self, name: &str, spec: &str) -> Vec<PathBuf> {
        let file = self.home.path().join(format!("{name}.spec"));
        std::fs::write(&file, spec).unwrap();
        let top = self.home.path().join(format!("top-{name}"));
        let top_define = format!("_topdir {}", top.display());
        let fixed = ["--define", "_build_id_links none", "--define", "debug_package %{nil}", "--define", "_buildhost builder.example"];
        self.run("rpmbuild", &[&["-ba", "--define", &top_define][..], &fixed, &[&file.display().to_string()]].concat()).succeeded();
        let mut built = Vec::new();
        for folder in ["RPMS", "SRPMS"] {
            find(&top.join(folder), &mut built);
        }
        built.sort();
        assert!(!built.is_empty(), "{name} was built without packages");
        built
    }

    /// Signs packages.
    fn sign(&self, packages: &[PathBuf]) {
        let path = format!("_gpg_path {}", self.gpg.home().display());
        let name = format!("_gpg_name {PACKAGER}");
        for package in packages {
            let file = package.display().to_string();
            self.run("rpmsign", &["--addsign", "--define", "__gpg /usr/bin/gpg", "--define", &path, "--define", &name, &file]).succeeded();
        }
    }

    /// A small package, signed.
    pub(crate) fn plain(&self, name: &str, version: &str) -> PathBuf {
        let built = self.build(&format!("{name}-{version}"), &plain_spec(name, version));
        let package = built.into_iter().find(|path| path.to_string_lossy().ends_with(".noarch.rpm")).unwrap();
        self.sign(std::slice::from_ref(&package));
        package
    }
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            find(&entry, found);
        } else {
            found.push(entry);
        }
    }
}

/// A package with a program and a file, a weak dependency and a change log.
fn plain_spec(name: &str, version: &str) -> String {
    format!(
        "Name: {name}\nVersion: {version}\nRelease: 1\nSummary: The package {name}\nLicense: MIT\nBuildArch: noarch\nRecommends: {name}-docs >= 1\nSuggests: {name}-extras\nProvides: virtual-{name} = {version}\n\
         %description\nFor tests.\n%install\nmkdir -p %{{buildroot}}/usr/bin %{{buildroot}}/usr/share/{name}\necho {version} > %{{buildroot}}/usr/share/{name}/version\n\
         printf '#!/bin/sh\\n' > %{{buildroot}}/usr/bin/{name}\n%files\n/usr/bin/{name}\n/usr/share/{name}\n%changelog\n* Thu Nov 05 2026 {PACKAGER} - {version}\n- Version {version}\n"
    )
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Uploads packages to a folder of the repository (empty, or ending with a slash).
async fn upload(server: &TestServer, folder: &str, packages: &[PathBuf]) {
    for package in packages {
        let bytes = std::fs::read(package).unwrap();
        server.admin().put(&format!("/main/rpm/{folder}{}", file_name(package)), bytes).await.is(201);
    }
}

/// A machine that installs into a root of its own.
pub(crate) struct Machine {
    pub(crate) home: Home,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self { home: Home::new() };
        for folder in ["repos.d", "root", "dnf-cache", "dnf-state", "dnf-logs"] {
            std::fs::create_dir(machine.home.path().join(folder)).unwrap();
        }
        machine
    }

    /// Takes a `.repo` file from the server, as a person would.
    async fn set_up(&self, server: &TestServer, path: &str) {
        let text = server.anonymous().get(path).await.succeeded().text();
        std::fs::write(self.home.path().join("repos.d/entrepot.repo"), text).unwrap();
    }

    pub(crate) fn root(&self, path: &str) -> PathBuf {
        self.home.path().join("root").join(path)
    }

    /// dnf, with nothing of this machine.
    pub(crate) fn dnf(&self, arguments: &[&str]) -> Output {
        let mut command = self.dnf_command();
        command.args(arguments);
        process::run(command, PATIENCE)
    }

    fn dnf_command(&self) -> Command {
        let place = |name: &str| self.home.path().join(name).display().to_string();
        let mut command = self.home.command("dnf", self.home.path());
        command.args(["-y", "--installroot", &place("root"), "--releasever", "9", "--forcearch", "x86_64"]);
        for (name, value) in [
            ("reposdir", place("repos.d")),
            ("cachedir", place("dnf-cache")),
            ("persistdir", place("dnf-state")),
            ("logdir", place("dnf-logs")),
            ("module_platform_id", String::from("platform:el9")),
            ("skip_if_unavailable", String::from("false")),
            ("plugins", String::from("false")),
        ] {
            command.arg(format!("--setopt={name}={value}"));
        }
        command
    }
}

/// A configuration of a hosted, a proxy and a group repository; packages are checked with a key of their own.
fn repositories(key: &Path, upstream: &str) -> String {
    let hosted = "name = \"rpm\"\nformat = \"rpm\"\n";
    let all = crate::support::three_repositories("rpm", &format!("url = {upstream:?}, mutable_ttl = 0"));
    let keys = format!("settings = {{ package_keys = [\"file://{}\"] }}\n", key.display());
    all.replacen(hosted, &format!("{hosted}{keys}"), 1)
}
