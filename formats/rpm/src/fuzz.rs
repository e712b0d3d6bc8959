//! What is read of others, with anything at all in it: no panic, no end that is missed, and nothing that takes more than it should.

use std::io::Read as _;

use proptest::prelude::*;

use crate::header::Front;
use crate::package::{Arrived, Package};
use crate::repodata::{Name, Repomd, read};
use crate::testing::{Value, file, header, package, tags};
use crate::xml;

fn parsed(bytes: &[u8]) -> Option<Package> {
    let front = Front::read(&mut &*bytes).ok()?;
    Package::read(&front, Arrived { sha256: "00", size: bytes.len() as u64, time: 1 }).ok()
}

/// Whatever a package says, what is made of it is XML from which the same is read.
fn renders(package: &Package) {
    let primary = xml::primary(package);
    assert!(primary.chars().all(|character| character >= ' ' || matches!(character, '\n' | '\t' | '\u{1}')), "{primary:?}");
    let listed = read::listed(&primary.replace('\u{1}', "x.rpm")).expect("what is written is read");
    assert_eq!((&listed.name, &listed.arch, &listed.evr), (&package.name, &package.arch, &package.evr));
    for text in [xml::filelists(package), xml::other(package)] {
        assert_eq!(read::pkgid(&text).expect("what is written is read"), package.sha256);
        let mut seen = 0;
        let document = format!("<filelists>{}\n{text}</filelists>", " ".repeat(600));
        read::packages(&mut document.as_bytes(), &mut |_| {
            seen += 1;
            Ok(())
        })
        .expect("a document");
        assert_eq!(seen, 1);
    }
    assert_eq!(&Package::parse(&package.to_text().expect("a record")).expect("a record"), package);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_a_package_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(parsed(&bytes).is_none());
    }

    #[test]
    fn changed_packages_are_packages_or_refused(changes in proptest::collection::vec((0_usize..2000, any::<u8>()), 1..8)) {
        let mut bytes = package("tool", "1.0", "1", "noarch", "x");
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[at % length] = byte;
        }
        if let Some(package) = parsed(&bytes) {
            renders(&package);
        }
    }

    #[test]
    fn any_tags_are_a_package_or_refused(
        texts in proptest::collection::vec((prop::sample::select(vec![1004_u32, 1005, 1011, 1014, 1015, 1016, 1020, 1044, 1081, 1082, 1047, 1049, 1113, 1050, 1117, 1118, 5046]),
            proptest::collection::vec(proptest::collection::vec(1_u8..=255, 0..20), 0..4)), 0..8),
        numbers in proptest::collection::vec((prop::sample::select(vec![1003_u32, 1006, 1009, 1030, 1037, 1048, 1080, 1112, 1116, 5009]),
            proptest::collection::vec(any::<u32>(), 0..4)), 0..8),
    ) {
        let mut all = tags("tool", "1.0", "1", "noarch", b"x");
        for (tag, texts) in texts {
            all.retain(|(known, _)| *known != tag);
            all.push((tag, Value::Texts(texts)));
        }
        for (tag, numbers) in numbers {
            all.retain(|(known, _)| *known != tag);
            all.push((tag, Value::Numbers(numbers)));
        }
        if let Some(package) = parsed(&file(&header(&all), b"x")) {
            renders(&package);
        }
    }

    #[test]
    fn any_text_is_metadata_or_refused(text in "(<(repomd|data|location|metadata|package|name|version|checksum)( (type|href|pkgid|ver)=\"[^\"<]{0,8}\")?/?>|</(repomd|data|package|metadata)>|[a-z&;\u{1}\u{0}é]{0,6}){0,20}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(Repomd::parse(text.as_bytes()));
        drop(Repomd::parse(&bytes));
        drop(read::listed(&text));
        drop(read::pkgid(&text));
        drop(read::packages(&mut format!("<metadata>{text}").as_bytes(), &mut |piece| read::listed(piece).map(drop)));
        if let Some(marked) = read::without_href(&text) {
            prop_assert_eq!(marked.iter().filter(|byte| **byte == 1).count(), 1);
        }
        let _ = Name::parse(&text);
        drop(crate::mirrors::read(text.as_bytes()));
        drop(crate::mirrors::read(format!("<metalink><url>{text}</url>").as_bytes()));
        let mut plain = Vec::new();
        for magic in [&[0x1f, 0x8b][..], &[0x28, 0xb5, 0x2f, 0xfd], &[0xfd, b'7', b'z', b'X', b'Z', 0], b"BZh9", &[]] {
            if let Ok(mut open) = read::open(std::io::Cursor::new([magic, &bytes].concat())) {
                drop(open.by_ref().take(1 << 20).read_to_end(&mut plain));
            }
        }
    }
}

#[test]
fn a_window_of_gigabytes_is_refused() {
    // A zstd frame that asks for a window of 2 GB: magic, no single segment, the largest exponent that is allowed there.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
    let mut open = read::open(&frame[..]).expect("a frame");
    assert!(open.read_to_end(&mut Vec::new()).is_err());
}
