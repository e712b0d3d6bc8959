//! Cases about single answers: `HEAD`, conditional requests, ranges, variants.

use http::{Method, StatusCode};

use super::client::{Client, ask_for, ensure};
use super::{Ask, Reply, Specimen, Subject};

const NAME: &str = "conform-answers";
const VERSION: &str = "1.0.0";

/// Headers that may differ between two answers to one question.
const PASSING: [&str; 6] = ["date", "x-request-id", "age", "connection", "keep-alive", "x-artifact-source"];

/// Everything that the package offers, as requests.
fn everything(specimen: &dyn Specimen) -> Vec<Ask> {
    let mut asks = vec![Ask::get(specimen.file_path(NAME, VERSION))];
    asks.extend(specimen.indexes(NAME).iter().map(ask_for));
    asks
}

/// `HEAD` has the status and headers of `GET`, its length among them, and no body: in hosted, proxy and group.
///
/// # Errors
/// What was asked and what came instead.
pub async fn head_equals_get(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "head");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, VERSION, "head").await?;
    for repository in trio.all() {
        for ask in everything(specimen) {
            // The first answer of a proxy may still be on its way in; the second is kept.
            client.expect(repository, ask.clone(), StatusCode::OK).await?;
            let get = client.expect(repository, ask.clone(), StatusCode::OK).await?;
            let head = client.expect(repository, Ask { method: Method::HEAD, ..ask.clone() }, StatusCode::OK).await?;
            let asked = format!("HEAD {repository}/{}", ask.path);
            ensure!(head.body.is_empty(), "{asked}: expected no body, came {}", head.describe());
            let length = get.body.len().to_string();
            ensure!(get.header("content-length") == length, "GET {repository}/{}: expected Content-Length {length}, came {:?}", ask.path, get.headers);
            for needed in ["etag", "content-type", "content-length"] {
                ensure!(get.headers.contains_key(needed), "GET {repository}/{}: expected a header {needed}, came {:?}", ask.path, get.headers);
            }
            ensure!(same_headers(&get, &head), "{asked}: expected the headers of GET {:?}, came {:?}", get.headers, head.headers);
        }
    }
    Ok(())
}

fn same_headers(one: &Reply, other: &Reply) -> bool {
    let lasting = |reply: &Reply| {
        let mut headers: Vec<(String, Vec<u8>)> = reply.headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        headers.retain(|(name, _)| !PASSING.contains(&name.as_str()));
        headers.sort();
        headers
    };
    lasting(one) == lasting(other)
}

/// A request that names the current `ETag` gets 304 without a body; one that names another gets the whole.
///
/// # Errors
/// What was asked and what came instead.
pub async fn conditional_requests_give_304(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "conditional");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, VERSION, "conditional").await?;
    for repository in trio.all() {
        for ask in everything(specimen) {
            let first = client.expect(repository, ask.clone(), StatusCode::OK).await?;
            // What a proxy's first answer says before the whole file is there may be less than what it says later.
            let etag = client.expect(repository, ask.clone(), StatusCode::OK).await?.header("etag").to_owned();
            ensure!(etag.starts_with('"'), "GET {repository}/{}: expected a strong ETag, came {etag:?}", ask.path);
            for matching in [etag.clone(), format!("\"other\", {etag}"), format!("W/{etag}"), String::from("*")] {
                let reply = client.expect(repository, ask.clone().with("if-none-match", matching), StatusCode::NOT_MODIFIED).await?;
                ensure!(reply.body.is_empty(), "GET {repository}/{}: a 304 has no body, came {}", ask.path, reply.describe());
                ensure!(reply.header("etag") == etag, "GET {repository}/{}: a 304 names the ETag {etag}, came {:?}", ask.path, reply.headers);
            }
            let whole = client.expect(repository, ask.clone().with("if-none-match", "\"other\""), StatusCode::OK).await?;
            ensure!(whole.body == first.body, "GET {repository}/{}: expected the same body again, came {}", ask.path, whole.describe());
        }
    }
    Ok(())
}

