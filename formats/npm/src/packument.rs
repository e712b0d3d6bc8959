//! The documents that clients read, as pure functions of records: the whole packument, the abbreviated one, one version, the tags.
//!
//! A version contributes one fragment to each of the two packuments. The package's own document holds the top-level
//! members of the packument as they are sent, except `_id`, `_rev`, `name`, `versions` and `time`.

use std::collections::BTreeMap;

use entrepot_kit::path::encode_path;
use entrepot_kit::records::{BASE_MARK, write_fragment};
use entrepot_kit::{BaseUrl, Error, Fragment, Records, Result};

use crate::name::NpmName;
use crate::raw::{ObjectWriter, RawObject, write_string};

/// The fragment kind of the whole packument.
pub const FULL: &str = "full";
/// The fragment kind of the abbreviated packument.
pub const ABBREVIATED: &str = "abbreviated";
/// The media type of the abbreviated packument.
pub const ABBREVIATED_TYPE: &str = "application/vnd.npm.install-v1+json";
/// The variant of a document about one version is this and the version or tag.
pub const VERSION_VARIANT: &str = "version/";

/// Members of a version that an installation needs.
const ABBREVIATED_MEMBERS: [&str; 20] = [
    "name",
    "version",
    "deprecated",
    "dependencies",
    "optionalDependencies",
    "devDependencies",
    "peerDependencies",
    "acceptDependencies",
    "peerDependenciesMeta",
    "bundleDependencies",
    "bundledDependencies",
    "bin",
    "directories",
    "dist",
    "engines",
    "os",
    "cpu",
    "libc",
    "funding",
    "_hasShrinkwrap",
];

/// Scripts that an installation runs.
pub const INSTALL_SCRIPTS: [&str; 3] = ["preinstall", "install", "postinstall"];

/// The fragments of a version from its metadata as JSON text; `None` when that is not an object.
#[must_use]
pub fn fragments(name: &NpmName, version: &str, metadata: &str) -> Option<Vec<Fragment>> {
    let metadata = RawObject::parse(metadata)?;
    Some([FULL, ABBREVIATED].into_iter().map(|kind| Fragment { kind, bytes: fragment(name, version, &metadata, kind).into() }).collect())
}

/// One fragment: the version's metadata, or what an installation needs of it, with our addresses in it.
#[must_use]
pub fn fragment(name: &NpmName, version: &str, metadata: &RawObject<'_>, kind: &'static str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut object = ObjectWriter::begin(&mut out);
    let mut has_dist = false;
    for (key, value) in metadata.members() {
        match key {
            "dist" => {
                has_dist = true;
                write_dist(object.key(key), name, version, &RawObject::parse(value).unwrap_or_default());
            }
            // The readme is said once, at the top.
            "readme" | "readmeFilename" => {}
            "hasInstallScript" if kind == ABBREVIATED => {}
            _ if kind == FULL || ABBREVIATED_MEMBERS.contains(&key) => object.raw(key, value),
            _ => {}
        }
    }
    if !has_dist {
        write_dist(object.key("dist"), name, version, &RawObject::default());
    }
    if kind == ABBREVIATED && has_install_script(metadata) {
        object.raw("hasInstallScript", "true");
    }
    object.end();
    out
}

fn has_install_script(metadata: &RawObject<'_>) -> bool {
    metadata.get("hasInstallScript") == Some("true")
        || metadata
            .object("scripts")
            .is_some_and(|scripts| INSTALL_SCRIPTS.iter().any(|script| scripts.string(script).is_some_and(|command| !command.is_empty())))
}

/// Everything in `dist` but the addresses stays byte for byte: integrity and signatures cover it.
fn write_dist(out: &mut Vec<u8>, name: &NpmName, version: &str, dist: &RawObject<'_>) {
    let mut object = ObjectWriter::begin(out);
    for (key, value) in dist.members() {
        match key {
            "tarball" => {}
            "attestations" => {
                let Some(attestations) = RawObject::parse(value) else { continue };
                let mut inner = ObjectWriter::begin(object.key(key));
                for (key, value) in attestations.members() {
                    match key {
                        "url" => write_address(inner.key(key), &name.attestations_path(version)),
                        _ => inner.raw(key, value),
                    }
                }
                inner.end();
            }
            _ => object.raw(key, value),
        }
    }
    write_address(object.key("tarball"), &name.tarball_path(version));
    object.end();
}

/// A URL below the repository as a JSON string; percent-encoding leaves nothing that JSON would escape.
fn write_address(out: &mut Vec<u8>, path: &str) {
    out.extend_from_slice(&[b'"', BASE_MARK, b'/']);
    out.extend_from_slice(encode_path(path).as_bytes());
    out.push(b'"');
}

