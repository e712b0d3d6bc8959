//! Paths: `{branch}/{repository}/{architecture}/{file}`, as apk builds them.

use entrepot_kit::{Error, Result};

use crate::version;

/// The ending of packages.
pub const ENDING: &str = ".apk";
/// The name of an index.
pub const INDEX: &str = "APKINDEX.tar.gz";
/// The folder of the public keys.
pub const KEYS: &str = "keys";
/// The architecture of packages that fit all.
pub const NOARCH: &str = "noarch";
/// Longest name of a branch, repository or architecture.
const LONGEST: usize = 64;

/// A folder that has an index.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Folder {
    /// `v3.20`, `edge`.
    pub branch: String,
    /// `main`, `community`.
    pub repository: String,
    /// `x86_64`.
    pub arch: String,
}

impl Folder {
    /// The folder of these names.
    ///
    /// # Errors
    /// 400 for names that apk, or a file system, could take for something else.
    pub fn new(branch: &str, repository: &str, arch: &str) -> Result<Self> {
        for (what, name) in [("branch", branch), ("repository", repository)] {
            if !is_name(name) {
                return Err(Error::bad_request(format!("{name:?} is no name of a {what}: letters, digits and ._- are, at most {LONGEST}")));
            }
        }
        if !is_arch(arch) {
            return Err(Error::bad_request(format!("{arch:?} is no architecture: x86_64, aarch64, … and noarch are")));
        }
        Ok(Self { branch: branch.to_owned(), repository: repository.to_owned(), arch: arch.to_owned() })
    }

    /// Its path, with a slash at the end.
    #[must_use]
    pub fn path(&self) -> String {
        format!("{}/{}/{}/", self.branch, self.repository, self.arch)
    }

    /// The path of its index.
    #[must_use]
    pub fn index(&self) -> String {
        self.path() + INDEX
    }

    /// The same for packages that fit all architectures.
    #[must_use]
    pub fn noarch(&self) -> Self {
        Self { arch: NOARCH.to_owned(), ..self.clone() }
    }
}

/// What a path is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An index.
    Index(Folder),
    /// A package's file, by its name.
    Package(Folder, String),
}

/// What a path is; `None` for one that apk does not ask for.
#[must_use]
pub fn place(path: &str) -> Option<Place> {
    let mut segments = path.split('/');
    let (Some(branch), Some(repository), Some(arch), Some(file), None) = (segments.next(), segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return None;
    };
    let folder = Folder::new(branch, repository, arch).ok()?;
    if file == INDEX {
        return Some(Place::Index(folder));
    }
    split(file).map(|_| Place::Package(folder, file.to_owned()))
}

/// Name and version of a package by its file's name.
#[must_use]
pub fn split(file: &str) -> Option<(&str, &str)> {
    let stem = file.strip_suffix(ENDING)?;
    let (rest, _) = stem.rsplit_once("-r")?;
    let at = rest.rfind('-')?;
    let (name, version) = (stem.get(..at)?, stem.get(at + 1..)?);
    (is_package(name) && version::is_valid(version)).then_some((name, version))
}

/// The name of the file of a package.
#[must_use]
pub fn file(name: &str, version: &str) -> String {
    format!("{name}-{version}{ENDING}")
}

/// What a file's version is called: each file is one of its own.
#[must_use]
pub fn version(version: &str, folder: &Folder) -> String {
    format!("{version}@{}", folder.path().trim_end_matches('/'))
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
        && name != KEYS
}

/// Whether it is the name of an architecture.
#[must_use]
pub fn is_arch(name: &str) -> bool {
    (1..=LONGEST).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Whether it is the name of a package.
#[must_use]
pub fn is_package(name: &str) -> bool {
    name.len() <= 128
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use super::{Folder, Place, file, place, split, version};

    #[test]
    fn files_are_split_where_apk_joined_them() {
        for (name, version) in
            [("busybox", "1.36.1-r0"), ("gtk+3.0", "3.24.41-r1"), ("py3-foo-2", "1.0_rc1-r10"), ("font-2-r1", "0_git20230101-r0"), ("a", "1~abc-r0")]
        {
            assert_eq!(split(&file(name, version)), Some((name, version)));
        }
        for bad in ["busybox.apk", "busybox-1.36.1.apk", "-1-r0.apk", "a-1-r0.rpm", "a-x-r0.apk", ".a-1-r0.apk", "a b-1-r0.apk", "APKINDEX.tar.gz"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_are_told_apart() {
        let folder = Folder::new("v3.20", "main", "x86_64").unwrap();
        assert_eq!(place("v3.20/main/x86_64/APKINDEX.tar.gz"), Some(Place::Index(folder.clone())));
        assert_eq!(place("v3.20/main/x86_64/a-1-r0.apk"), Some(Place::Package(folder.clone(), String::from("a-1-r0.apk"))));
        assert_eq!((folder.index().as_str(), folder.noarch().path().as_str()), ("v3.20/main/x86_64/APKINDEX.tar.gz", "v3.20/main/noarch/"));
        assert_eq!(version("1-r0", &folder), "1-r0@v3.20/main/x86_64");
        for none in [
            "",
            "a",
            "v3.20/main/x86_64",
            "v3.20/main/x86_64/b/a-1-r0.apk",
            "v3.20/main/X86/a-1-r0.apk",
            "../main/x86_64/a-1-r0.apk",
            "keys/main/x86_64/a-1-r0.apk",
            "v3.20/main/x86_64/a.txt",
            ".x/main/x86_64/a-1-r0.apk",
        ] {
            assert_eq!(place(none), None, "{none}");
        }
    }
}
