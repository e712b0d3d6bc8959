//! Paths: where packages lie, and what they are called.

use entrepot_kit::{Error, Result, path};

/// The ending of packages.
pub const ENDING: &str = ".rpm";

/// The name of a package by its file's name, `name-version-release.architecture.rpm`; `None` for files that are called otherwise.
#[must_use]
pub fn package_of(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?.strip_suffix(ENDING)?;
    let (nvr, arch) = file.rsplit_once('.')?;
    let (nv, release) = nvr.rsplit_once('-')?;
    let (name, version) = nv.rsplit_once('-')?;
    let is_arch = !arch.is_empty() && arch.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_arch && !name.is_empty() && !version.is_empty() && !release.is_empty()).then(|| name.to_owned())
}

/// Splits a path: its folder (empty, or ending with a slash), and the name of its file.
#[must_use]
pub fn split(path: &str) -> (&str, &str) {
    match path.rfind('/').and_then(|at| path.split_at_checked(at + 1)) {
        Some(parts) => parts,
        None => ("", path),
    }
}

/// Checks the path of a package: what stands in metadata as an address must mean the same everywhere.
///
/// # Errors
/// 400 naming the rule.
pub fn check(path: &str) -> Result<()> {
    path::check_segments(path)?;
    let is_plain = |character: char| character.is_ascii_graphic() && !matches!(character, '%' | '?' | '#' | '<' | '>' | '&' | '"' | '\'' | '@' | '\\');
    if !path.chars().all(is_plain) {
        return Err(Error::bad_request(format!(
            "the path {path:?} has spaces, or characters that mean something in addresses: use letters, digits and ._-+~^:"
        )));
    }
    if split(path).0.split('/').any(|folder| folder == crate::repodata::FOLDER) {
        return Err(Error::bad_request("packages do not lie in a folder \"repodata\": that is the metadata's"));
    }
    Ok(())
}

/// What names the version of a package's file: epoch, version, release and architecture, and where that lies if not at the root under its
/// ordinary name. Two files are never of the same version.
#[must_use]
pub fn version(path: &str, nevra: &str, ordinary: &str) -> String {
    let (folder, file) = split(path);
    match (folder.trim_end_matches('/'), file == ordinary) {
        ("", true) => nevra.to_owned(),
        (folder, true) => format!("{nevra}@{folder}"),
        _ => format!("{nevra}@{path}"),
    }
}

/// The folders above a path, the nearest first: each may have metadata that names it. Empty, or ending with a slash.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.rmatch_indices('/').map(|(at, _)| at + 1).chain([0]);
    ends.filter_map(|end| path.get(..end))
}

#[cfg(test)]
mod tests {
    use super::{above, check, package_of, split, version};

    #[test]
    fn names_are_read_off_files() {
        for (path, name) in
            [("bash-5.2.15-3.el9.x86_64.rpm", "bash"), ("a/b/python3-foo-bar-1-2.noarch.rpm", "python3-foo-bar"), ("x/kernel-6.1-1.src.rpm", "kernel")]
        {
            assert_eq!(package_of(path).as_deref(), Some(name), "{path}");
        }
        for path in ["chrome_current_x86_64.rpm", "a-1.noarch.rpm", "-1-1.noarch.rpm", "a-1-1.rpm", "a-1-1.x86_64.deb", ".rpm", ""] {
            assert_eq!(package_of(path), None, "{path}");
        }
    }

    #[test]
    fn every_file_is_a_version_of_its_own() {
        let of = |path: &str| version(path, "1-1.noarch", "a-1-1.noarch.rpm");
        assert_eq!((of("a-1-1.noarch.rpm").as_str(), of("el9/x/a-1-1.noarch.rpm").as_str()), ("1-1.noarch", "1-1.noarch@el9/x"));
        assert_eq!((of("b.rpm").as_str(), of("el9/b.rpm").as_str()), ("1-1.noarch@b.rpm", "1-1.noarch@el9/b.rpm"));
    }

    #[test]
    fn folders_above_are_found() {
        assert_eq!(above("a/b/c.rpm").collect::<Vec<_>>(), ["a/b/", "a/", ""]);
        assert_eq!(above("c.rpm").collect::<Vec<_>>(), [""]);
        assert_eq!((split("a/b/c.rpm"), split("c.rpm")), (("a/b/", "c.rpm"), ("", "c.rpm")));
    }

    #[test]
    fn hostile_paths_are_refused() {
        for bad in ["a b.rpm", "a/%2e/x.rpm", "../x.rpm", "a//x.rpm", "repodata/x.rpm", "a/repodata/b/x.rpm", "a@b/x.rpm", "ä.rpm", "a?b.rpm"] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert!(check("el9/x86_64/libstdc++-1~rc1^2-3.x86_64.rpm").is_ok());
    }
}
