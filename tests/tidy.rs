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
    const PARSING: [&str; 17] = [
        "async-trait",
        "base64",
        "bytes",
        "entrepot-kit",
        "flate2",
        "futures",
        "hex",
        "http",
        "memchr",
        "percent-encoding",
        "semver",
        "serde",
        "serde_json",
        "tar",
        "thiserror",
        "zip",
        "quick-xml",
    ];
    let metadata = metadata();
    let mut seen = 0;
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        if name.starts_with("entrepot-format-") {
            seen += 1;
            let foreign: Vec<_> = imports(package).into_iter().filter(|import| !PARSING.contains(&import.as_str())).collect();
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
    assert!(seen >= 2, "no format crate was found");
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
