//! Reading what an upstream says about a package: leniently, and without a tree of values for documents of many megabytes.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use entrepot_kit::{Algorithm, Digests, Error, Located, Records, Result, Sha256Digest, Timestamp, UpstreamIndex, UpstreamPath, VersionRecord};

use crate::name::{NpmName, NpmPath};
use crate::packument::{fragment, tags, write_package_document};
use crate::raw::RawObject;
use crate::version::is_plausible;

/// Members of an upstream's packument that are ours to say, or nobody's.
const NOT_KEPT: [&str; 9] = ["_id", "_rev", "_revisions", "_attachments", "name", "versions", "time", "modified", "dist-tags"];

/// What an entry path is at an upstream.
#[must_use]
pub fn classify(path: &str) -> UpstreamPath {
    NpmPath::parse(path).map_or(UpstreamPath::NotOurs, |path| UpstreamPath::Needs { package: path.package().as_str().to_owned() })
}

/// Where an upstream keeps the whole packument. The abbreviated one would lack times, readme and authors.
#[must_use]
pub fn index(package: &str) -> Option<UpstreamIndex> {
    NpmName::parse_lenient(package).map(|name| UpstreamIndex::whole(name.escaped(), "application/json"))
}

struct Packument<'a> {
    name: NpmName,
    members: RawObject<'a>,
    versions: RawObject<'a>,
}

fn read<'a>(package: &str, document: &'a [u8]) -> Result<Packument<'a>> {
    let refuse = || Error::bad_gateway(format!("what the upstream sent for {package:?} is not a package document"));
    let name = NpmName::parse_lenient(package).ok_or_else(refuse)?;
    let members = RawObject::parse_bytes(document).ok_or_else(refuse)?;
    // An answer about another package must not be kept under this name.
    let names_itself = members.string("name").or_else(|| members.string("_id"));
    if names_itself.is_some_and(|named| !named.eq_ignore_ascii_case(package)) {
        return Err(refuse());
    }
    // A package whose versions were all removed has times, but no versions.
    let versions = match members.object("versions") {
        Some(versions) => versions,
        None if members.object("time").is_some() => RawObject::default(),
        None => return Err(refuse()),
    };
    Ok(Packument { name, members, versions })
}

/// The records of an upstream's packument.
///
/// # Errors
/// 502 when it is no packument, or one of another package.
pub fn records(package: &str, document: &Bytes, kind: &'static str) -> Result<Records> {
    let packument = read(package, document)?;
    let times = packument.members.object("time").unwrap_or_default();
    let time_of = |key: &str| times.string(key).and_then(|text| Timestamp::parse_rfc3339(&text));
    let mut published: HashMap<&str, Timestamp> =
        times.members().filter_map(|(key, text)| Some((key, Timestamp::parse_rfc3339(&serde_json::from_str::<String>(text).ok()?)?))).collect();
    let mut versions = Vec::new();
    for (version, text) in packument.versions.members() {
        let Some(metadata) = RawObject::parse(text).filter(|_| is_plausible(version)) else { continue };
        versions.push(VersionRecord {
            version: version.to_owned(),
            published: published.remove(version),
            bytes: fragment(&packument.name, version, &metadata, kind).into(),
        });
    }
    published.retain(|key, _| !matches!(*key, "created" | "modified" | "unpublished") && is_plausible(key));
    let mut deleted: Vec<(String, Timestamp)> = published.into_iter().map(|(version, time)| (version.to_owned(), time)).collect();
    deleted.sort_by(|one, other| (one.1, &one.0).cmp(&(other.1, &other.0)));
    let live: std::collections::HashSet<&str> = versions.iter().map(|record| record.version.as_str()).collect();
    let tags: BTreeMap<String, String> = tags(&packument.members).into_iter().filter(|(_, version)| live.contains(version.as_str())).collect();
    let mut stamp = Sha256Digest::of(document).hex();
    stamp.truncate(32);
    Ok(Records {
        package: package.to_owned(),
        document: write_package_document(&tags, packument.members.members().filter(|(key, _)| !NOT_KEPT.contains(key))),
        deleted,
        created: time_of("created"),
        modified: time_of("modified").or_else(|| packument.members.string("modified").and_then(|text| Timestamp::parse_rfc3339(&text))),
        stamp,
        versions,
    })
}

/// Where the packument says that a file is, and what it must hash to.
///
/// # Errors
/// 502 when it is no packument, or one of another package.
pub fn locate(path: &str, package: &str, document: &Bytes) -> Result<Option<Located>> {
    let Some(path) = NpmPath::parse(path).filter(|path| path.package().as_str() == package) else { return Ok(None) };
    let packument = read(package, document)?;
    let dist_of = |version: &str| packument.versions.object(version).and_then(|metadata| metadata.object("dist"));
    match path {
        NpmPath::Attestations(_, version) => {
            let url = dist_of(&version).and_then(|dist| dist.object("attestations")).and_then(|attestations| attestations.string("url"));
            Ok(url.map(|url| Located::at(url, Digests::new(), Some(version))))
        }
        NpmPath::Tarball(name, file) => {
            let ours = file.strip_prefix(name.base()).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.strip_suffix(".tgz"));
            if let Some((version, dist)) = ours.and_then(|version| Some((version, dist_of(version)?))) {
                return Ok(located(&dist, version));
            }
            // Lock files name what the upstream called the file, which for old packages is not made of the version.
            let found = packument.versions.members().find_map(|(version, metadata)| {
                let dist = RawObject::parse(metadata)?.object("dist")?;
                let url = dist.string("tarball")?;
                let last = url.split(['?', '#']).next()?.rsplit('/').next()?;
                (last == file).then(|| located(&dist, version)).flatten()
            });
            Ok(found)
        }
    }
}

