//! What our metadata says of real packages is what createrepo_c says, field by field.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

use entrepot_format_rpm::repodata::{Repomd, read};
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

use super::{Workshop, file_name, upload};
use crate::support::TestServer;

/// Packages that must be compared at least.
const LEAST: usize = 30;

/// A spec of many packages that have everything there is to have.
fn rich_spec() -> String {
    let mut spec = String::from(
        "%global _binary_payload w6.gzdio\nName: rich\nEpoch: 2\nVersion: 1.2.3~rc1\nRelease: 4.el9\nSummary: Rich <package> & \"more\"\nLicense: MIT and (BSD or GPLv2+)\nGroup: Tools/Test\nVendor: Acme & Co\nPackager: Jane Döe <jane@example.com>\nURL: https://example.com/?a=b&c=d\n\
         Requires: bash >= 4.0\nRequires: /bin/sh\nRequires: libc.so.6(GLIBC_2.4)(64bit)\nRequires: libc.so.6(GLIBC_2.34)(64bit)\nRequires: libc.so.6()(64bit)\nRequires: /etc/rich.conf\nRequires: foo = 1:2-3\nRequires: foo = 1:2-3\nRequires: foo > 1\nRequires: rich-virtual = 5\n\
         Requires(pre): shadow-utils\nRequires(post): /sbin/ldconfig\nRequires(preun): tool-a\nRequires: shadow-utils\nRequires: (x >= 1 or y)\nProvides: rich-virtual = 5\nProvides: config(rich) = 2:1.2.3~rc1-4.el9\nProvides: bundled(lib) = 1.0\nConflicts: poor < 2\nObsoletes: oldrich <= 1.0-1\n\
         Recommends: rec1 > 1\nRecommends: rec2\nSuggests: sug1\nSupplements: (a and b)\nEnhances: enh1 = 3\n%description\nLine one.\n  Tab\there & <there>.\n\nÜmlaut; quotes \" ' and an end.\n",
    );
    for number in 0..30 {
        let arch = ["noarch", "x86_64"][number % 2];
        let noarch = if arch == "noarch" { "BuildArch: noarch\n" } else { "" };
        spec.push_str(&format!("%package part{number}\nSummary: Part {number}\n{noarch}"));
        for dependency in 0..number {
            spec.push_str(&format!("Requires: dep{dependency} {} {number}.{dependency}-1\n", ["=", "<", ">", "<=", ">="][dependency % 5]));
        }
        if number % 3 == 0 {
            spec.push_str(&format!(
                "Requires: %{{name}} = %{{epoch}}:%{{version}}-%{{release}}\nProvides: part({number})\nSupplements: rich\nConflicts: part{number}-old < 1:0\n"
            ));
        }
        spec.push_str(&format!("%description part{number}\nPart {number} of it.\n"));
    }
    spec.push_str(
        "%install\nmkdir -p %{buildroot}/usr/bin %{buildroot}/usr/sbin %{buildroot}/etc/rich.d \"%{buildroot}/usr/share/rich/with space\" %{buildroot}/usr/lib %{buildroot}/opt/x/bin\n\
         echo x > %{buildroot}/usr/bin/rich\necho x > %{buildroot}/usr/sbin/richd\necho x > %{buildroot}/etc/rich.conf\necho x > %{buildroot}/usr/lib/sendmail\necho x > %{buildroot}/opt/x/bin/deep\ntouch \"%{buildroot}/usr/share/rich/with space/a&b\" \"%{buildroot}/usr/share/rich/ümlaut\"\nln -s rich %{buildroot}/usr/bin/rich-link\n",
    );
    for number in 0..30 {
        spec.push_str(&format!(
            "mkdir -p %{{buildroot}}/usr/share/part{number}\nfor file in $(seq {}); do echo $file > %{{buildroot}}/usr/share/part{number}/file$file; done\n",
            number * 7 + 1
        ));
    }
    spec.push_str(
        "%files\n/usr/bin/rich\n/usr/sbin/richd\n/usr/bin/rich-link\n%config(noreplace) /etc/rich.conf\n%dir /etc/rich.d\n/usr/share/rich\n/usr/lib/sendmail\n/opt/x/bin/deep\n%ghost /var/cache/rich.cache\n%ghost %dir /var/lib/rich\n",
    );
    for number in 0..30 {
        spec.push_str(&format!("%files part{number}\n/usr/share/part{number}\n"));
    }
    spec.push_str("%pre\ntrue\n%post\ntrue\n%post part3 -p /sbin/ldconfig\n%triggerin -- other\ntrue\n%changelog\n");
    for number in (1..=14).rev() {
        // Two entries a day.
        spec.push_str(&format!(
            "* {} 2026 Jane Döe <jane@example.com> - {number}\n- Change <{number}> & more\n  and a second line\n\n",
            DAYS[(14 - number) / 2]
        ));
    }
    spec
}

