//! What a client puts: a new version with its package, or an edited packument. Pure: reads outlines, writes documents.

use std::collections::BTreeMap;

use base64::Engine as _;
use entrepot_kit::path::encode_path;
use entrepot_kit::{Error, Result, Signature};
use serde_json::{Map, Value, json};

use crate::manifest::MAX_MANIFEST;
use crate::name::NpmName;
use crate::packument::write_package_document;
use crate::raw::RawObject;
use crate::version::{check_tag, parse_new, shorten};

/// Members of a version that a package shows as its own while `latest` leads there.
const SHOWN: [&str; 10] = ["description", "author", "contributors", "license", "repository", "homepage", "bugs", "keywords", "readme", "readmeFilename"];

/// What the body of a PUT says.
#[derive(Debug)]
pub enum Put {
    /// A new version, whose package is attached.
    Publication(Box<Publication>),
    /// A packument that was fetched and edited.
    Edit(Edit),
}

/// A new version.
#[derive(Debug)]
pub struct Publication {
    /// The version.
    pub version: String,
    /// The tags that shall lead to it.
    pub tags: Vec<String>,
    /// Its metadata.
    pub manifest: Map<String, Value>,
    /// Bytes of the package, as far as the client says.
    pub length: Option<u64>,
}

/// An edited packument.
#[derive(Debug)]
pub struct Edit {
    /// The state that was edited.
    pub rev: Option<String>,
    /// The versions that it has, with what it says about their deprecation; `None` when it does not speak of versions.
    pub versions: Option<Vec<(String, Option<String>)>>,
}

/// Reads the outline of a PUT to a package. `attached` names the attached package, if any.
///
/// # Errors
/// 400 with what is wrong.
pub fn read_put(name: &NpmName, outline: &[u8], attached: Option<&str>) -> Result<Put> {
    let body = RawObject::parse_bytes(outline).ok_or_else(|| Error::bad_request("the body is not a JSON object"))?;
    for key in ["_id", "name"] {
        if let Some(named) = body.string(key).filter(|named| named != name.as_str()) {
            return Err(Error::bad_request(format!("the body is about {:?}, but the URL is about {:?}", shorten(&named), name.as_str())));
        }
    }
    let versions = body.object("versions");
    let Some(attached) = attached else {
        let read = |text: &str| RawObject::parse(text).and_then(|metadata| metadata.string("deprecated")).filter(|message| !message.is_empty());
        let versions = versions.map(|versions| versions.members().map(|(version, text)| (version.to_owned(), read(text))).collect());
        return Ok(Put::Edit(Edit { rev: body.string("_rev"), versions }));
    };
    let versions = versions.ok_or_else(|| Error::bad_request("the body has no \"versions\""))?;
    let mut members = versions.members();
    let (Some((version, text)), None) = (members.next(), members.next()) else {
        return Err(Error::bad_request("a publish has exactly one version"));
    };
    parse_new(version)?;
    if text.len() as u64 > MAX_MANIFEST {
        return Err(Error::too_large(format!("the metadata of a version may have at most {MAX_MANIFEST} bytes")));
    }
    let mut manifest: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Error::bad_request("the version's metadata is not a JSON object of reasonable depth"))?;
    let says = |key: &str| manifest.get(key).and_then(Value::as_str);
    if says("name") != Some(name.as_str()) || says("version") != Some(version) {
        return Err(Error::bad_request("the version's metadata has another name or version than its place in the body"));
    }
    if ![name.as_str(), name.base()].into_iter().any(|name| attached == format!("{name}-{version}.tgz")) {
        return Err(Error::bad_request(format!("the attachment {:?} is not called like the package and its version", shorten(attached))));
    }
    for key in ["readme", "readmeFilename"] {
        if !manifest.contains_key(key)
            && let Some(text) = body.string(key)
        {
            manifest.insert(key.to_owned(), text.into());
        }
    }
    let attachment = body.object("_attachments").and_then(|attachments| attachments.object(attached)).unwrap_or_default();
    let publication = Publication {
        version: version.to_owned(),
        tags: read_tags(&body, version)?,
        manifest,
        length: attachment.get("length").and_then(|text| text.parse().ok()),
    };
    Ok(Put::Publication(Box::new(publication)))
}

