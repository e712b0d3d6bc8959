//! Real clients in fresh homes: nothing of the machine's own settings reaches them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{self, Dialog, Output};

/// How long one run of a client may take: sixty packages from afar on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// The folder into which `tests/run` installed the clients.
pub(crate) fn installed() -> PathBuf {
    let home = || PathBuf::from(process::variable("HOME").expect("neither ENTREPOT_TEST_CLIENTS nor HOME is set: run tests/run"));
    process::variable("ENTREPOT_TEST_CLIENTS").map_or_else(|| home().join(".cache/entrepot-ci/clients"), PathBuf::from)
}

/// The folder of a library for node that `tests/run` installed.
pub(crate) fn library(client: &str, package: &str) -> PathBuf {
    let path = installed().join(client).join("node_modules").join(package);
    assert!(path.exists(), "{client} is not installed: {} is missing; run tests/run", path.display());
    path
}

/// The registry that this machine's own npm is set up with: the upstream of proxy tests. It is asked once and written nowhere.
pub(crate) fn machine_registry() -> String {
    let mut command = Command::new("npm");
    command.args(["config", "get", "registry"]);
    process::run(command, PATIENCE).succeeded().stdout.trim().to_owned()
}

/// A home directory with nothing in it.
pub(crate) struct Home {
    folder: TempDir,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A new one.
    pub(crate) fn new() -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["home", "config", "cache", "data", "tmp"] {
            std::fs::create_dir(home.folder.path().join(name)).unwrap();
        }
        home
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A folder with a package in it that can be published: its `package.json` and one file.
    pub(crate) fn package(&self, name: &str, version: &str) -> PathBuf {
        let folder = self.npm_project(&format!("{name}-{version}"), &serde_json::json!({ "name": name, "version": version, "description": "made by a test" }));
        std::fs::write(folder.join("index.js"), format!("module.exports = {version:?};\n")).unwrap();
        folder
    }

    /// A new folder for a project.
    pub(crate) fn project(&self, name: &str) -> PathBuf {
        let folder = self.path().join("projects").join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// A project with a `package.json`.
    pub(crate) fn npm_project(&self, name: &str, manifest: &serde_json::Value) -> PathBuf {
        let folder = self.project(&name.replace(['@', '/'], "_"));
        std::fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
        folder
    }

    /// Sets npm, pnpm and yarn 1 to a registry (a URL that ends in a slash), with a token where one is given.
    pub(crate) fn npm_registry(&self, registry: &str, token: Option<&str>) {
        let mut lines = format!("registry={registry}\nfund=false\nupdate-notifier=false\n");
        if let Some(token) = token {
            let (_, place) = registry.split_once(':').unwrap();
            lines.push_str(&format!("{place}:_authToken={token}\n"));
        }
        std::fs::write(self.npmrc(), lines).unwrap();
    }

    /// The settings file of npm, pnpm and yarn 1.
    pub(crate) fn npmrc(&self) -> PathBuf {
        self.path().join("home/.npmrc")
    }

    /// Sets yarn 4 up in one project.
    pub(crate) fn yarn4_registry(&self, project: &Path, registry: &str, token: Option<&str>) {
        let mut lines = format!(
            "npmRegistryServer: {registry:?}\nunsafeHttpWhitelist: [127.0.0.1]\nnpmMinimalAgeGate: 0\nenableGlobalCache: false\nenableTelemetry: false\n\
             nodeLinker: node-modules\n"
        );
        if let Some(token) = token {
            lines.push_str(&format!("npmAuthToken: {token:?}\nnpmAlwaysAuth: true\n"));
        }
        std::fs::write(project.join(".yarnrc.yml"), lines).unwrap();
        let lock = project.join("yarn.lock");
        if !lock.exists() {
            // Without it yarn takes the project for a part of one further up.
            std::fs::write(lock, "").unwrap();
        }
    }

    /// npm, as it is on the machine.
    pub(crate) fn npm(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.command("npm", folder);
        command.args(arguments);
        process::run(command, PATIENCE)
    }

    /// npm with somebody at the keyboard.
    pub(crate) fn npm_dialog(&self, folder: &Path, arguments: &[&str]) -> Dialog {
        let mut command = self.command("npm", folder);
        command.args(arguments);
        Dialog::begin(command)
    }

    /// A line of a shell.
    pub(crate) fn shell(&self, folder: &Path, line: &str) -> Output {
        let mut command = self.command("bash", folder);
        command.args(["-euo", "pipefail", "-c", line]);
        process::run(command, PATIENCE)
    }

    /// A script for node.
    pub(crate) fn node(&self, folder: &Path, script: &str) -> Output {
        let mut command = self.command("node", folder);
        command.args(["-e", script]);
        process::run(command, PATIENCE)
    }

    /// pnpm.
    pub(crate) fn pnpm(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.installed("pnpm", "pnpm", folder);
        // Or it quietly takes the oldest version of packages that were published just now.
        command.args(arguments).arg("--config.minimumReleaseAge=0").arg("--store-dir").arg(self.path().join("data/pnpm-store"));
        process::run(command, PATIENCE)
    }

    /// yarn 1.
    pub(crate) fn yarn1(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.installed("yarn1", "yarn", folder);
        command.args(arguments).arg("--non-interactive").arg("--cache-folder").arg(self.path().join("cache/yarn1"));
        process::run(command, PATIENCE)
    }

    /// yarn 4; it is set up by [`Self::yarn4_registry`].
    pub(crate) fn yarn4(&self, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.installed("yarn4", "yarn", folder);
        command.args(arguments).env("YARN_GLOBAL_FOLDER", self.path().join("data/yarn4"));
        process::run(command, PATIENCE)
    }

    fn installed(&self, client: &str, program: &str, folder: &Path) -> Command {
        let path = installed().join(client).join("node_modules/.bin").join(program);
        assert!(path.exists(), "{client} is not installed: {} is missing; run tests/run", path.display());
        self.command(path, folder)
    }

    /// Any program, in this home.
    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        process::clean(&mut command);
        command.current_dir(folder);
        for (name, place) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_STATE_HOME", "data"),
            ("TMPDIR", "tmp"),
        ] {
            command.env(name, self.path().join(place));
        }
        // Settings of the whole machine are none of a test's.
        command.env("npm_config_globalconfig", self.path().join("config/npmrc"));
        command.env("CI", "true").env("NO_COLOR", "1").env("COREPACK_ENABLE_STRICT", "0");
        command
    }
}