const DAYS: [&str; 7] = ["Sun Nov 15", "Sat Nov 14", "Fri Nov 13", "Thu Nov 12", "Wed Nov 11", "Tue Nov 10", "Mon Nov 09"];

/// A package as a list of what its elements say, in their order.
fn fields(piece: &str) -> Vec<String> {
    let mut reader = Reader::from_str(piece);
    let (mut fields, mut path) = (Vec::new(), Vec::<String>::new());
    loop {
        let event = reader.read_event().expect("XML");
        let attributes = |start: &quick_xml::events::BytesStart<'_>| {
            let mut all: Vec<String> = start
                .attributes()
                .map(|attribute| attribute.expect("an attribute"))
                .map(|a| format!("{}={}", a.key.as_ref(), a.normalized_value(XmlVersion::Implicit1_0).expect("a value")))
                .collect();
            all.sort();
            all.join(" ")
        };
        match event {
            Event::Start(start) => {
                path.push(start.name().as_ref().to_owned());
                fields.push(format!("{} {}", path.join("/"), attributes(&start)));
            }
            Event::Empty(start) => fields.push(format!("{}/{} {}", path.join("/"), start.name().as_ref(), attributes(&start))),
            Event::Text(text) => {
                let text = text.xml10_content();
                if !text.trim().is_empty() {
                    fields.push(format!("{}: {text}", path.join("/")));
                }
            }
            // The same character may be written by its number.
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().expect("a reference").map_or_else(|| format!("&{};", &*reference), String::from);
                fields.push(format!("{}: {character}", path.join("/")));
            }
            Event::End(_) => drop(path.pop()),
            Event::Eof => return fields,
            other => panic!("{other:?}"),
        }
    }
}

/// The packages of a document by their checksum.
fn packages(document: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut found = BTreeMap::new();
    read::packages(&mut read::open(document).expect("a document"), &mut |piece| {
        let id = match read::pkgid(piece) {
            Ok(id) => id,
            Err(_) => read::listed(piece)?.checksum,
        };
        found.insert(id, fields(piece));
        Ok(())
    })
    .expect("packages");
    found
}

/// When a package came to our repository: createrepo_c says when its file was changed.
fn file_time(fields: &[String]) -> SystemTime {
    let line = fields.iter().find(|field| field.starts_with("package/time ")).expect("a time");
    let seconds = line.split("file=").nth(1).expect("a time of the file").split(' ').next().unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.parse().expect("seconds"))
}

async fn ours(server: &TestServer, kind: &str) -> BTreeMap<String, Vec<String>> {
    let repomd = Repomd::parse(&server.anonymous().get("/main/rpm/repodata/repomd.xml").await.succeeded().body).expect("a repomd.xml");
    let href = &repomd.of(kind).expect("a document").href;
    packages(&server.anonymous().get(&format!("/main/rpm/{href}")).await.succeeded().body)
}

fn theirs(folder: &Path, kind: &str) -> BTreeMap<String, Vec<String>> {
    packages(&std::fs::read(folder.join(format!("repodata/{kind}.xml.gz"))).expect("createrepo_c made it"))
}

#[tokio::test(flavor = "multi_thread")]
async fn rpm_metadata_says_what_createrepo_c_says() {
    let (workshop, server) = (Workshop::new(), TestServer::start());
    let mut built = workshop.build("rich", &rich_spec());
    built.extend(workshop.build("plain", &super::plain_spec("plain", "1.0")));
    // A signature moves the header.
    let (signed, _) = built.split_at(10);
    workshop.sign(signed);
    assert!(built.len() >= LEAST, "{} packages", built.len());
    upload(&server, "", &built).await;
    let primary = ours(&server, "primary").await;
    let folder = workshop.home.path().join("repository");
    std::fs::create_dir(&folder).unwrap();
    for package in &built {
        let copy = folder.join(file_name(package));
        std::fs::copy(package, &copy).unwrap();
        let id = entrepot_kit::Sha256Digest::of(&std::fs::read(package).unwrap()).hex();
        std::fs::File::options().write(true).open(&copy).unwrap().set_modified(file_time(&primary[&id])).unwrap();
    }
    workshop.run("createrepo_c", &["--quiet", "--no-database", "--simple-md-filenames", "--compress-type", "gz", &folder.display().to_string()]).succeeded();
    let mut compared = 0;
    for kind in ["primary", "filelists", "other"] {
        let (ours, theirs) = (ours(&server, kind).await, theirs(&folder, kind));
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{kind}");
        for (id, said) in &theirs {
            let differences: Vec<_> = said.iter().zip(&ours[id]).filter(|(theirs, ours)| theirs != ours).collect();
            assert!(differences.is_empty() && said.len() == ours[id].len(), "{kind}: {differences:#?}\n{said:#?}\n{:#?}", ours[id]);
            compared += said.len();
        }
    }
    println!("{} packages, {compared} fields in primary, filelists and other: no difference to createrepo_c", built.len());
}
