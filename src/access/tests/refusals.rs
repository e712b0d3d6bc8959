use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Delete, Kind, Publish, Read, Timestamp, TokenRequest};

use super::{Bench, tags, wanted, with_target};
use crate::access::{Caller, Target};
use crate::store::model::PolicyRow;

/// Status, message and rule of the refusal.
async fn refusal<A: entrepot_kit::Access>(bench: &Bench, caller: &Caller, system: &str, own: &Tags) -> (u16, String, Option<String>) {
    let error = with_target(system, own, async |target| bench.access.require::<A>(caller, target, &bench.facts).await.err()).await.unwrap();
    (error.status().as_u16(), error.message().to_owned(), error.policy().map(ToOwned::to_owned))
}

#[tokio::test]
async fn nobody_learns_what_exists() {
    let bench = Bench::new().await;
    let stranger = bench.user("eve", &[]).await;
    let private = tags(&[("visibility", "private")]);
    for (caller, status) in [(Caller::anonymous(), 401), (stranger, 404)] {
        let hidden = refusal::<Read>(&bench, &caller, "alpha", &private).await;
        let missing = bench.access.missing(&caller, "alpha/npm");
        assert_eq!(hidden, (status, missing.message().to_owned(), None));
        assert_eq!(missing.status(), status);
        assert_eq!(refusal::<Publish>(&bench, &caller, "alpha", &private).await.0, status, "no 403 where it may not read");
    }
}

#[tokio::test]
async fn who_may_read_is_told_what_is_missing() {
    let bench = Bench::new().await;
    let reader = bench.user("bob", &[("system", "alpha")]).await;
    let public = tags(&[("visibility", "public"), ("frozen", "yes")]);
    let (status, message, rule) = refusal::<Publish>(&bench, &reader, "alpha", &public).await;
    assert_eq!((status, rule), (403, None));
    assert!(message.contains("user:bob") && message.contains("\"publish\"") && message.contains("no policy permits"), "{message}");
    assert_eq!(refusal::<Publish>(&bench, &Caller::anonymous(), "alpha", &public).await.0, 401, "nobody may sign in first");

    let owner = bench.user("olga", &[("system", "alpha"), ("role", "owner")]).await;
    assert!(bench.may(&owner, Action::Delete, "alpha", &public).await);
    let text = "forbid (principal, action == Action::\"delete\", resource) when { resource.hasTag(\"frozen\") };";
    bench.operator().put_policy("freeze", text).await.unwrap();
    let (status, message, rule) = refusal::<Delete>(&bench, &owner, "alpha", &public).await;
    assert_eq!((status, rule.as_deref()), (403, Some("freeze")));
    assert!(message.contains("\"freeze\""), "{message}");
    bench.operator().delete_policy("freeze").await.unwrap();
    assert!(bench.may(&owner, Action::Delete, "alpha", &public).await);
}

#[tokio::test]
async fn a_token_narrows_and_never_widens() {
    let bench = Bench::new().await;
    bench.user("olga", &[("system", "alpha"), ("system", "beta"), ("role", "owner")]).await;
    bench.user("eve", &[]).await;
    let private = tags(&[("visibility", "private")]);
    let narrow = bench.bearer(&bench.token("olga", wanted(&["alpha/*"], &[Action::Read])).await.secret).await.unwrap();
    assert!(bench.may(&narrow, Action::Read, "alpha", &private).await);
    assert!(!bench.may(&narrow, Action::Read, "beta", &private).await);
    let (status, message, _) = refusal::<Delete>(&bench, &narrow, "alpha", &private).await;
    assert!(status == 403 && message.contains("token in use"), "{message}");
    assert_eq!(refusal::<Delete>(&bench, &narrow, "beta", &private).await.0, 404);

    let wide = bench.bearer(&bench.token("eve", wanted(&["*"], &Action::DECIDED)).await.secret).await.unwrap();
    assert!(!bench.may(&wide, Action::Read, "alpha", &private).await);
    bench.operator().create_user(crate::access::NewUser { name: "admin".into(), password: Some("x".into()), tags: tags(&[]) }).await.unwrap();
    let admin = bench.bearer(&bench.token("admin", wanted(&["alpha/*"], &[Action::Read])).await.secret).await.unwrap();
    assert!(bench.may(&admin, Action::Read, "alpha", &private).await);
    assert!(!bench.may(&admin, Action::Delete, "alpha", &private).await && !bench.may(&admin, Action::Read, "beta", &private).await);
}

