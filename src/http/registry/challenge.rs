//! What a refusal tells a container client: where it gets a token, and with which scopes.
//!
//! It follows from the address alone, so that it tells nobody what there is.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use entrepot_kit::route::Found;
use entrepot_kit::{Action, Captures, Format, Query};
use http::Method;
use std::sync::Arc;

use crate::http::client::Client;
use crate::http::place::{Place, speaks_registry};

/// An action on an image, named as the client names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// The name below `/v2/`.
    pub(crate) image: String,
    /// What is done to it.
    pub(crate) action: Action,
}

/// What a request below `/v2/` needs, whether there is such an image or not: nothing for an address that is no route.
pub(crate) fn needs(formats: &[Arc<dyn Format>], place: &Place, method: &Method, query: &Query) -> Vec<Need> {
    let Some(registry) = &place.registry else { return Vec::new() };
    // All formats of container clients have the same routes, or some of them.
    let found = formats.iter().filter(|format| speaks_registry(&***format)).find_map(|format| match format.registry_routes().find(method, &registry.whole) {
        Found::Route(route, captures) => Some((route.handler.action(), package(route.package, &captures)?)),
        _ => None,
    });
    let Some((action, image)) = found else { return Vec::new() };
    let mut needs = vec![Need { image, action }];
    if let (Some(_), Some(from)) = (query.get("mount"), query.get("from").filter(|_| action == Action::Publish)) {
        needs.push(Need { image: from.to_owned(), action: Action::Read });
    }
    needs
}

fn package(name: Option<&'static str>, captures: &Captures) -> Option<String> {
    Some(captures.get(name?).to_owned()).filter(|name| !name.is_empty())
}

impl Need {
    /// The scope to ask for; `None` for a name that no image has.
    fn scope(&self) -> Option<String> {
        let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
        let actions = match self.action {
            Action::Read => "pull",
            Action::Delete => "pull,delete",
            _ => "pull,push",
        };
        (!self.image.is_empty() && self.image.len() <= 512 && self.image.bytes().all(known)).then(|| format!("repository:{}:{actions}", self.image))
    }
}

/// What stands in `WWW-Authenticate`.
#[derive(Debug)]
pub(crate) struct Challenge {
    origin: String,
    service: String,
    scopes: Vec<String>,
    /// What is wrong with the token that was sent.
    pub(crate) error: Option<&'static str>,
}

impl Challenge {
    pub(crate) fn new(client: &Client) -> Self {
        Self { origin: client.origin.clone(), service: client.service().to_owned(), scopes: Vec::new(), error: None }
    }

    /// Asks for these scopes.
    pub(crate) fn ask(&mut self, scopes: Vec<String>) {
        self.scopes = scopes;
    }

    /// Asks for what is needed.
    pub(crate) fn ask_for(&mut self, needs: &[Need]) {
        self.scopes = needs.iter().filter_map(Need::scope).collect();
    }

    /// Writes it into a refusal.
    pub(crate) fn write(&self, response: &mut HttpResponse) {
        let mut text = format!("Bearer realm=\"{}/v2/token\",service=\"{}\"", self.origin, self.service);
        if !self.scopes.is_empty() {
            text.push_str(&format!(",scope=\"{}\"", self.scopes.join(" ")));
        }
        if let Some(error) = self.error {
            text.push_str(&format!(",error=\"{error}\""));
        }
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
    }
}
