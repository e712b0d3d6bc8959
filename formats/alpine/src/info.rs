//! `.PKGINFO`: what a package says of itself, and the record of an index that is made of it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entrepot_kit::Result;

use crate::tarball::refused;
use crate::{place, version};

/// Longest `.PKGINFO`.
pub(crate) const LONGEST: u64 = 1 << 20;
/// Longest value of a line, and of the lines of one list together.
const LONGEST_VALUE: usize = 32 << 10;
/// Longest text for people: apk reads what describes a package into small buffers.
const LONGEST_TEXT: usize = 1024;

/// What a package says of itself, as far as an index repeats it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// `pkgname`.
    pub name: String,
    /// `pkgver`.
    pub version: String,
    /// `arch`.
    pub arch: String,
    /// `size`: bytes when installed.
    pub installed_size: u64,
    /// `pkgdesc`.
    pub description: String,
    /// `url`.
    pub url: String,
    /// `license`.
    pub license: String,
    /// `origin`.
    pub origin: String,
    /// `maintainer`.
    pub maintainer: String,
    /// `builddate`, in seconds.
    pub build_time: u64,
    /// `commit`.
    pub commit: String,
    /// `provider_priority`.
    pub provider_priority: u64,
    /// `depend`, all of them.
    pub depends: Vec<String>,
    /// `provides`.
    pub provides: Vec<String>,
    /// `install_if`.
    pub install_if: Vec<String>,
    /// `datahash`: the SHA-256 of the data part in hexadecimal.
    pub data_hash: String,
}

impl Info {
    /// Reads a `.PKGINFO`.
    ///
    /// # Errors
    /// 422 naming what is missing or cannot stand in an index.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).map_err(|_| refused(".PKGINFO is not UTF-8"))?;
        let mut info = Self::default();
        for line in text.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((key, value)) = line.split_once(" = ").or_else(|| line.split_once('=')) else {
                return Err(refused(format!("{:?} is no line of .PKGINFO", start(line))));
            };
            info.take(key.trim(), value.trim())?;
        }
        info.check()?;
        Ok(info)
    }

    fn take(&mut self, key: &str, value: &str) -> Result<()> {
        if value.len() > LONGEST_VALUE {
            return Err(refused(format!("{key} in .PKGINFO is longer than {LONGEST_VALUE} bytes")));
        }
        if value.chars().any(char::is_control) {
            return Err(refused(format!("{key} in .PKGINFO has a control character")));
        }
        let number = || value.parse::<u64>().map_err(|_| refused(format!("{key} in .PKGINFO is no number")));
        let once = |field: &mut String| {
            if field.is_empty() {
                value.clone_into(field);
                Ok(())
            } else {
                Err(refused(format!("{key} is there twice in .PKGINFO")))
            }
        };
        match key {
            "pkgname" => once(&mut self.name)?,
            "pkgver" => once(&mut self.version)?,
            "arch" => once(&mut self.arch)?,
            "datahash" => once(&mut self.data_hash)?,
            "pkgdesc" => value.clone_into(&mut self.description),
            "url" => value.clone_into(&mut self.url),
            "license" => value.clone_into(&mut self.license),
            "origin" => value.clone_into(&mut self.origin),
            "maintainer" => value.clone_into(&mut self.maintainer),
            "commit" => value.clone_into(&mut self.commit),
            "size" => self.installed_size = number()?,
            "builddate" => self.build_time = number()?,
            "provider_priority" => self.provider_priority = number()?,
            "depend" => add(key, &mut self.depends, value)?,
            "provides" => add(key, &mut self.provides, value)?,
            "install_if" => add(key, &mut self.install_if, value)?,
            // What indexes do not repeat: packager, replaces, triggers, and what later tools invent.
            _ => {}
        }
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if !place::is_package(&self.name) {
            return Err(refused(format!("pkgname = {:?} is no name of a package", start(&self.name))));
        }
        if !version::is_valid(&self.version) || place::split(&place::file(&self.name, &self.version)) != Some((&self.name, &self.version)) {
            return Err(refused(format!("pkgver = {:?} is no version with a release, such as 1.2.3-r0", start(&self.version))));
        }
        if !place::is_arch(&self.arch) {
            return Err(refused(format!("arch = {:?} is no architecture", start(&self.arch))));
        }
        if self.data_hash.len() != 64 || !self.data_hash.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')) {
            return Err(refused("datahash is no SHA-256: without it nothing says which data belong to it"));
        }
        for (key, text) in [
            ("pkgdesc", &self.description),
            ("url", &self.url),
            ("license", &self.license),
            ("origin", &self.origin),
            ("maintainer", &self.maintainer),
            ("commit", &self.commit),
        ] {
            if text.len() > LONGEST_TEXT {
                return Err(refused(format!("{key} in .PKGINFO is longer than {LONGEST_TEXT} bytes")));
            }
        }
        Ok(())
    }

    /// The record of an index, in the order in which apk writes it; without the empty line that ends it. `identity` is the SHA-1 of the
    /// control part, `size` that of the file.
    #[must_use]
    pub fn record(&self, identity: &[u8; 20], size: u64) -> String {
        let mut record =
            format!("C:Q1{}\nP:{}\nV:{}\nA:{}\nS:{size}\nI:{}\n", STANDARD.encode(identity), self.name, self.version, self.arch, self.installed_size);
        for (key, value) in [('T', &self.description), ('U', &self.url), ('L', &self.license)] {
            line(&mut record, key, value);
        }
        for (key, value) in [('o', &self.origin), ('m', &self.maintainer)] {
            if !value.is_empty() {
                line(&mut record, key, value);
            }
        }
        if self.build_time > 0 {
            line(&mut record, 't', &self.build_time.to_string());
        }
        if !self.commit.is_empty() {
            line(&mut record, 'c', &self.commit);
        }
        if self.provider_priority > 0 {
            line(&mut record, 'k', &self.provider_priority.to_string());
        }
        for (key, list) in [('D', &self.depends), ('p', &self.provides), ('i', &self.install_if)] {
            if !list.is_empty() {
                line(&mut record, key, &list.join(" "));
            }
        }
        record
    }
}

