//! Archives that unpack to too much, or to somewhere else.
#![cfg(test)]

use std::io::Write as _;

use entrepot_format_npm::testing::{Archive, manifest, publish_body, tarball};
use entrepot_kit::Kind;
use serde_json::json;

use super::refused;
use crate::house::House;
use crate::raw::Call;

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// The header of a file in a tar archive that says this size, with nothing behind it.
fn tar_header(path: &str, kind: tar::EntryType, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// Links, devices and names that lead out of the package, and sizes that are lies.
#[tokio::test(flavor = "multi_thread")]
async fn archive_slips_and_bombs_in_a_publish() {
    let house = House::start().await;
    house.repository("alpha/npm", "npm", Kind::Hosted, true, json!({})).await;
    let own = manifest("horse", "1.0.0");
    let begun = || Archive::new().file("package/package.json", own.to_string().as_bytes());
    let plain = |archive: Archive, tail: Vec<u8>| {
        let mut unpacked = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&archive.finish()[..]), &mut unpacked).unwrap();
        unpacked.truncate(unpacked.len() - 1024);
        unpacked.extend(tail);
        gzip(&unpacked)
    };
    let mut bomb = tar_header("package/zeros", tar::EntryType::Regular, 8 << 30);
    bomb.resize(32 << 20, 0);
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a folder up", begun().file("package/../../evil", b"x").finish()),
        ("an absolute path", begun().file("/etc/passwd", b"x").finish()),
        ("a backslash", begun().file("package\\..\\..\\evil", b"x").finish()),
        ("a long name that goes up", begun().file(&format!("package/{}/../../../../evil", "a".repeat(120)), b"x").finish()),
        ("a symbolic link", begun().link("package/escape", "../../../etc/passwd").finish()),
        ("a hard link", plain(begun(), tar_header("package/hard", tar::EntryType::Link, 0))),
        ("a device", plain(begun(), tar_header("package/null", tar::EntryType::Char, 0))),
        ("a pipe", plain(begun(), tar_header("package/pipe", tar::EntryType::Fifo, 0))),
        ("two manifests", begun().file("package/package.json", b"{\"name\":\"cow\",\"version\":\"1.0.0\"}").finish()),
        ("another manifest for other readers", begun().extension(b'x', b"30 path=package/package.json\n\n").file("package/other", b"{}").finish()),
        ("a huge extended header", begun().extension(b'x', &vec![b'a'; 1 << 20]).file("package/x", b"").finish()),
        ("a sparse file", begun().extension(b'x', b"28 GNU.sparse.size=999999999\n").file("package/x", b"").finish()),
        ("a bomb", plain(begun(), bomb)),
        ("a size that wraps", plain(begun(), tar_header("package/big", tar::EntryType::Regular, u64::MAX / 2))),
        ("a broken stream", {
            let mut cut = tarball(&own);
            cut.truncate(cut.len() / 2);
            cut
        }),
        ("no archive", b"<!DOCTYPE html>".to_vec()),
        ("an archive of nothing", Archive::new().finish()),
        ("a huge manifest", Archive::new().file("package/package.json", &vec![b' '; 5 << 20]).finish()),
        ("a deep manifest", Archive::new().file("package/package.json", "[".repeat(1 << 20).as_bytes()).finish()),
    ];
    for (name, archive) in cases {
        let body = publish_body(&own, &archive, "latest").to_string();
        refused(&house.call_as("alpha-owner", Call::put("/alpha/npm/horse", body)).await, name);
        assert_eq!(house.head("alpha/npm"), 0, "{name}");
    }
    for data in house.each_data() {
        assert!(data.ancestors().take(3).all(|folder| !folder.join("evil").exists()));
    }
    let body = publish_body(&own, &tarball(&own), "latest").to_string();
    assert_eq!(house.call_as("alpha-owner", Call::put("/alpha/npm/horse", body)).await.status, 201, "an honest one passes");
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, body) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(body).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// Looking into archives: nothing but the plain files in them, and never more than they say.
#[tokio::test(flavor = "multi_thread")]
async fn archive_slips_and_bombs_in_a_download_of_an_entry() {
    let house = House::start().await;
    house.repository("alpha/files", "generic", Kind::Hosted, true, json!({})).await;
    let put = async |name: &str, body: Vec<u8>| {
        let reply = house.call_as("alpha-owner", Call::put(format!("/alpha/files/{name}"), body)).await;
        assert_eq!(reply.status, 201, "{name}: any file may be stored");
    };
    let get = async |path: &str| house.call(Call::get(format!("/alpha/files/{path}"))).await;
    put("good.zip", zip(&[("folder/inner.txt", b"inner")])).await;
    assert_eq!(get("good.zip!/folder/inner.txt").await.text(), "inner");

    for (name, entry) in [("up", "../../evil.txt"), ("root", "/etc/passwd"), ("middle", "a/../../evil.txt"), ("back", "..\\evil.txt"), ("quoted", "a\u{0}b")] {
        put(&format!("{name}.zip"), zip(&[("fine.txt", b"fine"), (entry, b"evil")])).await;
        put(&format!("{name}.tgz"), Archive::new().file("fine.txt", b"fine").file(entry, b"evil").finish()).await;
        for kind in ["zip", "tgz"] {
            for inner in ["", "../../evil.txt", "%2e%2e/%2e%2e/evil.txt", "..%2f..%2fevil.txt", "/etc/passwd", "etc/passwd", "a%00b"] {
                let reply = get(&format!("{name}.{kind}!/{inner}")).await;
                assert!(
                    !reply.text().contains("evil\n") && (reply.status.is_client_error() || !reply.text().contains("../")),
                    "{name}.{kind}!/{inner}: {} {}",
                    reply.status,
                    reply.text()
                );
                assert_ne!(reply.text(), "evil", "{name}.{kind}!/{inner}");
            }
        }
    }
    put("links.tgz", Archive::new().link("passwd", "/etc/passwd").link("up", "../x").file("fine.txt", b"fine").finish()).await;
    for inner in ["passwd", "up", "passwd/x"] {
        refused(&get(&format!("links.tgz!/{inner}")).await, inner);
    }
    // A hundred megabytes in a hundred kilobytes.
    let mut bomb = tar_header("zeros", tar::EntryType::Regular, 100 << 20);
    bomb.resize((100 << 20) + 2048, 0);
    put("bomb.tgz", gzip(&bomb)).await;
    for inner in ["", "zeros", "other"] {
        refused(&get(&format!("bomb.tgz!/{inner}")).await, &format!("bomb.tgz!/{inner}"));
    }
    // A ZIP that says five bytes and unpacks to five million.
    let mut lying = zip(&[("zeros", &vec![0; 5_000_000])]);
    let size = 5_000_000u32.to_le_bytes();
    let places: Vec<usize> = lying.windows(4).enumerate().filter(|(_, window)| *window == size).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the size is written somewhere");
    for at in places {
        lying[at..at + 4].copy_from_slice(&5u32.to_le_bytes());
    }
    put("lying.zip", lying).await;
    match crate::raw::send(&house.host, &Call::get("/alpha/files/lying.zip!/zeros")).await {
        Ok(reply) => assert!(!reply.status.is_success() || reply.body.len() <= 5, "{} {} bytes", reply.status, reply.body.len()),
        Err(broken) => assert!(["announced", "chunked", "no head"].iter().any(|way| broken.contains(way)), "{broken}"),
    }
    // Not archives at all, and archives of archives: one level, no more.
    put("page.zip", b"<!DOCTYPE html>".to_vec()).await;
    put("empty.zip", Vec::new()).await;
    put("cut.zip", {
        let mut cut = zip(&[("a", &[1; 5000])]);
        cut.truncate(cut.len() / 2);
        cut
    })
    .await;
    put("outer.zip", zip(&[("inner.zip", &zip(&[("x", b"x")]))])).await;
    for path in ["page.zip!/x", "empty.zip!/x", "cut.zip!/a", "outer.zip!/inner.zip!/x", "good.zip!/none", "none.zip!/x", "good.zip!/folder", "folder!/x"] {
        refused(&get(path).await, path);
    }
    // A page inside is as tame as one outside.
    put("site.zip", zip(&[("index.html", b"<script>alert(1)</script>"), ("<img src=x>.txt", b"x")])).await;
    let page = get("site.zip!/index.html").await;
    assert!(page.header("content-disposition").starts_with("attachment") && page.header("content-security-policy").contains("sandbox"), "{:?}", page.headers);
    assert!(!get("site.zip!/?format=html").await.text().contains("<img"));
}
