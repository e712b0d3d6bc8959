//! Packages as the clients of each format send them.

use std::io::{Cursor, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::Result;
use crate::peers::Peer;

/// The content type by which npm asks for the short packument.
pub(crate) const ABBREVIATED: &str = "application/vnd.npm.install-v1+json";

/// The content type by which pip asks for a page in JSON.
pub(crate) const SIMPLE_JSON: &str = "application/vnd.pypi.simple.v1+json";

/// A small package, as most are.
pub(crate) const SMALL: usize = 10 * 1024;

/// Bytes that do not compress, other ones for other seeds.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes
}

/// Packed at zlib's usual level: the fastest one writes what does not compress as Huffman codes, which no client's packer does.
fn tarball(files: &[(String, &[u8])]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, path, *bytes)?;
    }
    Ok(archive.into_inner()?.finish()?)
}

/// The document that `npm publish` sends, for a package of about `size` bytes.
pub(crate) fn npm(name: &str, version: &str, size: usize) -> Result<Vec<u8>> {
    let members = |prefix: &str, count: usize| -> Map<String, Value> { (0..count).map(|i| (format!("{prefix}-{i}"), json!(format!("^{i}.{i}.0")))).collect() };
    let mut manifest = json!({
        "name": name, "version": version, "description": "A package of the benchmark", "main": "index.js", "license": "MIT",
        "scripts": { "test": "node test.js", "build": "tsc -p .", "lint": "eslint ." }, "keywords": ["bench", "registry", "npm"],
        "author": { "name": "Bench", "email": "bench@registry.example" }, "engines": { "node": ">=18" },
        "repository": { "type": "git", "url": "git+https://registry.example/bench.git" },
        "dependencies": members("dependency", 15), "devDependencies": members("dev-dependency", 10),
    });
    let random = noise(size.saturating_sub(1200), size as u64);
    let package = tarball(&[(String::from("package/package.json"), manifest.to_string().as_bytes()), (String::from("package/data.bin"), &random)])?;
    let file = format!("{name}-{version}.tgz");
    let dist = json!({
        "shasum": hex::encode(sha1::Sha1::digest(&package)),
        "integrity": format!("sha512-{}", STANDARD.encode(Sha512::digest(&package))),
        "tarball": format!("http://registry.example/{name}/-/{file}"),
    });
    if let Some(manifest) = manifest.as_object_mut() {
        manifest.extend([
            (String::from("_id"), json!(format!("{name}@{version}"))),
            (String::from("_nodeVersion"), json!("20.0.0")),
            (String::from("_npmVersion"), json!("10.0.0")),
            (String::from("dist"), dist),
        ]);
    }
    let document = json!({
        "_id": name, "name": name, "description": "A package of the benchmark", "dist-tags": { "latest": version }, "versions": { version: manifest },
        "access": null, "readme": format!("# bench\n{}", "text ".repeat(50)),
        "_attachments": { file: { "content_type": "application/octet-stream", "data": STANDARD.encode(&package), "length": package.len() } },
    });
    Ok(document.to_string().into_bytes())
}

/// `npm publish`. `root` is the path of the registry, without a slash at its end.
pub(crate) fn npm_publish(peer: &Peer, client: &Client, root: &str, name: &str, version: &str, size: usize) -> Result<RequestBuilder> {
    Ok(peer.request(client, Method::PUT, &format!("{root}/{name}")).header("Content-Type", "application/json").body(npm(name, version, size)?))
}

/// `twine upload` of a small wheel.
pub(crate) fn pypi_upload(peer: &Peer, client: &Client, project: &str, version: &str) -> Result<RequestBuilder> {
    const BOUNDARY: &str = "a-boundary-of-the-benchmark";
    let metadata = format!("Metadata-Version: 2.1\nName: {project}\nVersion: {version}\nSummary: A package of the benchmark\nRequires-Python: >=3.8\n");
    let folder = format!("{}-{version}.dist-info", project.replace('-', "_"));
    let code = noise(SMALL, 1);
    let members: [(String, &[u8]); 3] = [
        (format!("{}/data.bin", project.replace('-', "_")), &code),
        (format!("{folder}/METADATA"), metadata.as_bytes()),
        (format!("{folder}/WHEEL"), b"Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n"),
    ];
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let mut record = String::new();
    for (path, bytes) in members {
        let digest = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        record += &format!("{path},sha256={digest},{}\n", bytes.len());
        archive.start_file(path, zip::write::SimpleFileOptions::default())?;
        archive.write_all(bytes)?;
    }
    record += &format!("{folder}/RECORD,,\n");
    archive.start_file(format!("{folder}/RECORD"), zip::write::SimpleFileOptions::default())?;
    archive.write_all(record.as_bytes())?;
    let wheel = archive.finish()?.into_inner();
    let mut body = Vec::new();
    for (name, value) in [
        (":action", "file_upload"),
        ("protocol_version", "1"),
        ("metadata_version", "2.1"),
        ("name", project),
        ("version", version),
        ("filetype", "bdist_wheel"),
        ("pyversion", "py3"),
        ("requires_python", ">=3.8"),
        ("sha256_digest", &hex::encode(Sha256::digest(&wheel))),
    ] {
        write!(body, "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")?;
    }
    let file = format!("{}-{version}-py3-none-any.whl", project.replace('-', "_"));
    write!(body, "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"content\"; filename=\"{file}\"\r\nContent-Type: application/octet-stream\r\n\r\n")?;
    body.extend_from_slice(&wheel);
    write!(body, "\r\n--{BOUNDARY}--\r\n")?;
    Ok(peer.request(client, Method::POST, "/main/pypi/").header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}")).body(body))
}

/// What `mvn deploy` puts for a version, but for its metadata: a jar and a project file.
pub(crate) fn maven_deploy(peer: &Peer, client: &Client, artifact: &str, version: &str, size: usize) -> Vec<RequestBuilder> {
    let project = format!(
        "<project><modelVersion>4.0.0</modelVersion><groupId>org.bench</groupId><artifactId>{artifact}</artifactId><version>{version}</version></project>"
    );
    [("jar", noise(size, size as u64)), ("pom", project.into_bytes())]
        .into_iter()
        .map(|(extension, body)| {
            let path = format!("/main/maven/org/bench/{artifact}/{version}/{artifact}-{version}.{extension}");
            peer.request(client, Method::PUT, &path).body(body)
        })
        .collect()
}

/// A chart, as `helm cm-push` sends it.
pub(crate) fn helm_push(peer: &Peer, client: &Client, name: &str, version: &str) -> Result<RequestBuilder> {
    let metadata = format!(
        "apiVersion: v2\nname: {name}\nversion: {version}\nappVersion: \"1.2.3\"\ndescription: A chart of the benchmark\ntype: application\n\
         home: https://registry.example\nkeywords: [bench, registry]\nmaintainers:\n- name: Bench\n  email: bench@registry.example\n"
    );
    let chart = tarball(&[(format!("{name}/Chart.yaml"), metadata.as_bytes()), (format!("{name}/values.yaml"), b"replicas: 1\n")])?;
    Ok(peer.request(client, Method::POST, "/main/helm/api/charts").header("Content-Type", "application/gzip").body(chart))
}
