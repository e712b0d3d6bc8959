//! Who the caller is: login, tokens, profile, and the read-only views of rights.

use entrepot_kit::accounts::WebLoginState;
use entrepot_kit::path::encode_segment;
use entrepot_kit::route::Answer;
use entrepot_kit::{Action, Body, Error, NewToken, Principal, Publish, Read, Repository, Request, Resource, Response, Result, SignIn, TokenInfo, TokenRequest};
use http::StatusCode;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{SMALL, package, time};

/// Seconds between two questions of a client that waits for a browser.
const POLL_SECONDS: &str = "2";
const DAY: u64 = 86_400;

/// `GET /-/ping`.
pub(crate) fn ping(_: Repository<Read>, _: Request) -> Answer {
    Box::pin(async move { Response::json(StatusCode::OK, &json!({})) })
}

fn signed_in(principal: &Principal) -> Result<&str> {
    if principal.is_anonymous() { Err(Error::unauthorized("log in first: npm login")) } else { Ok(&principal.name) }
}

/// `GET /-/whoami`.
pub(crate) fn whoami(repository: Repository<Read>, _: Request) -> Answer {
    Box::pin(async move { Response::json(StatusCode::OK, &json!({"username": signed_in(repository.principal())?})) })
}

/// `GET /-/npm/v1/user`.
pub(crate) fn profile(repository: Repository<Read>, _: Request) -> Answer {
    Box::pin(async move {
        let name = signed_in(repository.principal())?;
        Response::json(
            StatusCode::OK,
            &json!({"name": name, "email": "", "email_verified": false, "fullname": "", "tfa": false, "cidr_whitelist": null, "created": null, "updated": null}),
        )
    })
}

async fn read<T: for<'de> Deserialize<'de>>(body: Body) -> Result<T> {
    let bytes = body.collect(SMALL).await?;
    serde_json::from_slice(&bytes).map_err(|error| Error::bad_request(format!("the body is not what is expected here: {error}")))
}

/// An answer with a secret in it.
fn secret(status: StatusCode, value: &Value) -> Result<Response> {
    Ok(Response::json(status, value)?.with_header(CACHE_CONTROL, "no-store"))
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// `PUT /-/user/org.couchdb.user:{user}`: a password for a token.
pub(crate) fn login(sign_in: SignIn, request: Request) -> Answer {
    Box::pin(async move {
        let user = request.captures.get("user").to_owned();
        let login: Login = read(request.body).await?;
        if login.name != user {
            return Err(Error::bad_request("the body names another user than the URL"));
        }
        let wanted = TokenRequest { name: String::from("npm login"), ..TokenRequest::default() };
        let token = sign_in.accounts.sign_in(&login.name, &login.password, wanted).await?;
        secret(StatusCode::CREATED, &json!({"ok": true, "id": format!("org.couchdb.user:{user}"), "rev": "1", "token": token.secret}))
    })
}

/// `POST /-/v1/login`: a page for the person, and an address for the client to wait at.
pub(crate) fn start_web_login(sign_in: SignIn, request: Request) -> Answer {
    let base = request.base;
    Box::pin(async move {
        let login = sign_in.accounts.start_web_login().await?;
        let (page, poll) = (encode_segment(&login.page), encode_segment(&login.poll));
        secret(StatusCode::OK, &json!({"loginUrl": format!("{}/-/login/{page}", base.origin), "doneUrl": format!("{base}/-/v1/done?sessionId={poll}")}))
    })
}

/// `GET /-/v1/done`.
pub(crate) fn poll_web_login(sign_in: SignIn, request: Request) -> Answer {
    let poll = request.query.get("sessionId").unwrap_or_default().to_owned();
    Box::pin(async move {
        match sign_in.accounts.poll_web_login(&poll).await? {
            WebLoginState::Waiting => Ok(secret(StatusCode::ACCEPTED, &json!({}))?.with_header(RETRY_AFTER, POLL_SECONDS)),
            WebLoginState::Done(token) => secret(StatusCode::OK, &json!({"token": token.secret})),
            WebLoginState::Gone => Err(Error::not_found("this login is over; begin again with npm login")),
        }
    })
}

/// `DELETE /-/user/token/{token}`. A token that is gone already is no error: the client wants it gone.
pub(crate) fn logout(sign_in: SignIn, request: Request) -> Answer {
    let token = request.captures.get("token").to_owned();
    Box::pin(async move {
        sign_in.accounts.revoke_token(&token).await?;
        Response::json(StatusCode::OK, &json!({"ok": true}))
    })
}

/// `GET /-/npm/v1/tokens`.
pub(crate) fn tokens(sign_in: SignIn, _: Request) -> Answer {
    Box::pin(async move {
        let tokens = sign_in.accounts.tokens().await?;
        let objects: Vec<Value> = tokens.iter().map(describe).collect();
        secret(StatusCode::OK, &json!({"total": objects.len(), "objects": objects, "urls": {}}))
    })
}

fn describe(token: &TokenInfo) -> Value {
    json!({
        "key": token.id, "id": token.id, "token": format!("ent_{}", token.id), "name": token.name, "readonly": token.actions == [Action::Read], "cidr_whitelist": null,
        "created": token.created.rfc3339(), "updated": token.created.rfc3339(), "expires": time(token.expires),
    })
}

/// What npm sends, old and new.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Wanted {
    name: Option<String>,
    description: Option<String>,
    password: Option<String>,
    readonly: bool,
    cidr_whitelist: Option<Vec<String>>,
    packages: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    orgs: Option<Vec<String>>,
    packages_and_scopes_permission: Option<String>,
    expires: Option<Value>,
}