/// The tags of a package document, as far as they are texts.
#[must_use]
pub fn tags(document: &RawObject<'_>) -> BTreeMap<String, String> {
    let Some(tags) = document.object("dist-tags") else { return BTreeMap::new() };
    tags.members().filter_map(|(tag, version)| Some((tag.to_owned(), serde_json::from_str(version).ok()?))).collect()
}

fn package_document(records: &Records) -> Result<RawObject<'_>> {
    RawObject::parse(&records.document).ok_or_else(|| Error::internal(format!("the stored document of {} is not a JSON object", records.package)))
}

/// The whole packument.
///
/// # Errors
/// 500 when what is stored is damaged.
pub fn render_full(records: &Records, base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    let document = package_document(records)?;
    let mut out = Vec::with_capacity(records.weight() + records.weight() / 4);
    let mut object = ObjectWriter::begin(&mut out);
    object.string("_id", &records.package);
    object.string("_rev", &records.stamp);
    object.string("name", &records.package);
    for (key, value) in document.members() {
        if !matches!(key, "_id" | "_rev" | "name" | "versions" | "time" | "modified" | "_attachments") {
            object.raw(key, value);
        }
    }
    write_versions(object.key("versions"), records, base);
    write_times(object.key("time"), records);
    object.end();
    Ok(out)
}

/// The abbreviated packument. Unlike elsewhere it has `time`, so that clients which wait before they take a new version
/// need not fetch the whole one.
///
/// # Errors
/// 500 when what is stored is damaged.
pub fn render_abbreviated(records: &Records, base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    let document = package_document(records)?;
    let mut out = Vec::with_capacity(records.weight() + records.weight() / 4);
    let mut object = ObjectWriter::begin(&mut out);
    object.string("name", &records.package);
    object.raw("dist-tags", document.get("dist-tags").unwrap_or("{}"));
    write_versions(object.key("versions"), records, base);
    if let Some(modified) = records.modified {
        object.string("modified", &modified.rfc3339());
    }
    write_times(object.key("time"), records);
    object.end();
    Ok(out)
}

/// The metadata of one version, named by itself or by a tag behind [`VERSION_VARIANT`]. Made of [`FULL`] fragments.
///
/// # Errors
/// 404 when there is none.
pub fn render_version(records: &Records, base: &BaseUrl, variant: &str) -> Result<Vec<u8>> {
    let wanted = variant.strip_prefix(VERSION_VARIANT).unwrap_or(variant);
    let record = match records.version(wanted) {
        Some(record) => Some(record),
        None => tags(&package_document(records)?).get(wanted).and_then(|version| records.version(version)),
    };
    let record = record.ok_or_else(|| Error::not_found(format!("version not found: {}", crate::version::shorten(wanted))))?;
    let mut out = Vec::with_capacity(record.bytes.len() + 128);
    write_fragment(&mut out, &record.bytes, &base.to_string());
    Ok(out)
}

/// The tags and their versions.
///
/// # Errors
/// 500 when what is stored is damaged.
pub fn render_tags(records: &Records, _base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    serde_json::to_vec(&tags(&package_document(records)?)).map_err(Error::internal)
}

fn write_versions(out: &mut Vec<u8>, records: &Records, base: &BaseUrl) {
    let base = base.to_string();
    let mut object = ObjectWriter::begin(out);
    for record in &records.versions {
        write_fragment(object.key(&record.version), &record.bytes, &base);
    }
    object.end();
}

/// `time` keeps the versions that were removed: their names stay taken.
fn write_times(out: &mut Vec<u8>, records: &Records) {
    let mut object = ObjectWriter::begin(out);
    for (key, time) in [("created", records.created), ("modified", records.modified)] {
        if let Some(time) = time {
            object.string(key, &time.rfc3339());
        }
    }
    let live = records.versions.iter().filter_map(|record| record.published.map(|time| (record.version.as_str(), time)));
    let deleted = records.deleted.iter().map(|(version, time)| (version.as_str(), *time));
    for (version, time) in live.chain(deleted) {
        object.string(version, &time.rfc3339());
    }
    object.end();
}