fn read_tags(body: &RawObject<'_>, version: &str) -> Result<Vec<String>> {
    let tags = body.object("dist-tags").unwrap_or_default();
    let mut read = Vec::new();
    for (tag, target) in tags.members() {
        check_tag(tag)?;
        if serde_json::from_str::<String>(target).ok().as_deref() != Some(version) {
            return Err(Error::bad_request(format!("the tag {tag:?} must lead to the version that is published; move other tags by `npm dist-tag`")));
        }
        read.push(tag.to_owned());
    }
    if read.is_empty() {
        read.push(String::from("latest"));
    }
    Ok(read)
}

/// What is known of a version's package once it was read.
#[derive(Debug, Clone)]
pub struct Facts {
    /// SHA-512, as clients check it.
    pub integrity: String,
    /// SHA-1 in hexadecimal.
    pub shasum: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in those files.
    pub unpacked: u64,
    /// Our signature of name, version and integrity.
    pub signature: Signature,
    /// What kind of statement is attached, if any.
    pub predicate_type: Option<String>,
}

/// What a signature of a version covers.
#[must_use]
pub fn signed_text(name: &NpmName, version: &str, integrity: &str) -> String {
    format!("{}@{version}:{integrity}", name.as_str())
}

/// The document of a version: what the client published, and `dist` by what arrived.
#[must_use]
pub fn version_document(name: &NpmName, version: &str, published: Map<String, Value>, facts: &Facts, publisher: &str) -> Map<String, Value> {
    let mut document = published;
    let mut dist = Map::new();
    dist.insert(String::from("integrity"), facts.integrity.clone().into());
    dist.insert(String::from("shasum"), facts.shasum.clone().into());
    dist.insert(String::from("fileCount"), facts.files.into());
    dist.insert(String::from("unpackedSize"), facts.unpacked.into());
    if let Some(predicate_type) = &facts.predicate_type {
        let url = encode_path(&name.attestations_path(version));
        dist.insert(String::from("attestations"), json!({"url": url, "provenance": {"predicateType": predicate_type}}));
    }
    dist.insert(String::from("signatures"), json!([{"keyid": facts.signature.key_id, "sig": facts.signature.signature}]));
    document.insert(String::from("_id"), format!("{}@{version}", name.as_str()).into());
    document.insert(String::from("_npmUser"), json!({"name": publisher}));
    document.insert(String::from("dist"), dist.into());
    document
}

/// The document of a package after a change. `latest` is the document of the version to which that tag leads now, where
/// that may have changed; else what is shown stays. `publisher` becomes maintainer of a package that has none.
#[must_use]
pub fn package_document(previous: Option<&str>, tags: &BTreeMap<String, String>, latest: Option<&Map<String, Value>>, publisher: &str) -> String {
    let previous = previous.and_then(RawObject::parse).unwrap_or_default();
    let mut members: Vec<(&str, String)> = Vec::new();
    for (key, text) in previous.members() {
        if latest.is_none() || !SHOWN.contains(&key) {
            members.push((key, text.to_owned()));
        }
    }
    if previous.get("maintainers").is_none() {
        members.push(("maintainers", json!([{"name": publisher, "email": ""}]).to_string()));
    }
    let shown = SHOWN.into_iter().filter_map(|key| Some((key, latest?.get(key)?.to_string())));
    members.extend(shown);
    write_package_document(tags, members.iter().map(|(key, text)| (*key, text.as_str())))
}

