//! `GET /-/v1/search`.

use std::collections::HashSet;

use entrepot_kit::path::encode_segment;
use entrepot_kit::route::Answer;
use entrepot_kit::{Kind, Question, Read, Repository, Request, Response, Result};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::search::result;

/// Most results of one question.
const MAX_SIZE: usize = 250;
/// How far results can be paged through.
const MAX_FROM: usize = 10_000;
/// Largest answer of an upstream.
const MAX_ANSWER: usize = 8 << 20;

/// Our own packages first, then what upstreams find.
pub(crate) fn search(repository: Repository<Read>, request: Request) -> Answer {
    let text: String = request.query.get("text").unwrap_or_default().chars().take(256).collect();
    let (size, from) = (request.query.number("size", 20, MAX_SIZE), request.query.number("from", 0, MAX_FROM));
    Box::pin(async move {
        let page = repository.search(&text, from, size).await?;
        let mut objects: Vec<Value> = page.items.iter().map(|item| result(&item.package)).collect();
        let mut total = page.total;
        if repository.kind() != Kind::Hosted && objects.len() < size {
            let hosted = usize::try_from(page.total).unwrap_or(MAX_FROM);
            let (theirs, their_total) = ask(&repository, &text, from.saturating_sub(hosted), size - objects.len(), !objects.is_empty()).await?;
            objects.extend(theirs);
            total = total.saturating_add(their_total);
        }
        Response::json(StatusCode::OK, &json!({"objects": objects, "total": total, "time": repository.now().rfc3339()}))
    })
}

async fn ask(repository: &Repository<Read>, text: &str, from: usize, size: usize, has_results: bool) -> Result<(Vec<Value>, u64)> {
    let path = format!("-/v1/search?text={}&from={from}&size={size}", encode_segment(text));
    let question = Question { method: Method::GET, path, headers: Vec::new(), body: bytes::Bytes::new(), limit: MAX_ANSWER };
    let answers = match repository.ask_upstream(&question).await {
        Ok(answers) => answers,
        // What we have ourselves is worth showing while upstreams are away.
        Err(_) if has_results => return Ok((Vec::new(), 0)),
        Err(error) => return Err(error),
    };
    let (mut found, mut total) = (Vec::new(), 0u64);
    for answer in answers.iter().filter(|answer| answer.status.is_success()) {
        let Ok(mut page) = serde_json::from_slice::<Map<String, Value>>(&answer.body) else { continue };
        total = total.saturating_add(page.get("total").and_then(Value::as_u64).unwrap_or(0));
        if let Some(Value::Array(objects)) = page.remove("objects") {
            found.extend(objects);
        }
    }
    let name_of = |object: &Value| object.pointer("/package/name").and_then(Value::as_str).map(str::to_owned);
    let names: Vec<String> = found.iter().filter_map(name_of).collect();
    // A stranger's package under one of our names cannot be installed from here.
    let private = repository.private_names(&names).await?;
    let mut seen = HashSet::new();
    found.retain(|object| name_of(object).is_some_and(|name| !private.contains(&name) && seen.insert(name)));
    found.truncate(size);
    Ok((found, total))
}
