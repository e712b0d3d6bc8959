//! What a path of a Maven 2 repository means.

use crate::checksum;
use crate::version::is_snapshot;

/// The name of metadata at every level.
pub const METADATA: &str = "maven-metadata.xml";
/// The list of archetypes.
pub const CATALOG: &str = "archetype-catalog.xml";
/// The list of what groups begin with.
pub const PREFIXES: &str = ".meta/prefixes.txt";
/// Where checksums wait for their files. No path of a client leads there.
pub const PARKED: &str = ".checksums/";
/// Where releases wait for their promotion: a folder for each stage, with the paths of the layout below it.
pub const STAGING: &str = ".staging/";
/// Marks of releases that take no more files, at the path of their folder.
pub const SEALED: &str = ".sealed/";
/// What the list of archetypes is made of: a mark for each version, below the name of its package.
pub const ARCHETYPES: &str = ".archetypes/";
/// Where whole releases are sent to.
pub const BUNDLE: &str = ".bundle";
/// What all of these begin with. No group does: a dot in the name of its folder could be read in two ways.
pub const OWN: &str = ".";

/// Extensions with a dot inside.
const DOTTED: [&str; 7] = ["tar.gz", "tar.bz2", "tar.xz", "tar.zst", "tar.lz4", "tar.lzma", "tar.Z"];
/// What stands behind the name of a file and is about it.
const BESIDE: [&str; 4] = [".asc", ".sigstore", ".sigstore.json", ".sig"];

/// Which state of a version a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build<'a> {
    /// The release.
    Release,
    /// A snapshot under its plain name.
    Plain,
    /// A snapshot of its own: `20261123.145055-1`.
    Stamped(
        /// The time and the number of the build.
        &'a str,
    ),
}

/// A file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinates<'a> {
    /// `com.acme`.
    pub group: String,
    /// `lib`.
    pub artifact: &'a str,
    /// The version of the folder, `-SNAPSHOT` for all builds of it.
    pub version: &'a str,
    /// Which state of it.
    pub build: Build<'a>,
    /// `sources`; empty for none.
    pub classifier: &'a str,
    /// `jar`, `tar.gz`, `jar.asc`.
    pub extension: &'a str,
}

impl Coordinates<'_> {
    /// The name of the package: `com.acme:lib`.
    #[must_use]
    pub fn package(&self) -> String {
        format!("{}:{}", self.group, self.artifact)
    }

    /// The folder of the version, without a slash at its end.
    #[must_use]
    pub fn folder(&self) -> String {
        version_folder(&self.package(), self.version)
    }
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place<'a> {
    /// A file of an artifact.
    Artifact(Coordinates<'a>),
    /// Metadata of the folder.
    Metadata {
        /// The folder, without a slash at its end.
        folder: &'a str,
    },
    /// A checksum of another file.
    Checksum {
        /// The path of that.
        of: &'a str,
        /// By which algorithm.
        algorithm: entrepot_kit::Algorithm,
    },
    /// The list of archetypes.
    Catalog,
    /// The list of what groups begin with.
    Prefixes,
    /// What the repository keeps for itself, and gives to nobody.
    Own,
    /// Any other file.
    Other,
}

/// Reads a path.
#[must_use]
pub fn place(path: &str) -> Place<'_> {
    if [PARKED, STAGING, SEALED, ARCHETYPES].iter().any(|own| path.starts_with(own)) || path.split('/').next() == Some(BUNDLE) {
        return Place::Own;
    }
    if let Some((of, algorithm)) = checksum::split(path) {
        return Place::Checksum { of, algorithm };
    }
    match path {
        CATALOG => return Place::Catalog,
        PREFIXES => return Place::Prefixes,
        _ => {}
    }
    if let Some((folder, METADATA)) = path.rsplit_once('/') {
        return Place::Metadata { folder };
    }
    artifact(path).map_or(Place::Other, Place::Artifact)
}

/// The group of a folder: one with a dot in a name could be read in two ways, and is none.
fn group(folder: &str) -> Option<String> {
    let is_plain = !folder.is_empty() && folder.split('/').all(|part| !part.is_empty() && !part.contains(['.', ':']));
    is_plain.then(|| folder.replace('/', "."))
}

