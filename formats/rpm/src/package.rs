//! What a package says of itself, as far as repository metadata repeats it. The rules (what is left out, what counts twice) are those of
//! createrepo_c, which clients are used to.

use std::collections::{HashMap, HashSet};

use entrepot_kit::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::header::{Front, Header, readable, tag};
use crate::version;

/// Entries of the change log that metadata repeats.
const CHANGES: usize = 10;
/// Longest name, version, release or architecture.
const LONGEST: usize = 200;
/// Most files, dependencies of one kind, or folders.
const MOST: usize = 1_000_000;
/// Most bytes of the metadata of one package: lists of files repeat their folders.
const LARGEST: usize = 64 << 20;

/// A dependency.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dependency {
    /// What it is on.
    #[serde(rename = "n")]
    pub name: String,
    /// How its version compares: `EQ`, `LT`, `GT`, `LE`, `GE`, or nothing.
    #[serde(rename = "f", default, skip_serializing_if = "String::is_empty")]
    pub flags: String,
    /// Epoch, version and release, as far as they are said.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub evr: Option<(String, String, String)>,
    /// Whether it must be there before scripts run.
    #[serde(rename = "p", default, skip_serializing_if = "std::ops::Not::not")]
    pub pre: bool,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A file.
    #[serde(rename = "f")]
    File,
    /// A folder.
    #[serde(rename = "d")]
    Folder,
    /// Not in the package, but its own.
    #[serde(rename = "g")]
    Ghost,
}

/// An entry of the change log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Who.
    pub author: String,
    /// When, in seconds since 1970.
    pub date: u64,
    /// What.
    pub text: String,
}

/// A package: the JSON of its version's record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its architecture; `src` for sources.
    pub arch: String,
    /// Epoch, version and release.
    pub evr: (String, String, String),
    /// The SHA-256 of the file.
    pub sha256: String,
    /// One line about it.
    pub summary: String,
    /// More about it.
    pub description: String,
    /// Who packaged it.
    pub packager: String,
    /// Its home page.
    pub url: String,
    /// When it came here, in seconds since 1970.
    pub file_time: i64,
    /// When it was built.
    pub build_time: u64,
    /// Bytes of the file.
    pub size: u64,
    /// Bytes when installed.
    pub installed: u64,
    /// Bytes of the archive in it.
    pub archive: u64,
    /// Its licence.
    pub license: String,
    /// Who made it.
    pub vendor: String,
    /// The kind of software.
    pub group: String,
    /// Where it was built.
    pub build_host: String,
    /// The package of its sources.
    pub source: String,
    /// Where its header begins and ends.
    pub header: (u64, u64),
    /// By [`Relation`].
    pub relations: Vec<Vec<Dependency>>,
    /// Its files.
    pub files: Vec<(String, FileKind)>,
    /// The newest entries of its change log, the oldest of them first.
    pub changes: Vec<Change>,
}

/// The kinds of dependencies, in the order of their elements in metadata.
pub const RELATIONS: [Relation; 8] = [
    Relation { element: "provides", tags: [1047, 1113, 1112] },
    Relation { element: "requires", tags: [1049, 1050, 1048] },
    Relation { element: "conflicts", tags: [1054, 1055, 1053] },
    Relation { element: "obsoletes", tags: [1090, 1115, 1114] },
    Relation { element: "suggests", tags: [5049, 5050, 5051] },
    Relation { element: "enhances", tags: [5055, 5056, 5057] },
    Relation { element: "recommends", tags: [5046, 5047, 5048] },
    Relation { element: "supplements", tags: [5052, 5053, 5054] },
];
const REQUIRES: &str = "requires";

/// A kind of dependency.
#[derive(Debug, Clone, Copy)]
pub struct Relation {
    /// Its element in metadata.
    pub element: &'static str,
    /// The tags of names, versions and flags.
    tags: [u32; 3],
}

/// Flags of a dependency that ask for it before scripts: `PREREQ`, `SCRIPT_PRE`, `SCRIPT_POST`.
const PRE: u64 = 1 << 6 | 1 << 9 | 1 << 10;
/// The flag of a file that is not in the package.
const GHOST: u64 = 1 << 6;
const LIBC: &str = "libc.so.6";

fn broken(why: &str) -> Error {
    Error::unprocessable(format!("this is not a valid RPM package: {why}"))
}

/// What is known of a file besides its header.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived<'a> {
    pub(crate) sha256: &'a str,
    pub(crate) size: u64,
    pub(crate) time: i64,
}

