//! Reads of documents that are asked for over and over, and of files: ours beside nginx with the very bytes that we answered.

use std::fs;
use std::path::Path;

use reqwest::{Client, Method};

use crate::packages::{ABBREVIATED, SIMPLE_JSON, SMALL, helm_push, maven_deploy, noise, npm_publish, pypi_upload};
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::traffic::{self, Figures, Read, send_all, succeeded};
use crate::{Plan, Result};

/// Versions of the packages whose documents are read.
const VERSIONS: usize = 200;

/// Charts in the index, and versions of each.
const CHARTS: (usize, usize) = (1000, 5);

/// Connections that are kept busy with documents.
const CONNECTIONS: usize = 64;

/// A document that is read.
struct Document {
    case: &'static str,
    path: &'static str,
    accept: &'static str,
    gzip: bool,
    /// Where verdaccio has the same.
    verdaccio: Option<&'static str>,
}

const fn document(case: &'static str, path: &'static str, accept: &'static str, gzip: bool, verdaccio: Option<&'static str>) -> Document {
    Document { case, path, accept, gzip, verdaccio }
}

const DOCUMENTS: [Document; 11] = [
    document("packument, full", "/main/npm/bench-200", "application/json", false, Some("/bench-200")),
    document("packument, full, gzip", "/main/npm/bench-200", "application/json", true, Some("/bench-200")),
    document("packument, abbreviated", "/main/npm/bench-200", ABBREVIATED, false, Some("/bench-200")),
    document("packument, abbreviated, gzip", "/main/npm/bench-200", ABBREVIATED, true, Some("/bench-200")),
    document("PyPI page, HTML", "/main/pypi/simple/bench-200/", "text/html", false, None),
    document("PyPI page, HTML, gzip", "/main/pypi/simple/bench-200/", "text/html", true, None),
    document("PyPI page, JSON", "/main/pypi/simple/bench-200/", SIMPLE_JSON, false, None),
    document("PyPI page, JSON, gzip", "/main/pypi/simple/bench-200/", SIMPLE_JSON, true, None),
    document("maven-metadata.xml", "/main/maven/org/bench/bench-200/maven-metadata.xml", "*/*", false, None),
    document("Helm index", "/main/helm/index.yaml", "*/*", false, None),
    document("Helm index, gzip", "/main/helm/index.yaml", "*/*", true, None),
];

/// A file that is read.
struct Blob {
    case: &'static str,
    name: &'static str,
    size: usize,
    connections: usize,
}

const BLOBS: [Blob; 3] = [
    Blob { case: "tarball of 1 KiB", name: "bench-blob-1k", size: 1024, connections: 32 },
    Blob { case: "tarball of 1 MiB", name: "bench-blob-1m", size: 1 << 20, connections: 32 },
    Blob { case: "tarball of 100 MiB", name: "bench-blob-100m", size: 100 << 20, connections: 4 },
];

/// Measures both.
pub(crate) async fn run(plan: &Plan, report: &mut Report) -> Result<()> {
    let entrepot = Peer::entrepot(&peers::fresh(plan, "documents")?).await?;
    let verdaccio = Peer::verdaccio(&peers::fresh(plan, "verdaccio")?).await?;
    let folder = peers::fresh(plan, "nginx")?;
    let nginx = Peer::nginx(&folder).await?;
    let client = traffic::client()?;
    if plan.has("documents") {
        report.section("Filling: 200 versions for each format, 5,000 charts");
        seed(&entrepot, &verdaccio, &client).await?;
        report.section("Documents, 64 connections");
        for document in &DOCUMENTS {
            read_document(plan, report, document, &client, (&entrepot, &nginx, &verdaccio), &folder.join("www")).await?;
        }
    }
    if plan.has("blobs") {
        report.section("Files");
        for blob in &BLOBS {
            read_blob(plan, report, blob, &client, (&entrepot, &nginx), &folder.join("www")).await?;
        }
        small_maven_file(plan, report, &client, (&entrepot, &nginx), &folder.join("www")).await?;
    }
    entrepot.stop()?;
    verdaccio.stop()?;
    nginx.stop()
}

async fn seed(entrepot: &Peer, verdaccio: &Peer, client: &Client) -> Result<()> {
    for version in 0..VERSIONS {
        let version = format!("1.{version}.0");
        succeeded(npm_publish(entrepot, client, "/main/npm", "bench-200", &version, SMALL)?).await?;
        succeeded(npm_publish(verdaccio, client, "", "bench-200", &version, SMALL)?).await?;
        succeeded(pypi_upload(entrepot, client, "bench-200", &version)?).await?;
        for request in maven_deploy(entrepot, client, "bench-200", &version, SMALL) {
            succeeded(request).await?;
        }
    }
    let (charts, versions) = CHARTS;
    for chart in 0..charts {
        let pushes: Result<Vec<_>> =
            (0..versions).map(|version| helm_push(entrepot, client, &format!("chart-{chart:04}"), &format!("1.{version}.0"))).collect();
        send_all(entrepot, 4, pushes?).await?;
    }
    Ok(())
}

