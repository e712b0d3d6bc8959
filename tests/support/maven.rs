//! Maven in fresh homes: that of the machine, and the newer ones that `tests/run` installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::clients::{Home, installed};
use super::process::{self, Output};

/// A build on a machine with much else to do.
const PATIENCE: Duration = Duration::from_secs(600);

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
    let parts = ["mirrors", "servers", "profiles", "activeProfiles"].map(|element| from_page(element, server)).concat();
    format!("<settings>\n{}\n</settings>\n", parts.replace("</mirror>", &format!("{blocked}</mirror>")).replace(">TOKEN<", &format!(">{token}<")))
}

impl Home {
    /// Maven with these settings and an own local repository, checking every checksum.
    pub(crate) fn mvn(&self, client: &str, folder: &Path, settings: &Path, local: &str, arguments: &[&str]) -> Output {
        let program = if client == "mvn" { PathBuf::from("mvn") } else { installed().join(client).join("bin/mvn") };
        let mut command = self.command(program, folder);
        command.env("MAVEN_OPTS", format!("-Duser.home={}", self.path().join("home").display())).env("MAVEN_SKIP_RC", "1");
        command.args(["-B", "-ntp", "-C", "-s"]).arg(settings).arg("-gs").arg(settings);
        command.arg(format!("-Dmaven.repo.local={}", self.path().join(local).display())).args(arguments);
        process::run(command, PATIENCE)
    }
}
