//! Python's packages as upload tools send them and installers see them.
#![cfg(test)]

mod attestations;
mod hostile;
mod manage;
mod many;
mod namespaces;
mod pages;
mod uploads;

use entrepot_format_pypi::testing::{Form, Wheel};
use entrepot_kit::Kind;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::house::House;
use crate::raw::{Call, Reply};

/// Where the repository of these tests is.
const HERE: &str = "/alpha/pypi";
const JSON: &str = "application/vnd.pypi.simple.v1+json";
const OWNER: &str = "alpha-owner";

/// A server with a public repository, and `bob`, who may publish in it.
async fn house() -> House {
    house_with(json!({})).await
}

async fn house_with(settings: Value) -> House {
    let house = House::start().await;
    house.repository("alpha/pypi", "pypi", Kind::Hosted, true, settings).await;
    house.user("bob", &[("system", "alpha"), ("role", "publisher")]).await;
    house
}

fn at(method: Method, path: &str) -> Call {
    Call::new(method, format!("{HERE}/{path}"))
}

fn get(path: &str) -> Call {
    at(Method::GET, path)
}

/// The request by which a form is sent.
fn post(form: &Form) -> Call {
    Call::post(format!("{HERE}/"), form.body()).with("Content-Type", Form::content_type())
}

async fn send(house: &House, form: &Form) -> Reply {
    house.call_as("bob", post(form)).await
}

/// Uploads a wheel, and makes sure that it was taken.
async fn publish(house: &House, wheel: &Wheel) {
    let reply = send(house, &Form::wheel(wheel)).await;
    assert_eq!(reply.status, StatusCode::OK, "{}: {}", wheel.filename(), reply.text());
}

/// The page of a project in JSON.
async fn page(house: &House, project: &str) -> Value {
    let reply = house.call(get(&format!("simple/{project}/")).with("Accept", JSON)).await;
    assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, JSON), "{}", reply.text());
    reply.json()
}

/// The names of the files on a page.
async fn files(house: &House, project: &str) -> Vec<String> {
    let page = page(house, project).await;
    page["files"].as_array().expect("a list").iter().map(|file| file["filename"].as_str().expect("a name").to_owned()).collect()
}

/// Makes sure that an upload is refused, that the line with the status says why, and so does the text.
#[track_caller]
fn refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status.as_u16(), status, "{}", reply.text());
    assert!(reply.reason.contains(reason) || reply.text().contains(reason), "{:?} {:?} does not say {reason:?}", reply.reason, reply.text());
    assert!(reply.header("content-type").starts_with("text/plain"), "{:?}", reply.headers);
}
