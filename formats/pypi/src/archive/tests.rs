//! Honest and hostile archives.

use std::io::Cursor;

use crate::filename::Filename;
use crate::metadata::LARGEST;
use crate::testing::{Tar, Wheel, Zip, sdist};

fn inspect(filename: &str, bytes: Vec<u8>) -> Result<String, String> {
    let filename = Filename::parse(filename).unwrap();
    let size = bytes.len() as u64;
    let outcome = super::inspect(Box::new(Cursor::new(bytes)), size, &filename);
    outcome.map(|metadata| String::from_utf8(metadata).unwrap()).map_err(|error| {
        assert_eq!(error.status().as_u16(), 400, "{error}");
        error.message().to_owned()
    })
}

fn of_wheel(wheel: &Wheel) -> Result<String, String> {
    inspect(&wheel.filename(), wheel.build())
}

#[track_caller]
fn refused(outcome: Result<String, String>, why: &str) {
    let message = outcome.expect_err(why);
    assert!(message.contains(why), "{message:?} does not say {why:?}");
}

#[test]
fn an_honest_wheel_gives_its_metadata() {
    let wheel = Wheel::new("Acme.Foo_Bar", "1.0", "x").header("Requires-Dist", "other").file("a,b\".txt", b"in quotes");
    let mut quoted = wheel.clone();
    quoted.record = None;
    assert!(of_wheel(&wheel).is_err(), "a comma needs quotes");
    let record: String = wheel.members().last().map(|(_, record)| String::from_utf8(record.clone()).unwrap()).unwrap();
    quoted.record = Some(record.replace("a,b\".txt", "\"a,b\"\".txt\""));
    assert_eq!(of_wheel(&quoted).unwrap(), wheel.metadata());
    let stored = wheel.members().iter().filter(|(path, _)| !path.contains("a,b")).fold(Zip::new(), |zip, (path, content)| {
        let text = String::from_utf8_lossy(content);
        let without = text.lines().filter(|line| !line.contains("a,b")).map(|line| format!("{line}\n")).collect::<String>();
        if path.ends_with("RECORD") { zip.stored(path, without.as_bytes()) } else { zip.stored(path, content) }
    });
    assert_eq!(inspect(&wheel.filename(), stored.finish()).unwrap(), wheel.metadata());
}

#[test]
fn the_record_must_be_true() {
    let honest = Wheel::new("foo", "1.0", "x");
    let record = String::from_utf8(honest.members().pop().unwrap().1).unwrap();
    let with = |record: String| of_wheel(&Wheel { record: Some(record), ..honest.clone() });
    assert!(with(record.clone()).is_ok());
    refused(with(record.lines().skip(1).map(|line| format!("{line}\n")).collect()), "does not list \"foo/__init__.py\"");
    refused(with(format!("{record}ghost.py,sha256=x,1\n")), "lists \"ghost.py\"");
    refused(with(format!("{record}{record}")), "lists");
    refused(with(record.replace("METADATA,sha256=", "METADATA,sha256=A")), "another hash");
    refused(with(record.replace("__init__.py,sha256=", "__init__.py,sha256=A")), "another hash of \"foo/__init__.py\"");
    refused(with(record.replace("METADATA,sha256=", "METADATA,md5=")), "md5");
    refused(with(record.replace("__init__.py,sha256=", "__init__.py,")), "no hash");
    refused(with(record.replace(",14\n", ",15\n")), "says that");
    refused(with(String::from("nonsense\n")), "not \"path,hash,size\"");
    refused(with("x".repeat(10_000)), "too long");
}

#[test]
fn a_wheel_says_what_it_is_once_and_rightly() {
    let honest = Wheel::new("foo", "1.0", "x");
    refused(inspect("bar-1.0-py3-none-any.whl", honest.build()), "is not that of bar 1.0");
    refused(inspect("foo-1.1-py3-none-any.whl", honest.build()), "is not that of foo 1.1");
    assert!(inspect("foo-1.0.0-py3-none-any.whl", honest.build()).is_ok(), "one version");
    refused(of_wheel(&honest.clone().file("other-1.0.dist-info/METADATA", b"x")), "exactly one folder");
    let without = |name: &str| {
        let members = honest.members();
        members.iter().filter(|(path, _)| !path.ends_with(name)).fold(Zip::new(), |zip, (path, content)| zip.deflated(path, content)).finish()
    };
    for name in ["METADATA", "WHEEL", "RECORD"] {
        refused(inspect(&honest.filename(), without(name)), "it has no");
    }
    let giant = Wheel { metadata: Some(format!("{}\n\n{}", honest.metadata(), "x".repeat(LARGEST as usize))), ..honest.clone() };
    refused(of_wheel(&giant), "more than the");
}

#[test]
fn names_that_escape_condemn_a_wheel() {
    for name in ["../evil.py", "/etc/passwd", "a/../../evil", "a\\..\\evil", "C:/evil", "a//b", "./a", "a\nb", "a\0b"] {
        refused(of_wheel(&Wheel::new("foo", "1.0", "x").file(name, b"evil")), "no plain relative path");
    }
}

