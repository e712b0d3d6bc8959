//! Whether releases that come as a whole are complete: what is wrong with them, in words.

use std::collections::{BTreeMap, BTreeSet};

use entrepot_kit::{Algorithm, Digests, Sha256Digest};

use crate::coordinates::{Build, Coordinates, Place, place};
use crate::facts::Facts;
use crate::settings::Checks;

/// Most problems that are told.
const MOST: usize = 50;
/// What needs no signature: signatures.
const SIGNATURES: [&str; 4] = [".asc", ".sig", ".sigstore", ".sigstore.json"];

/// A file of a release.
pub(crate) struct Item<'a> {
    pub(crate) path: &'a str,
    pub(crate) digest: Option<Sha256Digest>,
    pub(crate) digests: &'a Digests,
    pub(crate) facts: &'a Facts,
}

/// A checksum that was sent with it.
pub(crate) struct Sum<'a> {
    pub(crate) of: &'a str,
    pub(crate) algorithm: Algorithm,
    pub(crate) sent: &'a str,
}

/// What is wrong: nothing, where the releases are complete.
pub(crate) fn problems(items: &[Item<'_>], sums: &[Sum<'_>], wanted: Checks) -> Vec<String> {
    let mut problems = Vec::new();
    let paths: BTreeMap<&str, &Item<'_>> = items.iter().map(|item| (item.path, item)).collect();
    let mut versions: BTreeMap<(String, &str), Vec<(Coordinates<'_>, &Item<'_>)>> = BTreeMap::new();
    for item in items {
        match place(item.path) {
            Place::Artifact(coordinates) if coordinates.build == Build::Release => {
                if coordinates.extension.ends_with(".asc") && !item.facts.signature {
                    problems.push(format!("{} is no signature", item.path));
                }
                let is_signature = SIGNATURES.iter().any(|ending| item.path.ends_with(ending));
                if wanted.signatures && !is_signature && !paths.contains_key(format!("{}.asc", item.path).as_str()) {
                    problems.push(format!("{} has no signature ({}.asc)", item.path, item.path.rsplit('/').next().unwrap_or_default()));
                }
                versions.entry((coordinates.package(), coordinates.version)).or_default().push((coordinates, item));
            }
            _ => problems.push(format!("{} is no file of a release", item.path)),
        }
    }
    for ((package, version), files) in &versions {
        version_problems(package, version, files, wanted, &mut problems);
    }
    for sum in sums {
        let Some(item) = paths.get(sum.of) else {
            problems.push(format!("there is a {} of {}, and not the file", sum.algorithm.name(), sum.of));
            continue;
        };
        let actual = match sum.algorithm {
            Algorithm::Sha256 => item.digest.map(|digest| digest.hex()),
            other => item.digests.hex(other),
        };
        if actual.is_some_and(|actual| actual != sum.sent) {
            problems.push(format!("the {} of {} is not that of the file", sum.algorithm.name(), sum.of));
        }
    }
    let more = problems.len().saturating_sub(MOST);
    if more > 0 {
        problems.truncate(MOST);
        problems.push(format!("and {more} more"));
    }
    problems
}

fn version_problems(package: &str, version: &str, files: &[(Coordinates<'_>, &Item<'_>)], wanted: Checks, problems: &mut Vec<String>) {
    let find = |classifier: &str, extension: &str| files.iter().find(|(file, _)| file.classifier == classifier && file.extension == extension);
    let Some((coordinates, item)) = find("", "pom") else {
        problems.push(format!("{package} {version} has no pom"));
        return;
    };
    let Some(pom) = &item.facts.pom else {
        problems.push(format!("{} is no pom", item.path));
        return;
    };
    if !pom.is_of(&coordinates.group, coordinates.artifact, version) {
        problems.push(format!("{} is the pom of {}:{} {}", item.path, pom.group, pom.artifact, pom.version));
    }
    let is_main = |file: &Coordinates<'_>| !matches!(file.extension, "pom" | "module") && !SIGNATURES.iter().any(|ending| file.extension.ends_with(ending));
    if pom.packaging != "pom" && !files.iter().any(|(file, _)| is_main(file)) {
        problems.push(format!("{package} {version} is a {} and has nothing but its pom", pom.packaging));
    }
    if find("", "jar").is_some() {
        for (is_wanted, classifier) in [(wanted.sources, "sources"), (wanted.javadoc, "javadoc")] {
            if is_wanted && find(classifier, "jar").is_none() {
                problems.push(format!("{package} {version} has no {classifier} ({}-{version}-{classifier}.jar)", coordinates.artifact));
            }
        }
    }
}

