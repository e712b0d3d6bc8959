use entrepot_kit::accounts::WebLoginState;
use entrepot_kit::{Action, TokenRequest};

use super::{Bench, wanted};
use crate::access::Caller;

#[tokio::test]
async fn a_password_buys_a_token() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let accounts = bench.access.accounts(&Caller::anonymous(), &bench.facts);
    assert_eq!(accounts.sign_in("bob", "wrong", TokenRequest::default()).await.err().unwrap().status(), 401);
    let token = accounts.sign_in("bob", "bob's password", wanted(&[], &[Action::Read])).await.unwrap();
    let caller = bench.bearer(&token.secret).await.unwrap();
    assert_eq!(caller.name(), "user:bob");
    assert_eq!(token.info.expires.unwrap().0 - token.info.created.0, 90 * 24 * 3_600_000, "every token ends");
    for refused in [accounts.tokens().await.err(), accounts.create_token(None, TokenRequest::default()).await.err(), accounts.revoke_token("x").await.err()] {
        assert_eq!(refused.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn tokens_are_listed_and_revoked_by_their_owner_only() {
    let bench = Bench::new().await;
    let bob = bench.user("bob", &[]).await;
    let eve = bench.user("eve", &[]).await;
    let accounts = bench.access.accounts(&bob, &bench.facts);
    let first = accounts.create_token(None, TokenRequest { name: "first".into(), ..TokenRequest::default() }).await.unwrap();
    bench.wait(1);
    let second = accounts.create_token(Some("bob's password"), TokenRequest::default()).await.unwrap();
    assert_eq!(accounts.create_token(Some("wrong"), TokenRequest::default()).await.err().unwrap().status(), 401);
    assert_eq!(accounts.create_token(Some(&second.secret), TokenRequest::default()).await.err().unwrap().status(), 401, "a token is no password");
    let ids = async || accounts.tokens().await.unwrap().into_iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(ids().await, [second.info.id.clone(), first.info.id.clone()]);

    let others = bench.access.accounts(&eve, &bench.facts);
    assert!(!others.revoke_token(&first.info.id).await.unwrap());
    assert!(!others.revoke_token(&first.secret).await.unwrap());
    assert!(accounts.revoke_token(&first.secret).await.unwrap(), "npm names it by the token itself");
    assert!(!accounts.revoke_token(&first.info.id).await.unwrap());
    assert!(bench.bearer(&first.secret).await.is_err());
    let mistyped = second.secret.chars().rev().collect::<String>();
    assert!(!accounts.revoke_token(&mistyped).await.unwrap());
    assert_eq!(ids().await, [second.info.id]);
}

#[tokio::test]
async fn a_token_makes_no_wider_token() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let short = TokenRequest { expires_in: Some(100), ..wanted(&["alpha/*"], &[Action::Read, Action::Manage]) };
    let manager = bench.bearer(&bench.token("bob", short).await.secret).await.unwrap();
    let accounts = bench.access.accounts(&manager, &bench.facts);
    let made = accounts.create_token(None, TokenRequest { expires_in: Some(10_000), ..TokenRequest::default() }).await.unwrap();
    assert_eq!(made.info.actions, [Action::Read, Action::Manage]);
    assert_eq!(made.info.repositories, ["alpha/*"]);
    assert_eq!(made.info.expires, manager.scope.as_ref().unwrap().expires, "it does not live longer either");
    assert_eq!(accounts.create_token(None, wanted(&["*"], &[])).await.err().unwrap().status(), 403);
    assert_eq!(accounts.create_token(None, wanted(&[], &[Action::Publish])).await.err().unwrap().status(), 403);

    let reader = bench.token("bob", wanted(&[], &[Action::Read])).await;
    let caller = bench.bearer(&reader.secret).await.unwrap();
    let accounts = bench.access.accounts(&caller, &bench.facts);
    assert_eq!(accounts.create_token(None, wanted(&[], &[Action::Read])).await.err().unwrap().status(), 403);
    assert_eq!(accounts.create_token(Some("bob's password"), wanted(&[], &[Action::Read])).await.err().unwrap().status(), 403);
    assert_eq!(accounts.sign_in("bob", &reader.secret, wanted(&[], &[Action::Read])).await.err().unwrap().status(), 403);
    assert_eq!(accounts.tokens().await.err().unwrap().status(), 403);
    assert_eq!(accounts.revoke_token(&made.info.id).await.err().unwrap().status(), 403);
    assert!(accounts.revoke_token(&reader.info.id).await.unwrap(), "but it may end itself");
    assert!(bench.bearer(&reader.secret).await.is_err());
}

#[tokio::test]
async fn requests_that_make_no_sense_are_explained() {
    let bench = Bench::new().await;
    let bob = bench.user("bob", &[]).await;
    let accounts = bench.access.accounts(&bob, &bench.facts);
    let long = TokenRequest { name: "x".repeat(300), ..TokenRequest::default() };
    for request in [wanted(&["alpha"], &[]), wanted(&[], &[Action::SignIn]), TokenRequest { expires_in: Some(0), ..TokenRequest::default() }, long] {
        assert_eq!(accounts.create_token(None, request).await.err().unwrap().status(), 400);
    }
}

#[tokio::test]
async fn a_browser_signs_a_command_line_in() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let accounts = bench.access.accounts(&Caller::anonymous(), &bench.facts);
    let login = accounts.start_web_login().await.unwrap();
    assert!(matches!(accounts.poll_web_login(&login.poll).await.unwrap(), WebLoginState::Waiting));
    let complete = async |page: &str, password: &str| {
        let outcome = bench.access.complete_web_login(page, "bob", password.to_owned().into(), &bench.facts).await;
        outcome.map_err(|error| error.status().as_u16())
    };
    assert_eq!(complete(&login.page, "wrong").await, Err(401));
    assert_eq!(complete(&login.poll, "bob's password").await, Err(404));
    assert_eq!(complete(&login.page, "bob's password").await, Ok(()));
    assert_eq!(complete(&login.page, "bob's password").await, Err(404));
    let WebLoginState::Done(token) = accounts.poll_web_login(&login.poll).await.unwrap() else { panic!("not done") };
    assert_eq!(bench.bearer(&token.secret).await.unwrap().name(), "user:bob");
    assert!(matches!(accounts.poll_web_login(&login.poll).await.unwrap(), WebLoginState::Gone), "the token is told once");
}

#[tokio::test]
async fn the_own_password_is_changed_with_the_old_one() {
    let bench = Bench::new().await;
    let bob = bench.user("bob", &[]).await;
    let change = async |caller: &Caller, old: &str| {
        let outcome = bench.access.change_own_password(caller, old.to_owned().into(), "new".into(), &bench.facts).await;
        outcome.map_err(|error| error.status().as_u16())
    };
    let narrow = bench.bearer(&bench.token("bob", wanted(&[], &[Action::Read])).await.secret).await.unwrap();
    assert_eq!(change(&narrow, "bob's password").await, Err(403));
    assert_eq!(change(&bob, "wrong").await, Err(401));
    assert_eq!(change(&Caller::anonymous(), "").await, Err(401));
    assert_eq!(change(&bob, "bob's password").await, Ok(()));
    assert!(bench.basic("bob", "new").await.is_ok() && bench.basic("bob", "bob's password").await.is_err());
}
