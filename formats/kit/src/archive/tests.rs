//! Archives as clients make them, and as attackers do.

use std::io::{Cursor, Read as _, Write as _};

use flate2::write::GzEncoder;
use http::StatusCode;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Inside, Kind, Member, Place, find, open, split, walk};
use crate::error::Error;
use crate::records::ReadSeek;

fn reader(bytes: &[u8]) -> Box<dyn ReadSeek> {
    Box::new(Cursor::new(bytes.to_vec()))
}

fn members(kind: Kind, bytes: &[u8]) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    walk(kind, reader(bytes), bytes.len() as u64, &mut |member| {
        members.push(member);
        Ok(())
    })?;
    Ok(members)
}

/// What a client gets of one entry: its bytes, or the status of the refusal.
fn read(kind: Kind, bytes: &[u8], name: &str) -> Result<Vec<u8>, StatusCode> {
    let size = bytes.len() as u64;
    let member = find(kind, reader(bytes), size, name).map_err(|error| error.status())?.ok_or(StatusCode::NOT_FOUND)?;
    let mut out = Vec::new();
    let mut body = open(kind, reader(bytes), size, &member).map_err(|error| error.status())?;
    body.read_to_end(&mut out).map_err(|error| super::broken(&error).status())?;
    Ok(out)
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (position, (name, content)) in files.iter().enumerate() {
        let method = if position % 2 == 0 { CompressionMethod::Deflated } else { CompressionMethod::Stored };
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn header(name: &[u8], size: u64, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    // `set_path` would refuse the names that attackers choose.
    for (to, from) in header.as_old_mut().name.iter_mut().zip(name) {
        *to = *from;
    }
    header.set_size(size);
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_cksum();
    header
}

fn tar_of(entries: &[(&str, &[u8], tar::EntryType)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content, kind) in entries {
        builder.append(&header(name.as_bytes(), content.len() as u64, *kind), *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

const FILE: tar::EntryType = tar::EntryType::Regular;
const UNPROCESSABLE: Result<Vec<u8>, StatusCode> = Err(StatusCode::UNPROCESSABLE_ENTITY);

#[test]
fn paths_split_only_behind_the_name_of_an_archive() {
    let inside = |kind, archive, inner| Some(Inside { kind, archive, inner });
    assert_eq!(split("a/b.zip!/c/d.txt", false), inside(Kind::Zip, "a/b.zip", "c/d.txt"));
    assert_eq!(split("b.tar.gz!", true), inside(Kind::TarGz, "b.tar.gz", ""));
    assert_eq!(split("wow!/b.ZIP!/x!/y", false), inside(Kind::Zip, "wow!/b.ZIP", "x!/y"));
    for ordinary in ["a/b.zip", "b.zip!", "wow!/c", "b.zip!c/d", "!/x", "b.txt!/x"] {
        assert_eq!(split(ordinary, false), None, "{ordinary}");
    }
    assert_eq!(split("wow!", true), None);
}

#[test]
fn entries_come_back_as_they_were_packed() {
    let long = format!("{}/file.txt", "folder".repeat(30));
    let big = vec![7; 300_000];
    let packed = zip(&[("a.txt", b"deflated"), ("b/c.txt", b"stored"), ("empty", b""), (&long, b"deep"), ("big", &big)]);
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in [("./a.txt", &b"deflated"[..]), ("b/c.txt", b"stored"), ("empty", b""), (&long, b"deep"), ("big", &big)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, content).unwrap();
    }
    let tar = builder.into_inner().unwrap();
    for (kind, bytes) in [(Kind::Zip, packed), (Kind::Tar, tar.clone()), (Kind::TarGz, gzip(&tar))] {
        for (name, wanted) in [("a.txt", &b"deflated"[..]), ("b/c.txt", b"stored"), ("empty", b""), (&long, b"deep"), ("big", &big)] {
            assert_eq!(read(kind, &bytes, name).as_deref(), Ok(wanted), "{kind:?} {name}");
        }
        assert_eq!(read(kind, &bytes, "absent"), Err(StatusCode::NOT_FOUND), "{kind:?}");
        let listed: Vec<(String, u64)> = members(kind, &bytes).unwrap().into_iter().map(|member| (member.path, member.size)).collect();
        assert_eq!(listed.len(), 5, "{kind:?}");
        assert_eq!(listed[1], (String::from("b/c.txt"), 6), "{kind:?}");
    }
}

#[test]
fn pax_names_count_and_pax_sizes_do_not() {
    let pax = |record: &'static [u8]| tar_of(&[("x", record, tar::EntryType::XHeader), ("short", b"content", FILE)]);
    assert_eq!(read(Kind::Tar, &pax(b"20 path=a/long/name\n"), "a/long/name").as_deref(), Ok(&b"content"[..]));
    assert_eq!(read(Kind::Tar, &pax(b"10 size=1\n"), "short"), UNPROCESSABLE);
    assert_eq!(read(Kind::Tar, &pax(b"16 path=../../e\n"), "e"), UNPROCESSABLE);
}

#[test]
fn names_that_lead_elsewhere_condemn_the_archive() {
    for name in ["../evil", "/etc/passwd", "a/../../evil", "a\\b", "a//b", "C:\\evil", "line\nbreak"] {
        let packed = zip(&[("good.txt", b"good"), (name, b"evil")]);
        assert_eq!(read(Kind::Zip, &packed, "good.txt"), UNPROCESSABLE, "zip {name:?}");
        assert!(members(Kind::Zip, &packed).is_err(), "zip {name:?}");
        let tar = tar_of(&[("good.txt", b"good", FILE), (name, b"evil", FILE)]);
        assert_eq!(read(Kind::Tar, &tar, "good.txt"), UNPROCESSABLE, "tar {name:?}");
        assert_eq!(read(Kind::TarGz, &gzip(&tar), "good.txt"), UNPROCESSABLE, "tar.gz {name:?}");
    }
    let folder = tar_of(&[("good.txt", b"good", FILE), ("../evil/", b"", tar::EntryType::Directory)]);
    assert_eq!(read(Kind::Tar, &folder, "good.txt"), UNPROCESSABLE);
}

#[test]
fn links_and_devices_are_listed_and_not_served() {
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Block, tar::EntryType::Char, tar::EntryType::Fifo, tar::EntryType::GNUSparse] {
        let tar = tar_of(&[("good.txt", b"good", FILE), ("special", b"", kind)]);
        assert_eq!(read(Kind::Tar, &tar, "special"), UNPROCESSABLE, "{kind:?}");
        assert_eq!(read(Kind::Tar, &tar, "good.txt").as_deref(), Ok(&b"good"[..]), "{kind:?}");
        assert!(matches!(members(Kind::Tar, &tar).unwrap()[1].place, Place::Refused(_)), "{kind:?}");
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("special", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    assert_eq!(read(Kind::Zip, &writer.finish().unwrap().into_inner(), "special"), UNPROCESSABLE);
}

/// Where a byte pattern begins.
fn position(bytes: &[u8], pattern: &[u8]) -> usize {
    bytes.windows(pattern.len()).position(|window| window == pattern).expect("the pattern is there")
}

#[test]
fn encrypted_and_twofold_entries_are_refused() {
    let mut encrypted = zip(&[("secret", b"secret")]);
    let central = position(&encrypted, b"PK\x01\x02");
    encrypted[central + 8] |= 1;
    assert_eq!(read(Kind::Zip, &encrypted, "secret"), UNPROCESSABLE);

    // The writer refuses to write a name twice, so that one is renamed afterwards, in both of its places.
    let mut twofold = zip(&[("same-a", b"one"), ("same-b", b"two")]);
    for _ in 0..2 {
        let at = position(&twofold, b"same-b");
        twofold[at + 5] = b'a';
    }
    assert_eq!(read(Kind::Zip, &twofold, "same-a"), UNPROCESSABLE);
    let tar = tar_of(&[("same", b"one", FILE), ("same", b"two", FILE)]);
    assert_eq!(read(Kind::Tar, &tar, "same"), UNPROCESSABLE);
}

#[test]
fn sizes_and_checksums_that_lie_are_refused() {
    let honest = zip(&[("bomb", &vec![0; 100_000])]);
    let central = position(&honest, b"PK\x01\x02");
    // The uncompressed size in the central directory: smaller, a little larger, absurdly large.
    for size in [10u32, 100_001, u32::MAX - 1] {
        let mut lying = honest.clone();
        lying[central + 24..central + 28].copy_from_slice(&size.to_le_bytes());
        assert_eq!(read(Kind::Zip, &lying, "bomb"), UNPROCESSABLE, "{size}");
    }
    let mut wrong_sum = honest.clone();
    wrong_sum[central + 16] ^= 1;
    assert_eq!(read(Kind::Zip, &wrong_sum, "bomb"), UNPROCESSABLE);
    let mut elsewhere = honest.clone();
    elsewhere[central + 42..central + 46].copy_from_slice(&5u32.to_le_bytes());
    assert_eq!(read(Kind::Zip, &elsewhere, "bomb"), UNPROCESSABLE);
    assert_eq!(read(Kind::Zip, &honest, "bomb").map(|bytes| bytes.len()), Ok(100_000));
}

#[test]
fn cut_and_foreign_files_are_refused() {
    let packed = zip(&[("a.txt", b"some content that is packed")]);
    let tar = tar_of(&[("a.txt", b"some content that is packed", FILE)]);
    let gz = gzip(&tar);
    assert_eq!(read(Kind::Zip, &packed[..packed.len() - 5], "a.txt"), UNPROCESSABLE);
    assert_eq!(read(Kind::Tar, &tar[..520], "a.txt"), UNPROCESSABLE);
    assert_eq!(read(Kind::TarGz, &gz[..gz.len() / 2], "a.txt"), UNPROCESSABLE);
    for kind in [Kind::Zip, Kind::Tar, Kind::TarGz] {
        assert_eq!(read(kind, &[b'x'; 2000], "a.txt"), UNPROCESSABLE, "{kind:?}");
    }
    assert_eq!(read(Kind::Zip, b"", "a.txt"), UNPROCESSABLE);
}

#[test]
fn bombs_end_at_their_bound() {
    // 80 MiB of zeros pack to some hundred bytes of each mebibyte: more than any real archive.
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(header(b"zeros", 80 << 20, FILE).as_bytes()).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..80 {
        encoder.write_all(&zeros).unwrap();
    }
    let mut bomb = gzip(&tar_of(&[("small", b"small", FILE)])[..1024]);
    bomb.extend(encoder.finish().unwrap());
    // Made small enough that the factor does not allow it.
    assert!(super::tarball::bound(1000) < 80 << 20);
    let refused = find(Kind::TarGz, reader(&bomb), 1000, "small").map(drop).map_err(|error| error.status());
    assert_eq!(refused, Err(StatusCode::UNPROCESSABLE_ENTITY));

    // A name said to be far longer than names are.
    let name = vec![b'a'; 200_000];
    let long = tar_of(&[("x", &name, tar::EntryType::GNULongName), ("short", b"", FILE)]);
    assert_eq!(read(Kind::Tar, &long, "short"), UNPROCESSABLE);

    // A directory said to hold more than it can.
    let mut many = zip(&[("a", b"a")]);
    let end = position(&many, b"PK\x05\x06");
    many[end + 8..end + 12].copy_from_slice(&[0xfe, 0xff, 0xfe, 0xff]);
    assert_eq!(read(Kind::Zip, &many, "a"), UNPROCESSABLE);
}
