//! What is remembered of a version: the JSON of its record.

use entrepot_kit::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::coordinates::{self, Place, place, stamp};
use crate::metadata::{Metadata, SnapshotVersion};

/// Most builds of a snapshot that are remembered; the files of older ones stay where they are.
const MOST_BUILDS: usize = 50;
/// Most files of a build.
const MOST_FILES: usize = 500;

/// A file of a build, without what it has in common with the others: classifier and extension.
pub type Kind = (String, String);

/// One build of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Build {
    /// `20261123.145055-1`.
    pub stamp: String,
    /// Whether its client said that it has sent everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Its files.
    pub files: Vec<Kind>,
}

impl Build {
    /// Orders builds: by time, then by number.
    fn order(&self) -> (&str, u32) {
        stamp(&self.stamp).unwrap_or(("", 0))
    }

    fn has(&self, classifier: &str, extension: &str) -> bool {
        self.files.iter().any(|(known, kind)| known == classifier && kind == extension)
    }
}

/// A version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VersionDocument {
    /// Whether it is listed: it has a pom, or its client said that it is there.
    #[serde(default)]
    pub listed: bool,
    /// The builds of a snapshot, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builds: Vec<Build>,
    /// The files of a snapshot under its plain name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plain: Vec<Kind>,
}

impl VersionDocument {
    /// Reads the record; an empty one is that of a version of which nothing is known.
    ///
    /// # Errors
    /// 500 for a damaged record.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() { Ok(Self::default()) } else { serde_json::from_str(text).map_err(Error::internal) }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// 500 when it cannot be written.
    pub fn to_text(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// Notes a file of a build.
    pub fn add(&mut self, stamp: &str, classifier: &str, extension: &str) {
        let kind = (classifier.to_owned(), extension.to_owned());
        if !self.builds.iter().any(|build| build.stamp == stamp) {
            self.builds.push(Build { stamp: stamp.to_owned(), ..Build::default() });
            self.builds.sort_by(|one, other| one.order().cmp(&other.order()));
            let surplus = self.builds.len().saturating_sub(MOST_BUILDS);
            self.builds.drain(..surplus);
        }
        if let Some(build) = self.builds.iter_mut().find(|build| build.stamp == stamp)
            && !build.files.contains(&kind)
            && build.files.len() < MOST_FILES
        {
            build.files.push(kind);
        }
    }

    /// Notes that a build has all its files; `false` when that changes nothing.
    pub fn complete(&mut self, stamp: &str) -> bool {
        match self.builds.iter_mut().find(|build| build.stamp == stamp && !build.whole) {
            Some(build) => {
                build.whole = true;
                true
            }
            None => false,
        }
    }

    /// Forgets files that are gone, and builds of which nothing is left.
    pub fn forget<'a>(&mut self, gone: impl Iterator<Item = &'a str>) {
        for path in gone {
            let Place::Artifact(file) = place(path) else { continue };
            let is_it = |kind: &Kind| kind.0 == file.classifier && kind.1 == file.extension;
            match file.build {
                coordinates::Build::Stamped(stamp) => {
                    self.builds.iter_mut().filter(|build| build.stamp == stamp).for_each(|build| build.files.retain(|kind| !is_it(kind)));
                }
                coordinates::Build::Plain => self.plain.retain(|kind| !is_it(kind)),
                coordinates::Build::Release => {}
            }
        }
        self.builds.retain(|build| !build.files.is_empty());
    }

    /// The builds that may be resolved: those that are whole, or those with a pom where no client ever said that one is whole.
    fn resolvable(&self) -> impl DoubleEndedIterator<Item = &Build> {
        let any_whole = self.builds.iter().any(|build| build.whole);
        self.builds.iter().filter(move |build| if any_whole { build.whole } else { build.has("", "pom") })
    }

    /// The stamp of the newest build that has a file and is whole.
    #[must_use]
    pub fn newest(&self, classifier: &str, extension: &str) -> Option<&str> {
        let builds = self.resolvable().rev();
        builds.into_iter().find(|build| build.has(classifier, extension)).map(|build| build.stamp.as_str())
    }

    /// What the metadata of the snapshot says: its newest whole build, and of each kind of file the newest.
    #[must_use]
    pub fn metadata(&self, package: &str, version: &str) -> Option<Metadata> {
        let (group, artifact) = package.split_once(':')?;
        let base = version.get(..version.len().checked_sub("SNAPSHOT".len())?)?;
        let mut document = Metadata { group: group.to_owned(), artifact: artifact.to_owned(), version: version.to_owned(), ..Metadata::default() };
        for build in self.resolvable().rev() {
            let (time, number) = stamp(&build.stamp)?;
            let updated = time.replace('.', "");
            if document.snapshot.is_none() {
                document.snapshot = Some((time.to_owned(), number));
                document.last_updated.clone_from(&updated);
            }
            for (classifier, extension) in &build.files {
                if !document.files.iter().any(|file| file.classifier == *classifier && file.extension == *extension) {
                    document.files.push(SnapshotVersion {
                        classifier: classifier.clone(),
                        extension: extension.clone(),
                        value: format!("{base}{}", build.stamp),
                        updated: updated.clone(),
                    });
                }
            }
        }
        document.snapshot.is_some().then_some(document)
    }
}

#[cfg(test)]
mod tests {
    use super::VersionDocument;

    #[test]
    fn only_whole_builds_are_resolved() {
        let mut document = VersionDocument::default();
        document.add("20260101.000000-1", "", "jar");
        assert_eq!(document.metadata("a:b", "1-SNAPSHOT"), None);
        document.add("20260101.000000-1", "", "pom");
        document.add("20260101.000000-1", "sources", "jar");
        assert_eq!(document.newest("", "jar"), Some("20260101.000000-1"), "a pom is enough where nobody says more");
        assert!(document.complete("20260101.000000-1") && !document.complete("20260101.000000-1"));
        document.add("20260102.000000-2", "", "pom");
        document.add("20260102.000000-2", "", "jar");
        assert_eq!(document.newest("", "jar"), Some("20260101.000000-1"));
        let shown = document.metadata("a:b", "1-SNAPSHOT").unwrap();
        assert_eq!(shown.snapshot, Some((String::from("20260101.000000"), 1)));
        assert!(document.complete("20260102.000000-2"));
        let shown = document.metadata("a:b", "1-SNAPSHOT").unwrap();
        let values: Vec<_> = shown.files.iter().map(|file| (&*file.classifier, &*file.extension, &*file.value)).collect();
        assert_eq!(values, [("", "pom", "1-20260102.000000-2"), ("", "jar", "1-20260102.000000-2"), ("sources", "jar", "1-20260101.000000-1")]);
        assert_eq!(VersionDocument::parse(&document.to_text().unwrap()).unwrap(), document);
    }

    #[test]
    fn builds_are_ordered_by_time_and_bounded() {
        let mut document = VersionDocument::default();
        for number in (1..=70).rev() {
            document.add(&format!("20260101.0000{:02}-{number}", number % 60), "", "pom");
        }
        assert_eq!(document.builds.len(), super::MOST_BUILDS);
        assert!(document.builds.is_sorted_by_key(|build| build.order().0.to_owned()));
    }
}
