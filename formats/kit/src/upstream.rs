//! What a format says about the registries that it is pulled from.

use std::collections::BTreeSet;

use crate::digest::Digests;

/// What a path of an upstream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamPath {
    /// Its bytes never change.
    Immutable {
        /// What they must hash to, where the path itself says so.
        expected: Digests,
    },
    /// Its bytes never change, and the index of a package knows where they are and what they hash to.
    Needs {
        /// The package.
        package: String,
    },
    /// Its bytes may change: revalidated after the repository's `mutable_ttl`.
    Mutable,
    /// A small document: taken whole, checked by the format ([`crate::Format::check_upstream_document`]), and only then kept and sent.
    Document(UpstreamDocument),
    /// What is here only, if at all: never asked for.
    Own,
    /// Not a path of this format: never asked for.
    NotOurs,
}

/// How a small document of an upstream is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamDocument {
    /// The `Accept` header to ask with.
    pub accept: &'static str,
    /// Most bytes of it, all pages together.
    pub limit: usize,
    /// Whether its bytes never change. Otherwise it is revalidated after the repository's `mutable_ttl`.
    pub immutable: bool,
    /// A header of the upstream's answers that names the bytes. What is kept is then revalidated by `HEAD`, which costs upstreams less,
    /// and a changed document is fetched by that name ([`crate::Format::path_of_name`]).
    pub named_by: Option<&'static str>,
    /// Most pages that are followed by `Link: …; rel="next"` and joined by [`crate::Format::join_pages`]; 1 for none.
    pub pages: usize,
}

/// What a format found in a document of an upstream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckedDocument {
    /// Its media type, where the document says that better than the upstream did.
    pub content_type: Option<String>,
    /// The format's own JSON about the entry; empty for none.
    pub data: String,
    /// Further paths that lead to the same bytes and always will: they are kept as well, without a revision.
    pub also: Vec<String>,
}

/// Where an upstream keeps the index of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamIndex {
    /// The encoded path below the upstream's root, with its query if any.
    pub path: String,
    /// The `Accept` header to ask with.
    pub accept: &'static str,
    /// Most pages that are followed by `Link: …; rel="next"` and joined by [`crate::Format::join_pages`]; 1 for none.
    pub pages: usize,
    /// A header of the upstream's answers that numbers the states of the index. An answer with a lower number than what is kept (of a
    /// mirror that lags behind) is not taken. See also [`crate::Format::upstream_serial`].
    pub serial: Option<&'static str>,
}

impl UpstreamIndex {
    /// An index in one document.
    #[must_use]
    pub fn whole(path: impl Into<String>, accept: &'static str) -> Self {
        Self { path: path.into(), accept, pages: 1, serial: None }
    }
}

/// Where an upstream keeps a file, as its index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// An absolute URL, or one relative to where the index came from.
    pub url: String,
    /// What its bytes must hash to.
    pub expected: Digests,
    /// The version that it belongs to.
    pub version: Option<String>,
    /// The file of which it is a part, where the upstream does not give it by itself: `url` is then that file's, and the format takes the
    /// part out of it ([`crate::Format::extract`]).
    pub part_of: Option<Whole>,
    /// Where else to take it from, when the upstream does not have it there.
    pub otherwise: Option<Box<Self>>,
    /// What the index says of it besides, in the format's own words, where that is no digest of all its bytes: the format holds the file
    /// against it before it counts ([`crate::Format::check_promise`]).
    pub promise: Option<String>,
}

impl Located {
    /// A file with an address of its own.
    #[must_use]
    pub fn at(url: impl Into<String>, expected: Digests, version: Option<String>) -> Self {
        Self { url: url.into(), expected, version, part_of: None, otherwise: None, promise: None }
    }
}

/// A file that holds another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its path in the repository.
    pub path: String,
    /// What its bytes must hash to.
    pub expected: Digests,
}

/// Where an upstream says what a file hashes to, when neither its path nor an index does.
#[derive(Debug, Clone)]
pub struct Sidecar {
    /// A header of the answer with the file.
    pub header: &'static str,
    /// The path of a small file that says the same, for upstreams without that header.
    pub path: String,
    /// Reads either; `None` for what says nothing.
    pub read: fn(&str) -> Option<Digests>,
}

/// Something that a version needs besides: what a prefetch brings as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its path in the repository.
    pub path: String,
    /// Whether it is a document that has needs of its own.
    pub document: bool,
}

/// What the paths of an upstream begin with: folders and files, without slashes at their ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPrefixes(BTreeSet<String>);

impl PathPrefixes {
    /// These; `None` for none at all, which nobody means.
    #[must_use]
    pub fn new(prefixes: BTreeSet<String>) -> Option<Self> {
        (!prefixes.is_empty()).then_some(Self(prefixes))
    }

    /// Whether a file may be there: it is below one of the prefixes, or its folder is above one. What lies in the root always may.
    #[must_use]
    pub fn admits(&self, path: &str) -> bool {
        let Some((folder, _)) = path.rsplit_once('/') else { return true };
        let mut ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        if ends.any(|end| path.get(..end).is_some_and(|beginning| self.0.contains(beginning))) {
            return true;
        }
        let above = format!("{folder}/");
        self.0.range(above.clone()..).next().is_some_and(|prefix| prefix.starts_with(&above))
    }
}

#[cfg(test)]
mod tests {
    use super::PathPrefixes;

    #[test]
    fn prefixes_admit_what_is_below_and_above_them() {
        let prefixes = ["com/acme", "org/example/tools", "org/one.xml"].into_iter().map(str::to_owned).collect();
        let prefixes = PathPrefixes::new(prefixes).unwrap();
        for (path, admitted) in [
            ("com/acme/lib/1/lib-1.jar", true),
            ("com/acme/maven-metadata.xml", true),
            ("com/maven-metadata.xml", true),
            ("com/acmee/lib/1/lib-1.jar", false),
            ("org/example/tool/1/tool-1.jar", false),
            ("org/example/maven-metadata.xml", true),
            ("org/one.xml", true),
            ("net/a/1/a-1.pom", false),
            ("archetype-catalog.xml", true),
        ] {
            assert_eq!(prefixes.admits(path), admitted, "{path}");
        }
        assert_eq!(PathPrefixes::new(std::collections::BTreeSet::new()), None);
    }
}