fn line(record: &mut String, key: char, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(record, "{key}:{value}");
}

/// Adds to a list what one line names.
fn add(key: &str, list: &mut Vec<String>, value: &str) -> Result<()> {
    list.extend(value.split_ascii_whitespace().map(str::to_owned));
    if list.iter().map(|item| item.len() + 1).sum::<usize>() > LONGEST_VALUE {
        return Err(refused(format!("{key} in .PKGINFO names more than {LONGEST_VALUE} bytes")));
    }
    Ok(())
}

/// The beginning of a text that may be long.
fn start(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::Info;
    use proptest::prelude::*;

    fn text(more: &str) -> String {
        format!("# Generated by abuild\npkgname = hello\npkgver = 1.0-r0\narch = x86_64\nsize = 4096\ndatahash = {}\n{more}", "ab".repeat(32))
    }

    #[test]
    fn a_record_has_the_fields_of_apk_in_their_order() {
        let more = "pkgdesc = says hello\nurl = https://hello.example/\nlicense = MIT AND BSD\norigin = greetings\nmaintainer = Ann <ann@hello.example>\n\
                    builddate = 1700000000\ncommit = 0123abcd\nprovider_priority = 10\ndepend = so:libc.musl-x86_64.so.1\ndepend = a>=2 !b\n\
                    provides = cmd:hello=1.0-r0\ninstall_if = docs hello=1.0-r0\nreplaces = x\ntriggers = /usr/share\npackager = nobody\n";
        let info = Info::parse(text(more).as_bytes()).unwrap();
        assert_eq!(
            info.record(&[0; 20], 999),
            "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:hello\nV:1.0-r0\nA:x86_64\nS:999\nI:4096\nT:says hello\nU:https://hello.example/\nL:MIT AND BSD\no:greetings\n\
             m:Ann <ann@hello.example>\nt:1700000000\nc:0123abcd\nk:10\nD:so:libc.musl-x86_64.so.1 a>=2 !b\np:cmd:hello=1.0-r0\ni:docs hello=1.0-r0\n"
        );
        let bare = Info::parse(text("").as_bytes()).unwrap();
        assert_eq!(bare.record(&[0; 20], 1), "C:Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=\nP:hello\nV:1.0-r0\nA:x86_64\nS:1\nI:4096\nT:\nU:\nL:\n");
    }

    #[test]
    fn what_could_be_another_record_is_refused() {
        for more in [
            "pkgname = other",
            "pkgver = 2-r0",
            "arch = noarch",
            "no line",
            "pkgdesc = a\rC:Q1",
            "pkgdesc = a\u{0}b",
            "size = -1",
            "size = x",
            "builddate = 99999999999999999999",
        ] {
            assert!(Info::parse(text(more).as_bytes()).is_err(), "{more}");
        }
        for (from, to) in
            [("hello", "../hello"), ("hello", "a b"), ("hello", ""), ("1.0-r0", "1.0"), ("1.0-r0", "1.0-r0/.."), ("x86_64", "../x"), ("abab", "AB")]
        {
            assert!(Info::parse(text("").replace(from, to).as_bytes()).is_err(), "{from} {to}");
        }
        assert!(Info::parse(text(&format!("pkgdesc = {}", "x".repeat(2000))).as_bytes()).is_err());
        assert!(Info::parse(text(&format!("depend = {}", "x ".repeat(20_000))).as_bytes()).is_err());
        assert!(Info::parse(&[text("").as_bytes(), b"pkgdesc = \xff"].concat()).is_err());
    }

    proptest! {
        #[test]
        fn a_record_is_always_one_record(lines in proptest::collection::vec("[a-z_]{1,12} = [ -~\\r\\t\u{0}-\u{20}\u{85}]{0,40}", 0..12)) {
            if let Ok(info) = Info::parse(text(&lines.join("\n")).as_bytes()) {
                let record = info.record(&[1; 20], 7);
                prop_assert!(!record.contains("\n\n") && record.ends_with('\n'));
                prop_assert!(record.lines().all(|line| line.as_bytes().get(1) == Some(&b':')));
            }
        }
    }
}
