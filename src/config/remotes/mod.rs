//! `remotes.yaml` or `remotes.toml`: what the caching service "artifactapi" is configured with, read as it is.
//!
//! Each remote becomes a repository of `main` that everybody may read, declared like those of the configuration file.

mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use entrepot_kit::accounts::Tags;
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Address, Kind, SystemName};
use serde_json::{Map, Value, json};

use super::check::Checks;
use super::declared::{Places, Repository};
use super::reader::{Origin, Problem, nearest};
use crate::registry::artifactapi::{ARTIFACTAPI, Package};
use crate::registry::paths::PATHS;
use crate::upstream::preset_of;
use tree::{Key, Node, Tree};

const REMOTE_KEYS: [&str; 10] =
    ["base_url", "type", "package", "description", "immutable_patterns", "mutable_patterns", "check_mutable_updates", "username", "password", "cache"];
const CACHE_KEYS: [&str; 2] = ["immutable_ttl", "mutable_ttl"];
/// Most bytes of a file.
const MOST_BYTES: u64 = 4 << 20;

/// `[artifactapi]`, and what the file that it names has to go with.
#[derive(Debug, Clone, Default)]
pub struct Artifactapi {
    /// The file with the remotes; `None`: there are none.
    pub remotes: Option<PathBuf>,
    /// What is declared besides, where it is declared and not only there by default.
    pub(super) systems: Vec<SystemName>,
    pub(super) repositories: Vec<Repository>,
    pub(super) are_defaults: bool,
}

impl Artifactapi {
    /// All declared repositories: those of the configuration file as it was at the start, and the remotes that the file has now.
    ///
    /// # Errors
    /// All problems of the file.
    pub fn read(&self, checks: &Checks<'_>) -> Result<Vec<Repository>, Vec<Problem>> {
        let (found, problems) = self.remotes(checks);
        if !problems.is_empty() {
            return Err(problems);
        }
        let remotes: Vec<Repository> = found.into_iter().map(|(repository, _)| repository).collect();
        Ok(self.beside(&remotes).chain(remotes.iter().cloned()).collect())
    }

    /// Adds the remotes of the file to what is declared besides, and gives everything that is wrong with it.
    pub(super) fn add(&self, declared: &mut Vec<(Repository, Places)>, checks: &Checks<'_>) -> Vec<Problem> {
        let (found, problems) = self.remotes(checks);
        declared.retain(|(repository, _)| !self.are_defaults || found.iter().all(|(remote, _)| remote.address() != repository.address()));
        declared.extend(found);
        problems
    }

    /// What is declared besides: a repository that is only there by default leaves its name to a remote.
    fn beside<'a>(&'a self, remotes: &'a [Repository]) -> impl Iterator<Item = Repository> + 'a {
        let is_taken = |repository: &Repository| remotes.iter().any(|remote| remote.address() == repository.address());
        self.repositories.iter().filter(move |repository| !self.are_defaults || !is_taken(repository)).cloned()
    }

    /// The remotes of the file, and everything that is wrong with it.
    fn remotes(&self, checks: &Checks<'_>) -> (Vec<(Repository, Places)>, Vec<Problem>) {
        let Some(path) = &self.remotes else { return Default::default() };
        let name = path.display().to_string();
        let mut file = File { name: &name, declared: self, checks, found: Vec::new(), problems: Vec::new() };
        match read(path) {
            Err(cause) => file.problems.push(Problem::new(None, format!("artifactapi.remotes: cannot read {name}: {cause}"))),
            Ok(text) => {
                let is_toml = path.extension().is_some_and(|extension| extension == "toml");
                match if is_toml { tree::toml(&text) } else { tree::yaml(&text) } {
                    Err((line, message)) => {
                        file.problems.push(Problem::new(line.map(|line| Origin::File(name.clone(), line)), message_of(&name, line, message)))
                    }
                    Ok(root) => file.root(root),
                }
            }
        }
        (file.found, file.problems)
    }
}

/// Where the file is. What the configuration file says starts at its folder.
pub(super) fn place(remotes: &str, origin: &Origin, file: Option<&Path>) -> Option<PathBuf> {
    let folder = file.and_then(Path::parent).filter(|_| matches!(origin, Origin::File(..))).unwrap_or_else(|| Path::new(""));
    (!remotes.is_empty()).then(|| folder.join(remotes))
}

fn message_of(name: &str, line: Option<usize>, message: String) -> String {
    if line.is_some() { message } else { format!("{name}: {message}") }
}

fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    entrepot_kit::LimitedReader::new(std::fs::File::open(path)?, MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// One file on its way to repositories.
struct File<'a> {
    name: &'a str,
    declared: &'a Artifactapi,
    checks: &'a Checks<'a>,
    found: Vec<(Repository, Places)>,
    problems: Vec<Problem>,
}

/// The settings of a remote as they are read, one after the other.
#[derive(Default)]
struct Read {
    base_url: Option<String>,
    is_local: bool,
    package: Package,
    description: String,
    immutable: Vec<String>,
    mutable: Vec<String>,
    check: bool,
    upstream: Map<String, Value>,
}

impl File<'_> {
    fn place(&self, line: usize) -> Origin {
        Origin::File(self.name.to_owned(), line)
    }

    fn problem(&mut self, line: usize, message: String) {
        self.problems.push(Problem::new(Some(self.place(line)), message));
    }

    fn unknown(&mut self, key: &Key, known: &[&'static str], within: &str) {
        let hint = nearest(&key.name, known).map_or_else(|| format!("known here: {}", known.join(", ")), |near| format!("did you mean {near:?}?"));
        self.problem(key.line, format!("unknown name {:?} {within}; {hint}", key.name));
    }

    /// The entries of a table; a name with nothing behind it is an empty one.
    fn entries(&mut self, node: Node, what: &str) -> Vec<(Key, Node)> {
        match node.value {
            Tree::Table(entries) => entries,
            Tree::Nothing => Vec::new(),
            _ => {
                self.problem(node.line, format!("{what}: expected names and values below it"));
                Vec::new()
            }
        }
    }

    fn root(&mut self, root: Node) {
        for (key, node) in self.entries(root, "the file") {
            if key.name != "remotes" {
                self.unknown(&key, &["remotes"], "at the top of the file");
                continue;
            }
            for (key, node) in self.entries(node, "remotes") {
                self.remote(&key, node);
            }
        }
    }

    fn remote(&mut self, key: &Key, node: Node) {
        let within = format!("remotes.{}", key.name);
        let before = self.problems.len();
        let address = self.address(key);
        let mut read = Read::default();
        for (field, node) in self.entries(node, &within) {
            self.field(&field, node, &within, &mut read);
        }
        if read.base_url.is_none() && !read.is_local {
            self.problem(key.line, format!("{within} has no base_url: write base_url, or type: local for a place that takes files"));
        }
        let Some(address) = address.filter(|_| self.problems.len() == before) else { return };
        let repository = repository(address, read);
        let checked = match &repository.upstream {
            Some(upstream) => (self.checks.upstream)(upstream),
            None => Ok(()),
        };
        if let Err(message) = checked.and_then(|()| (self.checks.repository)(&repository)) {
            self.problem(key.line, format!("{within}: {}", in_its_words(&message)));
        }
        self.found.push((repository, Places { header: self.place(key.line), members: Vec::new() }));
    }

    /// The name of a remote: nothing else may have it.
    fn address(&mut self, key: &Key) -> Option<Address> {
        let address = match Address::new(DEFAULT_SYSTEM, &key.name) {
            Ok(address) => address,
            Err(error) => {
                self.problem(key.line, format!("remotes.{}: {}", key.name, error.message()));
                return None;
            }
        };
        let is_here = |repository: &Repository| repository.address() == address;
        if self.found.iter().any(|(repository, _)| is_here(repository)) {
            self.problem(key.line, format!("the remote {} is there twice", key.name));
        } else if !self.declared.are_defaults && self.declared.repositories.iter().any(is_here) {
            self.problem(key.line, format!("remotes.{}: the configuration declares a repository {address} already; take another name", key.name));
        } else if self.declared.systems.iter().any(|system| system.as_str() == key.name) {
            self.problem(
                key.line,
                format!("remotes.{0}: {0} is also the name of a system, whose addresses below /api would be the remote's; take another name", key.name),
            );
        } else {
            return Some(address);
        }
        None
    }

    fn field(&mut self, key: &Key, node: Node, within: &str, read: &mut Read) {
        let line = node.line;
        let what = format!("{within}.{}", key.name);
        match key.name.as_str() {
            "base_url" => read.base_url = self.text(node, &what),
            "type" => match self.text(node, &what).as_deref() {
                Some("remote") | None => {}
                Some("local") => read.is_local = true,
                Some(other) => self.problem(line, format!("{what}: {other:?} is neither remote nor local")),
            },
            "package" => {
                let Some(text) = self.text(node, &what) else { return };
                match Package::parse(&text) {
                    Some(package) => read.package = package,
                    None => self.problem(line, format!("{what}: {text:?} is not one of {}", Package::NAMES.join(", "))),
                }
            }
            "description" => read.description = self.text(node, &what).unwrap_or_default(),
            "immutable_patterns" => read.immutable = self.patterns(node, &what),
            "mutable_patterns" => read.mutable = self.patterns(node, &what),
            "check_mutable_updates" => match node.value {
                Tree::Truth(check) => read.check = check,
                Tree::Nothing => {}
                _ => self.problem(line, format!("{what}: expected true or false")),
            },
            "username" | "password" => {
                if let Some(text) = self.text(node, &what) {
                    read.upstream.insert(key.name.clone(), text.into());
                }
            }
            "cache" => {
                for (ttl, node) in self.entries(node, &what) {
                    if !CACHE_KEYS.contains(&ttl.name.as_str()) {
                        self.unknown(&ttl, &CACHE_KEYS, &format!("in {what}"));
                        continue;
                    }
                    match node.value {
                        Tree::Number(seconds) => drop(read.upstream.insert(ttl.name, seconds.into())),
                        Tree::Nothing => {}
                        _ => self.problem(node.line, format!("{what}.{}: expected a number of seconds", ttl.name)),
                    }
                }
            }
            _ => self.unknown(key, &REMOTE_KEYS, &format!("in {within}")),
        }
    }

    /// A text; nothing is none.
    fn text(&mut self, node: Node, what: &str) -> Option<String> {
        match node.value {
            Tree::Text(text) => Some(text),
            Tree::Nothing => None,
            Tree::Number(_) | Tree::Truth(_) | Tree::Other => {
                self.problem(node.line, format!("{what}: expected a text; put it into quotes"));
                None
            }
            Tree::List(_) | Tree::Table(_) => {
                self.problem(node.line, format!("{what}: expected a text"));
                None
            }
        }
    }

    /// A list of regular expressions.
    fn patterns(&mut self, node: Node, what: &str) -> Vec<String> {
        let items = match node.value {
            Tree::List(items) => items,
            Tree::Nothing => Vec::new(),
            _ => {
                self.problem(node.line, format!("{what}: expected a list of regular expressions"));
                Vec::new()
            }
        };
        let mut patterns = Vec::new();
        for item in items {
            let line = item.line;
            let Some(pattern) = self.text(item, what) else { continue };
            match regex::Regex::new(&pattern) {
                // The first lines of the message draw the place in the pattern.
                Err(error) => {
                    let error = error.to_string();
                    let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    self.problem(line, format!("{what}: {pattern:?} is no regular expression: {reason}"));
                }
                Ok(_) if patterns.contains(&pattern) => {}
                Ok(_) => patterns.push(pattern),
            }
        }
        patterns
    }
}