/// The versions that files are of, in words.
pub(crate) fn versions<'a>(paths: impl Iterator<Item = &'a str>) -> Vec<String> {
    let named: BTreeSet<String> = paths
        .filter_map(|path| match place(path) {
            Place::Artifact(coordinates) => Some(format!("{} {}", coordinates.package(), coordinates.version)),
            _ => None,
        })
        .collect();
    named.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{Item, Sum, problems, versions};
    use crate::facts::Facts;
    use crate::pom::Pom;
    use crate::settings::Checks;
    use crate::testing;
    use entrepot_kit::{Algorithm, Digests, Sha256Digest};

    const ALL: Checks = Checks { signatures: true, sources: true, javadoc: true };

    fn look(files: &[&str], sums: &[(&str, Algorithm, &str)], wanted: Checks) -> Vec<String> {
        let digests = Digests::new();
        let facts = |path: &str| Facts {
            pom: path.ends_with(".pom").then(|| Pom::parse(&testing::pom("a", "b", "1", "jar")).unwrap()),
            signature: path.ends_with(".asc"),
            ..Facts::default()
        };
        let facts: Vec<Facts> = files.iter().map(|path| facts(path)).collect();
        let items: Vec<Item<'_>> =
            files.iter().zip(&facts).map(|(path, facts)| Item { path, digest: Some(Sha256Digest::of(b"x")), digests: &digests, facts }).collect();
        let sums: Vec<Sum<'_>> = sums.iter().map(|(of, algorithm, sent)| Sum { of, algorithm: *algorithm, sent }).collect();
        problems(&items, &sums, wanted)
    }

    #[test]
    fn complete_releases_have_no_problem() {
        let plain = ["a/b/1/b-1.pom", "a/b/1/b-1.jar"];
        assert!(look(&plain, &[("a/b/1/b-1.jar", Algorithm::Sha256, &Sha256Digest::of(b"x").hex())], Checks::default()).is_empty());
        let all: Vec<String> = [".pom", ".jar", "-sources.jar", "-javadoc.jar"]
            .iter()
            .flat_map(|ending| [format!("a/b/1/b-1{ending}"), format!("a/b/1/b-1{ending}.asc")])
            .collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert!(look(&all, &[], ALL).is_empty(), "{:?}", look(&all, &[], ALL));
        assert_eq!(versions(all.into_iter()), ["a:b 1"]);
    }

    #[test]
    fn every_problem_is_told() {
        let told = |files: &[&str], sums: &[(&str, Algorithm, &str)], wanted, text: &str| {
            let found = look(files, sums, wanted);
            assert!(found.iter().any(|problem| problem.contains(text)), "{found:?} does not say {text:?}");
        };
        let none = Checks::default();
        told(&["a/b/1/b-1.jar"], &[], none, "a:b 1 has no pom");
        told(&["a/c/1/c-1.pom", "a/c/1/c-1.jar"], &[], none, "is the pom of a:b 1");
        told(&["a/b/1/b-1.pom"], &[], none, "nothing but its pom");
        told(&["a/readme.txt"], &[], none, "no file of a release");
        told(&["a/b/1-SNAPSHOT/b-1-SNAPSHOT.pom"], &[], none, "no file of a release");
        told(&["a/b/1/b-1.pom", "a/b/1/b-1.jar"], &[("a/b/1/b-1.jar", Algorithm::Sha256, "00")], none, "is not that of the file");
        told(&["a/b/1/b-1.pom", "a/b/1/b-1.jar"], &[("a/b/1/b-1-sources.jar", Algorithm::Sha1, "00")], none, "and not the file");
        for text in ["b-1.jar has no signature (b-1.jar.asc)", "has no sources", "has no javadoc"] {
            told(&["a/b/1/b-1.pom", "a/b/1/b-1.jar"], &[], ALL, text);
        }
    }
}