#[test]
fn a_zip_is_read_in_one_way_only() {
    let wheel = Wheel::new("foo", "1.0", "x");
    let name = wheel.filename();
    let members = || wheel.members().into_iter().fold(Zip::new(), |zip, (path, content)| zip.deflated(&path, &content));
    let honest = members().finish();
    assert!(inspect(&name, honest.clone()).is_ok());
    let evil = Wheel::new("foo", "1.0", "evil").build();
    // Two archives, one behind the other: readers find one or the other.
    refused(inspect(&name, [evil.clone(), honest.clone()].concat()), "central directory");
    refused(inspect(&name, [b"#!/bin/sh\n".to_vec(), honest.clone()].concat()), "central directory");
    refused(inspect(&name, [honest.clone(), b"more".to_vec()].concat()), "something follows");
    refused(inspect(&name, members().gap(&evil).finish()), "between its members");
    refused(inspect(&name, Zip::new().gap(b"gap").stored("a", b"a").finish()), "between its members");
    refused(inspect(&name, members().two_names("foo/a.py", "foo/b.py", b"x").finish()), "two ways");
    refused(inspect(&name, members().stored("foo/__init__.py", b"again").finish()), "twice");
    // A second end inside the comment of the first.
    let mut commented = honest.clone();
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&(evil.len() as u16).to_le_bytes());
    commented.extend_from_slice(&evil);
    assert!(inspect(&name, commented).is_err());
    // What old tools leave behind it.
    let with_comment = |length: u8, comment: &[u8]| {
        let mut bytes = honest.clone();
        let at = bytes.len() - 2;
        bytes[at] = length;
        bytes.extend_from_slice(comment);
        inspect(&name, bytes)
    };
    assert!(with_comment(6, b"zip-rs").is_ok());
    refused(with_comment(5, b"zip-rs"), "something follows");
    refused(with_comment(6, b"zip\0rs"), "something follows");
    assert!(with_comment(22, &honest[honest.len() - 22..]).is_err());
    for bad in
        [Vec::new(), b"PK\x05\x06".to_vec(), vec![0; 100], b"PK\x05\x06".iter().copied().chain([0xff; 18]).collect(), honest[..honest.len() - 1].to_vec()]
    {
        assert!(inspect(&name, bad).is_err());
    }
}

#[test]
fn damage_anywhere_is_an_error_and_no_panic() {
    let wheel = Wheel::new("foo", "1.0", "x");
    let honest = wheel.build();
    for at in 0..honest.len() {
        let mut bytes = honest.clone();
        bytes[at] ^= 0x55;
        let _ = inspect(&wheel.filename(), bytes);
        let _ = inspect(&wheel.filename(), honest[..at].to_vec());
    }
    let (name, honest) = sdist("foo", "1.0", "x");
    for at in 0..honest.len() {
        let mut bytes = honest.clone();
        bytes[at] ^= 0x55;
        let _ = inspect(&name, bytes);
        assert!(inspect(&name, honest[..at].to_vec()).is_err() || at + 20 > honest.len(), "{at}");
    }
}

#[test]
fn bombs_are_refused_before_they_go_off() {
    let wheel = Wheel::new("foo", "1.0", "x").file("foo/zeros.bin", &vec![0; 65 << 20]);
    refused(of_wheel(&wheel), "unpacks to more than");
    let lying = Zip::new().raw_deflated("a", &vec![0; 1 << 20], 1 << 30).finish();
    refused(inspect("foo-1.0-py3-none-any.whl", lying), "another size");
    let tar = Tar::new().file("foo-1.0/PKG-INFO", b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n").file("foo-1.0/zeros", &vec![0; 65 << 20]).finish();
    refused(inspect("foo-1.0.tar.gz", tar), "unpacks to more than");
}

#[test]
fn sources_have_their_metadata_in_one_folder() {
    let (name, bytes) = sdist("Acme.Foo", "1.0", "x");
    assert_eq!(name, "acme_foo-1.0.tar.gz");
    assert!(inspect(&name, bytes).unwrap().starts_with("Metadata-Version"));
    let information: &[u8] = b"Metadata-Version: 2.1\nName: foo\nVersion: 1.0\n";
    let tar = |path: &str| Tar::new().file(path, information);
    assert!(inspect("foo-1.0.tar.gz", tar("./foo-1.0/PKG-INFO").finish()).is_ok());
    for path in ["PKG-INFO", "foo-1.1/PKG-INFO", "bar-1.0/PKG-INFO", "foo-1.0/foo.egg-info/PKG-INFO"] {
        refused(inspect("foo-1.0.tar.gz", tar(path).finish()), "has its metadata at");
    }
    let honest = || tar("foo-1.0/PKG-INFO");
    assert!(inspect("foo-1.0.tar.gz", honest().link("foo-1.0/a/link", "../README").finish()).is_ok());
    for target in ["/etc/passwd", "../../evil", "../../../evil", "..", "a/../../.."] {
        refused(inspect("foo-1.0.tar.gz", honest().link("foo-1.0/link", target).finish()), "leads out");
    }
    refused(inspect("foo-1.0.tar.gz", honest().file("foo-1.0/../../evil", b"x").finish()), "no plain relative path");
    refused(inspect("foo-1.0.tar.gz", honest().pipe("foo-1.0/pipe").finish()), "special file");
    refused(inspect("foo-1.0.tar.gz", honest().file("foo-1.0/PKG-INFO", information).finish()), "twice");
    refused(inspect("foo-1.0.tar.gz", Tar::new().file("foo-1.0/PKG-INFO", &vec![b'x'; LARGEST as usize + 1]).finish()), "more than the");
    let zip = Zip::new().deflated("foo-1.0/PKG-INFO", information).deflated("foo-1.0/setup.py", b"x");
    assert!(inspect("foo-1.0.zip", zip.finish()).is_ok());
    refused(inspect("foo-1.0.zip", Zip::new().deflated("foo-1.0/setup.py", b"x").finish()), "has its metadata at");
}
