//! Getting and using registry tokens, as docker, containerd and the others do.

use entrepot_kit::{Action, PrincipalKind, TokenRequest};
use http::Method;

use super::{ask_token, code, digest, hosted, push, push_signed, token};
use crate::house::{House, PASSWORD};
use crate::raw::{Call, Reply};

async fn furnished() -> House {
    let house = House::start().await;
    house.user("root", &[("server-role", "admin")]).await;
    house.user("reader", &[("system", "alpha")]).await;
    for (address, public) in [("alpha/oci", false), ("alpha/other", false), ("beta/oci", false), ("main/oci", true)] {
        hosted(&house, address, public).await;
    }
    for name in ["alpha/oci/app", "alpha/oci/second", "alpha/other/app", "beta/oci/app", "oci/app"] {
        push(&house, "root", name, "one").await;
    }
    house
}

async fn status(house: &House, token: &str, method: Method, path: &str) -> u16 {
    house.call(Call::new(method, path).with_token(token)).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_where_it_gets_a_token() {
    let house = furnished().await;
    let prefix = format!("Bearer realm=\"http://{0}/v2/token\",service=\"{0}\"", house.host);
    let challenge = |reply: &Reply| {
        assert_eq!(reply.status, 401, "{}", reply.text());
        assert_eq!(code(reply), "UNAUTHORIZED");
        reply.header("WWW-Authenticate").strip_prefix(&prefix).unwrap_or_else(|| panic!("{}", reply.header("WWW-Authenticate"))).to_owned()
    };
    for path in ["/v2/", "/v2"] {
        assert_eq!(challenge(&house.call(Call::get(path)).await), "");
        let head = house.call(Call::new(Method::HEAD, path)).await;
        assert_eq!((head.status.as_u16(), head.header("WWW-Authenticate").is_empty()), (401, false));
        assert_eq!(challenge(&house.call(Call::get(path).signed("alpha-owner", "wrong")).await), "");
        let greeting = house.call_as("alpha-owner", Call::get(path)).await;
        assert_eq!((greeting.status.as_u16(), greeting.text().as_str()), (200, "{}"));
        assert_eq!(greeting.header("Docker-Distribution-API-Version"), "registry/2.0");
    }
    let blob = digest(b"{}");
    for (method, path, scope) in [
        (Method::GET, String::from("/v2/alpha/oci/app/manifests/one"), "repository:alpha/oci/app:pull"),
        (Method::HEAD, format!("/v2/alpha/none/app/blobs/{blob}"), "repository:alpha/none/app:pull"),
        (Method::GET, String::from("/v2/nowhere/a/b/tags/list"), "repository:nowhere/a/b:pull"),
        (Method::PUT, String::from("/v2/oci/app/manifests/two"), "repository:oci/app:pull,push"),
        (Method::POST, String::from("/v2/oci/app/blobs/uploads/"), "repository:oci/app:pull,push"),
        (Method::DELETE, String::from("/v2/oci/app/manifests/one"), "repository:oci/app:pull,delete"),
        (Method::POST, format!("/v2/oci/app/blobs/uploads/?mount={blob}&from=alpha/oci/app"), "repository:oci/app:pull,push repository:alpha/oci/app:pull"),
        (Method::POST, format!("/v2/oci/app/blobs/uploads/?mount={blob}&from=%22,evil=%22"), "repository:oci/app:pull,push"),
    ] {
        let reply = house.call(Call::new(method.clone(), &path)).await;
        assert_eq!(reply.header("WWW-Authenticate"), format!("{prefix},scope=\"{scope}\""), "{method} {path}");
        assert_eq!(reply.status, 401);
    }
    assert_eq!(challenge(&house.call(Call::get("/v2/_catalog")).await), ",scope=\"registry:catalog:*\"");
    // A token that is not good, and one that is not good enough.
    let bad = house.call(Call::get("/v2/alpha/oci/app/tags/list").with_token("eyJhbGciOiJub25lIn0.e30.")).await;
    assert_eq!(challenge(&bad), ",scope=\"repository:alpha/oci/app:pull\",error=\"invalid_token\"");
    let other = token(&house, Some("alpha-owner"), &["repository:alpha/oci/second:pull"]).await;
    let narrow = house.call(Call::get("/v2/alpha/oci/app/tags/list").with_token(&other)).await;
    assert_eq!(challenge(&narrow), ",scope=\"repository:alpha/oci/app:pull\",error=\"insufficient_scope\"");
    let nobody = token(&house, None, &["repository:alpha/oci/app:pull"]).await;
    let refused = house.call(Call::get("/v2/alpha/oci/app/tags/list").with_token(&nobody)).await;
    assert_eq!(challenge(&refused), ",scope=\"repository:alpha/oci/app:pull\",error=\"insufficient_scope\"");
    // Other formats go on to ask for a name and a password.
    assert!(house.call(Call::get("/alpha/nothing/x")).await.header("WWW-Authenticate").starts_with("Basic "));
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_notices_a_wrong_password() {
    let house = furnished().await;
    let made = house.engine().access.operator().create_token(PrincipalKind::User, "alpha-owner", TokenRequest::default()).await.expect("a token").secret;
    for (secret, expected) in [(PASSWORD, 200), ("wrong password", 401), (made.as_str(), 200)] {
        let reply = ask_token(&house, Some(("alpha-owner", secret)), &[]).await;
        assert_eq!(reply.status, expected, "{}", reply.text());
        if expected == 401 {
            assert_eq!(code(&reply), "UNAUTHORIZED");
            continue;
        }
        let answer = reply.json();
        assert!(answer["expires_in"].as_u64() >= Some(60) && answer["issued_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{answer}");
        assert!(answer.get("refresh_token").is_none(), "nobody asked for one");
        assert_eq!(status(&house, answer["token"].as_str().expect("a token"), Method::GET, "/v2/").await, 200);
    }
    // Something to keep in place of the password.
    let asked = |call: Call| house.call(call.signed("alpha-owner", PASSWORD));
    let answer = asked(Call::get("/v2/token?account=alpha-owner&offline_token=true&client_id=docker")).await.json();
    let kept = answer["refresh_token"].as_str().expect("something to keep").to_owned();
    assert!(kept.starts_with("ent_"));
    let form = |body: String| house.call(Call::post("/v2/token", body).with("Content-Type", "application/x-www-form-urlencoded"));
    let refresh = |token: &str| form(format!("grant_type=refresh_token&refresh_token={token}&client_id=docker&scope=repository:alpha/oci/app:pull,push"));
    let refreshed = refresh(&kept).await;
    assert_eq!((refreshed.status.as_u16(), refreshed.json()["refresh_token"].as_str()), (200, Some(kept.as_str())), "the same stays good");
    let access = refreshed.json()["access_token"].as_str().expect("a token").to_owned();
    let pushed = push_signed(&house, "alpha/oci/app", "two", &|call| call.with_token(&access)).await;
    assert_eq!(pushed.status, 201, "{}", pushed.text());
    let with_token = house.call(Call::get("/v2/token?offline_token=true").signed("whoever", &made)).await.json();
    assert_eq!(with_token["refresh_token"].as_str(), Some(made.as_str()), "a token that was sent is kept");
    // OAuth2, as containerd begins.
    let body = format!("grant_type=password&username=alpha-owner&password={}&service=x&client_id=containerd", PASSWORD.replace(' ', "+"));
    let reply = form(format!("{body}&scope=repository:alpha/oci/app:pull+repository:alpha/oci/second:pull")).await;
    let both = reply.json()["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(reply.json().get("refresh_token"), None);
    for path in ["/v2/alpha/oci/app/tags/list", "/v2/alpha/oci/second/tags/list"] {
        assert_eq!(status(&house, &both, Method::GET, path).await, 200);
    }
    assert!(form(format!("{body}&access_type=offline")).await.json()["refresh_token"].is_string());
    for (body, expected) in [
        (body.replace("secret", "guess"), 401),
        (String::from("grant_type=refresh_token&refresh_token=ent_nonsense"), 401),
        (format!("grant_type=refresh_token&refresh_token={both}"), 401),
        (String::from("grant_type=client_credentials"), 400),
        (String::new(), 400),
        (format!("grant_type=password&username=a&password={}", "x".repeat(70_000)), 413),
    ] {
        let reply = form(body).await;
        assert_eq!(reply.status, expected, "{}", reply.text());
        code(&reply);
    }
    assert_eq!(house.call(Call::post("/v2/token", "{}").with("Content-Type", "application/json")).await.status, 415);
    let refused = house.call(Call::get("/v2/token").with_token(&both)).await;
    assert_eq!(refused.status, 401, "a registry token gives no other");
    // Guessing becomes slow here as everywhere.
    let mut last = 0;
    // Each replica counts for itself.
    for _ in 0..60 {
        last = ask_token(&house, Some(("beta-owner", "guess")), &[]).await.status.as_u16();
        if last == 429 {
            break;
        }
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_what_was_asked_and_no_more_than_its_principal_may() {
    let house = furnished().await;
    let granted = async |user: Option<&str>, scope: &str| {
        let text = token(&house, user, &[scope]).await;
        use base64::Engine as _;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text.split('.').nth(1).expect("claims")).expect("base64");
        serde_json::from_slice::<serde_json::Value>(&claims).expect("JSON")["access"].to_string()
    };
    let one = |name: &str, actions: &str| format!("[{{\"type\":\"repository\",\"name\":\"{name}\",\"actions\":[{actions}]}}]");
    assert_eq!(granted(Some("alpha-owner"), "repository:alpha/oci/app:pull,push").await, one("alpha/oci/app", "\"pull\",\"push\""));
    assert_eq!(granted(Some("alpha-owner"), "repository:alpha/oci/app:*").await, one("alpha/oci/app", "\"pull\",\"push\",\"delete\",\"*\""));
    assert_eq!(granted(Some("alpha-owner"), "repository(plugin):alpha/oci/app:pull").await, one("alpha/oci/app", "\"pull\""));
    assert_eq!(granted(Some("reader"), "repository:alpha/oci/app:*").await, one("alpha/oci/app", "\"pull\""));
    assert_eq!(granted(Some("reader"), "repository:alpha/oci/app:push").await, "[]");
    assert_eq!(granted(None, "repository:oci/app:pull,push").await, one("oci/app", "\"pull\""));
    for hidden in ["repository:alpha/oci/app:pull", "repository:alpha/none/app:pull", "repository:none/app:pull", "repository:other:5000/alpha/oci/app:pull"] {
        assert_eq!(granted(None, hidden).await, "[]", "{hidden}");
        assert_eq!(granted(Some("beta-owner"), hidden).await, "[]", "{hidden}");
    }
    let read = token(&house, Some("alpha-owner"), &["repository:alpha/oci/app:pull"]).await;
    let list = |name: &str| format!("/v2/{name}/tags/list");
    assert_eq!(status(&house, &read, Method::GET, &list("alpha/oci/app")).await, 200);
    assert_eq!(status(&house, &read, Method::HEAD, "/v2/alpha/oci/app/manifests/one").await, 200);
    for other in
        ["alpha/oci/second", "alpha/other/app", "beta/oci/app", "oci/app", "main/oci/app", "alpha/oci.at-r1/app", "alpha/oci/app/tags", "alpha/none/app"]
    {
        assert_eq!(status(&house, &read, Method::GET, &list(other)).await, 401, "{other}");
    }
    for (method, path) in [
        (Method::PUT, String::from("/v2/alpha/oci/app/manifests/one")),
        (Method::DELETE, String::from("/v2/alpha/oci/app/manifests/one")),
        (Method::POST, String::from("/v2/alpha/oci/app/blobs/uploads/")),
        (Method::DELETE, format!("/v2/alpha/oci/app/blobs/{}", digest(b"{}"))),
        (Method::GET, String::from("/v2/_catalog")),
        (Method::GET, String::from("/api/v1/tokens")),
        (Method::GET, String::from("/api/v1/repositories/alpha/oci")),
        (Method::GET, String::from("/alpha/oci/x")),
        (Method::GET, String::from("/")),
        (Method::GET, String::from("/-/mirrors/hosts.toml")),
        (Method::GET, String::from("/v2/token")),
    ] {
        assert_eq!(status(&house, &read, method.clone(), &path).await, 401, "{method} {path}");
    }
    // Asking for more than one may is no failure; doing it is.
    let wide = token(&house, Some("reader"), &["repository:alpha/oci/app:*", "repository:beta/oci/app:pull"]).await;
    assert_eq!(status(&house, &wide, Method::GET, &list("alpha/oci/app")).await, 200);
    assert_eq!(status(&house, &wide, Method::POST, "/v2/alpha/oci/app/blobs/uploads/").await, 403);
    assert_eq!(status(&house, &wide, Method::DELETE, "/v2/alpha/oci/app/manifests/one").await, 403);
    assert_eq!(status(&house, &wide, Method::GET, &list("beta/oci/app")).await, 404);
    // The bounds of the token that was sent as a password stay.
    let request = TokenRequest { repositories: vec![String::from("alpha/other")], actions: vec![Action::Read], ..TokenRequest::default() };
    let made = house.engine().access.operator().create_token(PrincipalKind::User, "alpha-owner", request).await.expect("a token").secret;
    let scopes = ["repository:alpha/oci/app:pull", "repository:alpha/other/app:pull,push"];
    let narrow = ask_token(&house, Some(("x", &made)), &scopes).await.json()["token"].as_str().expect("a token").to_owned();
    assert_eq!(status(&house, &narrow, Method::GET, &list("alpha/oci/app")).await, 404);
    assert_eq!(status(&house, &narrow, Method::GET, &list("alpha/other/app")).await, 200);
    assert_eq!(status(&house, &narrow, Method::POST, "/v2/alpha/other/app/blobs/uploads/").await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_needs_a_token_for_both_names() {
    let house = furnished().await;
    let mount = format!("/v2/alpha/other/new/blobs/uploads/?mount={}&from=alpha/oci/app", digest(b"{}"));
    let target = "repository:alpha/other/new:pull,push";
    let one = token(&house, Some("alpha-owner"), &[target]).await;
    assert_eq!(status(&house, &one, Method::POST, &mount).await, 401);
    let both = token(&house, Some("alpha-owner"), &[target, "repository:alpha/oci/app:pull"]).await;
    assert_eq!(status(&house, &both, Method::POST, &mount).await, 201);
    // A name that the caller may not read is like one that does not exist: the upload begins.
    let foreign = format!("/v2/alpha/other/new/blobs/uploads/?mount={}&from=beta/oci/app", digest(b"{}"));
    let both = token(&house, Some("alpha-owner"), &[target, "repository:beta/oci/app:pull"]).await;
    assert_eq!(status(&house, &both, Method::POST, &foreign).await, 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_pulls_go_on_with_and_without_tokens() {
    let house = furnished().await;
    let nobody = token(&house, None, &["repository:oci/app:pull,push"]).await;
    assert_eq!(status(&house, &nobody, Method::GET, "/v2/").await, 200);
    assert_eq!(status(&house, &nobody, Method::GET, "/v2/oci/app/manifests/one").await, 200);
    assert_eq!(status(&house, &nobody, Method::POST, "/v2/oci/app/blobs/uploads/").await, 401);
    assert_eq!(house.call(Call::get("/v2/oci/app/manifests/one")).await.status, 200);
    assert_eq!(house.call(Call::get("/v2/oci/app/manifests/one").signed("alpha-owner", "wrong password")).await.status, 401, "never taken for nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_what_it_was_made_with() {
    let house = furnished().await;
    let operator = house.engine().access.operator();
    let scope = ["repository:alpha/oci/app:pull"];
    let made = operator.create_token(PrincipalKind::User, "alpha-owner", TokenRequest::default()).await.expect("a token");
    let with_token = ask_token(&house, Some(("x", &made.secret)), &scope).await.json()["token"].as_str().expect("a token").to_owned();
    let with_password = token(&house, Some("alpha-owner"), &scope).await;
    let of_reader = token(&house, Some("reader"), &scope).await;
    let path = "/v2/alpha/oci/app/tags/list";
    // Each twice: every replica has seen them.
    for text in [&with_token, &with_password, &of_reader].repeat(2) {
        assert_eq!(status(&house, text, Method::GET, path).await, 200);
    }
    operator.revoke_token(&made.info.id).await.expect("revoked");
    operator.set_disabled(PrincipalKind::User, "reader", true).await.expect("disabled");
    for text in [&with_token, &of_reader].repeat(2) {
        assert_eq!(status(&house, text, Method::GET, path).await, 401);
    }
    assert_eq!(status(&house, &with_password, Method::GET, path).await, 200);
    operator.set_password("alpha-owner", &"quite another password".into()).await.expect("changed");
    for _ in 0..2 {
        assert_eq!(status(&house, &with_password, Method::GET, path).await, 401);
    }
}
