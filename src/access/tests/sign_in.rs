use entrepot_kit::{Action, PrincipalKind, TokenRequest};
use secrecy::ExposeSecret;

use super::{Bench, basic, tags, wanted};
use crate::access::{Caller, NewRobot};

#[tokio::test]
async fn the_first_start_makes_an_admin_who_may_do_everything() {
    let bench = Bench::new().await;
    let random = bench.access.first_start(None).await.unwrap().unwrap();
    assert!(bench.access.first_start(None).await.unwrap().is_none());
    assert!(bench.access.first_start(Some("other".into())).await.unwrap().is_none());
    let admin = bench.basic("admin", random.expose_secret()).await.unwrap();
    assert!(bench.basic("admin", "other").await.is_err());
    for action in Action::DECIDED {
        assert!(bench.may(&admin, action, "any", &tags(&[("visibility", "private")])).await);
    }
    let given = Bench::new().await;
    assert!(given.access.first_start(Some("from the settings".into())).await.unwrap().is_none());
    assert!(given.basic("admin", "from the settings").await.unwrap().is_administrator());
}

#[tokio::test]
async fn who_sends_nothing_is_nobody_and_who_sends_nonsense_is_refused() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    assert!(bench.access.authenticate(None, &bench.facts).await.unwrap().is_anonymous());
    assert_eq!(bench.basic("bob", "bob's password").await.unwrap().name(), "user:bob");
    let wrong = bench.basic("bob", "wrong").await.unwrap_err();
    let unknown = bench.basic("eve", "wrong").await.unwrap_err();
    assert_eq!((wrong.status().as_u16(), wrong.message()), (401, unknown.message()), "the answer does not tell who exists");
    for token in ["", "x", "bob's password", "ent_000000000000_0000000000000000000000000000000000000000000_00000000"] {
        assert_eq!(bench.bearer(token).await.unwrap_err().status(), 401, "{token}");
    }
}

#[tokio::test]
async fn an_unknown_user_costs_a_hash_too() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    bench.operator().create_robot(NewRobot { name: "ci".into(), tags: tags(&[]) }).await.unwrap();
    let _no_place_to_hash = bench.access.passwords.occupy();
    for user in ["bob", "eve", "ci", "no name: at all"] {
        assert_eq!(bench.basic(user, "wrong").await.unwrap_err().status(), 503, "{user}");
    }
}

#[tokio::test]
async fn a_password_is_hashed_once() {
    let bench = Bench::new().await;
    bench.user("bob", &[("team", "a")]).await;
    bench.basic("bob", "bob's password").await.unwrap();
    let _no_place_to_hash = bench.access.passwords.occupy();
    assert!(bench.basic("bob", "bob's password").await.is_ok());
    bench.operator().set_tags(PrincipalKind::User, "bob", tags(&[("team", "b")])).await.unwrap();
    let caller = bench.basic("bob", "bob's password").await.unwrap();
    assert_eq!(caller.principal.tags, tags(&[("team", "b")]), "after a change it is compared again, without hashing");
    assert_eq!(bench.basic("bob", "another").await.unwrap_err().status(), 503);
}

#[tokio::test]
async fn a_changed_password_and_a_disabled_user_count_at_once() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let token = bench.token("bob", TokenRequest::default()).await;
    bench.basic("bob", "bob's password").await.unwrap();
    bench.operator().set_password("bob", &"new".into()).await.unwrap();
    assert_eq!(bench.basic("bob", "bob's password").await.unwrap_err().status(), 401);
    assert!(bench.basic("bob", "new").await.is_ok());
    assert!(bench.bearer(&token.secret).await.is_ok(), "tokens have a life of their own");

    bench.operator().set_disabled(PrincipalKind::User, "bob", true).await.unwrap();
    assert_eq!(bench.basic("bob", "new").await.unwrap_err().status(), 401);
    assert_eq!(bench.bearer(&token.secret).await.unwrap_err().status(), 401);
    bench.operator().set_disabled(PrincipalKind::User, "bob", false).await.unwrap();
    assert!(bench.basic("bob", "new").await.is_ok() && bench.bearer(&token.secret).await.is_ok());
    bench.operator().delete(PrincipalKind::User, "bob").await.unwrap();
    assert!(bench.basic("bob", "new").await.is_err() && bench.bearer(&token.secret).await.is_err());
}