#[tokio::test]
async fn a_changed_policy_counts_at_once_here_and_with_the_next_look_elsewhere() {
    let bench = Bench::new().await;
    let eve = bench.user("eve", &[("team", "red")]).await;
    let replica = bench.replica().await;
    let own = tags(&[("team", "red")]);
    let there = async || with_target("alpha", &own, async |target| replica.decide(&eve, Action::Read, target).await.unwrap().allowed).await;
    assert!(!bench.may(&eve, Action::Read, "alpha", &own).await && !there().await);
    let text = "permit (principal, action == Action::\"read\", resource)
        when { principal.hasTag(\"team\") && resource.hasTag(\"team\") && principal.getTag(\"team\").containsAny(resource.getTag(\"team\")) };";
    let report = bench.operator().put_policy("same-team", text).await.unwrap();
    assert_eq!(report.rules, ["same-team"]);
    assert!(bench.may(&eve, Action::Read, "alpha", &own).await);
    assert!(!there().await);
    replica.refresh().await.unwrap();
    assert!(there().await);
    assert!(!bench.may(&eve, Action::Read, "alpha", &tags(&[("team", "blue")])).await);
}

#[tokio::test]
async fn a_stored_policy_that_cannot_be_used_leaves_only_administrators_in() {
    let bench = Bench::new().await;
    let public = tags(&[("visibility", "public")]);
    bench.access.first_start(Some("x".into())).await.unwrap();
    let admin = bench.basic("admin", "x").await.unwrap();
    assert!(bench.may(&Caller::anonymous(), Action::Read, "alpha", &public).await);
    bench.catalog.put_policy(PolicyRow { name: "torn".into(), text: "forbid (princ".into(), updated: Timestamp(0) }).await.unwrap();
    bench.access.refresh().await.unwrap();
    let explained = with_target("alpha", &public, async |target| bench.access.explain(&Caller::anonymous(), Action::Read, target).await.unwrap()).await;
    assert_eq!((explained.allowed, explained.rules), (false, vec!["torn".to_owned()]));
    assert!(bench.may(&admin, Action::Read, "alpha", &public).await);
    bench.operator().delete_policy("torn").await.unwrap();
    assert!(bench.may(&Caller::anonymous(), Action::Read, "alpha", &public).await);
}

#[tokio::test]
async fn explanations_name_the_rules_and_the_token() {
    let bench = Bench::new().await;
    let bob = bench.user("bob", &[("system", "alpha")]).await;
    let private = tags(&[]);
    let explain =
        async |caller: &Caller, action| with_target("alpha", &private, async |target| bench.access.explain(caller, action, target).await.unwrap()).await;
    let allowed = explain(&bob, Action::Read).await;
    assert_eq!((allowed.allowed, allowed.rules), (true, vec!["default:system-read".to_owned()]));
    assert_eq!((allowed.principal.as_str(), allowed.resource.as_str(), allowed.evaluated), ("user:bob", "alpha/npm", 3));
    let refused = explain(&bob, Action::Manage).await;
    assert_eq!((refused.allowed, refused.rules.len(), refused.reason.as_str()), (false, 0, "no policy permits it"));
    let token = bench.token("bob", wanted(&["beta/*"], &[])).await;
    let narrow = bench.operator().as_caller(entrepot_kit::PrincipalKind::User, "bob", Some(&token.info.id)).await.unwrap();
    let outside = explain(&narrow, Action::Read).await;
    assert!(!outside.allowed && outside.outside_scope && !outside.forbidden && outside.reason.contains("token"));
    let other = bench.token("bob", TokenRequest::default()).await;
    assert!(explain(&bench.bearer(&other.secret).await.unwrap(), Action::Read).await.allowed);
}

#[tokio::test]
async fn denials_are_audited_and_counted() {
    let bench = Bench::new().await;
    let eve = bench.user("eve", &[]).await;
    bench.audit().await;
    for _ in 0..5 {
        refusal::<Read>(&bench, &eve, "alpha", &tags(&[])).await;
    }
    let log = bench.audit().await;
    assert_eq!(log.last().unwrap(), "user:eve read alpha/npm denied no policy permits it (5 times)");
}

#[tokio::test]
async fn systems_and_packages_are_targets_too() {
    let bench = Bench::new().await;
    let bob = bench.user("bob", &[("system", "alpha")]).await;
    let (public, none) = (tags(&[("visibility", "public")]), tags(&[]));
    let system = Target { system: "alpha", system_tags: &none, repository: None, package: None };
    assert!(bench.access.permit::<Read>(&bob, &system).await.unwrap().is_some());
    assert!(bench.access.permit::<Read>(&Caller::anonymous(), &system).await.unwrap().is_none());
    bench.operator().put_policy("hide", "forbid (principal, action, resource == Package::\"alpha/npm:secret\");").await.unwrap();
    let package = |name| Target { system_tags: &public, repository: Some(("npm", &none, "npm", Kind::Hosted)), package: Some(name), ..system };
    assert!(bench.access.permit::<Read>(&Caller::anonymous(), &package("left-pad")).await.unwrap().is_some(), "the system's tag counts");
    assert!(bench.access.permit::<Read>(&bob, &package("secret")).await.unwrap().is_none());
    let error = bench.access.check(&bob, Action::Read, &package("secret"), &bench.facts).await.unwrap_err();
    assert!(error.status() == 404 && !error.message().contains("secret"), "{error}");
}
