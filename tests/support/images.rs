//! What builds, pushes, pulls and looks at images.
#![cfg(test)]

use std::path::{Path, PathBuf};

use super::clients::{Home, PATIENCE, installed};
use super::engine::Engine;
use super::process::{self, Output};

/// Bytes that no other test has: what another one pushed must never be found in the place of this one's.
pub(crate) fn unique(size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl Home {
    /// A folder from which an image is built: a file and a layer for each name.
    pub(crate) fn image(&self, name: &str, files: &[&str]) -> PathBuf {
        let folder = self.project(name);
        let mut lines = String::from("FROM scratch\n");
        for file in files {
            std::fs::write(folder.join(file), unique(20_000)).unwrap();
            lines.push_str(&format!("COPY {file} /{file}\n"));
        }
        std::fs::write(folder.join("Dockerfile"), lines).unwrap();
        folder
    }

    /// A tar archive with one file, for tools that make images of those.
    pub(crate) fn layer(&self, name: &str) -> String {
        let folder = self.project("layers");
        let path = folder.join(format!("{name}.tar"));
        let mut archive = tar::Builder::new(std::fs::File::create(&path).unwrap());
        let (mut header, content) = (tar::Header::new_gnu(), unique(20_000));
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, &content[..]).unwrap();
        archive.into_inner().unwrap();
        path.display().to_string()
    }

    /// docker.
    pub(crate) fn docker(&self, engine: &Engine, arguments: &[&str]) -> Output {
        let mut command = self.command("docker", self.path());
        // The builder that is part of the engine: the newer one is a program of its own.
        command.env("DOCKER_HOST", engine.host()).env("DOCKER_CONFIG", self.path().join("home/.docker")).env("DOCKER_BUILDKIT", "0");
        command.args(arguments);
        process::run(command, PATIENCE)
    }

    /// Takes a file out of an image that docker has.
    pub(crate) fn docker_file(&self, engine: &Engine, image: &str, file: &str) -> Vec<u8> {
        let container = self.docker(engine, &["create", image, "/none"]).succeeded().stdout.trim().to_owned();
        let copy = self.path().join("tmp/copy");
        self.docker(engine, &["cp", &format!("{container}:/{file}"), &copy.display().to_string()]).succeeded();
        self.docker(engine, &["rm", &container]).succeeded();
        std::fs::read(copy).unwrap()
    }

    /// podman.
    pub(crate) fn podman(&self, arguments: &[&str]) -> Output {
        self.containers("podman", &["--cgroup-manager", "cgroupfs", "--events-backend", "none"], arguments)
    }

    /// buildah.
    pub(crate) fn buildah(&self, arguments: &[&str]) -> Output {
        self.containers("buildah", &[], arguments)
    }

    /// A tool that keeps images itself.
    fn containers(&self, program: &str, first: &[&str], arguments: &[&str]) -> Output {
        let place = |name: &str| self.path().join("data").join(program).join(name);
        let mut command = self.command(program, self.path());
        command.arg("--root").arg(place("root")).arg("--runroot").arg(place("run")).args(["--storage-driver", "vfs"]);
        command.args(first).args(arguments).env("REGISTRY_AUTH_FILE", self.login_file());
        process::run(command, PATIENCE)
    }

    /// skopeo.
    pub(crate) fn skopeo(&self, arguments: &[&str]) -> Output {
        let mut command = self.command("skopeo", self.path());
        command.args(arguments).env("REGISTRY_AUTH_FILE", self.login_file());
        process::run(command, PATIENCE)
    }

    /// Where podman, buildah and skopeo keep what they sign in with. They want it to be there.
    fn login_file(&self) -> PathBuf {
        let file = self.path().join("config/auth.json");
        if !file.exists() {
            std::fs::write(&file, r#"{"auths":{}}"#).unwrap();
        }
        file
    }

    /// ctr, in a namespace of this home. It shares the bytes that containerd has with everybody, but not the names.
    pub(crate) fn ctr(&self, engine: &Engine, arguments: &[&str]) -> Output {
        let namespace = self.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        let mut command = self.command("ctr", self.path());
        command.arg("--address").arg(engine.containerd()).args(["--namespace", &format!("test-{namespace}")]).args(arguments);
        process::run(command, PATIENCE)
    }

    /// crane.
    pub(crate) fn crane(&self, arguments: &[&str]) -> Output {
        self.built_with_go("crane", self.path(), &[&["--insecure"], arguments].concat())
    }

    /// cosign, offline and with keys that have no password.
    pub(crate) fn cosign(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = self.command(go_client("cosign"), self.path());
        command.args(arguments).env("COSIGN_PASSWORD", "").envs(environment.iter().copied());
        process::run(command, PATIENCE)
    }

    /// oras, in a folder: it names files as they are named to it.
    pub(crate) fn oras(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.built_with_go("oras", folder, arguments)
    }

    /// A client that `tests/run` built with Go.
    pub(crate) fn built_with_go(&self, client: &str, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command(go_client(client), folder);
        command.args(arguments);
        process::run(command, PATIENCE)
    }
}

/// Where such a client is.
pub(crate) fn go_client(client: &str) -> PathBuf {
    let path = installed().join(client).join(client);
    assert!(path.exists(), "{client} is not installed: {} is missing; run tests/run", path.display());
    path
}
