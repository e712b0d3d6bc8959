//! Names of charts, and the paths of their files.

use crate::version;

/// Longest name of a chart, as Helm has it.
const LONGEST: usize = 250;
/// Longest name of a file.
const LONGEST_FILE: usize = 255;
/// The folder of charts.
pub const FOLDER: &str = "charts/";
/// The ending of a chart.
pub const TGZ: &str = ".tgz";
/// What follows the ending of a chart in the name of its provenance file.
pub const PROV: &str = ".prov";

/// Whether a text is the name of a chart.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let letters = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    letters && !text.is_empty() && text.len() <= LONGEST && text.bytes().any(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a chart may be called so: together they make the name of a file.
#[must_use]
pub fn fits(name: &str, version: &str) -> bool {
    is_name(name) && version::parse(version).is_some() && name.len() + version.len() + 1 + TGZ.len() + PROV.len() <= LONGEST_FILE
}

/// The name of a chart's file.
#[must_use]
pub fn file(name: &str, version: &str) -> String {
    format!("{name}-{version}{TGZ}")
}

/// Where a chart lies. Its own name comes before that of the file, which does not say where the name ends.
#[must_use]
pub fn path(name: &str, version: &str) -> String {
    format!("{FOLDER}{name}/{}", file(name, version))
}

/// Where a chart's provenance file lies.
#[must_use]
pub fn prov_path(name: &str, version: &str) -> String {
    format!("{}{PROV}", path(name, version))
}

/// A path of a chart or of its provenance file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartPath<'a> {
    /// The chart.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// Whether it is the provenance file.
    pub is_prov: bool,
}

impl<'a> ChartPath<'a> {
    /// Reads a path; `None` for what is no path of a chart.
    #[must_use]
    pub fn parse(path: &'a str) -> Option<Self> {
        let (name, file) = path.strip_prefix(FOLDER)?.split_once('/')?;
        Self::of_file(name, file)
    }

    /// Reads the name of a file of a chart.
    #[must_use]
    pub fn of_file(name: &'a str, file: &'a str) -> Option<Self> {
        let (file, is_prov) = file.strip_suffix(PROV).map_or((file, false), |file| (file, true));
        let version = file.strip_suffix(TGZ)?.strip_prefix(name)?.strip_prefix('-')?;
        fits(name, version).then_some(Self { name, version, is_prov })
    }

    /// All that a name of a file may mean that does not say where the chart's name ends: `a-1-1.0.0-rc1.tgz`. Versions with three numbers
    /// come first.
    #[must_use]
    pub fn guesses(file: &'a str) -> Vec<Self> {
        const MOST: usize = 16;
        let dashes = file.match_indices('-').filter_map(|(at, _)| file.get(..at));
        let mut guesses: Vec<Self> = dashes.filter_map(|name| Self::of_file(name, file)).collect();
        guesses.sort_by_key(|guess| semver::Version::parse(guess.version).is_err());
        guesses.truncate(MOST);
        guesses
    }
}

#[cfg(test)]
mod tests {
    use super::{ChartPath, is_name, path, prov_path};

    #[test]
    fn names_are_those_of_helm() {
        for good in ["a", "my-chart", "My.Chart_2", "1"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", ".", "..", "-", "a/b", "ä", "a b", "a+b", &"a".repeat(251)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn paths_are_read_as_they_are_made() {
        for (name, version) in [("a", "1.0.0"), ("a-1", "1.0.0-rc1"), ("b", "1.0.0+x"), ("c.d", "v1")] {
            let read = path(name, version);
            assert_eq!(ChartPath::parse(&read), Some(ChartPath { name, version, is_prov: false }));
            let read = prov_path(name, version);
            assert_eq!(ChartPath::parse(&read), Some(ChartPath { name, version, is_prov: true }));
        }
        for none in ["charts/a/b-1.0.0.tgz", "charts/a/a-1.0.0.zip", "charts/a/a-x.tgz", "charts/a-1.0.0.tgz", "a/blobs/sha256:1", "charts/a/a.tgz"] {
            assert_eq!(ChartPath::parse(none), None, "{none}");
        }
    }

    #[test]
    fn a_bare_file_name_may_mean_several_charts() {
        let guesses = |file| ChartPath::guesses(file).into_iter().map(|guess| (guess.name, guess.version, guess.is_prov)).collect::<Vec<_>>();
        assert_eq!(guesses("a-1-1.0.0-rc1.tgz"), [("a-1", "1.0.0-rc1", false), ("a", "1-1.0.0-rc1", false)]);
        assert_eq!(guesses("redis-1.0.0.tgz.prov"), [("redis", "1.0.0", true)]);
        assert!(guesses("redis.tgz").is_empty() && guesses("redis-x.tgz").is_empty());
        assert!(guesses(&format!("a{}.tgz", "-1".repeat(100))).len() <= 16);
    }
}