/// Attestations as they are served, and the type of what they say, from the bundle that a client attached.
///
/// # Errors
/// 400 when it is no such bundle, 422 when it speaks of another package.
pub fn read_provenance(bundle: &[u8], sha512: &str) -> Result<(Vec<u8>, String)> {
    let refuse = || Error::bad_request("the attached provenance is not a Sigstore bundle with an in-toto statement");
    let object = RawObject::parse_bytes(bundle).ok_or_else(refuse)?;
    let payload = object.object("dsseEnvelope").and_then(|envelope| envelope.string("payload")).ok_or_else(refuse)?;
    let payload = base64::engine::general_purpose::STANDARD.decode(payload).map_err(|_| refuse())?;
    let statement: Value = serde_json::from_slice(&payload).map_err(|_| refuse())?;
    let predicate_type = statement.get("predicateType").and_then(Value::as_str).ok_or_else(refuse)?.to_owned();
    let subjects = statement.get("subject").and_then(Value::as_array).ok_or_else(refuse)?;
    let speaks_of_it =
        subjects.iter().any(|subject| subject.pointer("/digest/sha512").and_then(Value::as_str).is_some_and(|digest| digest.eq_ignore_ascii_case(sha512)));
    if !speaks_of_it {
        return Err(Error::unprocessable("the attached provenance is about another package: no subject has the SHA-512 of this one"));
    }
    let mut document = format!("{{\"attestations\":[{{\"predicateType\":{},\"bundle\":", Value::from(predicate_type.as_str())).into_bytes();
    document.extend_from_slice(bundle);
    document.extend_from_slice(b"}]}");
    Ok((document, predicate_type))
}

