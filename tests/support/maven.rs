//! Maven in fresh homes: that of the machine, and the newer ones that `tests/run` installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clients::{Home, installed};
use super::process::{self, Output};

/// A build on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// For programs that end soon: much of what a virtual machine compiles for later is never used.
pub(crate) const JVM: &str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC";

/// The Mavens of the tests: that of the machine, the newest 3 and the newest 4.
pub(crate) const MAVENS: [&str; 3] = ["mvn", "maven3", "maven4"];

/// Where a Maven's libraries are.
pub(crate) fn libraries(client: &str) -> PathBuf {
    if client == "mvn" { PathBuf::from("/usr/share/maven/lib") } else { installed().join(client).join("lib") }
}

/// Where Maven takes everything from that nobody set up: its own super POM says it. It is asked at run time and written nowhere.
pub(crate) fn default_repository() -> String {
    let library = std::fs::read_dir(libraries("mvn")).expect("maven is installed").filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let is_model = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("maven-model-builder"));
    let mut asked = Command::new("unzip");
    asked.arg("-p").arg(library.into_iter().find(is_model).expect("maven's model")).arg("org/apache/maven/model/pom-4.0.0.xml");
    let pom = process::run(asked, PATIENCE).succeeded().stdout;
    pom.split_once("<url>").and_then(|(_, rest)| rest.split_once("</url>")).expect("a repository").0.to_owned()
}

/// An element as the page about Maven has it, for this server: what it tells people is what the tests do.
pub(crate) fn from_page(element: &str, server: &str) -> String {
    let page = include_str!("../../docs/clients/maven.md");
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let inner = page.split_once(&start).and_then(|(_, rest)| rest.split_once(&end)).unwrap_or_else(|| panic!("the page has no {start}")).0;
    format!("{start}{inner}{end}").replace("SERVER/", server)
}

/// A `settings.xml` with everything from the group, and the credentials for deploying.
pub(crate) fn settings(server: &str, token: &str) -> String {
    let blocked = "<blocked>false</blocked>";
    let parts = ["mirrors", "servers", "profiles", "activeProfiles", "pluginGroups"].map(|element| from_page(element, server)).concat();
    format!("<settings>\n{}\n</settings>\n", parts.replace("</mirror>", &format!("{blocked}</mirror>")).replace(">TOKEN<", &format!(">{token}<")))
}

/// A file of `fixtures/maven`, with what the tests put in.
fn filled(text: &str, version: &str, server: &str) -> String {
    let plugins = std::fs::read_to_string(fixtures().join("plugins.xml")).unwrap();
    text.replace("VERSION", version).replace("<!-- PLUGINS -->", &plugins).replace("<!-- DISTRIBUTION -->", &from_page("distributionManagement", server))
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/maven")
}

/// Goes through a folder and those in it.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}; run tests/run", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// All files below a folder, with their paths relative to it.
pub(crate) fn files_below(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    files(folder, &mut found);
    found.into_iter().map(|path| (path.strip_prefix(folder).unwrap().to_string_lossy().into_owned(), path)).collect()
}

/// What `tests/run` built of the project of the fixtures, as a client deploys it, without checksums and metadata: release 1.0 of everything.
pub(crate) fn release() -> Vec<(String, Vec<u8>)> {
    let is_file = |(name, _): &(String, PathBuf)| [".pom", ".jar"].iter().any(|ending| name.ends_with(ending));
    files_below(&installed().join("maven-plugins/deployed")).into_iter().filter(is_file).map(|(name, path)| (name, std::fs::read(path).unwrap())).collect()
}

impl Home {
    /// Maven with these settings and an own local repository, checking every checksum.
    pub(crate) fn mvn(&self, client: &str, folder: &Path, settings: &Path, local: &str, arguments: &[&str]) -> Output {
        let program = if client == "mvn" { PathBuf::from("mvn") } else { installed().join(client).join("bin/mvn") };
        let mut command = self.command(program, folder);
        command.env("MAVEN_OPTS", format!("{JVM} -Duser.home={}", self.path().join("home").display())).env("MAVEN_SKIP_RC", "1");
        command.args(["-B", "-ntp", "-C", "-s"]).arg(settings).arg("-gs").arg(settings);
        command.arg(format!("-Dmaven.repo.local={}", self.path().join(local).display())).args(arguments);
        process::run(command, PATIENCE)
    }

    /// A local repository that has the plugins of the fixtures.
    pub(crate) fn with_plugins(&self, local: &str) {
        for (name, path) in files_below(&installed().join("maven-plugins/repository")) {
            let to = self.path().join(local).join(name);
            std::fs::create_dir_all(to.parent().expect("a folder")).unwrap();
            // The same file where that is possible: Maven only reads it.
            std::fs::hard_link(&path, &to).or_else(|_| std::fs::copy(&path, &to).map(drop)).unwrap();
        }
    }

    /// A project of the fixtures, to be deployed to `main/maven` of a server.
    pub(crate) fn maven_project(&self, fixture: &str, place: &str, version: &str, server: &str) -> PathBuf {
        let folder = self.path().join(place);
        for (name, path) in files_below(&fixtures().join(fixture)) {
            write(&folder.join(name), &filled(&std::fs::read_to_string(path).unwrap(), version, server));
        }
        folder
    }
}

/// Writes a file into a folder that may not be there yet.
pub(crate) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
    std::fs::write(path, text).unwrap();
}
