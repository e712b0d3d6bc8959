//! Cases about change: what was published stays as it was, now and in the past.

use futures::future::join_all;
use http::StatusCode;

use super::client::{Client, ensure, said};
use super::{Ask, Specimen, Subject};

const NAME: &str = "conform-history";
const RIVALS: usize = 8;

/// Other bytes under a version that is taken are refused, and nothing changes.
///
/// # Errors
/// What was asked and what came instead.
pub async fn republish_is_refused(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "republish");
    let hosted = client.hosted("hosted", true).await?;
    client.publish(&hosted, NAME, "1.0.0", "first").await?;
    let revision = client.revision(&hosted).await?;
    let mut asks = specimen.publish(NAME, "1.0.0", "second");
    let Some(ask) = asks.pop() else { return Err(String::from("the specimen has no publish requests")) };
    for part in asks {
        // Parts that nothing names yet may come in; the request that names them may not.
        client.send(&hosted, part).await?;
    }
    let reply = client.expect(&hosted, ask.clone(), specimen.republish()).await?;
    client.error_is_well_put(&said(&hosted, &ask), &reply)?;
    client.file_is(&hosted, NAME, "1.0.0", "first").await?;
    let now = client.revision(&hosted).await?;
    ensure!(now == revision, "{}: a refused publish makes no revision; it was {revision}, now {now}", said(&hosted, &ask));
    Ok(())
}

/// Of several clients that publish one version with other bytes at once, exactly one succeeds, and its bytes are served.
///
/// # Errors
/// What was asked and what came instead.
pub async fn concurrent_publishes_have_one_winner(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "rivals");
    let hosted = client.hosted("hosted", true).await?;
    let fillings: Vec<String> = (0..RIVALS).map(|rival| format!("rival {rival}")).collect();
    let outcomes = join_all(fillings.iter().map(|filling| client.publish(&hosted, NAME, "1.0.0", filling))).await;
    let winners: Vec<&String> = fillings.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(filling, _)| filling).collect();
    let [winner] = winners.as_slice() else {
        return Err(format!("{RIVALS} publishes of {hosted} {NAME} 1.0.0 at once: expected one winner, came {winners:?} of {outcomes:?}"));
    };
    client.file_is(&hosted, NAME, "1.0.0", winner).await?;
    Ok(())
}

/// A view of the past gives the same file and the same index before and after later publishes and removals.
///
/// # Errors
/// What was asked and what came instead.
pub async fn past_views_are_stable(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "past");
    let hosted = client.hosted("hosted", true).await?;
    let start = client.revision(&hosted).await?;
    client.publish(&hosted, NAME, "1.0.0", "first").await?;
    let past = format!("{hosted}.at-r{}", client.revision(&hosted).await?);
    let mut wanted = Vec::new();
    for variant in specimen.indexes(NAME) {
        let index = client.comparable_index(&past, &variant).await?;
        let current = client.comparable_index(&hosted, &variant).await?;
        ensure!(index == current, "GET {past}/{}: expected the current index, came {:?}", variant.path, String::from_utf8_lossy(&index));
        wanted.push((index, variant));
    }
    client.publish(&hosted, NAME, "2.0.0", "second").await?;
    let changed = client.revision(&hosted).await?;
    client.publish(&hosted, "conform-later", "1.0.0", "third").await?;
    let between = format!("{hosted}.at-r{}", client.revision(&hosted).await?);
    for ask in specimen.remove(NAME, changed) {
        let reply = client.send(&hosted, ask.clone()).await?;
        ensure!(reply.status.is_success(), "{}: a removal must succeed, came {}", said(&hosted, &ask), reply.describe());
    }
    client.file_is(&past, NAME, "1.0.0", "first").await?;
    client.file_is(&between, NAME, "1.0.0", "first").await?;
    client.file_is(&between, NAME, "2.0.0", "second").await?;
    client.expect(&past, Ask::get(specimen.file_path(NAME, "2.0.0")), StatusCode::NOT_FOUND).await?;
    client.expect(&past, Ask::get(specimen.file_path("conform-later", "1.0.0")), StatusCode::NOT_FOUND).await?;
    for (index, variant) in &wanted {
        let came = client.comparable_index(&past, variant).await?;
        ensure!(came == *index, "GET {past}/{}: expected the index as it was, came {:?}", variant.path, String::from_utf8_lossy(&came));
    }
    let before = format!("{hosted}.at-r{start}");
    client.expect(&before, Ask::get(specimen.file_path(NAME, "1.0.0")), StatusCode::NOT_FOUND).await?;
    Ok(())
}

/// A removed package is gone from the newest view, file and index, while the past still has it, and its other packages stay.
///
/// # Errors
/// What was asked and what came instead.
pub async fn deleted_is_gone_but_not_from_the_past(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "deleted");
    let hosted = client.hosted("hosted", true).await?;
    client.publish(&hosted, NAME, "1.0.0", "first").await?;
    let removal = specimen.remove(NAME, client.revision(&hosted).await?);
    if removal.is_empty() {
        return Ok(());
    }
    client.publish(&hosted, "conform-stays", "1.0.0", "stays").await?;
    let past = format!("{hosted}.at-r{}", client.revision(&hosted).await?);
    for ask in removal {
        let denied = client.send(&hosted, ask.clone().anonymously()).await?;
        ensure!(denied.status == StatusCode::UNAUTHORIZED, "{}: without credentials expected 401, came {}", said(&hosted, &ask), denied.describe());
        let reply = client.send(&hosted, ask.clone()).await?;
        ensure!(reply.status.is_success(), "{}: a removal must succeed, came {}", said(&hosted, &ask), reply.describe());
    }
    client.expect(&hosted, Ask::get(specimen.file_path(NAME, "1.0.0")), StatusCode::NOT_FOUND).await?;
    for variant in specimen.indexes(NAME) {
        client.expect(&hosted, super::client::ask_for(&variant), StatusCode::NOT_FOUND).await?;
    }
    client.file_is(&past, NAME, "1.0.0", "first").await?;
    client.file_is(&hosted, "conform-stays", "1.0.0", "stays").await?;
    Ok(())
}
