//! File names of distributions: `name-version-tags.whl` and `name-version.tar.gz`, read strictly.

use entrepot_kit::{Error, Result};

use crate::name::normalise;
use crate::version;

/// Longest file name.
const LONGEST: usize = crate::name::MAX_FILENAME;

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distribution {
    /// A wheel.
    Wheel,
    /// A source distribution, `.tar.gz`.
    SourceTar,
    /// A source distribution, `.zip`.
    SourceZip,
}

impl Distribution {
    /// Whether it is built from when it is installed.
    #[must_use]
    pub fn is_source(self) -> bool {
        self != Self::Wheel
    }

    /// What forms and the legacy JSON call it.
    #[must_use]
    pub fn package_type(self) -> &'static str {
        if self.is_source() { "sdist" } else { "bdist_wheel" }
    }
}

/// A file name that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filename {
    /// The project, normalised.
    pub project: String,
    /// The version, normalised.
    pub version: String,
    /// What the file is.
    pub distribution: Distribution,
    /// The platforms of a wheel's tags.
    pub platforms: Vec<String>,
    /// The Python tag of a wheel, `source` for others.
    pub python: String,
}

impl Filename {
    /// Reads a file name.
    ///
    /// # Errors
    /// 400 saying which rule it breaks.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > LONGEST {
            return Err(refused(text.get(..40).unwrap_or("…"), format!("is longer than {LONGEST} bytes")));
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-+!".contains(&byte)) {
            return Err(refused(text, "has a character that is not a letter, a digit or one of . _ - + !"));
        }
        if let Some(stem) = text.strip_suffix(".whl") {
            return Self::wheel(text, stem);
        }
        let source = [(".tar.gz", Distribution::SourceTar), (".zip", Distribution::SourceZip)];
        match source.into_iter().find_map(|(ending, distribution)| Some((text.strip_suffix(ending)?, distribution))) {
            Some((stem, distribution)) => Self::source(text, stem, distribution),
            None => Err(refused(text, "is neither a wheel (.whl) nor a source distribution (.tar.gz, .zip): eggs, installers and others are not taken")),
        }
    }

    fn wheel(text: &str, stem: &str) -> Result<Self> {
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, tags) = match parts.as_slice() {
            [name, version, python, abi, platform] => (name, version, None, [python, abi, platform]),
            [name, version, build, python, abi, platform] => (name, version, Some(build), [python, abi, platform]),
            _ => return Err(refused(text, "is not NAME-VERSION(-BUILD)-PYTHON-ABI-PLATFORM.whl: a wheel's name has five or six parts")),
        };
        if build.is_some_and(|build| !build.starts_with(|first: char| first.is_ascii_digit())) {
            return Err(refused(text, "has a build tag that does not begin with a digit"));
        }
        let is_tag = |tag: &str| !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !tags.iter().flat_map(|tag| tag.split('.')).all(is_tag) {
            return Err(refused(text, "has a tag that is empty, or has other characters than letters, digits and _"));
        }
        let (project, version) = named(text, name, version)?;
        let [python, _, platform] = tags;
        let platforms = platform.split('.').map(str::to_owned).collect();
        Ok(Self { project, version, distribution: Distribution::Wheel, platforms, python: (*python).to_owned() })
    }

    fn source(text: &str, stem: &str, distribution: Distribution) -> Result<Self> {
        let rule = "is not NAME-VERSION.tar.gz with a name in which every - is written _";
        let (name, version) = stem.split_once('-').filter(|(_, version)| !version.contains('-')).ok_or_else(|| refused(text, rule))?;
        let (project, version) = named(text, name, version)?;
        Ok(Self { project, version, distribution, platforms: Vec::new(), python: String::from("source") })
    }

    /// Whether it is for one kind of Linux only, without saying for which: public indexes refuse such wheels.
    #[must_use]
    pub fn is_for_this_linux(&self) -> bool {
        self.platforms.iter().any(|platform| platform.starts_with("linux_"))
    }
}