/// The state that a `_rev` names; ours are the numbers of revisions.
#[must_use]
pub fn parse_rev(rev: &str) -> Option<u64> {
    rev.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Facts, Put, package_document, read_provenance, read_put, version_document};
    use crate::name::NpmName;
    use crate::testing::minimal_publish;
    use base64::Engine as _;
    use entrepot_kit::Signature;
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn read(body: &Value) -> Result<Put, u16> {
        let name = NpmName::parse_lenient("@acme/widget").unwrap();
        let attached = body.get("_attachments").and_then(Value::as_object).and_then(|attachments| attachments.keys().next());
        read_put(&name, body.to_string().as_bytes(), attached.map(String::as_str)).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn a_publish_is_read() {
        let Ok(Put::Publication(publication)) = read(&minimal_publish("@acme/widget", "1.0.0")) else { panic!("not a publication") };
        assert_eq!((publication.version.as_str(), publication.tags.as_slice()), ("1.0.0", [String::from("latest")].as_slice()));
        assert!(publication.length.is_some());
        assert_eq!(publication.manifest["readme"], "# A small package");
    }

    #[test]
    fn a_publish_that_contradicts_itself_is_refused() {
        type Spoil = fn(&mut Value);
        let edits: [(&str, Spoil); 9] = [
            ("another name", |body| body["name"] = json!("@acme/other")),
            ("another id", |body| body["_id"] = json!("@acme/other")),
            ("two versions", |body| body["versions"]["2.0.0"] = json!({})),
            ("no version", |body| body["versions"] = json!({})),
            ("another version inside", |body| body["versions"]["1.0.0"]["version"] = json!("1.0.1")),
            ("another name inside", |body| body["versions"]["1.0.0"]["name"] = json!("x")),
            ("a tag elsewhere", |body| body["dist-tags"]["latest"] = json!("0.9.0")),
            ("a range as tag", |body| body["dist-tags"]["^1"] = json!("1.0.0")),
            ("another attachment", |body| body["_attachments"] = json!({"x-1.0.0.tgz": {"data": ""}})),
        ];
        for (what, edit) in edits {
            let mut body = minimal_publish("@acme/widget", "1.0.0");
            edit(&mut body);
            assert_eq!(read(&body).map(|_| ()), Err(400), "{what}");
        }
        assert_eq!(read(&minimal_publish("@acme/widget", "v1")).map(|_| ()), Err(400));
        assert_eq!(read(&json!([])).map(|_| ()), Err(400));
    }

    #[test]
    fn an_edit_is_read() {
        let Ok(Put::Edit(edit)) = read(&json!({"_id": "@acme/widget", "_rev": "3", "versions": {"1.0.0": {"deprecated": "old"}, "2.0.0": {"deprecated": ""}}}))
        else {
            panic!("not an edit")
        };
        assert_eq!(edit.rev.as_deref(), Some("3"));
        assert_eq!(edit.versions, Some(vec![(String::from("1.0.0"), Some(String::from("old"))), (String::from("2.0.0"), None)]));
        assert!(matches!(read(&json!({"maintainers": []})), Ok(Put::Edit(edit)) if edit.versions.is_none()));
    }

    #[test]
    fn documents_show_the_latest_version() {
        let tags = BTreeMap::from([(String::from("latest"), String::from("1.0.0"))]);
        let first = json!({"description": "one", "readme": "# one", "main": "x"});
        let document = package_document(None, &tags, first.as_object(), "bob");
        let parsed: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(parsed, json!({"dist-tags": {"latest": "1.0.0"}, "maintainers": [{"name": "bob", "email": ""}], "description": "one", "readme": "# one"}));
        let kept: Value = serde_json::from_str(&package_document(Some(&document), &tags, None, "eve")).unwrap();
        assert_eq!(kept, parsed);
        let second: Value = serde_json::from_str(&package_document(Some(&document), &tags, json!({"description": "two"}).as_object(), "eve")).unwrap();
        assert_eq!(second, json!({"dist-tags": {"latest": "1.0.0"}, "maintainers": [{"name": "bob", "email": ""}], "description": "two"}));
    }

    #[test]
    fn dist_says_what_arrived() {
        let name = NpmName::parse_lenient("@acme/widget").unwrap();
        let Ok(Put::Publication(publication)) = read(&minimal_publish("@acme/widget", "1.0.0")) else { panic!("not a publication") };
        let signature = Signature { key_id: String::from("SHA256:k"), signature: String::from("s") };
        let facts = Facts { integrity: String::from("sha512-x"), shasum: String::from("00"), files: 2, unpacked: 9, signature, predicate_type: None };
        let document = version_document(&name, &publication.version, publication.manifest, &facts, "bob");
        assert_eq!(
            document["dist"],
            json!({"integrity": "sha512-x", "shasum": "00", "fileCount": 2, "unpackedSize": 9, "signatures": [{"keyid": "SHA256:k", "sig": "s"}]})
        );
        assert_eq!(document["_npmUser"], json!({"name": "bob"}));
    }

    #[test]
    fn provenance_must_be_about_the_package() {
        let bundle = |digest: &str| {
            let statement = json!({"predicateType": "https://slsa.dev/provenance/v1", "subject": [{"name": "pkg:npm/a@1.0.0", "digest": {"sha512": digest}}]});
            json!({"mediaType": "x", "dsseEnvelope": {"payload": base64::engine::general_purpose::STANDARD.encode(statement.to_string())}}).to_string()
        };
        let (document, predicate_type) = read_provenance(bundle("ab").as_bytes(), "ab").unwrap();
        assert_eq!(predicate_type, "https://slsa.dev/provenance/v1");
        let document: Value = serde_json::from_slice(&document).unwrap();
        assert_eq!(document["attestations"][0]["bundle"]["mediaType"], "x");
        assert_eq!(read_provenance(bundle("cd").as_bytes(), "ab").unwrap_err().status(), 422);
        for bad in ["", "{}", r#"{"dsseEnvelope":{"payload":"!"}}"#, r#"{"dsseEnvelope":{"payload":"e30="}}"#] {
            assert_eq!(read_provenance(bad.as_bytes(), "ab").unwrap_err().status(), 400, "{bad}");
        }
    }
}
