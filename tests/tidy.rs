//! The habits of the house, held by a test: who may import whom, and what must not be in a file.
#![cfg(test)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn tracked_files() -> Vec<PathBuf> {
    let listed = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root()).output().expect("git lists the files");
    assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
    let files: Vec<PathBuf> = String::from_utf8_lossy(&listed.stdout).lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect();
    assert!(files.len() > 50, "the list of files is too short to be true: {}", files.len());
    files
}

fn text(file: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(root().join(file)).expect("a tracked file")).into_owned()
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    tracked_files().into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")).map(|file| {
        let text = text(&file);
        (file, text)
    })
}

fn metadata() -> Value {
    let output =
        Command::new(env!("CARGO")).args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root()).output().expect("cargo metadata");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What a crate imports outside of tests.
fn imports(package: &Value) -> BTreeSet<String> {
    let dependencies = package["dependencies"].as_array().expect("dependencies");
    dependencies.iter().filter(|dependency| dependency["kind"].is_null()).filter_map(|dependency| dependency["name"].as_str().map(str::to_owned)).collect()
}

#[test]
fn formats_import_the_kit_and_parsing_libraries_only() {
    const PARSING: [&str; 26] = [
        "async-trait",
        "base64",
        "blake2",
        "bytes",
        "bzip2",
        "entrepot-kit",
        "flate2",
        "futures",
        "hex",
        "http",
        "liblzma",
        "memchr",
        "pep440_rs",
        "percent-encoding",
        "regex",
        "semver",
        "serde",
        "serde_json",
        "sha1",
        "tar",
        "thiserror",
        "zip",
        "quick-xml",
        "zstd",
        "serde-saphyr",
        "sha2",
    ];
    const OCI_CORE: &str = "entrepot-oci-core";
    let metadata = metadata();
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        if name.starts_with("entrepot-format-") || name == OCI_CORE {
            seen += 1;
            // What container clients speak to has its protocol in common: the one edge between formats.
            let shared = ["entrepot-format-oci", "entrepot-format-helm"].contains(&name);
            let allowed = |import: &String| PARSING.contains(&import.as_str()) || (shared && import == OCI_CORE);
            let foreign: Vec<_> = imports(package).into_iter().filter(|import| !allowed(import)).collect();
            assert!(foreign.is_empty(), "{name} must not import {foreign:?}: a format imports the kit and parsing libraries");
        }
        if name == "entrepot-kit" {
            let inner: Vec<_> = imports(package)
                .into_iter()
                .filter(|import| import.starts_with("entrepot") || ["actix-web", "diesel", "reqwest"].contains(&import.as_str()))
                .collect();
            assert!(inner.is_empty(), "the kit must not import {inner:?}");
        }
    }
    assert!(seen >= 4, "no format crate was found");
}

#[test]
fn every_format_is_among_the_default_members() {
    let manifest: toml::Table = text(Path::new("Cargo.toml")).parse().expect("TOML");
    let members: Vec<&str> = manifest["workspace"]["default-members"].as_array().expect("a list").iter().filter_map(toml::Value::as_str).collect();
    for folder in std::fs::read_dir(root().join("formats")).expect("formats").map(|entry| entry.expect("an entry").file_name()) {
        let path = format!("formats/{}", folder.to_string_lossy());
        assert!(members.contains(&path.as_str()), "{path} is missing in default-members: plain cargo commands would skip it");
    }
}