/// What is said of an upstream by the names that the file has.
fn in_its_words(message: &str) -> String {
    message
        .replace("upstream.url", "base_url")
        .replace("upstream.", "")
        .replace("paths.immutable", "immutable_patterns")
        .replace("paths.mutable", "mutable_patterns")
}

fn repository(address: Address, read: Read) -> Repository {
    let Read { base_url, is_local, package, description, immutable, mut mutable, check, mut upstream } = read;
    let mut settings = Map::new();
    settings.insert(ARTIFACTAPI.to_owned(), json!({ "package": package.name(), "description": description }));
    let upstream = base_url.filter(|_| !is_local).map(|url| {
        // What is fetched anew anyway need not be checked.
        mutable.retain(|pattern| !package.mutable().contains(&pattern.as_str()));
        settings.insert(PATHS.to_owned(), json!({ "immutable": immutable, "mutable": mutable, "anew": package.mutable(), "check": check }));
        if let Some(preset) = preset_of(&url).filter(|_| package == Package::Docker) {
            upstream.insert(String::from("preset"), preset.into());
        }
        upstream.insert(String::from("url"), url.into());
        Value::Object(upstream)
    });
    Repository {
        system: address.system,
        name: address.repository,
        format: package.format().to_owned(),
        kind: if is_local { Kind::Hosted } else { Kind::Proxy },
        tags: Tags::from([(String::from("visibility"), BTreeSet::from([String::from("public")]))]),
        upstream,
        members: Vec::new(),
        settings: Value::Object(settings),
    }
}

#[cfg(test)]
mod tests;
