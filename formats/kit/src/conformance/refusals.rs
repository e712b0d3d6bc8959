//! Cases about refusals: missing, private, hostile.

use http::{Method, StatusCode};

use super::client::{Client, ask_for, ensure, said};
use super::{Ask, Specimen, Subject};

const NAME: &str = "conform-refusals";

/// Paths that could mean another path to someone else. No format serves them.
const HOSTILE_PATHS: [&str; 14] = [
    "%2e%2e/%2e%2e/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "a/%2e%2e/b",
    "a/../b",
    "../../api/v1/users",
    "a/./b",
    "a//b",
    "a%5c..%5cb",
    "a%00b",
    "a%0d%0ax-injected:%20yes",
    "%ff%fe",
    "%c0%ae%c0%ae/a",
    "a%zz",
    "a%2f..%2f..%2fb",
];

/// A file, package or version that is not there is 404 in the format's words, in hosted, proxy and group.
///
/// # Errors
/// What was asked and what came instead.
pub async fn missing_is_404(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "missing");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, "1.0.0", "there").await?;
    let mut asks = vec![Ask::get(specimen.file_path(NAME, "6.6.6")), Ask::get(specimen.file_path("conform-absent", "1.0.0"))];
    asks.extend(specimen.indexes("conform-absent").iter().map(ask_for));
    for repository in trio.all() {
        for ask in &asks {
            for ask in [ask.clone(), ask.clone().anonymously()] {
                let reply = client.expect(repository, ask.clone(), StatusCode::NOT_FOUND).await?;
                client.error_is_well_put(&said(repository, &ask), &reply)?;
                let head = client.expect(repository, Ask { method: Method::HEAD, ..ask.clone() }, StatusCode::NOT_FOUND).await?;
                ensure!(head.body.is_empty(), "HEAD {repository}/{}: expected no body, came {}", ask.path, head.describe());
            }
        }
    }
    Ok(())
}

/// Anonymous callers get 401 for whatever they ask of a private repository, and of one that does not exist: the same answer.
///
/// # Errors
/// What was asked and what came instead.
pub async fn private_is_hidden(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "private");
    let hosted = client.hosted("hosted", false).await?;
    let public = client.hosted("public", true).await?;
    let absent = format!("{}-private-absent", specimen.format());
    client.publish(&hosted, NAME, "1.0.0", "secret").await?;
    client.file_is(&hosted, NAME, "1.0.0", "secret").await?;
    let revision = client.revision(&hosted).await?;
    let mut asks = vec![Ask::get(specimen.file_path(NAME, "1.0.0")), Ask::get(specimen.file_path(NAME, "6.6.6"))];
    asks.extend(specimen.indexes(NAME).iter().map(ask_for));
    asks.extend(specimen.publish(NAME, "2.0.0", "intruder"));
    for ask in asks {
        let ask = ask.anonymously();
        for repository in [hosted.clone(), absent.clone(), format!("{hosted}.at-r{revision}")] {
            let reply = client.expect(&repository, ask.clone(), StatusCode::UNAUTHORIZED).await?;
            let asked = said(&repository, &ask);
            ensure!(!reply.header("www-authenticate").is_empty(), "{asked}: a 401 says WWW-Authenticate, came {:?}", reply.headers);
            let leaks = reply.body.windows(6).any(|window| window == b"secret");
            ensure!(!leaks, "{asked}: the answer gives the content away: {}", reply.describe());
        }
    }
    client.expect(&absent, Ask::get(specimen.file_path(NAME, "1.0.0")), StatusCode::NOT_FOUND).await?;
    for ask in specimen.publish(NAME, "1.0.0", "nobody") {
        client.expect(&public, ask.anonymously(), StatusCode::UNAUTHORIZED).await?;
    }
    for (repository, wanted) in [(&hosted, revision), (&public, 0)] {
        let now = client.revision(repository).await?;
        ensure!(now == wanted, "{repository}: refused requests change nothing; expected revision {wanted}, came {now}");
    }
    Ok(())
}

/// Hostile paths and the specimen's hostile requests are refused with 4xx and change nothing.
///
/// # Errors
/// What was asked and what came instead.
pub async fn hostile_requests_change_nothing(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "hostile");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, "1.0.0", "there").await?;
    let revision = client.revision(&trio.hosted).await?;
    let mut asks = specimen.hostile();
    let deep = "a/".repeat(200);
    let long = "a".repeat(5000);
    for path in HOSTILE_PATHS.into_iter().chain([deep.as_str(), long.as_str()]) {
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
            asks.push(Ask { body: "hostile".into(), ..Ask::new(method, path) });
        }
    }
    for repository in trio.all() {
        for ask in &asks {
            let asked = said(repository, ask);
            let reply = client.send(repository, ask.clone()).await?;
            ensure!(reply.status.is_client_error(), "{asked}: expected a refusal with 4xx, came {}", reply.describe());
            ensure!(!reply.headers.contains_key("x-injected"), "{asked}: a header was injected: {:?}", reply.headers);
        }
    }
    let now = client.revision(&trio.hosted).await?;
    ensure!(now == revision, "{}: hostile requests change nothing; expected revision {revision}, came {now}", trio.hosted);
    client.file_is(&trio.hosted, NAME, "1.0.0", "there").await?;
    Ok(())
}