/// Single ranges of files give exactly those bytes; what lies behind the end gives 416; `If-Range` of another state gives the whole.
///
/// # Errors
/// What was asked and what came instead.
pub async fn ranges_are_exact(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "range");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, VERSION, "range").await?;
    let path = specimen.file_path(NAME, VERSION);
    let file = specimen.file(NAME, VERSION, "range");
    let size = file.len();
    for repository in trio.all() {
        client.get(repository, &path).await?;
        let etag = client.get(repository, &path).await?.header("etag").to_owned();
        let ask = |range: &str| Ask::get(path.clone()).with("range", range);
        for (range, from, to) in
            [("bytes=0-0", 0, 1), ("bytes=2-6", 2, 7), ("bytes=5-", 5, size), ("bytes=-3", size.saturating_sub(3), size), ("bytes=1-999999999", 1, size)]
        {
            for ask in [ask(range), ask(range).with("if-range", etag.clone())] {
                let reply = client.expect(repository, ask, StatusCode::PARTIAL_CONTENT).await?;
                let wanted = file.get(from..to).unwrap_or_default();
                ensure!(reply.body == wanted, "GET {repository}/{path} {range}: expected bytes {from}..{to}, came {}", reply.describe());
                let content_range = format!("bytes {from}-{}/{size}", to.saturating_sub(1));
                let came = reply.header("content-range");
                ensure!(came == content_range, "GET {repository}/{path} {range}: expected Content-Range {content_range:?}, came {came:?}");
            }
        }
        let reply = client.expect(repository, ask("bytes=999999999-"), StatusCode::RANGE_NOT_SATISFIABLE).await?;
        let (wanted, came) = (format!("bytes */{size}"), reply.header("content-range"));
        ensure!(came == wanted, "GET {repository}/{path}: a 416 says Content-Range {wanted:?}, came {came:?}");
        client.expect(repository, ask("bytes=6-2"), StatusCode::RANGE_NOT_SATISFIABLE).await?;
        for ask in [ask("bytes=2-6").with("if-range", "\"other\""), ask("bytes=2-6").with("if-range", format!("W/{etag}")), ask("lines=1-2")] {
            let reply = client.expect(repository, ask.clone(), StatusCode::OK).await?;
            ensure!(reply.body == file, "GET {repository}/{path} {:?}: expected the whole file, came {}", ask.headers, reply.describe());
        }
    }
    Ok(())
}

/// Representations that differ have `ETag`s that differ: variants of an index, and its gzip form.
///
/// # Errors
/// What was asked and what came instead.
pub async fn variants_have_their_own_etag(subject: &dyn Subject, specimen: &dyn Specimen) -> Result<(), String> {
    let client = Client::new(subject, specimen, "variants");
    let trio = client.trio().await?;
    client.publish(&trio.hosted, NAME, VERSION, "variants").await?;
    for repository in trio.all() {
        let mut seen: Vec<(String, Reply)> = Vec::new();
        for variant in specimen.indexes(NAME) {
            for encoding in ["identity", "gzip"] {
                let ask = ask_for(&variant).with("accept-encoding", encoding);
                let reply = client.expect(repository, ask, StatusCode::OK).await?;
                let asked = format!("GET {repository}/{} Accept {:?} Accept-Encoding {encoding}", variant.path, variant.accept);
                let came = reply.header("content-encoding");
                ensure!(encoding == "gzip" || came.is_empty(), "{asked}: the identity form was asked for, came Content-Encoding {came}");
                for (other, earlier) in &seen {
                    let differs = earlier.body != reply.body;
                    let etags_differ = earlier.header("etag") != reply.header("etag");
                    ensure!(!differs || etags_differ, "{asked}: other bytes than {other}, but the same ETag {}", reply.header("etag"));
                }
                seen.push((asked, reply));
            }
        }
        let file = client.expect(repository, Ask::get(specimen.file_path(NAME, VERSION)).with("accept-encoding", "gzip"), StatusCode::OK).await?;
        let wanted = specimen.file(NAME, VERSION, "variants");
        ensure!(file.body == wanted, "GET {repository}: a file is never encoded on the way, came {}", file.describe());
    }
    Ok(())
}
