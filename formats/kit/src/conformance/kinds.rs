//! Cases about hosted, proxy and group: they answer alike, and a proxy outlives its upstream.

use http::StatusCode;

use super::client::{Client, ensure, said};
use super::{Ask, Specimen, Subject};

const NAME: &str = "conform-kinds";

/// A proxy and a group give the bytes, statuses and indexes of the hosted repository behind them, also after a second publish.
///
/// # Errors
/// What was asked and what came instead.
pub async fn kinds_answer_alike(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "alike");
    let trio = client.trio().await?;
    for (version, filling) in [("1.0.0", "first"), ("1.1.0", "second")] {
        client.publish(&trio.hosted, NAME, version, filling).await?;
        for variant in specimen.indexes(NAME) {
            let wanted = client.comparable_index(&trio.hosted, &variant).await?;
            for repository in [&trio.proxy, &trio.group] {
                let came = client.comparable_index(repository, &variant).await?;
                ensure!(
                    came == wanted,
                    "GET {repository}/{} Accept {:?}: expected the index of the hosted repository {:?}, came {:?}",
                    variant.path,
                    variant.accept,
                    String::from_utf8_lossy(&wanted),
                    String::from_utf8_lossy(&came)
                );
            }
        }
        let hosted = client.file_is(&trio.hosted, NAME, version, filling).await?;
        for repository in [&trio.proxy, &trio.group] {
            // Twice: while it is fetched, and as it is kept.
            client.file_is(repository, NAME, version, filling).await?;
            let reply = client.file_is(repository, NAME, version, filling).await?;
            for header in ["content-type", "etag"] {
                let (wanted, came) = (hosted.header(header), reply.header(header));
                ensure!(came == wanted, "GET {repository}/{}: expected {header} {wanted:?}, came {came:?}", specimen.file_path(NAME, version));
            }
        }
    }
    let path = specimen.file_path("conform-absent", "1.0.0");
    let hosted = client.send(&trio.hosted, Ask::get(path.clone())).await?;
    for repository in [&trio.proxy, &trio.group] {
        client.expect(repository, Ask::get(path.clone()), hosted.status).await?;
    }
    Ok(())
}

/// Publishing to a proxy or a group is 405, in the format's words; a view of the past takes nothing either.
///
/// # Errors
/// What was asked and what came instead.
pub async fn only_hosted_takes_publishes(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "readonly");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, "1.0.0", "kept").await?;
    let revision = client.revision(&trio.hosted).await?;
    let Some(ask) = specimen.publish(NAME, "2.0.0", "refused").into_iter().next() else { return Err(String::from("the specimen has no publish requests")) };
    for repository in [&trio.proxy, &trio.group] {
        let reply = client.expect(repository, ask.clone(), StatusCode::METHOD_NOT_ALLOWED).await?;
        client.error_is_well_put(&said(repository, &ask), &reply)?;
    }
    let past = format!("{}.at-r{revision}", trio.hosted);
    let reply = client.send(&past, ask.clone()).await?;
    ensure!(reply.status.is_client_error(), "{}: the past takes no publish, came {}", said(&past, &ask), reply.describe());
    for repository in trio.all() {
        client.expect(repository, Ask::get(specimen.file_path(NAME, "2.0.0")), StatusCode::NOT_FOUND).await?;
    }
    let now = client.revision(&trio.hosted).await?;
    ensure!(now == revision, "{}: expected the revision to stay {revision}, came {now}", trio.hosted);
    Ok(())
}

/// In a group, a name that a hosted member owns is answered by that member alone, and never asked upstream.
///
/// # Errors
/// What was asked and what came instead.
pub async fn hosted_names_are_not_asked_upstream(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "owned");
    let trio = client.trio().await?;
    let own = client.hosted("own", true).await?;
    let both = client.group("both", &[&own, &trio.proxy]).await?;
    client.publish(&own, NAME, "1.0.0", "ours").await?;
    client.publish(&trio.hosted, NAME, "1.0.0", "theirs").await?;
    client.publish(&trio.hosted, NAME, "9.0.0", "theirs").await?;
    client.publish(&trio.hosted, "conform-other", "1.0.0", "theirs").await?;
    client.file_is(&both, NAME, "1.0.0", "ours").await?;
    client.file_is(&both, "conform-other", "1.0.0", "theirs").await?;
    let indexes = specimen.indexes(NAME);
    for variant in &indexes {
        let (wanted, came) = (client.comparable_index(&own, variant).await?, client.comparable_index(&both, variant).await?);
        ensure!(came == wanted, "GET {both}/{}: expected the hosted member's index alone, came {:?}", variant.path, String::from_utf8_lossy(&came));
    }
    // Without packages each path stands for itself, and this one is the upstream's.
    let status = if indexes.is_empty() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    client.expect(&both, Ask::get(specimen.file_path(NAME, "9.0.0")), status).await?;
    Ok(())
}

/// What was fetched once is served when the upstream is gone; what was not is 503 with `Retry-After`, never 404.
///
/// # Errors
/// What was asked and what came instead.
pub async fn upstream_may_go_away(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "gone");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, "1.0.0", "kept").await?;
    client.publish(&trio.hosted, NAME, "2.0.0", "never asked for").await?;
    let mut before = Vec::new();
    for variant in specimen.indexes(NAME) {
        before.push((client.comparable_index(&trio.group, &variant).await?, variant));
    }
    client.file_is(&trio.group, NAME, "1.0.0", "kept").await?;
    client.file_is(&trio.proxy, NAME, "1.0.0", "kept").await?;
    subject.cut(&trio.hosted).await.map_err(|error| format!("the upstream could not be cut: {error}"))?;
    for repository in [&trio.proxy, &trio.group] {
        client.file_is(repository, NAME, "1.0.0", "kept").await?;
        for (wanted, variant) in &before {
            let came = client.comparable_index(repository, variant).await?;
            ensure!(came == *wanted, "GET {repository}/{}: expected the kept index, came {:?}", variant.path, String::from_utf8_lossy(&came));
        }
        let ask = Ask::get(specimen.file_path(NAME, "2.0.0"));
        let asked = said(repository, &ask);
        let reply = client.expect(repository, ask, StatusCode::SERVICE_UNAVAILABLE).await?;
        ensure!(!reply.header("retry-after").is_empty(), "{asked}: a 503 says Retry-After, came {:?}", reply.headers);
        client.error_is_well_put(&asked, &reply)?;
    }
    Ok(())
}