/// A token that would be wider than what was asked for is not made.
fn wanted_token(wanted: &Wanted) -> Result<TokenRequest> {
    let is_set = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if is_set(&wanted.cidr_whitelist) {
        return Err(Error::not_implemented("tokens cannot be bound to addresses here; leave out --cidr"));
    }
    if is_set(&wanted.packages) || is_set(&wanted.scopes) || is_set(&wanted.orgs) {
        return Err(Error::not_implemented(
            "tokens for single packages, scopes or organisations are not made here; use the server's own API for a token of some repositories",
        ));
    }
    let readonly = match wanted.packages_and_scopes_permission.as_deref() {
        Some("read-only") => true,
        None | Some("read-write") => wanted.readonly,
        Some(other) => {
            return Err(Error::not_implemented(format!("the permission {:?} is not known here; use read-only or read-write", crate::version::shorten(other))));
        }
    };
    let expires_in = match &wanted.expires {
        None | Some(Value::Null) => None,
        Some(days) => {
            let days = days.as_u64().or_else(|| days.as_str().and_then(|text| text.parse().ok())).filter(|days| (1..=36_500).contains(days));
            Some(days.ok_or_else(|| Error::bad_request("\"expires\" is a number of days"))? * DAY)
        }
    };
    let name = [&wanted.name, &wanted.description].into_iter().flatten().find(|name| !name.is_empty()).map_or("npm token", String::as_str);
    Ok(TokenRequest {
        name: name.chars().take(200).collect(),
        actions: if readonly { vec![Action::Read] } else { Vec::new() },
        expires_in,
        ..TokenRequest::default()
    })
}

/// `POST /-/npm/v1/tokens`.
pub(crate) fn create_token(sign_in: SignIn, request: Request) -> Answer {
    Box::pin(async move {
        let wanted: Wanted = read(request.body).await?;
        let NewToken { info, secret: text } = sign_in.accounts.create_token(wanted.password.as_deref(), wanted_token(&wanted)?).await?;
        let mut answer = describe(&info);
        if let Some(answer) = answer.as_object_mut() {
            answer.insert(String::from("token"), text.into());
        }
        secret(StatusCode::OK, &answer)
    })
}

/// `DELETE /-/npm/v1/tokens/token/{token}`.
pub(crate) fn revoke_token(sign_in: SignIn, request: Request) -> Answer {
    let token = request.captures.get("token").to_owned();
    Box::pin(async move {
        if sign_in.accounts.revoke_token(&token).await? { Ok(Response::empty(StatusCode::NO_CONTENT)) } else { Err(Error::not_found("you have no such token")) }
    })
}

/// `GET /-/package/{package}/visibility`. A client publishes provenance to a public log only for what it knows to be
/// public; that is certain when it asks without credentials.
pub(crate) fn visibility(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        package(request.captures.get("package"))?;
        Response::json(StatusCode::OK, &json!({"public": repository.principal().is_anonymous()}))
    })
}

/// `GET /-/package/{package}/access`.
pub(crate) fn access(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        package(request.captures.get("package"))?;
        Response::json(StatusCode::OK, &json!({"access": if repository.principal().is_anonymous() { "public" } else { "restricted" }}))
    })
}

/// `GET /-/package/{package}/collaborators`: the caller's own rights; those of others are told by the server's own API.
pub(crate) fn collaborators(repository: Repository<Read>, request: Request) -> Answer {
    Box::pin(async move {
        let name = package(request.captures.get("package"))?;
        let user = signed_in(repository.principal())?.to_owned();
        let may_write = repository.grant::<Publish>(&Resource::Package(name.as_str().to_owned())).await.is_ok();
        Response::json(StatusCode::OK, &json!({user: if may_write { "write" } else { "read" }}))
    })
}

#[cfg(test)]
mod tests {
    use super::{Wanted, wanted_token};
    use entrepot_kit::Action;
    use serde_json::{Value, json};

    fn wanted(body: Value) -> Result<(Vec<Action>, Option<u64>), u16> {
        let wanted: Wanted = serde_json::from_value(body).unwrap();
        wanted_token(&wanted).map(|token| (token.actions, token.expires_in)).map_err(|error| error.status().as_u16())
    }

    #[test]
    fn a_token_is_never_wider_than_what_was_asked_for() {
        assert_eq!(wanted(json!({"password": "x", "readonly": true, "cidr_whitelist": []})), Ok((vec![Action::Read], None)));
        assert_eq!(wanted(json!({"packages_and_scopes_permission": "read-only", "packages_all": true, "expires": 7})), Ok((vec![Action::Read], Some(604_800))));
        assert_eq!(wanted(json!({"packages_and_scopes_permission": "read-write", "expires": "1"})), Ok((vec![], Some(86_400))));
        for (body, status) in [
            (json!({"cidr_whitelist": ["10.0.0.0/8"]}), 501),
            (json!({"packages": ["a"]}), 501),
            (json!({"scopes": ["@a"]}), 501),
            (json!({"orgs": ["a"]}), 501),
            (json!({"packages_and_scopes_permission": "no-access"}), 501),
            (json!({"expires": -1}), 400),
            (json!({"expires": u64::MAX}), 400),
        ] {
            assert_eq!(wanted(body.clone()), Err(status), "{body}");
        }
    }
}