/// Writes a package document from its members, tags first.
#[must_use]
pub fn write_package_document<'a>(tags: &BTreeMap<String, String>, members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = Vec::new();
    let mut object = ObjectWriter::begin(&mut out);
    {
        let mut inner = ObjectWriter::begin(object.key("dist-tags"));
        for (tag, version) in tags {
            write_string(inner.key(tag), version);
        }
        inner.end();
    }
    for (key, value) in members {
        if key != "dist-tags" {
            object.raw(key, value);
        }
    }
    object.end();
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{ABBREVIATED, FULL, fragments, render_abbreviated, render_full, render_tags, render_version};
    use crate::name::NpmName;
    use entrepot_kit::{BaseUrl, Records, Timestamp, VersionRecord};
    use serde_json::{Value, json};

    fn base() -> BaseUrl {
        BaseUrl { origin: String::from("https://packages.example"), path: String::from("/main/npm.at-r3") }
    }

    fn records(kind: &str) -> Records {
        let name = NpmName::parse_lenient("@acme/widget").unwrap();
        let version = |version: &str, extra: Value| {
            let mut metadata = json!({
                "name": "@acme/widget", "version": version, "main": "index.js", "readme": "# long", "dependencies": {"a": "^1"},
                "dist": {"integrity": "sha512-x", "tarball": "https://elsewhere.example/x.tgz", "shasum": "00", "signatures": [{"keyid": "k", "sig": "s"}],
                    "attestations": {"url": "https://elsewhere.example/-/npm/v1/attestations/x", "provenance": {"predicateType": "p"}}}
            });
            metadata.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            let bytes = fragments(&name, version, &metadata.to_string()).unwrap().into_iter().find(|fragment| fragment.kind == kind).unwrap().bytes;
            VersionRecord { version: version.to_owned(), published: Some(Timestamp(1_000)), bytes }
        };
        Records {
            package: String::from("@acme/widget"),
            document: json!({"dist-tags": {"latest": "1.1.0", "next": "2.0.0-rc.1"}, "readme": "# top", "users": {"bob": true}}).to_string(),
            versions: vec![
                version("1.1.0", json!({"scripts": {"install": "node x"}, "deprecated": "old"})),
                version("2.0.0-rc.1", json!({"hasInstallScript": false})),
            ],
            deleted: vec![(String::from("1.0.0"), Timestamp(0))],
            created: Some(Timestamp(0)),
            modified: Some(Timestamp(2_000)),
            stamp: String::from("7"),
        }
    }

    fn parse(bytes: Vec<u8>) -> Value {
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn the_whole_packument() {
        let document = parse(render_full(&records(FULL), &base(), "").unwrap());
        assert_eq!(document["_rev"], "7");
        assert_eq!(document["readme"], "# top");
        assert_eq!(document["users"]["bob"], true);
        assert_eq!(document["time"]["1.0.0"], "1970-01-01T00:00:00.000Z");
        let version = &document["versions"]["1.1.0"];
        assert_eq!(version["main"], "index.js");
        assert!(version.get("readme").is_none());
        assert_eq!(version["dist"]["tarball"], "https://packages.example/main/npm.at-r3/@acme/widget/-/widget-1.1.0.tgz");
        assert_eq!(version["dist"]["attestations"]["url"], "https://packages.example/main/npm.at-r3/-/npm/v1/attestations/@acme/widget@1.1.0");
        assert_eq!(version["dist"]["attestations"]["provenance"]["predicateType"], "p");
        assert_eq!(version["dist"]["integrity"], "sha512-x");
        assert_eq!(version["dist"]["signatures"], json!([{"keyid": "k", "sig": "s"}]));
    }

    #[test]
    fn the_abbreviated_packument() {
        let document = parse(render_abbreviated(&records(ABBREVIATED), &base(), "").unwrap());
        assert!(document.get("readme").is_none());
        assert_eq!(document["time"]["1.1.0"], "1970-01-01T00:00:01.000Z");
        assert_eq!(document["modified"], "1970-01-01T00:00:02.000Z");
        let version = &document["versions"]["1.1.0"];
        assert!(version.get("main").is_none() && version.get("scripts").is_none());
        assert_eq!(version["deprecated"], "old");
        assert_eq!(version["hasInstallScript"], true);
        assert!(document["versions"]["2.0.0-rc.1"].get("hasInstallScript").is_none());
        assert_eq!(version["dependencies"], json!({"a": "^1"}));
    }

    #[test]
    fn one_version_by_name_or_tag() {
        let records = records(FULL);
        assert_eq!(parse(render_version(&records, &base(), "version/next").unwrap())["version"], "2.0.0-rc.1");
        assert_eq!(parse(render_version(&records, &base(), "version/1.1.0").unwrap())["version"], "1.1.0");
        assert_eq!(render_version(&records, &base(), "version/1.0.0").unwrap_err().status(), 404);
        assert_eq!(render_version(&records, &base(), "version/__proto__").unwrap_err().status(), 404);
        assert_eq!(parse(render_tags(&records, &base(), "").unwrap()), json!({"latest": "1.1.0", "next": "2.0.0-rc.1"}));
    }

    #[test]
    fn metadata_without_dist_and_of_odd_shapes() {
        let name = NpmName::parse_lenient("a").unwrap();
        for (metadata, expected) in [("{}", true), (r#"{"dist":3,"scripts":"x"}"#, true), ("[]", false), ("", false)] {
            let made = fragments(&name, "1.0.0", metadata);
            assert_eq!(made.is_some(), expected, "{metadata}");
            for fragment in made.into_iter().flatten() {
                let text = String::from_utf8(fragment.bytes.to_vec()).unwrap().replace('\u{1}', "B");
                assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["dist"], json!({"tarball": "B/a/-/a-1.0.0.tgz"}));
            }
        }
    }
}