#[test]
fn grants_are_minted_in_one_place() {
    let needle = ["Grant::", "mint"].concat();
    for (file, text) in rust_files() {
        let allowed = ["src/access/grants.rs", "formats/kit/src/facade.rs"].iter().any(|path| file == Path::new(path))
            || file.components().any(|part| ["tests", "tests.rs"].contains(&&*part.as_os_str().to_string_lossy()));
        assert!(allowed || !text.contains(&needle), "{} mints a grant: only src/access/grants.rs does, after a decision", file.display());
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_files_stay_short() {
    let needle = ["#[", "allow("].concat();
    for (file, text) in rust_files() {
        assert!(!text.contains(&needle), "{}: use #[expect(…, reason = …)]", file.display());
        let lines = text.lines().count();
        assert!(lines <= 800, "{} has {lines} lines: split it", file.display());
    }
}

#[test]
fn no_public_registry_is_named() {
    let needles: Vec<String> = [
        ["registry.npm", "js.org"],
        ["py", "pi.org"],
        ["python", "hosted.org"],
        ["repo1.mav", "en.org"],
        ["repo.mav", "en.apache.org"],
        ["proxy.go", "lang.org"],
        ["index.cra", "tes.io"],
        ["static.cra", "tes.io"],
        ["deb.deb", "ian.org"],
    ]
    .iter()
    .map(|parts| parts.concat())
    .collect();
    for file in tracked_files() {
        let text = text(&file);
        for needle in &needles {
            assert!(!text.contains(needle.as_str()), "{} names {needle}: write registry.example, or ask the client at run time", file.display());
        }
    }
}

#[test]
fn both_databases_have_the_same_migrations() {
    let steps = |database: &str| -> BTreeSet<String> {
        let folder = root().join("migrations").join(database);
        std::fs::read_dir(folder).expect("migrations").map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    assert!(!steps("sqlite").is_empty());
    assert_eq!(steps("sqlite"), steps("postgres"));
}

/// The instructions of the Dockerfile's last stage, and the text of all of it. It is not built here: no image registry can be reached.
fn dockerfile() -> (Vec<(String, String)>, String) {
    let text = text(Path::new("Dockerfile"));
    let instructions = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let all: Vec<(String, String)> =
        instructions.map(|line| line.split_once(' ').expect("an instruction")).map(|(word, rest)| (word.to_owned(), rest.to_owned())).collect();
    let last = all.iter().rposition(|(word, _)| word == "FROM").expect("a stage");
    (all[last..].to_vec(), text)
}

#[test]
fn the_container_image_runs_what_there_is() {
    let (stage, whole) = dockerfile();
    let one = |word: &str| {
        let found: Vec<_> = stage.iter().filter(|(known, _)| known == word).map(|(_, rest)| rest.as_str()).collect();
        assert_eq!(found.len(), 1, "one {word} in the last stage of the Dockerfile, not {found:?}");
        found[0]
    };
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let server = packages.iter().find(|package| package["name"] == "entrepot").expect("the server");
    let is_binary = |target: &&Value| target["kind"] == serde_json::json!(["bin"]);
    let binary = server["targets"].as_array().expect("targets").iter().find(is_binary).expect("a binary")["name"].as_str().expect("a name");
    assert!(whole.contains(&format!("--locked --bin {binary} ")), "the image builds {binary}");
    let place = format!("/usr/local/bin/{binary}");
    assert!(whole.contains(&format!("target/release/{binary} {place}\n")), "the image copies {binary}");
    assert_eq!(one("ENTRYPOINT"), format!("[\"{place}\"]"));
    assert!(
        whole.contains(&format!("FROM rust:{}", server["rust_version"].as_str().expect("a version"))),
        "the image builds with the Rust that we say we need"
    );

    // Commands that the image runs by itself.
    let health = one("HEALTHCHECK").split_once("CMD ").expect("a command").1;
    let commands: [Vec<String>; 2] = [health, one("CMD")].map(|text| serde_json::from_str(text).expect("a list in JSON"));
    assert_eq!(commands[0][0], place);
    for command in [&commands[0][1..], &commands[1][..]] {
        let known = Command::new(env!("CARGO_BIN_EXE_entrepot")).args(command).arg("--help").output().expect("the binary runs");
        assert!(known.status.success(), "entrepot has no command {command:?}");
    }

    let user: u32 = one("USER").split(':').next().and_then(|id| id.parse().ok()).expect("a number, which Kubernetes can check not to be root");
    assert!(user > 0);
    let volume = one("VOLUME");
    assert!(
        stage.iter().any(|(word, rest)| word == "COPY" && rest.contains(&format!("--chown={user}:")) && rest.ends_with(volume)),
        "the volume is the user's"
    );
    let environment: Vec<(&str, &str)> = one("ENV").split(' ').filter_map(|pair| pair.split_once('=')).collect();
    let known = text(Path::new("src/config/environment.rs"));
    for (name, _) in &environment {
        assert!(known.contains(&format!("\"{name}\"")), "the configuration reads no {name}");
    }
    assert!(environment.contains(&("ENTREPOT_DATA", volume)), "the data is in the volume");
    let listen = environment.iter().find(|(name, _)| *name == "ENTREPOT_LISTEN").expect("an address").1;
    assert_eq!(listen.rsplit(':').next(), Some(one("EXPOSE")));
    assert_eq!(one("STOPSIGNAL"), "SIGTERM");
}

#[test]
fn the_container_image_is_made_of_the_sources_only() {
    let ignored = text(Path::new(".dockerignore"));
    let lines: Vec<&str> = ignored.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    assert_eq!(lines.first(), Some(&"*"), "nothing is sent that is not named");
    let sent: BTreeSet<&str> = lines.iter().filter_map(|line| line.strip_prefix('!')).collect();
    assert_eq!(sent, BTreeSet::from(["Cargo.lock", "Cargo.toml", "askama.toml", "formats", "migrations", "src"]));
    for name in sent {
        assert!(root().join(name).exists(), "{name} is not there");
    }
}