fn artifact(path: &str) -> Option<Coordinates<'_>> {
    let (folder, file) = path.rsplit_once('/')?;
    let (folder, version) = folder.rsplit_once('/')?;
    let (folder, artifact) = folder.rsplit_once('/')?;
    if artifact.contains(':') {
        return None;
    }
    let group = group(folder)?;
    let rest = file.strip_prefix(artifact)?.strip_prefix('-')?;
    let (build, rest) = build(version, rest)?;
    let (classifier, extension) = ending(rest)?;
    Some(Coordinates { group, artifact, version, build, classifier, extension })
}

/// The state of the version, and what follows it.
fn build<'a>(version: &str, rest: &'a str) -> Option<(Build<'a>, &'a str)> {
    let ends = |rest: &&str| rest.starts_with(['.', '-']);
    if !is_snapshot(version) {
        return rest.strip_prefix(version).filter(ends).map(|rest| (Build::Release, rest));
    }
    if let Some(rest) = rest.strip_prefix(version).filter(ends) {
        return Some((Build::Plain, rest));
    }
    let base = version.get(..version.len().checked_sub("SNAPSHOT".len())?)?;
    let stamp = rest.strip_prefix(base)?;
    let length = stamp_length(stamp)?;
    let (stamp, rest) = stamp.split_at_checked(length)?;
    Some((Build::Stamped(stamp), rest)).filter(|(_, rest)| ends(rest))
}

/// How long the time and number of a build at the front of a text are.
fn stamp_length(text: &str) -> Option<usize> {
    let digits = |from: usize, to: usize| text.as_bytes().get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit));
    let is_time = digits(0, 8) && text.as_bytes().get(8) == Some(&b'.') && digits(9, 15) && text.as_bytes().get(15) == Some(&b'-');
    let number = text.as_bytes().get(16..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (is_time && (1..=9).contains(&number)).then_some(16 + number)
}

/// The time of a build and its number.
#[must_use]
pub fn stamp(text: &str) -> Option<(&str, u32)> {
    let (time, number) = text.split_once('-')?;
    let number = number.parse().ok()?;
    (stamp_length(text) == Some(text.len())).then_some((time, number))
}

/// Classifier and extension.
fn ending(rest: &str) -> Option<(&str, &str)> {
    if let Some(extension) = rest.strip_prefix('.') {
        return (!extension.is_empty()).then_some(("", extension));
    }
    let rest = rest.strip_prefix('-')?;
    let mut bare = rest;
    while let Some(shorter) = BESIDE.iter().find_map(|beside| bare.strip_suffix(beside)) {
        bare = shorter;
    }
    let dotted = DOTTED.iter().find_map(|dotted| bare.strip_suffix(dotted).and_then(|name| name.strip_suffix('.')));
    let name = dotted.or_else(|| bare.rsplit_once('.').map(|(name, _)| name)).filter(|name| !name.is_empty())?;
    let extension = rest.get(name.len() + 1..).filter(|extension| !extension.is_empty() && !extension.starts_with('.'))?;
    Some((name, extension))
}

/// The folder of a package, without a slash at its end.
#[must_use]
pub fn package_folder(package: &str) -> String {
    match package.split_once(':') {
        Some((group, artifact)) => format!("{}/{artifact}", group.replace('.', "/")),
        None => package.replace('.', "/"),
    }
}

/// The folder of a version, without a slash at its end.
#[must_use]
pub fn version_folder(package: &str, version: &str) -> String {
    format!("{}/{version}", package_folder(package))
}

/// The folder of the release that a file is of.
#[must_use]
pub fn release_folder(path: &str) -> Option<String> {
    match place(path) {
        Place::Artifact(coordinates) if coordinates.build == Build::Release => path.rsplit_once('/').map(|(folder, _)| folder.to_owned()),
        _ => None,
    }
}

/// The package whose metadata a folder has by its name: its last part is the artifact. What lies in the root is a group alone.
#[must_use]
pub fn package_of_folder(folder: &str) -> Option<String> {
    match folder.rsplit_once('/') {
        Some((above, artifact)) if !artifact.contains(':') => group(above).map(|group| format!("{group}:{artifact}")),
        Some(_) => None,
        None => group(folder),
    }
}

/// The package and version that a folder is of, if it is a snapshot's.
#[must_use]
pub fn snapshot_of_folder(folder: &str) -> Option<(String, &str)> {
    let (above, version) = folder.rsplit_once('/').filter(|(_, version)| is_snapshot(version))?;
    package_of_folder(above).filter(|package| package.contains(':')).map(|package| (package, version))
}

