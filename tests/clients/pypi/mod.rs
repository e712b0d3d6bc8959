//! Python's packages with the tools that people have: pip, uv, twine, poetry and pdm.
#![cfg(test)]

mod docs;
mod install;
mod many;
mod metadata;
mod publish;
mod publishers;
mod reruns;
mod tree;

use std::path::{Path, PathBuf};

use crate::support::TestServer;
use crate::support::clients::Home;
use crate::support::process::Output;
use crate::support::python::{Project, build_backend};

/// The repository of these tests, and where it takes uploads.
struct Site {
    base: String,
    token: String,
}

impl Site {
    async fn of(server: &TestServer) -> Self {
        Self { base: server.url("/main/pypi/"), token: crate::token(server).await }
    }

    /// Where installers look.
    fn index(&self) -> String {
        format!("{}simple/", self.base)
    }

    /// Uploads with twine.
    fn twine(&self, home: &Home, folder: &Path, files: &[&str]) -> Output {
        let fixed =
            ["upload", "--repository-url", &self.base, "--username", "__token__", "--password", &self.token, "--disable-progress-bar", "--non-interactive"];
        home.twine(folder, &[&fixed[..], files].concat())
    }

    /// Uploads a built project with twine.
    fn twine_all(&self, home: &Home, folder: &Path) -> Output {
        let files = [".whl", ".tar.gz"].map(|ending| built_file(folder, ending).display().to_string());
        self.twine(home, folder, &files.each_ref().map(String::as_str))
    }

    /// Uploads with uv.
    fn uv(&self, home: &Home, folder: &Path, files: &[&str]) -> Output {
        home.uv(folder, &[&["publish", "--publish-url", &self.base, "--token", &self.token][..], files].concat())
    }

    /// Uploads with poetry what is built already.
    fn poetry(&self, home: &Home, folder: &Path) -> Output {
        home.poetry(folder, &["config", "--local", "repositories.ours", &self.base]).succeeded();
        home.poetry(folder, &["publish", "--repository", "ours", "--username", "__token__", "--password", &self.token, "--no-interaction"])
    }

    /// Uploads with pdm what is built already.
    fn pdm(&self, home: &Home, folder: &Path) -> Output {
        home.pdm(folder, &["publish", "--no-build", "--repository", &self.base, "--username", "__token__", "--password", &self.token])
    }

    /// What builds from source distributions, for those who install them.
    fn publish_backend(&self, home: &Home) {
        self.twine(home, home.path(), &[&build_backend().display().to_string()]).succeeded();
    }
}

/// The files of a built project, by the beginning of what they end in.
fn built_file(folder: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(folder.join("dist")).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.to_string_lossy().ends_with(ending)).unwrap_or_else(|| panic!("{} was built without {ending}", folder.display()))
}

/// A project without anything special.
fn plain<'a>(name: &'a str, version: &'a str) -> Project<'a> {
    Project { name, version, lines: "" }
}

/// Lines of the access log that are about files: of wheels and archives themselves, and of metadata alone.
fn downloads(server: &TestServer) -> (usize, usize) {
    let log = server.log();
    let lines = || log.lines().filter(|line| line.contains("route=\"pypi.file\"") && line.contains("method=GET"));
    let metadata = lines().filter(|line| line.contains(".metadata")).count();
    (lines().count() - metadata, metadata)
}
