//! Questions about known vulnerabilities: passed on to upstreams without private names.

use std::collections::HashSet;

use entrepot_kit::route::Answer;
use entrepot_kit::{Error, Kind, Question, Read, Repository, Request, Response, blocking};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::audit::{empty_report, join_bulk, names_in_tree, read_bulk, strip_tree};

/// Largest question and answer.
const MAX_BODY: usize = 16 << 20;

fn question(path: &str, body: String) -> Question {
    Question {
        method: Method::POST,
        path: path.to_owned(),
        headers: vec![("content-type", String::from("application/json"))],
        body: body.into(),
        limit: MAX_BODY,
    }
}

/// `POST /-/npm/v1/security/advisories/bulk`. A hosted repository knows of nothing.
pub(crate) fn bulk(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let body = request.body.collect_decoded(&request.headers, MAX_BODY).await?;
        let mut asked = blocking(move || read_bulk(&body)).await?;
        if repository.kind() == Kind::Hosted {
            return Response::json(StatusCode::OK, &json!({}));
        }
        let names: Vec<String> = asked.keys().cloned().collect();
        let private = repository.private_names(&names).await?;
        asked.retain(|name, _| !private.contains(name));
        if asked.is_empty() {
            return Response::json(StatusCode::OK, &json!({}));
        }
        let answers = repository.ask_upstream(&question("-/npm/v1/security/advisories/bulk", Value::Object(asked.clone()).to_string())).await?;
        let joined =
            blocking(move || Ok(join_bulk(&asked, answers.iter().filter(|answer| answer.status.is_success()).map(|answer| answer.body.as_ref())))).await?;
        Response::json(StatusCode::OK, &joined)
    })
}

/// `POST /-/npm/v1/security/audits` and `…/quick`: the older question, which sends the whole tree.
pub(crate) fn tree(repository: Repository<Read>, request: Request) -> Answer {
    let path = request.path.joined();
    Box::pin(async move {
        let body = request.body.collect_decoded(&request.headers, MAX_BODY).await?;
        let (tree, names) = blocking(move || {
            let tree: Value = serde_json::from_slice(&body).map_err(|_| Error::bad_request("the body is not a JSON document of reasonable depth"))?;
            let names: Vec<String> = names_in_tree(&tree).into_iter().collect();
            Ok((tree, names))
        })
        .await?;
        if repository.kind() == Kind::Hosted || names.is_empty() {
            return Response::json(StatusCode::OK, &empty_report());
        }
        let private: HashSet<String> = repository.private_names(&names).await?;
        let stripped = blocking(move || Ok(strip_tree(tree, &private).to_string())).await?;
        let answers = repository.ask_upstream(&question(&path, stripped)).await?;
        let report = answers
            .into_iter()
            .filter(|answer| answer.status.is_success())
            .find(|answer| serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body).is_ok());
        // Nobody upstream knows the old question: there is nothing to report.
        Ok(match report {
            Some(answer) => Response::bytes(StatusCode::OK, "application/json", answer.body),
            None => Response::json(StatusCode::OK, &empty_report())?,
        })
    })
}
