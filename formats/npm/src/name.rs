//! Package names: strict for new packages, lenient for reading what upstreams have.

use entrepot_kit::path::encode_segment;
use entrepot_kit::{Error, Result};

/// Longest name, scope included.
pub const MAX_NAME: usize = 214;

/// Names that would collide with what clients write to disk.
const FORBIDDEN: [&str; 2] = ["node_modules", "favicon.ico"];

/// The name of a package, with its scope: `left-pad`, `@acme/widget`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NpmName(String);

impl NpmName {
    /// Reads a name that may have been published long ago: upper case and odd characters pass, tricks with paths do not.
    #[must_use]
    pub fn parse_lenient(text: &str) -> Option<Self> {
        let plausible = |part: &str| {
            !part.is_empty()
                && !part.starts_with(['.', '_'])
                && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '\\' | '%' | '@' | '"' | '<' | '>' | '?' | '#'))
        };
        let fits = text.len() <= MAX_NAME
            && match text.strip_prefix('@') {
                Some(scoped) => scoped.split_once('/').is_some_and(|(scope, name)| plausible(scope) && plausible(name)),
                None => plausible(text),
            };
        fits.then(|| Self(text.to_owned()))
    }

    /// Reads the name of a package that shall be published.
    ///
    /// # Errors
    /// 400 with the rule that it breaks.
    pub fn parse_new(text: &str) -> Result<Self> {
        let refuse = |rule: &str| Err(Error::bad_request(format!("the package name {:?} is not allowed: {rule}", crate::version::shorten(text))));
        if text.len() > MAX_NAME {
            return refuse("it is longer than 214 characters");
        }
        let part_is_good = |part: &str| !part.is_empty() && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
        let base = match text.strip_prefix('@') {
            Some(scoped) => match scoped.split_once('/') {
                Some((scope, base)) if part_is_good(scope) && !scope.starts_with(['.', '_', '-']) => base,
                _ => return refuse("a scoped name is @scope/name"),
            },
            None => text,
        };
        if !part_is_good(base) {
            return refuse("use lower-case letters, digits, '-', '_' and '.'");
        }
        if base.starts_with(['.', '_', '-']) {
            return refuse("it must not begin with '.', '_' or '-'");
        }
        if FORBIDDEN.contains(&text) {
            return refuse("it is reserved");
        }
        Ok(Self(text.to_owned()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scope without its `@`.
    #[must_use]
    pub fn scope(&self) -> Option<&str> {
        self.0.strip_prefix('@').and_then(|scoped| scoped.split_once('/')).map(|(scope, _)| scope)
    }

    /// The name without its scope.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.strip_prefix('@').and_then(|scoped| scoped.split_once('/')).map_or(&self.0, |(_, base)| base)
    }

    /// The entry path of a version's tarball: `@acme/widget/-/widget-1.0.0.tgz`.
    #[must_use]
    pub fn tarball_path(&self, version: &str) -> String {
        format!("{}/-/{}-{version}.tgz", self.0, self.base())
    }

    /// The entry path of a version's attestations: `-/npm/v1/attestations/@acme/widget@1.0.0`.
    #[must_use]
    pub fn attestations_path(&self, version: &str) -> String {
        format!("{ATTESTATIONS}{}@{version}", self.0)
    }

    /// The name as one segment of a URL, as upstreams expect it: `@acme%2fwidget`.
    #[must_use]
    pub fn escaped(&self) -> String {
        match self.scope() {
            Some(scope) => format!("@{}%2f{}", encode_segment(scope), encode_segment(self.base())),
            None => encode_segment(&self.0),
        }
    }
}

/// Where attestations live.
pub const ATTESTATIONS: &str = "-/npm/v1/attestations/";

/// What an entry path of this format leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NpmPath {
    /// A package file: the package, and the file's name.
    Tarball(NpmName, String),
    /// Attestations of a version.
    Attestations(NpmName, String),
}

impl NpmPath {
    /// Reads an entry path; `None` for anything else.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        if let Some(spec) = path.strip_prefix(ATTESTATIONS) {
            let (name, version) = split_spec(spec)?;
            return Some(Self::Attestations(name, version));
        }
        let (package, file) = path.rsplit_once("/-/")?;
        let is_file = file.strip_suffix(".tgz").is_some_and(|stem| !stem.is_empty()) && !file.contains('/');
        is_file.then(|| NpmName::parse_lenient(package)).flatten().map(|name| Self::Tarball(name, file.to_owned()))
    }

    /// The package.
    #[must_use]
    pub fn package(&self) -> &NpmName {
        match self {
            Self::Tarball(name, _) | Self::Attestations(name, _) => name,
        }
    }
}

/// Splits `name@version`; the name may begin with an `@` of its own.
#[must_use]
pub fn split_spec(spec: &str) -> Option<(NpmName, String)> {
    let (name, version) = spec.rsplit_once('@')?;
    let name = NpmName::parse_lenient(name)?;
    crate::version::is_plausible(version).then(|| (name, version.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{NpmName, NpmPath};

    #[test]
    fn new_names_follow_the_rules() {
        for good in ["left-pad", "a", "@acme/wid.get", "constructor", "prototype", "x_y", "7zip", &"a".repeat(214)] {
            assert!(NpmName::parse_new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-",
            ".x",
            "_x",
            "-x",
            "__proto__",
            "..",
            "%2e",
            "a%2fb",
            "a/b",
            "@a",
            "@/a",
            "@a/",
            "@a/.b",
            "@a/b/c",
            "@.a/b",
            "A",
            "ä",
            "a b",
            " a",
            "a\n",
            "a~",
            "a*",
            "node_modules",
            "favicon.ico",
            "a\u{0}",
            "a\\b",
            &"a".repeat(215),
        ] {
            assert!(NpmName::parse_new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn old_names_can_be_read() {
        for good in ["JSONStream", "-", "constructor", "@Acme/Widget", "a~b", "hello!", "é"] {
            assert!(NpmName::parse_lenient(good).is_some(), "{good}");
        }
        for bad in
            ["", ".", "..", ".x", "_x", "__proto__", "%2e", "%2e%2e", "a/b", "@a", "@a/", "@a/../b", "@../a", "a b", "a\u{0}", "a\\b", "a?b", &"a".repeat(215)]
        {
            assert!(NpmName::parse_lenient(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn paths_and_names_are_inverses() {
        for (name, version) in [("left-pad", "1.3.0"), ("@acme/wid.get", "2.0.0-rc.1"), ("-", "0.0.1"), ("JSONStream", "1.0.0+x")] {
            let name = NpmName::parse_lenient(name).unwrap();
            assert_eq!(NpmPath::parse(&name.tarball_path(version)), Some(NpmPath::Tarball(name.clone(), format!("{}-{version}.tgz", name.base()))));
            assert_eq!(NpmPath::parse(&name.attestations_path(version)), Some(NpmPath::Attestations(name.clone(), version.to_owned())));
        }
        for bad in
            ["", "a", "a/-/", "a/-/.tgz", "a/-/b/c.tgz", "../-/a.tgz", "a/b/-/c.tgz", "a/-/c.zip", "-/npm/v1/attestations/a", "-/npm/v1/attestations/a@../b"]
        {
            assert_eq!(NpmPath::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn escaped_is_one_segment() {
        assert_eq!(NpmName::parse_lenient("@acme/wid.get").unwrap().escaped(), "@acme%2fwid.get");
        assert_eq!(NpmName::parse_lenient("left-pad").unwrap().escaped(), "left-pad");
    }
}
