//! The document of a project, and that of a release: what is kept of both besides files.

use entrepot_kit::{Birth, Error, PackageState, Result};
use serde_json::{Map, Value};

use crate::metadata::Metadata;
use crate::page::{ProjectDocument, Status};
use crate::version;

/// Most words of a project.
const MAX_TERMS: usize = 64;
/// Longest word that is kept.
const MAX_TERM: usize = 64;

/// The document of a project. Its page shows what is in [`ProjectDocument`]; the rest is for searches and for us.
#[derive(Debug, Clone, Default)]
pub(crate) struct Project(Map<String, Value>);

impl Project {
    /// Reads the document of a package.
    pub(crate) fn parse(document: &str) -> Result<Self> {
        if document.is_empty() { Ok(Self::default()) } else { serde_json::from_str(document).map(Self).map_err(Error::internal) }
    }

    /// That of a package, or a new one.
    pub(crate) fn of(state: Option<&PackageState>) -> Result<Self> {
        state.map_or_else(|| Ok(Self::default()), |state| Self::parse(&state.document))
    }

    fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its state, and why.
    pub(crate) fn status(&self) -> (Status, &str) {
        (Status::parse(self.text("status")).unwrap_or_default(), self.text("reason"))
    }

    /// Sets the state.
    pub(crate) fn set_status(&mut self, status: Status, reason: &str) {
        self.0.insert(String::from("status"), status.name().into());
        self.0.insert(String::from("reason"), reason.into());
    }

    /// The namespace whose owners made it.
    pub(crate) fn namespace(&self) -> Option<String> {
        Some(self.text("namespace").to_owned()).filter(|namespace| !namespace.is_empty())
    }

    /// Notes the namespace whose owners made it.
    pub(crate) fn set_namespace(&mut self, namespace: &str) {
        self.0.insert(String::from("namespace"), namespace.into());
    }

    /// Takes over what a release says of it, unless a newer one was there before.
    pub(crate) fn describe(&mut self, metadata: &Metadata, version: &str) {
        let latest = self.text("latest");
        let is_older = !latest.is_empty() && version::compare(version, latest).is_lt();
        let is_early = |text: &str| version::parse(text).is_none_or(|version| version.any_prerelease());
        if is_older && !is_early(latest) || (!latest.is_empty() && !is_early(latest) && is_early(version)) {
            return;
        }
        self.0.insert(String::from("written"), metadata.name.as_str().into());
        self.0.insert(String::from("latest"), version.into());
        for key in ["summary", "keywords"] {
            match metadata.text(key).filter(|text| !text.is_empty()) {
                Some(text) => drop(self.0.insert(key.to_owned(), text.chars().take(1000).collect::<String>().into())),
                None => drop(self.0.shift_remove(key)),
            }
        }
    }

    /// The words under which it is found.
    fn terms(&self, project: &str) -> Vec<String> {
        let mut terms = vec![project.to_owned()];
        let words = project.split('-').chain([self.text("keywords"), self.text("summary")]);
        for word in words.flat_map(|text| text.split(|c: char| !c.is_alphanumeric())).map(str::to_lowercase) {
            if !word.is_empty() && word.len() <= MAX_TERM && terms.len() < MAX_TERMS && !terms.contains(&word) {
                terms.push(word);
            }
        }
        terms
    }

    /// Its birth in a change.
    pub(crate) fn birth(&self, project: &str) -> Result<Birth> {
        let page: Value = Value::Object(self.0.clone());
        // What is stored must be what the page can read.
        ProjectDocument::parse(&page.to_string())?;
        Ok(Birth::Package { package: project.to_owned(), document: page.to_string(), terms: self.terms(project) })
    }
}

/// The document of a release.
#[derive(Debug, Clone, Default)]
pub(crate) struct Release(Map<String, Value>);

impl Release {
    /// That of a new one.
    pub(crate) fn new(metadata: &Metadata) -> Self {
        let mut document = Map::new();
        document.insert(String::from("name"), metadata.name.as_str().into());
        document.insert(String::from("version"), metadata.version.as_str().into());
        document.insert(String::from("metadata"), metadata.fields.clone().into());
        Self(document)
    }

    /// Reads one.
    pub(crate) fn parse(document: &str) -> Result<Self> {
        serde_json::from_str(document).map(Self).map_err(Error::internal)
    }

    /// The core metadata of its first file.
    pub(crate) fn metadata(&self) -> Map<String, Value> {
        self.0.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// Its one source distribution.
    pub(crate) fn source(&self) -> Option<&str> {
        self.0.get("sdist").and_then(Value::as_str)
    }

    /// Notes its source distribution, or that there is none any more.
    pub(crate) fn set_source(&mut self, filename: Option<&str>) {
        match filename {
            Some(filename) => drop(self.0.insert(String::from("sdist"), filename.into())),
            None => drop(self.0.shift_remove("sdist")),
        }
    }

    /// Its birth in a change.
    pub(crate) fn birth(&self, project: &str, version: &str) -> Birth {
        Birth::Version { package: project.to_owned(), version: version.to_owned(), document: Value::Object(self.0.clone()).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::Project;
    use crate::metadata::Metadata;
    use crate::page::Status;
    use entrepot_kit::Birth;

    fn metadata(summary: &str) -> Metadata {
        Metadata::parse(format!("Metadata-Version: 2.1\nName: Acme.Foo\nVersion: 1\nSummary: {summary}\nKeywords: one,two\n").as_bytes()).unwrap()
    }

    #[test]
    fn the_newest_release_describes_a_project() {
        let mut project = Project::default();
        for (version, summary, shown) in
            [("2.0a1", "alpha", "alpha"), ("1.0", "first", "first"), ("1.1", "second", "second"), ("1.0.1", "older", "second"), ("3.0rc1", "early", "second")]
        {
            project.describe(&metadata(summary), version);
            assert_eq!(project.text("summary"), shown, "{version}");
        }
        project.set_status(Status::Archived, "done");
        let Birth::Package { document, terms, .. } = project.birth("acme-foo").unwrap() else { panic!("no package") };
        assert_eq!(terms, ["acme-foo", "acme", "foo", "one", "two", "second"]);
        let read = Project::parse(&document).unwrap();
        assert_eq!(read.status(), (Status::Archived, "done"));
        let page = crate::page::ProjectDocument::parse(&document).unwrap();
        assert_eq!((page.status, page.written.as_str()), (Status::Archived, "Acme.Foo"));
    }
}