fn located(dist: &RawObject<'_>, version: &str) -> Option<Located> {
    let url = dist.string("tarball")?;
    let mut expected = dist.string("integrity").map_or_else(Digests::new, |text| Digests::parse_integrity(&text));
    if expected.get(Algorithm::Sha1).is_none()
        && let Some(shasum) = dist.string("shasum")
    {
        expected.insert_hex(Algorithm::Sha1, &shasum);
    }
    Some(Located::at(url, expected, Some(version.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::{classify, index, locate, records};
    use crate::packument::FULL;
    use bytes::Bytes;
    use entrepot_kit::{Algorithm, UpstreamPath};
    use serde_json::json;

    fn document() -> Bytes {
        json!({
            "_id": "@acme/widget", "_rev": "55-x", "name": "@acme/widget", "readme": "# hi", "users": {"bob": true}, "_attachments": {},
            "dist-tags": {"latest": "1.0.0", "gone": "0.1.0", "odd": 3},
            "versions": {
                "1.0.0": {"name": "@acme/widget", "version": "1.0.0", "dist": {
                    "tarball": "https://files.elsewhere.example/download/17", "shasum": "a".repeat(40),
                    "integrity": format!("sha512-{}==", "A".repeat(86)),
                    "attestations": {"url": "https://elsewhere.example/-/npm/v1/attestations/@acme%2fwidget@1.0.0"}}},
                "0.9": {"dist": {"tarball": "https://elsewhere.example/@acme/widget/-/widget-0.9.0-legacy.tgz?x=1"}},
                "../../etc": {"dist": {"tarball": "https://elsewhere.example/x.tgz"}},
                "bad": 17
            },
            "time": {"created": "2020-01-01T00:00:00.000Z", "modified": "2021-01-01T00:00:00.000Z", "1.0.0": "2020-06-01T00:00:00.000Z", "0.1.0": "2020-01-01T00:00:00.000Z",
                "unpublished": {"name": "bob"}}
        })
        .to_string()
        .into()
    }

    #[test]
    fn dirt_is_passed_over() {
        let records = records("@acme/widget", &document(), FULL).unwrap();
        assert_eq!(records.versions.iter().map(|record| record.version.as_str()).collect::<Vec<_>>(), ["1.0.0", "0.9"]);
        assert_eq!(records.deleted.iter().map(|(version, _)| version.as_str()).collect::<Vec<_>>(), ["0.1.0"]);
        let document: serde_json::Value = serde_json::from_str(&records.document).unwrap();
        assert_eq!(document, json!({"dist-tags": {"latest": "1.0.0"}, "readme": "# hi", "users": {"bob": true}}));
        assert!(records.versions[1].published.is_none());
    }

    #[test]
    fn what_is_no_packument_of_that_name_is_refused() {
        for body in ["", "<!DOCTYPE html>", "[]", "{}", r#"{"error":"no"}"#, r#"{"name":"other","versions":{}}"#, r#"{"name":"a","versions":{}"#] {
            assert_eq!(records("a", &Bytes::from(body), FULL).map_err(|error| error.status().as_u16()).map(|_| ()), Err(502), "{body}");
        }
        assert!(records("a", &Bytes::from_static(br#"{"name":"a","time":{"unpublished":{}}}"#), FULL).is_ok_and(|records| records.versions.is_empty()));
    }

    #[test]
    fn files_are_located_with_their_digests() {
        let found = locate("@acme/widget/-/widget-1.0.0.tgz", "@acme/widget", &document()).unwrap().unwrap();
        assert_eq!(found.url, "https://files.elsewhere.example/download/17");
        assert_eq!(found.version.as_deref(), Some("1.0.0"));
        assert_eq!(found.expected.algorithms().collect::<Vec<_>>(), [Algorithm::Sha1, Algorithm::Sha512]);
        let legacy = locate("@acme/widget/-/widget-0.9.0-legacy.tgz", "@acme/widget", &document()).unwrap().unwrap();
        assert_eq!(legacy.version.as_deref(), Some("0.9"));
        let attested = locate("-/npm/v1/attestations/@acme/widget@1.0.0", "@acme/widget", &document()).unwrap().unwrap();
        assert!(attested.url.ends_with("widget@1.0.0"));
        for missing in ["@acme/widget/-/widget-9.9.9.tgz", "@acme/widget/-/17", "other/-/other-1.0.0.tgz", "-/npm/v1/attestations/@acme/widget@0.9"] {
            assert_eq!(locate(missing, "@acme/widget", &document()).unwrap(), None, "{missing}");
        }
    }

    #[test]
    fn paths_are_classified() {
        assert_eq!(classify("a/-/a-1.0.0.tgz"), UpstreamPath::Needs { package: String::from("a") });
        assert_eq!(classify("-/npm/v1/attestations/@a/b@1.0.0"), UpstreamPath::Needs { package: String::from("@a/b") });
        assert_eq!(classify("-/all"), UpstreamPath::NotOurs);
        assert_eq!(index("@a/b").unwrap().path, "@a%2fb");
        assert!(index("../x").is_none());
    }
}
