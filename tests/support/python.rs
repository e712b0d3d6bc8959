//! Python's own tools in fresh homes, as `tests/run` installed them.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::clients::{Home, PATIENCE, installed};
use super::process::{self, Output};

/// The tool that makes virtual environments of nothing, in no time.
const UV: &str = "uv";

/// The index that this machine's own pip is set up with: the upstream of proxy tests. It is asked at run time and written nowhere.
pub(crate) fn machine_index() -> String {
    let mut asked = Command::new("pip");
    asked.args(["config", "get", "global.index-url"]);
    let asked = process::run(asked, PATIENCE);
    if asked.status.success() {
        return asked.stdout.trim().to_owned();
    }
    // Nothing is set: what pip takes then.
    let mut default = Command::new(program("python", "python"));
    default.args(["-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"]);
    process::run(default, PATIENCE).succeeded().stdout.trim().to_owned()
}

fn program(client: &str, program: &str) -> PathBuf {
    let path = installed().join(client).join("bin").join(program);
    assert!(path.exists(), "{client} is not installed: {} is missing; run tests/run", path.display());
    path
}

/// What builds the packages of the tests, as a wheel.
pub(crate) fn build_backend() -> PathBuf {
    let folder = installed().join("python/wheels");
    let wheels = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} is missing; run tests/run", folder.display()));
    wheels.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|ending| ending == "whl")).expect("a wheel; run tests/run")
}

/// A project that can be built.
pub(crate) struct Project<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its version.
    pub(crate) version: &'a str,
    /// More lines of its `[project]` table.
    pub(crate) lines: &'a str,
}

impl Home {
    /// One of Python's tools, with settings of nobody.
    pub(crate) fn python_command(&self, client: &str, tool: &str, folder: &Path) -> Command {
        let mut command = self.command(program(client, tool), folder);
        let place = |name: &str| self.path().join(name);
        command.env("PIP_CONFIG_FILE", "/dev/null").env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PIP_NO_INPUT", "1").env("PIP_NO_CACHE_DIR", "1");
        command.env("UV_NO_CONFIG", "1").env("UV_CACHE_DIR", place("cache/uv")).env("UV_PYTHON_DOWNLOADS", "never");
        command.env("UV_PYTHON", program("python", "python"));
        command.env("POETRY_CACHE_DIR", place("cache/poetry")).env("POETRY_CONFIG_DIR", place("config/poetry")).env("POETRY_VIRTUALENVS_IN_PROJECT", "true");
        command.env("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring");
        command.env("PDM_CHECK_UPDATE", "0").env("PDM_CACHE_DIR", place("cache/pdm")).env("PDM_LOG_DIR", place("data/pdm")).env("PDM_USE_VENV", "true");
        // Built twice, a package is the same.
        command.env("SOURCE_DATE_EPOCH", "1700000000").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn tool(&self, client: &str, tool: &str, folder: &Path, arguments: &[&str]) -> Output {
        let mut command = self.python_command(client, tool, folder);
        command.args(arguments);
        process::run(command, PATIENCE)
    }

    /// Python with all that the tests have for it.
    pub(crate) fn python(&self, folder: &Path, script: &str) -> Output {
        self.tool("python", "python", folder, &["-c", script])
    }

    /// pip, which installs into a virtual environment.
    pub(crate) fn pip(&self, environment: &Path, arguments: &[&str]) -> Output {
        let python = environment.join("bin/python").display().to_string();
        self.tool("python", "pip", self.path(), &[&["--python", &python], arguments].concat())
    }

    /// uv.
    pub(crate) fn uv(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.tool("python", UV, folder, arguments)
    }

    /// twine.
    pub(crate) fn twine(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.tool("python", "twine", folder, arguments)
    }

    /// poetry.
    pub(crate) fn poetry(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.tool("poetry", "poetry", folder, arguments)
    }

    /// pdm.
    pub(crate) fn pdm(&self, folder: &Path, arguments: &[&str]) -> Output {
        self.tool("pdm", "pdm", folder, arguments)
    }

    /// A new virtual environment.
    pub(crate) fn environment(&self, name: &str) -> PathBuf {
        let folder = self.project("environments").join(name);
        self.uv(self.path(), &["venv", "--quiet", &folder.display().to_string()]).succeeded();
        folder
    }

    /// Runs a script in a virtual environment.
    pub(crate) fn run_in(&self, environment: &Path, script: &str) -> Output {
        let mut command = self.command(environment.join("bin/python"), self.path());
        command.args(["-c", script]);
        process::run(command, PATIENCE)
    }

    /// A project in a folder of its own, built: its wheel and its source distribution are in `dist`.
    pub(crate) fn built(&self, project: &Project<'_>) -> PathBuf {
        let Project { name, version, lines } = project;
        let folder = self.project(&format!("{name}-{version}"));
        let module = folder.join(name.replace('-', "_"));
        std::fs::create_dir_all(&module).unwrap();
        std::fs::write(module.join("__init__.py"), format!("\"\"\"Made by a test.\"\"\"\nVERSION = {version:?}\n")).unwrap();
        let settings = "[build-system]\nrequires = [\"flit_core\"]\nbuild-backend = \"flit_core.buildapi\"\n";
        let table = format!("[project]\nname = {name:?}\nversion = {version:?}\ndescription = \"Made by a test\"\n{lines}\n");
        std::fs::write(folder.join("pyproject.toml"), format!("{settings}\n{table}")).unwrap();
        let mut build = self.python_command("python", "python", &folder);
        build.args(["-m", "build", "--no-isolation", "--quiet", "."]);
        process::run(build, PATIENCE).succeeded();
        folder
    }
}