impl Package {
    /// Reads what a package says of itself.
    ///
    /// # Errors
    /// 422 for what no package says.
    pub(crate) fn read(front: &Front, arrived: Arrived<'_>) -> Result<Self> {
        let Front { signature, header, .. } = front;
        let required = |tag, what: &str| {
            let text = header.text(tag)?;
            check_part(&text, what)?;
            Ok::<_, Error>(text)
        };
        let is_source = header.has(tag::SOURCE_PACKAGE) || !header.has(tag::SOURCE_RPM);
        let arch = required(tag::ARCH, "architecture")?;
        let epoch = header.number(tag::EPOCH)?.unwrap_or(0).to_string();
        let files = files(header)?;
        let installed = header.number(tag::LONG_SIZE)?.or(header.number(tag::SIZE)?).unwrap_or(0);
        let archive = match signature.number(tag::SIGNATURE_LONG_ARCHIVE_SIZE)? {
            Some(size) => size,
            None => signature.number(tag::SIGNATURE_ARCHIVE_SIZE)?.or(header.number(tag::ARCHIVE_SIZE)?).unwrap_or(0),
        };
        let relations = relations(header, &files)?;
        let package = Self {
            name: required(tag::NAME, "name")?,
            arch: if is_source { String::from("src") } else { arch },
            evr: (epoch, required(tag::VERSION, "version")?, required(tag::RELEASE, "release")?),
            sha256: arrived.sha256.to_owned(),
            summary: header.text(tag::SUMMARY)?,
            description: header.text(tag::DESCRIPTION)?,
            packager: header.text(tag::PACKAGER)?,
            url: header.text(tag::URL)?,
            file_time: arrived.time,
            build_time: header.number(tag::BUILD_TIME)?.unwrap_or(0),
            size: arrived.size,
            installed,
            archive,
            license: header.text(tag::LICENSE)?,
            vendor: header.text(tag::VENDOR)?,
            group: header.text(tag::GROUP)?,
            build_host: header.text(tag::BUILD_HOST)?,
            source: header.text(tag::SOURCE_RPM)?,
            header: (front.start, front.end),
            relations,
            files,
            changes: changes(header)?,
        };
        Ok(package)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// 500 for a damaged one.
    pub fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(Error::internal)
    }

    /// Writes the record.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// `name-version-release.architecture.rpm`.
    #[must_use]
    pub fn file_name(&self) -> String {
        let (_, version, release) = &self.evr;
        format!("{}-{version}-{release}.{}.rpm", self.name, self.arch)
    }

    /// `[epoch:]version-release.architecture`, which names the version.
    #[must_use]
    pub fn version(&self) -> String {
        let (epoch, version, release) = &self.evr;
        let epoch = if epoch == "0" { String::new() } else { format!("{epoch}:") };
        format!("{epoch}{version}-{release}.{}", self.arch)
    }

    /// The dependencies of a kind.
    pub fn related(&self) -> impl Iterator<Item = (Relation, &Vec<Dependency>)> {
        RELATIONS.into_iter().zip(&self.relations)
    }
}

/// Names, versions, releases and architectures become parts of paths.
fn check_part(text: &str, what: &str) -> Result<()> {
    let is_plain = |character: char| character.is_ascii_graphic() && !matches!(character, '/' | '\\' | '@' | '<' | '>' | '&' | '"' | '\'' | '%' | '?' | '#');
    if text.is_empty() || text.len() > LONGEST || text.starts_with('.') || !text.chars().all(is_plain) {
        let shown: String = text.chars().filter(|character| !character.is_control()).take(60).collect();
        return Err(broken(&format!("its {what} {shown:?} is empty, too long, or has characters that no {what} has")));
    }
    Ok(())
}

fn files(header: &Header) -> Result<Vec<(String, FileKind)>> {
    let modes = header.numbers(tag::FILE_MODES)?;
    let flags = header.numbers(tag::FILE_FLAGS)?;
    let names = header.texts(tag::BASE_NAMES)?;
    let kind = |index: usize| {
        // S_IFMT and S_IFDIR.
        let is_folder = modes.get(index).is_some_and(|mode| mode & 0o170_000 == 0o040_000);
        let is_ghost = flags.get(index).is_some_and(|flags| flags & GHOST != 0);
        if is_folder {
            FileKind::Folder
        } else if is_ghost {
            FileKind::Ghost
        } else {
            FileKind::File
        }
    };
    if names.is_empty() {
        let old = header.texts(tag::OLD_FILE_NAMES)?;
        return Ok(old.iter().enumerate().map(|(index, name)| (readable(name), kind(index))).collect());
    }
    let folders = header.texts(tag::DIR_NAMES)?;
    let places = header.numbers(tag::DIR_INDEXES)?;
    if names.len() > MOST || places.len() != names.len() {
        return Err(broken("its list of files is not whole"));
    }
    let mut files = Vec::with_capacity(names.len());
    let mut size = 0_usize;
    for (index, (name, place)) in names.iter().zip(places).enumerate() {
        let folder = usize::try_from(place).ok().and_then(|place| folders.get(place)).ok_or_else(|| broken("a file of it is in a folder that is not there"))?;
        size = size.saturating_add(folder.len() + name.len());
        if size > LARGEST {
            return Err(broken("the names of its files have more than 64 MB"));
        }
        files.push((readable(&[folder, *name].concat()), kind(index)));
    }
    Ok(files)
}

