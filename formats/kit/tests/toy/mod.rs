//! A toy format: packages with versions, a file each, and one JSON index. It shows all that a format must say to be served
//! as hosted, proxy and group.

use bytes::Bytes;
use entrepot_kit::conformance::{Ask, Reply, Specimen, Variant};
use entrepot_kit::records::{BASE_MARK, write_fragment};
use entrepot_kit::{
    BaseUrl, Birth, BlobSource, Change, Death, Delete, Digests, Error, Format, Fragment, Handler, Index, Located, Precondition, Publish, Read, Records,
    Repository, Request, Response, Result, Route, RouteTable, Sha256Digest, StageSpec, UpstreamIndex, UpstreamPath, VersionRecord,
};
use futures::FutureExt as _;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

pub(crate) struct Toy;

static ROUTES: [Route; 4] = [
    Route { name: "index", method: Method::GET, template: "{package}", package: Some("package"), handler: Handler::Read(|r, q| index(r, q).boxed()) },
    Route { name: "file", method: Method::GET, template: "{package}/{version}", package: Some("package"), handler: Handler::Read(|r, q| file(r, q).boxed()) },
    Route { name: "put", method: Method::PUT, template: "{package}/{version}", package: Some("package"), handler: Handler::Publish(|r, q| put(r, q).boxed()) },
    Route { name: "delete", method: Method::DELETE, template: "{package}", package: Some("package"), handler: Handler::Delete(|r, q| delete(r, q).boxed()) },
];

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('.') && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
}

/// Package and version of a file's path.
fn parse(path: &str) -> Result<(&str, &str)> {
    path.split_once('/').filter(|(package, version)| is_name(package) && is_name(version)).ok_or_else(|| Error::bad_request("a file is NAME/VERSION"))
}

async fn index(repository: Repository<Read>, request: Request) -> Result<Response> {
    let package = request.captures.get("package");
    let index = Index { package, variant: "index", fragments: "index", content_type: "application/json", render };
    repository.document(index).await?.map(Response::document).ok_or_else(|| Error::not_found(format!("there is no package {package:?}")))
}

fn render(records: &Records, base: &BaseUrl, _variant: &str) -> Result<Vec<u8>> {
    let mut out = format!("{{\"name\":{},\"versions\":{{", json!(records.package)).into_bytes();
    for (position, record) in records.versions.iter().enumerate() {
        out.extend_from_slice(if position == 0 { b"" } else { b"," });
        write_fragment(&mut out, &record.bytes, &base.to_string());
    }
    out.extend_from_slice(b"}}");
    Ok(out)
}

fn fragment(package: &str, version: &str, sha256: &Value) -> Bytes {
    format!("\"{version}\":{{\"file\":\"{}/{package}/{version}\",\"sha256\":{sha256}}}", char::from(BASE_MARK)).into()
}

async fn file(repository: Repository<Read>, request: Request) -> Result<Response> {
    Ok(Response::file(repository.file(&request.path.joined()).await?))
}

async fn put(repository: Repository<Publish>, request: Request) -> Result<Response> {
    let path = request.path.joined();
    let (package, version) = parse(&path).map(|(package, version)| (package.to_owned(), version.to_owned()))?;
    let staged = repository.stage_body(StageSpec::default(), request.body).await?;
    let document = json!({ "sha256": staged.digest() }).to_string();
    let blob = BlobSource::Staged(staged);
    let (of, birth) = (Some(package.clone()), Birth::Package { package: package.clone(), document: String::from("{}"), terms: vec![package.clone()] });
    let change = Change::new("publish", format!("{package} {version}"))
        .only_if(Precondition::VersionNew { package: package.clone(), version: version.clone() })
        .begin(birth)
        .begin(Birth::Version { package, version: version.clone(), document })
        .begin(Birth::Entry { path, package: of, version: Some(version), blob, content_type: None, data: String::new() });
    repository.commit(change).await?;
    Ok(Response::empty(StatusCode::CREATED))
}

