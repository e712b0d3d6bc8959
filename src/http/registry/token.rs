//! `/v2/token`: a registry token for a password, a token, or nobody.
//!
//! `GET` with Basic, as docker and most others ask, and the `POST` of OAuth2, as containerd asks first. A token for fewer scopes than were
//! asked for is no failure: the client learns at its next request what it may not do.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use entrepot_kit::{Action, Error, Query, Result};
use futures::StreamExt as _;
use secrecy::SecretString;
use serde_json::json;

use crate::access::{Caller, Credentials, RegistryScope};
use crate::http::Server;
use crate::http::client::{Client, credentials};
use crate::http::observe::tell;
use crate::http::place::{Asked, speaks_registry};
use crate::http::repository::Known;
use crate::registry::{Context, Table};

use super::document;

/// Largest form.
const MAX_FORM: usize = 64 * 1024;

/// What a client asked.
struct Wanted {
    credentials: Option<Credentials>,
    scopes: Vec<RegistryScope>,
    /// Whether the client wants something to keep in place of the password.
    keeps: bool,
    /// A token that came in place of a password: nothing better can be kept.
    sent: Option<String>,
}

pub(super) async fn serve(
    request: &HttpRequest,
    payload: web::Payload,
    server: &Server,
    client: Client,
    asked: &Asked<'_>,
    known: &mut Known,
) -> Result<HttpResponse> {
    let wanted = if request.method() == actix_web::http::Method::POST {
        form(&read(request, payload, server).await?)?
    } else {
        Wanted {
            credentials: credentials(request.headers())?,
            scopes: scopes(asked.query),
            keeps: asked.query.get("offline_token") == Some("true"),
            sent: None,
        }
    };
    // The service that the client names is ours, whatever it calls us: a token is for the host that it was asked of.
    let service = client.service().to_owned();
    let sent = wanted.sent.or_else(|| sent_token(wanted.credentials.as_ref()));
    // Where tokens are made, none of those that are made here is taken.
    known.without_error();
    let context = client.sign_in_with(server, wanted.credentials).await?;
    tell(request, |told| told.principal = context.caller.name());
    let access = &server.engine.access;
    let mut granted = Vec::new();
    let table = server.engine.table();
    for scope in &wanted.scopes {
        granted.extend(grant(server, &table, &context, asked, scope).await?);
    }
    let token = access.registry_token(&context.caller, &service, wanted.scopes, granted).await?;
    let mut answer = json!({
        "token": token.text,
        "access_token": token.text,
        "expires_in": token.expires_in,
        "issued_at": context.now.rfc3339(),
    });
    if wanted.keeps && !context.caller.is_anonymous() {
        let kept = match sent {
            Some(sent) => Some(sent),
            None => access.kept_token(&context.caller, &context.facts).await?,
        };
        if let (Some(kept), Some(answer)) = (kept, answer.as_object_mut()) {
            answer.insert(String::from("refresh_token"), kept.into());
        }
    }
    Ok(document(answer.to_string()))
}

/// The token that came in place of a password.
fn sent_token(credentials: Option<&Credentials>) -> Option<String> {
    use secrecy::ExposeSecret as _;
    let (Credentials::Basic { password: secret, .. } | Credentials::Bearer(secret)) = credentials?;
    Caller::is_token(secret).then(|| secret.expose_secret().to_owned())
}

fn scopes(query: &Query) -> Vec<RegistryScope> {
    RegistryScope::parse_all(query.pairs().filter(|(key, _)| *key == "scope").map(|(_, value)| value))
}

/// Reads an OAuth2 form.
fn form(body: &str) -> Result<Wanted> {
    let fields = Query::parse(body);
    let field = |name: &str| fields.get(name).filter(|value| !value.is_empty());
    let missing = |name: &str| Error::bad_request(format!("the form has no {name}"));
    let (credentials, sent) = match field("grant_type") {
        Some("password") => {
            let (user, password) = (field("username").ok_or_else(|| missing("username"))?, field("password").ok_or_else(|| missing("password"))?);
            (Credentials::Basic { user: user.to_owned(), password: SecretString::from(password) }, None)
        }
        Some("refresh_token") => {
            let token = field("refresh_token").ok_or_else(|| missing("refresh_token"))?;
            (Credentials::Bearer(SecretString::from(token)), Some(token.to_owned()))
        }
        _ => return Err(Error::bad_request("grant_type is password or refresh_token")),
    };
    let keeps = field("access_type") == Some("offline") || sent.is_some();
    Ok(Wanted { credentials: Some(credentials), scopes: scopes(&fields), keeps, sent })
}

async fn read(request: &HttpRequest, mut payload: web::Payload, server: &Server) -> Result<String> {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let status = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Err(Error::new(status, "send a form: Content-Type: application/x-www-form-urlencoded"));
    }
    let mut body = Vec::new();
    loop {
        let chunk = tokio::time::timeout(server.settings.idle_timeout, payload.next()).await;
        let chunk = chunk.map_err(|_| Error::new(http::StatusCode::REQUEST_TIMEOUT, "the rest of the form did not arrive"))?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|cause| Error::bad_request("the form broke off").with_source(cause.to_string()))?;
        if body.len() + chunk.len() > MAX_FORM {
            return Err(Error::too_large(format!("the form is larger than {MAX_FORM} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| Error::bad_request("the form is not UTF-8"))
}

/// The part of a scope that the policies allow now.
async fn grant(server: &Server, table: &Table, context: &Context, asked: &Asked<'_>, scope: &RegistryScope) -> Result<Option<RegistryScope>> {
    if scope.lists() {
        return Ok(Some(scope.clone()));
    }
    let Some(name) = scope.image() else { return Ok(None) };
    let found = match asked.bound {
        Some(address) => table.get(address).map(|repo| (repo, name)),
        None => table.named(name),
    };
    let Some((repo, image)) = found.filter(|(repo, _)| speaks_registry(&*repo.format)) else { return Ok(None) };
    let target = repo.target(Some(image));
    let mut granted: Vec<String> = Vec::new();
    for (word, action) in [("pull", Action::Read), ("push", Action::Publish), ("delete", Action::Delete)] {
        let wanted = scope.actions().iter().any(|known| known == word || known == "*");
        if wanted && server.engine.access.decide(&context.caller, action, &target).await?.allowed {
            granted.push(word.to_owned());
        }
    }
    if granted.len() == 3 && scope.actions().iter().any(|known| known == "*") {
        granted.push(String::from("*"));
    }
    Ok(scope.only(granted))
}

#[cfg(test)]
mod tests {
    use super::form;

    #[test]
    fn forms_are_read() {
        let wanted = form("grant_type=password&service=s&client_id=c&username=bob&password=a%26b&scope=repository%3Aa%3Apull+repository:b:push").unwrap();
        assert_eq!((wanted.scopes.len(), wanted.keeps, wanted.sent), (2, false, None));
        let wanted = form("grant_type=refresh_token&refresh_token=ent_x&service=s&client_id=c").unwrap();
        assert_eq!((wanted.keeps, wanted.sent.as_deref()), (true, Some("ent_x")));
        assert!(form("grant_type=password&username=bob&password=x&access_type=offline").unwrap().keeps);
        for bad in
            ["", "grant_type=password&username=bob", "grant_type=password&password=x", "grant_type=refresh_token", "grant_type=authorization_code&code=x"]
        {
            assert_eq!(form(bad).map(drop).unwrap_err().status(), 400, "{bad}");
        }
    }
}