#[tokio::test]
async fn a_token_stands_for_the_password_with_any_user_name() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let token = bench.token("bob", wanted(&["alpha/*"], &[Action::Read])).await;
    for caller in [bench.bearer(&token.secret).await, bench.basic("bob", &token.secret).await, bench.basic("__token__", &token.secret).await] {
        let caller = caller.unwrap();
        assert_eq!((caller.name().as_str(), caller.token_id.as_deref()), ("user:bob", Some(token.info.id.as_str())));
        assert_eq!(caller.scope.unwrap().repositories, ["alpha/*"]);
    }
    assert!(!format!("{:?}", basic("bob", &token.secret)).contains(&token.secret));
}

#[tokio::test]
async fn revoked_and_expired_tokens_end() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let short = bench.token("bob", TokenRequest { expires_in: Some(60), ..TokenRequest::default() }).await;
    let long = bench.token("bob", TokenRequest { expires_in: Some(u64::MAX), ..TokenRequest::default() }).await;
    let replica = bench.replica().await;
    let there = async |secret: &str| replica.authenticate(Some(basic("x", secret)), &bench.facts).await.is_ok();
    assert!(bench.bearer(&short.secret).await.is_ok() && there(&short.secret).await && there(&long.secret).await);
    bench.wait(59);
    assert!(bench.bearer(&short.secret).await.is_ok());
    bench.wait(1);
    assert!(bench.bearer(&short.secret).await.is_err(), "also when it is remembered");
    assert!(bench.bearer(&long.secret).await.is_ok());
    bench.operator().revoke_token(&long.info.id).await.unwrap();
    assert!(bench.bearer(&long.secret).await.is_err());
    replica.refresh().await.unwrap();
    assert!(!there(&long.secret).await, "a replica learns it with the next look at the epoch");
    assert_eq!(long.info.expires.unwrap().0 - long.info.created.0, 366 * 24 * 3_600_000, "the maximum applies");
}

#[tokio::test]
async fn guessing_is_slowed_down_and_locks_nobody_out_who_has_a_token() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    bench.user("alice", &[]).await;
    let token = bench.token("bob", TokenRequest::default()).await;
    bench.basic("bob", "bob's password").await.unwrap();
    let mut answers = Vec::new();
    for guess in 0..12 {
        answers.push(bench.basic("bob", &format!("guess {guess}")).await.unwrap_err());
    }
    let codes: Vec<_> = answers.iter().map(|error| error.status().as_u16()).collect();
    assert_eq!(codes, [401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 429, 429]);
    assert!(answers[11].retry_after().is_some_and(|seconds| (1..=60).contains(&seconds)));
    assert!(bench.bearer(&token.secret).await.is_ok() && bench.basic("bob", &token.secret).await.is_ok());
    assert!(bench.basic("bob", "bob's password").await.is_ok(), "a password that was right a moment ago is remembered");
    assert!(bench.basic("alice", "alice's password").await.is_ok());
    let replica = bench.replica().await;
    assert!(replica.authenticate(Some(basic("bob", &token.secret)), &bench.facts).await.is_ok());

    let eve = async |password: &str| bench.basic("eve", password).await.unwrap_err().status().as_u16();
    for guess in 0..10 {
        eve(&guess.to_string()).await;
    }
    assert_eq!(eve("x").await, 429);
    bench.wait(31);
    assert_eq!(eve("x").await, 401, "waiting helps");
}

#[tokio::test]
async fn the_same_wrong_password_at_once_is_one_guess() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    let results = futures::future::join_all((0..50).map(|_| bench.basic("bob", "bob's password"))).await;
    assert!(results.iter().all(Result::is_ok), "many requests of one client do not look like guesses");
}

#[tokio::test]
async fn failed_sign_ins_are_audited_without_what_was_typed() {
    let bench = Bench::new().await;
    bench.user("bob", &[]).await;
    bench.basic("bob", "x").await.unwrap_err();
    bench.basic("my secret phrase!", "x").await.unwrap_err();
    let log = bench.audit().await.join("\n");
    assert!(log.contains("user:bob sign-in  failed") && log.contains("unknown sign-in  failed"), "{log}");
    assert!(!log.contains("phrase"), "{log}");
    assert_eq!(Caller::anonymous().name(), "anonymous");
}