async fn delete(repository: Repository<Delete>, request: Request) -> Result<Response> {
    let package = request.captures.get("package").to_owned();
    repository.package(&package).await?.ok_or_else(|| Error::not_found(format!("there is no package {package:?}")))?;
    repository.commit(Change::new("delete", package.clone()).end(Death::Package(package))).await?;
    Ok(Response::empty(StatusCode::NO_CONTENT))
}

/// The versions of an index document.
fn versions(document: &Bytes) -> Result<Map<String, Value>> {
    let mut index: Value = serde_json::from_slice(document).map_err(|_| Error::bad_gateway("the upstream's index is not JSON"))?;
    index.get_mut("versions").and_then(Value::as_object_mut).map(std::mem::take).ok_or_else(|| Error::bad_gateway("the upstream's index has no versions"))
}

impl Format for Toy {
    fn id(&self) -> &'static str {
        "toy"
    }
    fn routes(&self) -> RouteTable {
        RouteTable(&ROUTES)
    }
    fn fragments(&self, package: &str, version: &str, document: &str) -> Result<Vec<Fragment>> {
        let document: Value = serde_json::from_str(document).map_err(Error::internal)?;
        let bytes = fragment(package, version, document.get("sha256").unwrap_or(&Value::Null));
        Ok(vec![Fragment { kind: "index", bytes }])
    }
    fn package_of(&self, path: &str) -> Option<String> {
        path.split('/').next().map(str::to_owned)
    }
    fn classify(&self, path: &str) -> UpstreamPath {
        parse(path).map_or(UpstreamPath::NotOurs, |(package, _)| UpstreamPath::Needs { package: package.to_owned() })
    }
    fn upstream_index(&self, package: &str) -> Option<UpstreamIndex> {
        is_name(package).then(|| UpstreamIndex::whole(package, "application/json"))
    }
    fn upstream_records(&self, package: &str, document: &Bytes, _fragments: &'static str) -> Result<Records> {
        let known = versions(document)?.into_iter().filter(|(version, _)| is_name(version));
        let record = |(version, state): (String, Value)| {
            let bytes = fragment(package, &version, state.get("sha256").unwrap_or(&Value::Null));
            VersionRecord { version, published: None, bytes }
        };
        Ok(Records { package: package.to_owned(), versions: known.map(record).collect(), stamp: Sha256Digest::of(document).hex(), ..Records::default() })
    }
    fn locate(&self, path: &str, package: &str, document: &Bytes) -> Result<Option<Located>> {
        let (_, version) = parse(path)?;
        let (known, mut expected) = (versions(document)?, Digests::new());
        let Some(sha256) = known.get(version).and_then(|state| state.get("sha256")?.as_str()) else { return Ok(None) };
        expected.insert_hex(entrepot_kit::Algorithm::Sha256, sha256);
        Ok(Some(Located::at(format!("{package}/{version}"), expected, Some(version.to_owned()))))
    }
}

impl Specimen for Toy {
    fn format(&self) -> &'static str {
        self.id()
    }
    fn publish(&self, name: &str, version: &str, filling: &str) -> Vec<Ask> {
        vec![Ask::put(self.file_path(name, version), self.file(name, version, filling))]
    }
    fn file(&self, name: &str, version: &str, filling: &str) -> Bytes {
        format!("a toy called {name} {version}, filled with {filling}").into()
    }
    fn file_path(&self, name: &str, version: &str) -> String {
        format!("{name}/{version}")
    }
    fn indexes(&self, name: &str) -> Vec<Variant> {
        vec![Variant { path: name.to_owned(), accept: None }]
    }
    fn remove(&self, name: &str, _changed: u64) -> Vec<Ask> {
        vec![Ask::new(Method::DELETE, name)]
    }
    fn hostile(&self) -> Vec<Ask> {
        ["UPPER/1.0.0", ".hidden/1.0.0", "name/%3Cscript%3E", "a%22b/1.0.0", "a%2fb/1.0.0"].into_iter().map(|path| Ask::put(path, "hostile")).collect()
    }
    fn check_error(&self, reply: &Reply) -> Result<(), String> {
        let body: Value = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        body.get("error").and_then(Value::as_str).map(drop).ok_or_else(|| String::from("no \"error\""))
    }
}