/// Files that the first of the metadata's documents lists, so that most dependencies on files need no other.
#[must_use]
pub fn is_primary(path: &str) -> bool {
    path.starts_with("/etc/") || path.contains("bin/") || path == "/usr/lib/sendmail"
}

fn relations(header: &Header, files: &[(String, FileKind)]) -> Result<Vec<Vec<Dependency>>> {
    let own: HashSet<&str> = files.iter().map(|(path, _)| path.as_str()).filter(|path| is_primary(path)).collect();
    let mut provided = HashSet::new();
    let mut all = Vec::with_capacity(RELATIONS.len());
    for relation in RELATIONS {
        let [names, versions, flags] = relation.tags;
        let (names, versions, flags) = (header.texts(names)?, header.texts(versions)?, header.numbers(flags)?);
        let whole = |length: usize| length == 0 || length == names.len();
        if names.len() > MOST || !whole(versions.len()) || !whole(flags.len()) {
            return Err(broken(&format!("its list of what it {} is not whole", relation.element)));
        }
        let is_requires = relation.element == REQUIRES;
        let mut seen: HashMap<String, (String, String, bool)> = HashMap::new();
        let mut libc: Option<Dependency> = None;
        let mut found = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let name = readable(name);
            let bits = flags.get(index).copied().unwrap_or(0);
            let text = versions.get(index).map(|version| readable(version)).unwrap_or_default();
            let mut dependency = Dependency { flags: comparison(bits).to_owned(), evr: evr(&text), name, pre: false };
            if relation.element == "provides" {
                provided.insert(format!("{}{}{text}", dependency.name, dependency.flags));
            }
            if is_requires {
                dependency.pre = bits & PRE != 0;
                let is_own = own.contains(dependency.name.as_str()) || provided.contains(&format!("{}{}{text}", dependency.name, dependency.flags));
                let is_again =
                    seen.get(&dependency.name).is_some_and(|(flags, version, pre)| (flags, version, *pre) == (&dependency.flags, &text, dependency.pre));
                if dependency.name.starts_with("rpmlib(") || is_own || is_again {
                    continue;
                }
                if dependency.name.starts_with(LIBC) {
                    // Of the versions of the C library the highest says it all.
                    if libc.as_ref().is_none_or(|known| is_older_libc(&known.name, &dependency.name)) {
                        libc = Some(dependency);
                    }
                    continue;
                }
                seen.insert(dependency.name.clone(), (dependency.flags.clone(), text, dependency.pre));
            }
            found.push(dependency);
        }
        found.extend(libc);
        all.push(found);
    }
    Ok(all)
}

/// Whether a dependency on the C library asks for an older one than another: `libc.so.6(GLIBC_2.34)(64bit)`.
fn is_older_libc(one: &str, other: &str) -> bool {
    let version = |name: &str| name.split_once("(GLIBC_").and_then(|(_, rest)| rest.split_once(')')).map(|(version, _)| version.to_owned());
    match (version(one), version(other)) {
        (None, other) => other.is_some(),
        (Some(_), None) => false,
        (Some(one), Some(other)) => version::compare_parts(&one, &other).is_lt(),
    }
}

fn comparison(flags: u64) -> &'static str {
    match flags & 0xf {
        2 => "LT",
        4 => "GT",
        8 => "EQ",
        10 => "LE",
        12 => "GE",
        _ => "",
    }
}

/// `[epoch:]version[-release]`.
fn evr(text: &str) -> Option<(String, String, String)> {
    if text.is_empty() {
        return None;
    }
    let (epoch, rest) = match text.split_once(':') {
        Some((epoch, rest)) if !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()) => (epoch, rest),
        // What is no number is no epoch.
        Some((epoch, rest)) => (if epoch.is_empty() { "0" } else { "" }, rest),
        None => ("0", text),
    };
    let (version, release) = rest.split_once('-').unwrap_or((rest, ""));
    Some((epoch.to_owned(), version.to_owned(), release.to_owned()))
}

fn changes(header: &Header) -> Result<Vec<Change>> {
    let (times, authors, texts) = (header.numbers(tag::CHANGELOG_TIME)?, header.texts(tag::CHANGELOG_NAME)?, header.texts(tag::CHANGELOG_TEXT)?);
    let mut changes: Vec<Change> = Vec::new();
    let newest = times.into_iter().zip(authors).zip(texts).take(CHANGES);
    for ((date, author), text) in newest {
        let mut author = readable(author);
        author.truncate(author.trim_end_matches(' ').len().max(1).min(author.len()));
        // Entries of one day would have no order: those before are moved on, a second each.
        let mut taken = date;
        for later in changes.iter_mut().rev() {
            if later.date != taken {
                break;
            }
            taken += 1;
            later.date = taken;
        }
        changes.push(Change { author, date, text: readable(text) });
    }
    changes.reverse();
    Ok(changes)
}
