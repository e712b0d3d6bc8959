//! Packages: signatures, control and data, each a tar segment in a gzip member of its own.

use std::io::{self, BufRead as _, BufReader, Read};

use entrepot_kit::{Error, Result};
use tar::EntryType;

use crate::info::{self, Info};
use crate::member::{Sums, Tap, next};
use crate::tarball::{Entry, broken, refused, walk};

/// The file that describes a package.
const PKGINFO: &str = ".PKGINFO";
/// What the names of signatures begin with.
const SIGNATURE: &str = ".SIGN.";
/// What packages of the newer kind begin with.
const ADB: &[u8] = b"ADB";
/// Most unpacked bytes of the signatures, and of the control part.
const MOST_CONTROL: u64 = 16 << 20;
/// Unpacked bytes that any package may have, and how many times those that it has packed.
const LEAST_UNPACKED: u64 = 64 << 20;
const RATIO: u64 = 200;

/// A package that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// What it says of itself.
    pub info: Info,
    /// What indexes know it by: the SHA-1 of its control part.
    pub identity: [u8; 20],
    /// Its length.
    pub size: u64,
}

/// Wraps errors of readers, so that one type passes through.
struct Failure(Error);

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self(broken(&error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// What the first segments are.
enum Front {
    Signatures,
    Control(Box<Info>),
}

impl Package {
    /// Reads a package of that size: every byte, and every hash that one part says of another.
    ///
    /// # Errors
    /// 422 with what is wrong with it.
    pub fn read(reader: impl Read, size: u64) -> Result<Self> {
        let mut tap = Tap::new(BufReader::with_capacity(64 << 10, reader));
        let allowed = size.saturating_mul(RATIO).max(LEAST_UNPACKED);
        Self::parts(&mut tap, size, allowed).map_err(|Failure(error)| error)
    }

    fn parts<R: Read>(tap: &mut Tap<BufReader<R>>, size: u64, allowed: u64) -> Result<Self, Failure> {
        if tap.fill_buf()?.starts_with(ADB) {
            return Err(refused("it is one of apk 3's own kind (ADB), which is not served here: build it with abuild's default, apk 2's kind").into());
        }
        let short = || refused("it ends before its data");
        let (mut front, mut sums) = member(tap, |reader| Ok(head(reader)?))?.ok_or_else(short)?;
        if matches!(front, Front::Signatures) {
            (front, sums) = member(tap, |reader| Ok(head(reader)?))?.ok_or_else(short)?;
        }
        let Front::Control(info) = front else { return Err(refused("there are signatures twice").into()) };
        let identity = sums.sha1;
        let ((), sums) = member(tap, |reader| Ok(walk(reader, allowed, &mut data)?))?.ok_or_else(short)?;
        if hex::encode(sums.sha256) != info.data_hash {
            return Err(refused("datahash in .PKGINFO is not the SHA-256 of the data part: it was changed, or built wrongly").into());
        }
        if !tap.is_at_end()? {
            return Err(refused("there is more behind its data").into());
        }
        Ok(Self { info: *info, identity, size })
    }

    /// The record of an index.
    #[must_use]
    pub fn record(&self) -> String {
        self.info.record(&self.identity, self.size)
    }
}

fn member<R: Read, T>(tap: &mut Tap<BufReader<R>>, look: impl FnOnce(&mut dyn Read) -> Result<T, Failure>) -> Result<Option<(T, Sums)>, Failure> {
    next(tap, look)
}

/// Reads a segment of signatures or the control part: plain files whose names begin with a dot.
fn head(reader: &mut dyn Read) -> Result<Front> {
    let (mut signatures, mut others, mut info) = (0, 0, None);
    walk(reader, MOST_CONTROL, &mut |mut entry: Entry<'_>| {
        let name = entry.name;
        if entry.kind != EntryType::Regular {
            return Err(refused(format!("{name:?} in its control part is no plain file")));
        }
        if !name.starts_with('.') || name.contains('/') || matches!(name, "." | "..") {
            return Err(refused(format!("{name:?} does not belong into its control part")));
        }
        if name.starts_with(SIGNATURE) {
            signatures += 1;
            return entry.whole(info::LONGEST).map(drop);
        }
        others += 1;
        if name == PKGINFO {
            let parsed = Info::parse(&entry.whole(info::LONGEST)?)?;
            if info.replace(parsed).is_some() {
                return Err(refused(".PKGINFO is there twice"));
            }
        }
        Ok(())
    })?;
    match (signatures, info) {
        (0, Some(info)) => Ok(Front::Control(Box::new(info))),
        (1.., None) if others == 0 => Ok(Front::Signatures),
        (0, None) => Err(refused("there is no .PKGINFO where it belongs")),
        _ => Err(refused("signatures and control part are not apart")),
    }
}

/// Looks at an entry of the data.
#[expect(clippy::needless_pass_by_value, reason = "as the walk shows it")]
fn data(entry: Entry<'_>) -> Result<()> {
    let name = entry.name;
    let plain = name.trim_end_matches('/');
    check_name(plain)?;
    match entry.kind {
        EntryType::Regular | EntryType::Continuous | EntryType::Directory | EntryType::Symlink => Ok(()),
        // A hard link is one to another file of the package.
        EntryType::Link => check_name(entry.link.unwrap_or_default()),
        _ => Err(refused(format!("{plain:?} is a device or another special file"))),
    }
}

/// What is installed lies below the root, under the name that it has.
fn check_name(name: &str) -> Result<()> {
    let name = name.strip_prefix("./").unwrap_or(name);
    let is_plain = name == "." || (!name.is_empty() && name.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
    if is_plain && !name.chars().any(char::is_control) { Ok(()) } else { Err(refused(format!("{name:?} is no path below the root"))) }
}

#[cfg(test)]
mod tests {
    use super::Package;
    use crate::testing::{Built, gzip, segment};
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Package, String> {
        Package::read(bytes, bytes.len() as u64).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn packages_are_read_with_and_without_signatures() {
        let built = Built::new("hello", "1.0-r0", "x86_64");
        for bytes in [built.bytes(), built.unsigned()] {
            let package = read(&bytes).unwrap();
            assert_eq!((package.info.name.as_str(), package.info.version.as_str(), package.size), ("hello", "1.0-r0", bytes.len() as u64));
            assert_eq!(package.identity, built.identity());
            assert!(package.record().starts_with("C:Q1"), "{}", package.record());
        }
    }

    #[test]
    fn hostile_packages_are_refused_with_the_reason() {
        let built = Built::new("hello", "1.0-r0", "x86_64");
        let info = built.info();
        let control = |entries: &[(&str, tar::EntryType, &[u8])]| [built.signatures(), gzip(&segment(entries, false)), built.data()].concat();
        let file = tar::EntryType::Regular;
        let with_data = |data: Vec<u8>| {
            let data = gzip(&data);
            [gzip(&segment(&[(".PKGINFO", file, built.info_for(&data).as_bytes())], false)), data].concat()
        };
        let bomb = {
            let mut segment = segment(&[("usr/zeros", file, &vec![0; 80 << 20])], true);
            segment.truncate(81 << 20);
            with_data(segment)
        };
        let cases: Vec<(&str, Vec<u8>, &str)> = vec![
            ("empty", Vec::new(), "ends before"),
            ("text", b"hello".to_vec(), "cannot be read"),
            ("apk 3", b"ADBd1234".to_vec(), "apk 3"),
            ("no data", [built.signatures(), built.control()].concat(), "ends before its data"),
            ("signatures twice", [built.signatures(), built.bytes()].concat(), "signatures twice"),
            ("a member more", [built.bytes(), gzip(b"")].concat(), "more behind"),
            ("bytes behind", [built.bytes(), b"\0".to_vec()].concat(), "more behind"),
            ("other data", [built.signatures(), built.control(), gzip(&segment(&[("usr/a", file, b"other")], true))].concat(), "datahash"),
            ("info as a link", control(&[(".PKGINFO", tar::EntryType::Symlink, b"")]), "no plain file"),
            ("two infos", control(&[(".PKGINFO", file, info.as_bytes()), (".PKGINFO", file, info.as_bytes())]), "twice"),
            ("no info", control(&[(".pre-install", file, b"#!/bin/sh\n")]), "no .PKGINFO"),
            ("files in control", control(&[(".PKGINFO", file, info.as_bytes()), ("etc/passwd", file, b"x")]), "does not belong"),
            ("traversal in control", control(&[(".PKGINFO", file, info.as_bytes()), ("..", file, b"x")]), "does not belong"),
            ("signature in control", control(&[(".PKGINFO", file, info.as_bytes()), (".SIGN.RSA.x", file, b"x")]), "not apart"),
            ("giant info", control(&[(".PKGINFO", file, &vec![b'#'; 2 << 20])]), "larger than"),
            ("traversal", with_data(segment(&[("usr/../../etc/passwd", file, b"x")], true)), "no path below"),
            ("absolute", with_data(segment(&[("/etc/passwd", file, b"x")], true)), "no path below"),
            ("hard link out", with_data(segment(&[("a", tar::EntryType::Link, b"../b")], true)), "no path below"),
            ("device", with_data(segment(&[("dev/sda", tar::EntryType::Block, b"")], true)), "special file"),
            ("bomb", bomb, "unpacks to more"),
            ("hidden tail", with_data([segment(&[("a", file, b"x")], true), b"tail".to_vec()].concat()), "behind the end"),
        ];
        for (name, bytes, why) in cases {
            let refusal = read(&bytes).expect_err(name);
            assert!(refusal.contains(why), "{name}: {refusal}");
        }
        let links = with_data(segment(
            &[("usr/", tar::EntryType::Directory, b""), ("usr/sh", tar::EntryType::Symlink, b"/bin/busybox"), ("usr/b", tar::EntryType::Link, b"usr/sh")],
            true,
        ));
        assert!(read(&links).is_ok(), "links that packages have");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_changed_package_is_refused_or_the_same(at in any::<prop::sample::Index>(), flip in 1u8..=255, cut in any::<prop::sample::Index>()) {
            let built = Built::new("hello", "1.0-r0", "x86_64");
            let bytes = built.bytes();
            let mut changed = bytes.clone();
            changed[at.index(bytes.len())] ^= flip;
            if let Ok(package) = read(&changed) {
                // Names and times in the headers of gzip, and the signature, are of no consequence to what it is.
                prop_assert_eq!(package.info, Package::read(&bytes[..], bytes.len() as u64).unwrap().info);
            }
            let cut = &bytes[..cut.index(bytes.len())];
            prop_assert!(read(cut).is_err());
        }

        #[test]
        fn any_bytes_in_a_member_are_answered(inner in proptest::collection::vec(any::<u8>(), 0..2000), times in 1usize..4) {
            let member = gzip(&inner);
            prop_assert!(read(&vec![member; times].concat()).is_err());
        }
    }
}
