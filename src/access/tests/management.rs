use entrepot_kit::{Action, PrincipalKind, TokenRequest};

use super::{Bench, tags, wanted};
use crate::access::{Caller, NewRobot, NewUser, Settings};

#[tokio::test]
async fn only_administrators_manage() {
    let bench = Bench::new().await;
    bench.access.first_start(Some("x".into())).await.unwrap();
    let bob = bench.user("bob", &[("role", "owner"), ("system", "main")]).await;
    let deputy = bench.user("deputy", &[("server-role", "admin")]).await;
    let status = |caller: &Caller| bench.access.admin(caller, &bench.facts).map(|_| ()).map_err(|error| error.status().as_u16());
    assert_eq!(status(&Caller::anonymous()), Err(401));
    assert_eq!(status(&bob), Err(403));
    assert_eq!(status(&deputy), Ok(()));
    assert_eq!(status(&bench.basic("admin", "x").await.unwrap()), Ok(()));
    let with = async |request| bench.bearer(&bench.token("admin", request).await.secret).await.unwrap();
    assert_eq!(status(&with(TokenRequest::default()).await), Ok(()));
    assert_eq!(status(&with(wanted(&["*"], &[Action::Manage])).await), Ok(()));
    assert_eq!(status(&with(wanted(&["main/*"], &[])).await), Err(403));
    assert_eq!(status(&with(wanted(&[], &[Action::Read])).await), Err(403));
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let bench = Bench::new().await;
    bench.access.first_start(Some("x".into())).await.unwrap();
    bench.user("bob", &[]).await;
    // One without a password, and a robot, cannot sign in as an administrator.
    bench.operator().create_user(NewUser { name: "mute".into(), password: None, tags: tags(&[("server-role", "admin")]) }).await.unwrap();
    bench.operator().create_robot(NewRobot { name: "admin".into(), tags: tags(&[("server-role", "admin")]) }).await.unwrap();
    let admin = bench.operator();
    let user = PrincipalKind::User;
    assert_eq!(admin.delete(user, "admin").await.unwrap_err().status(), 409);
    assert_eq!(admin.set_disabled(user, "admin", true).await.unwrap_err().status(), 409);
    assert!(admin.set_tags(user, "admin", tags(&[("a", "b")])).await.is_ok(), "the name alone makes an administrator");

    bench.user("deputy", &[("server-role", "admin")]).await;
    assert!(admin.set_disabled(user, "admin", true).await.is_ok());
    assert_eq!(admin.set_tags(user, "deputy", tags(&[])).await.unwrap_err().status(), 409);
    assert_eq!(admin.delete(user, "deputy").await.unwrap_err().status(), 409);
    assert!(admin.set_disabled(user, "bob", true).await.is_ok());
    assert!(admin.delete(user, "bob").await.is_ok());
    assert!(admin.delete(PrincipalKind::Robot, "admin").await.is_ok());
}

#[tokio::test]
async fn users_and_robots_are_made_listed_and_checked() {
    let bench = Bench::new().await;
    let admin = bench.operator();
    let user = |name: &str, password: Option<&str>| NewUser { name: name.into(), password: password.map(|text| text.to_owned().into()), tags: tags(&[]) };
    admin.create_user(user("bob", Some("x"))).await.unwrap();
    admin.create_user(user("alice", None)).await.unwrap();
    admin.create_robot(NewRobot { name: "bob".into(), tags: tags(&[("team", "a")]) }).await.unwrap();
    for (new, status) in [(user("bob", None), 409), (user("a b", None), 400), (user("anonymous", None), 400), (user("eve", Some("")), 400)] {
        assert_eq!(admin.create_user(new.clone()).await.unwrap_err().status(), status, "{new:?}");
    }
    let names: Vec<_> = admin.principals(PrincipalKind::User).await.unwrap().into_iter().map(|user| (user.name, user.has_password)).collect();
    assert_eq!(names, [("alice".to_owned(), false), ("bob".to_owned(), true)]);
    assert_eq!(admin.principal(PrincipalKind::Robot, "bob").await.unwrap().tags, tags(&[("team", "a")]));
    assert_eq!(admin.principal(PrincipalKind::Robot, "eve").await.unwrap_err().status(), 404);
    assert_eq!(admin.set_password("eve", &"x".into()).await.unwrap_err().status(), 404);

    let token = admin.create_token(PrincipalKind::Robot, "bob", TokenRequest::default()).await.unwrap();
    assert_eq!(bench.bearer(&token.secret).await.unwrap().name(), "robot:bob");
    assert_eq!(admin.tokens(PrincipalKind::Robot, "bob").await.unwrap(), std::slice::from_ref(&token.info));
    assert!(admin.tokens(PrincipalKind::User, "bob").await.unwrap().is_empty());
    admin.revoke_token(&token.info.id).await.unwrap();
    assert_eq!(admin.revoke_token("nothing").await.unwrap_err().status(), 404);
    assert!(admin.tokens(PrincipalKind::Robot, "bob").await.unwrap().is_empty());
}

#[tokio::test]
async fn policies_are_checked_kept_and_deleted() {
    let bench = Bench::new().await;
    let admin = bench.operator();
    let rule = "permit (principal, action, resource);";
    for (name, text, part) in
        [("bad", "permit (", "cannot be read"), ("bad", "permit (principal, action == Action::\"x\", resource);", "schema"), ("default", rule, "own")]
    {
        let error = admin.put_policy(name, text).await.unwrap_err();
        assert!(error.status() == 400 && error.message().contains(part), "{error}");
    }
    admin.put_policy("b", rule).await.unwrap();
    admin.put_policy("a", rule).await.unwrap();
    admin.put_policy("a", "forbid (principal, action, resource);").await.unwrap();
    let stored: Vec<_> = admin.policies().await.unwrap().into_iter().map(|row| (row.name, row.text)).collect();
    assert_eq!(stored, [("a".to_owned(), "forbid (principal, action, resource);".to_owned()), ("b".to_owned(), rule.to_owned())]);
    assert_eq!(admin.policy("b").await.unwrap().text, rule);
    admin.delete_policy("a").await.unwrap();
    assert_eq!(admin.delete_policy("a").await.unwrap_err().status(), 404);
    assert_eq!(admin.policy("a").await.unwrap_err().status(), 404);
}

#[tokio::test]
async fn changes_are_audited_without_secrets() {
    let bench = Bench::new().await;
    bench.user("bob", &[("team", "a")]).await;
    let token = bench.token("bob", TokenRequest::default()).await;
    bench.operator().revoke_token(&token.info.id).await.unwrap();
    bench.operator().put_policy("p", "permit (principal, action, resource);").await.unwrap();
    let log = bench.audit().await;
    let id = &token.info.id;
    assert_eq!(
        log[1..],
        [
            format!("operator create-token token:{id} changed for user:bob"),
            format!("operator revoke-token token:{id} changed "),
            "operator put-policy policy:p changed ".to_owned(),
        ]
    );
    assert!(log[0].starts_with("operator create-principal user:bob changed"));
    assert!(!log.join("").contains("password"), "{log:?}");
}

#[tokio::test]
async fn wrong_default_policies_stop_the_start() {
    let bench = Bench::new().await;
    let settings = Settings { default_policies: "permit (princ".into(), ..Settings::default() };
    let clock = crate::clock::system();
    let error = crate::access::Access::new(bench.catalog.clone(), settings, clock).await.err().unwrap();
    assert!(error.status() == 400 && error.message().contains("\"default\""), "{error}");
}