fn named(text: &str, name: &str, version: &str) -> Result<(String, String)> {
    let ends_well = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let is_name = ends_well(name.as_bytes().first())
        && ends_well(name.as_bytes().last())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
    if !is_name || name.contains("__") {
        return Err(refused(text, "does not begin with the name of a project in which every run of - _ . is written _"));
    }
    let parsed = version::parse(version).ok_or_else(|| refused(text, format!("has the version {version:?}, which is none by PEP 440")))?;
    Ok((normalise(name), parsed.to_string()))
}

fn refused(text: &str, why: impl std::fmt::Display) -> Error {
    Error::bad_request(format!("Invalid filename: {text:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::{Distribution, Filename};

    #[test]
    fn wheels_have_five_or_six_parts() {
        let wheel = Filename::parse("Acme.Foo_Bar-1.0.0-1local-py2.py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl").unwrap();
        assert_eq!((wheel.project.as_str(), wheel.version.as_str()), ("acme-foo-bar", "1.0.0"));
        assert_eq!(wheel.platforms, ["manylinux_2_17_x86_64", "manylinux2014_x86_64"]);
        assert_eq!((wheel.distribution, wheel.python.as_str()), (Distribution::Wheel, "py2.py3"));
        assert_eq!(
            Filename::parse("torch-2.1.0+cu121-cp311-cp311-linux_x86_64.whl").map(|file| (file.version.clone(), file.is_for_this_linux())).unwrap(),
            (String::from("2.1.0+cu121"), true)
        );
        assert_eq!(Filename::parse("foo-1!0.1-py3-none-any.whl").unwrap().version, "1!0.1");
        for bad in [
            "foo-1.0-py3-none.whl",
            "foo-1.0-x1-py3-none-any.whl",
            "foo-1.0-1-2-py3-none-any.whl",
            "foo-1.0-py3..py2-none-any.whl",
            "foo-1.0-py3-none-.whl",
            "foo-one-py3-none-any.whl",
            "foo__bar-1.0-py3-none-any.whl",
            "_foo-1.0-py3-none-any.whl",
            "-1.0-py3-none-any.whl",
            "../foo-1.0-py3-none-any.whl",
            "foo\\bar-1.0-py3-none-any.whl",
            "foo-1.0-py3-none-any.WHL",
            "foo-1.0-py3-none-any.whl\n",
            "fo\u{f6}-1.0-py3-none-any.whl",
        ] {
            assert_eq!(Filename::parse(bad).map_err(|error| error.status().as_u16()), Err(400), "{bad}");
        }
    }

    #[test]
    fn sources_have_one_dash() {
        let source = Filename::parse("acme_foo-1.0-1.tar.gz");
        assert!(source.is_err(), "1.0-1 is written 1.0.post1");
        for (text, project, version, distribution) in [
            ("acme_foo-1.0.post1.tar.gz", "acme-foo", "1.0.post1", Distribution::SourceTar),
            ("Jinja2-3.0.zip", "jinja2", "3.0", Distribution::SourceZip),
            ("foo-v1.0a.tar.gz", "foo", "1.0a0", Distribution::SourceTar),
        ] {
            let source = Filename::parse(text).unwrap();
            assert_eq!((source.project.as_str(), source.version.as_str(), source.distribution), (project, version, distribution), "{text}");
        }
        for bad in [
            "foo-bar-1.0.tar.gz",
            "foo.tar.gz",
            "foo-1.0.tgz",
            "foo-1.0.tar.bz2",
            "foo-1.0-py3.11.egg",
            "foo-1.0.win32.exe",
            "foo-1.0.win-amd64.msi",
            ".tar.gz",
            "-.tar.gz",
            "",
        ] {
            assert!(Filename::parse(bad).is_err(), "{bad}");
        }
    }
}