/// The package that something is about which the repository keeps for itself.
fn package_of_own(path: &str) -> Option<String> {
    if let Some(of) = path.strip_prefix(PARKED) {
        package_of(of)
    } else if let Some(rest) = path.strip_prefix(STAGING) {
        package_of(rest.split_once('/')?.1)
    } else if let Some(folder) = path.strip_prefix(SEALED) {
        release_of_folder(folder).map(|(package, _)| package)
    } else {
        path.strip_prefix(ARCHETYPES)?.split_once('/').map(|(package, _)| package.to_owned())
    }
}

/// The package and version that a folder is of, if it can be a release's.
#[must_use]
pub fn release_of_folder(folder: &str) -> Option<(String, &str)> {
    let (above, version) = folder.rsplit_once('/').filter(|(_, version)| !version.is_empty() && !is_snapshot(version))?;
    package_of_folder(above).filter(|package| package.contains(':')).map(|package| (package, version))
}

/// The package that a path belongs to: what rules about names look at.
#[must_use]
pub fn package_of(path: &str) -> Option<String> {
    match place(path) {
        Place::Artifact(coordinates) => Some(coordinates.package()),
        Place::Metadata { folder } => snapshot_of_folder(folder).map(|(package, _)| package).or_else(|| package_of_folder(folder)),
        Place::Checksum { of, .. } => package_of(of),
        Place::Catalog | Place::Prefixes => None,
        Place::Own => package_of_own(path),
        Place::Other => {
            // In the folder of a version, by the layout.
            let (folder, _) = path.rsplit_once('/')?;
            let (folder, _) = folder.rsplit_once('/')?;
            package_of_folder(folder).filter(|package| package.contains(':'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Build, Place, package_of, place, snapshot_of_folder, stamp};
    use entrepot_kit::Algorithm;
    use proptest::prelude::*;

    #[test]
    fn files_are_read() {
        for (path, package, version, build, classifier, extension) in [
            ("com/acme/lib/1.0/lib-1.0.jar", "com.acme:lib", "1.0", Build::Release, "", "jar"),
            ("com/acme/lib/1.0/lib-1.0-sources.jar", "com.acme:lib", "1.0", Build::Release, "sources", "jar"),
            ("com/acme/lib/1.0/lib-1.0.tar.gz", "com.acme:lib", "1.0", Build::Release, "", "tar.gz"),
            ("com/acme/lib/1.0/lib-1.0-bin.tar.bz2.asc", "com.acme:lib", "1.0", Build::Release, "bin", "tar.bz2.asc"),
            ("com/acme/lib/1.0/lib-1.0-jdk1.8.jar.asc", "com.acme:lib", "1.0", Build::Release, "jdk1.8", "jar.asc"),
            ("com/acme/lib/1.0/lib-1.0.jar.sigstore.json", "com.acme:lib", "1.0", Build::Release, "", "jar.sigstore.json"),
            ("com/acme/lib/1.0/lib-1.0.module", "com.acme:lib", "1.0", Build::Release, "", "module"),
            ("acme/my.lib/1-2-3/my.lib-1-2-3.pom", "acme:my.lib", "1-2-3", Build::Release, "", "pom"),
            ("acme/a-1/1/a-1-1.jar", "acme:a-1", "1", Build::Release, "", "jar"),
            ("acme/lib/1.1-SNAPSHOT/lib-1.1-SNAPSHOT.jar", "acme:lib", "1.1-SNAPSHOT", Build::Plain, "", "jar"),
            ("acme/lib/1.1-snapshot/lib-1.1-snapshot-x.jar", "acme:lib", "1.1-snapshot", Build::Plain, "x", "jar"),
            ("acme/lib/1.1-SNAPSHOT/lib-1.1-20261123.145055-1.jar", "acme:lib", "1.1-SNAPSHOT", Build::Stamped("20261123.145055-1"), "", "jar"),
            (
                "acme/lib/1.1-SNAPSHOT/lib-1.1-20261123.145055-12-it-s.tar.gz",
                "acme:lib",
                "1.1-SNAPSHOT",
                Build::Stamped("20261123.145055-12"),
                "it-s",
                "tar.gz",
            ),
            ("acme/lib/SNAPSHOT/lib-20261123.145055-1.pom", "acme:lib", "SNAPSHOT", Build::Stamped("20261123.145055-1"), "", "pom"),
        ] {
            let Place::Artifact(found) = place(path) else { panic!("{path} is no artifact") };
            assert_eq!(
                (found.package().as_str(), found.version, found.build, found.classifier, found.extension),
                (package, version, build, classifier, extension),
                "{path}"
            );
            assert_eq!(package_of(path).as_deref(), Some(package));
            assert!(path.starts_with(&format!("{}/", found.folder())), "{path}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for path in [
            "lib-1.0.jar",
            "lib/1.0/lib-1.0.jar",
            "com/acme/lib/1.0/other-1.0.jar",
            "com/acme/lib/1.0/lib-1.1.jar",
            "com/acme/lib/1.0/lib-1.0",
            "com/acme/lib/1.0/lib-1.0.",
            "com/acme/lib/1.0/lib-1.0-.jar",
            "com/acme/lib/1.0/lib-1.0x.jar",
            "com.acme/lib/1.0/lib-1.0.jar",
            "acme/lib/1.1-SNAPSHOT/lib-1.1-20261123.145055.jar",
            "acme/lib/1.1-SNAPSHOT/lib-1.1-20261123.145055-9999999999.jar",
            "acme/l:ib/1/l:ib-1.jar",
        ] {
            assert_eq!(place(path), Place::Other, "{path}");
        }
        assert_eq!(package_of("com/acme/lib/1.0/readme.txt").as_deref(), Some("com.acme:lib"));
    }

    #[test]
    fn other_places() {
        assert_eq!(place("com/acme/maven-metadata.xml"), Place::Metadata { folder: "com/acme" });
        assert_eq!(place("com/acme/maven-metadata.xml.sha1"), Place::Checksum { of: "com/acme/maven-metadata.xml", algorithm: Algorithm::Sha1 });
        assert_eq!(package_of("com/acme/maven-metadata.xml.sha1").as_deref(), Some("com:acme"));
        assert_eq!(package_of("acme/maven-metadata.xml").as_deref(), Some("acme"));
        assert_eq!(package_of("a/b/1-SNAPSHOT/maven-metadata.xml").as_deref(), Some("a:b"));
        assert_eq!(place("maven-metadata.xml"), Place::Other);
        for own in [".checksums/a.sha1", ".staging/x/a/b/1/b-1.jar", ".sealed/a/b/1", ".archetypes/a:b/1", ".bundle", ".bundle/x"] {
            assert_eq!(place(own), Place::Own, "{own}");
        }
        for own in [".checksums/a/b/1/b-1.jar.sha1", ".staging/x/a/b/1/b-1.jar", ".sealed/a/b/1", ".archetypes/a:b/1"] {
            assert_eq!(package_of(own).as_deref(), Some("a:b"), "{own}");
        }
        assert_eq!(package_of(".staging/x"), None);
        assert_eq!(snapshot_of_folder("a/b/1-SNAPSHOT"), Some((String::from("a:b"), "1-SNAPSHOT")));
        assert_eq!(snapshot_of_folder("a/b/1"), None);
        assert_eq!(stamp("20261123.145055-12"), Some(("20261123.145055", 12)));
        assert_eq!(stamp("20261123.145055-x"), None);
    }

    proptest! {
        #[test]
        fn any_path_has_a_place(path in "[a-zA-Z0-9._/é:-]{0,60}") {
            let _ = (place(&path), package_of(&path));
        }

        #[test]
        fn names_are_taken_apart_as_they_were_put_together(
            group in "[a-z]{1,5}(/[a-z]{1,5}){0,3}", artifact in "[a-z][a-z0-9.-]{0,8}[a-z0-9]", version in "[0-9]\\.[0-9](-[a-z]{1,4})?",
            classifier in "([a-z][a-z0-9-]{0,5}[a-z])?", extension in "jar|pom|tar\\.gz|jar\\.asc|module",
        ) {
            let dash = if classifier.is_empty() { "" } else { "-" };
            let path = format!("{group}/{artifact}/{version}/{artifact}-{version}{dash}{classifier}.{extension}");
            let Place::Artifact(found) = place(&path) else { return Err(TestCaseError::fail(path)) };
            prop_assert_eq!((found.artifact, found.version, found.classifier, found.extension), (&*artifact, &*version, &*classifier, &*extension));
            prop_assert_eq!(found.group.replace('.', "/"), group);
        }
    }
}