/// The bytes that we answer are laid where nginx finds them, as a file, or compressed beside one.
async fn read_document(plan: &Plan, report: &mut Report, document: &Document, client: &Client, servers: (&Peer, &Peer, &Peer), www: &Path) -> Result<()> {
    let (entrepot, nginx, verdaccio) = servers;
    let mut headers = vec![("Accept", document.accept)];
    if document.gzip {
        headers.push(("Accept-Encoding", "gzip"));
    }
    let mut request = client.request(Method::GET, format!("{}{}", entrepot.base, document.path));
    for (name, value) in &headers {
        request = request.header(*name, *value);
    }
    let body = succeeded(request).await?;
    let name = document.case.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let copy = if document.gzip {
        fs::write(www.join(format!("gz/{name}.gz")), &body)?;
        format!("/gz/{name}")
    } else {
        fs::write(www.join(&name), &body)?;
        format!("/{name}")
    };
    let read = |path| Read { path, headers: &headers, connections: CONNECTIONS, size: 0 };
    let figures = traffic::compare(plan, &[(entrepot, read(document.path)), (nginx, read(&copy))])?;
    let case = format!("{} ({} KB)", document.case, body.len() / 1000);
    judge(report, &case, document.case, &figures, 0.9)?;
    if let (Some(path), Some(ours)) = (document.verdaccio, figures.first()) {
        let short = Plan { parts: Vec::new(), rounds: 1, seconds: plan.seconds, million: false, folder: plan.folder.clone() };
        let theirs = traffic::compare(&short, &[(verdaccio, read(path))])?.into_iter().next().unwrap_or_default();
        report.row(&case, verdaccio.name, &theirs)?;
        report.at_least(&format!("{}: times verdaccio's requests per CPU second", document.case), ours.per_cpu_second() / theirs.per_cpu_second(), 100.0)?;
    }
    Ok(())
}

fn judge(report: &mut Report, case: &str, what: &str, figures: &[Figures], goal: f64) -> Result<()> {
    let [ours, limit] = figures else { return Err("two servers were to be compared".into()) };
    report.row(case, "entrepot", ours)?;
    report.row(case, "nginx", limit)?;
    if ours.bytes > 0.0 && goal > 1.0 {
        report.at_most(&format!("{what}: nginx's CPU seconds per GiB, times"), ours.cpu_per_gib() / limit.cpu_per_gib(), goal)
    } else {
        report.at_least(&format!("{what}: part of nginx's requests per CPU second"), ours.per_cpu_second() / limit.per_cpu_second(), goal)
    }
}

async fn read_blob(plan: &Plan, report: &mut Report, blob: &Blob, client: &Client, servers: (&Peer, &Peer), www: &Path) -> Result<()> {
    let (entrepot, nginx) = servers;
    succeeded(npm_publish(entrepot, client, "/main/npm", blob.name, "1.0.0", blob.size)?).await?;
    let path = format!("/main/npm/{0}/-/{0}-1.0.0.tgz", blob.name);
    let body = succeeded(client.get(format!("{}{path}", entrepot.base))).await?;
    fs::write(www.join(blob.name), &body)?;
    let copy = format!("/{}", blob.name);
    let read = |path| Read { path, headers: &[], connections: blob.connections, size: body.len() as u64 };
    let figures = traffic::compare(plan, &[(entrepot, read(&path)), (nginx, read(&copy))])?;
    judge(report, blob.case, blob.case, &figures, if blob.size > SMALL { 2.5 } else { 0.8 })
}

async fn small_maven_file(plan: &Plan, report: &mut Report, client: &Client, servers: (&Peer, &Peer), www: &Path) -> Result<()> {
    let (entrepot, nginx) = servers;
    for request in maven_deploy(entrepot, client, "bench-blob", "1.0.0", 1024) {
        succeeded(request).await?;
    }
    fs::write(www.join("bench-blob.jar"), noise(1024, 1024))?;
    let read = |path| Read { path, headers: &[], connections: 32, size: 0 };
    let path = "/main/maven/org/bench/bench-blob/1.0.0/bench-blob-1.0.0.jar";
    let figures = traffic::compare(plan, &[(entrepot, read(path)), (nginx, read("/bench-blob.jar"))])?;
    judge(report, "jar of 1 KiB", "jar of 1 KiB", &figures, 0.9)
}
