use std::sync::Arc;

use cedar_policy::PolicySet;
use entrepot_kit::accounts::Tags;
use entrepot_kit::{Action, Kind, Principal, PrincipalKind};
use proptest::prelude::*;

use super::super::policy_text::{DEFAULT_POLICIES, PolicyText};
use super::super::resource::{Question, Target};
use super::{Rules, Verdict, ask_cedar};

pub(super) fn tags(text: &[(&str, &str)]) -> Tags {
    let mut tags = Tags::new();
    for (key, value) in text {
        tags.entry((*key).to_owned()).or_default().insert((*value).to_owned());
    }
    tags
}

fn user(name: &str, text: &[(&str, &str)]) -> Principal {
    Principal { kind: PrincipalKind::User, name: name.to_owned(), tags: tags(text) }
}

fn rules(text: &str) -> Arc<Rules> {
    Arc::new(Rules::new([&PolicyText::parse("test", text).unwrap()], Vec::new()))
}

async fn decide(rules: &Arc<Rules>, principal: &Principal, action: Action, system: &str, own: &Tags) -> Arc<Verdict> {
    let system_tags = Tags::new();
    let target = Target { system, system_tags: &system_tags, repository: Some(("npm", own, "npm", Kind::Hosted)), package: Some("left-pad") };
    rules.decide(principal, action, &target).await.unwrap()
}

#[tokio::test]
async fn the_default_policies_say_what_the_manual_says() {
    let rules = rules(DEFAULT_POLICIES);
    let (public, private) = (tags(&[("visibility", "public")]), tags(&[("visibility", "private")]));
    let nobody = Principal::anonymous();
    let reader = user("r", &[("system", "alpha")]);
    let publisher = user("p", &[("system", "alpha"), ("role", "publisher")]);
    let owner = user("o", &[("system", "beta"), ("system", "alpha"), ("role", "owner")]);
    let allowed = async |principal: &Principal, own: &Tags| {
        let mut names = Vec::new();
        for action in Action::DECIDED {
            if decide(&rules, principal, action, "alpha", own).await.allowed {
                names.push(action.name());
            }
        }
        names.join(" ")
    };
    assert_eq!(allowed(&nobody, &public).await, "read");
    assert_eq!(allowed(&nobody, &private).await, "");
    assert_eq!(allowed(&nobody, &Tags::new()).await, "");
    assert_eq!(allowed(&reader, &private).await, "read");
    assert_eq!(allowed(&publisher, &private).await, "read publish overwrite");
    assert_eq!(allowed(&owner, &private).await, "read publish overwrite delete manage");
    let stranger = user("s", &[("system", "alphabet"), ("role", "owner")]);
    assert_eq!(allowed(&stranger, &private).await, "", "a role holds in its own systems only");
    assert_eq!(allowed(&stranger, &public).await, "read");
    let verdict = decide(&rules, &owner, Action::Read, "alpha", &public).await;
    assert_eq!(verdict.rules[..], ["test:public-read", "test:system-owner", "test:system-read"]);
}

#[tokio::test]
async fn a_forbid_wins_and_is_named() {
    let text = "permit (principal, action, resource);
        @id(\"frozen\") forbid (principal, action == Action::\"publish\", resource) when { resource.hasTag(\"frozen\") };";
    let rules = rules(text);
    let verdict = decide(&rules, &user("u", &[]), Action::Publish, "a", &tags(&[("frozen", "yes")])).await;
    assert_eq!((verdict.allowed, verdict.forbidden, &verdict.rules[..]), (false, true, &["test:frozen".to_owned()][..]));
    assert!(decide(&rules, &user("u", &[]), Action::Publish, "a", &Tags::new()).await.allowed, "a changed tag counts at once");
    assert!(decide(&rules, &user("u", &[]), Action::Read, "a", &tags(&[("frozen", "yes")])).await.allowed);
}

#[tokio::test]
async fn a_forbid_that_fails_refuses() {
    let text = "permit (principal, action, resource);
        @id(\"ip\") forbid (principal, action, resource) when { ip(resource.name).isLoopback() };";
    // The validator refuses `ip` of what is not written out, so this rule comes in by a side door, as after an upgrade.
    let set: PolicySet = text.parse().unwrap();
    let policies = set.policies().cloned().collect();
    let rules = Arc::new(Rules::new([&PolicyText { text: text.to_owned(), policies }], Vec::new()));
    let verdict = decide(&rules, &user("u", &[]), Action::Read, "a", &Tags::new()).await;
    assert!(!verdict.allowed && verdict.forbidden, "{verdict:?}");
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_closes_the_door() {
    let rules = Arc::new(Rules::new([&PolicyText::parse("all", "permit (principal, action, resource);").unwrap()], vec!["torn".to_owned()]));
    let verdict = decide(&rules, &user("u", &[]), Action::Read, "a", &Tags::new()).await;
    assert_eq!((verdict.allowed, &verdict.rules[..]), (false, &["torn".to_owned()][..]));
}

#[tokio::test]
async fn thousands_of_rules_cost_what_a_few_cost() {
    let mut texts = vec![PolicyText::parse("default", DEFAULT_POLICIES).unwrap()];
    for number in 0..10 {
        let each = |rule: usize| {
            let id = number * 300 + rule;
            match rule % 3 {
                0 => format!("permit (principal == User::\"u{id}\", action, resource in System::\"s{id}\");"),
                1 => format!("permit (principal, action == Action::\"read\", resource in Repository::\"s{}/npm\");", id - 1),
                _ => format!("forbid (principal == Robot::\"u{}\", action, resource);", id - 2),
            }
        };
        texts.push(PolicyText::parse(&format!("p{number}"), &(0..300).map(each).collect::<String>()).unwrap());
    }
    let rules = Arc::new(Rules::new(&texts, Vec::new()));
    let verdict = decide(&rules, &user("u42", &[]), Action::Read, "s42", &Tags::new()).await;
    assert_eq!(verdict.rules[..], ["p0:43", "p0:44"]);
    assert!(verdict.evaluated <= 6, "{} of 3004 rules were evaluated", verdict.evaluated);
    assert!(!decide(&rules, &user("u43", &[]), Action::Publish, "s42", &Tags::new()).await.allowed);
}

fn one_of(choices: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    proptest::sample::select(choices)
}

fn rule() -> impl Strategy<Value = String> {
    let principal = one_of(&[
        "principal",
        "principal == User::\"a\"",
        "principal == User::\"b\"",
        "principal == Robot::\"a\"",
        "principal is User",
        "principal is Robot",
        "principal in User::\"a\"",
        "principal is User in User::\"a\"",
    ]);
    let action = one_of(&["action", "action == Action::\"read\"", "action in [Action::\"publish\", Action::\"read\"]", "action in Action::\"delete\""]);
    let resource = one_of(&[
        "resource",
        "resource is System",
        "resource is Repository",
        "resource is Package",
        "resource == System::\"s\"",
        "resource in System::\"s\"",
        "resource in System::\"t\"",
        "resource == Repository::\"s/npm\"",
        "resource in Repository::\"s/npm\"",
        "resource is Package in Repository::\"s/npm\"",
        "resource == Package::\"s/npm:left-pad\"",
        "resource in Package::\"s/npm:left-pad\"",
    ]);
    let condition = one_of(&["", " when { principal.hasTag(\"x\") }", " unless { resource.hasTag(\"x\") }", " when { resource.name == \"npm\" }"]);
    (one_of(&["permit", "permit", "forbid"]), principal, action, resource, condition)
        .prop_map(|(effect, principal, action, resource, condition)| format!("{effect} ({principal}, {action}, {resource}){condition};"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_slice_decides_as_the_whole_set(
        texts in prop::collection::vec(rule(), 1..12),
        name in one_of(&["a", "b", "c"]), robot: bool, principal_tag: bool, resource_tag: bool, depth in 0..3, system in one_of(&["s", "t"]),
    ) {
        let set: PolicySet = texts.concat().parse().unwrap();
        let text = PolicyText { text: String::new(), policies: set.policies().cloned().collect() };
        let rules = Arc::new(Rules::new([&text], Vec::new()));
        let x = |has: bool| if has { tags(&[("x", "1")]) } else { Tags::new() };
        let principal = Principal { kind: if robot { PrincipalKind::Robot } else { PrincipalKind::User }, name: name.to_owned(), tags: x(principal_tag) };
        let (own, none) = (x(resource_tag), Tags::new());
        let target = Target {
            system, system_tags: &none,
            repository: (depth > 0).then_some(("npm", &own, "npm", Kind::Hosted)),
            package: (depth > 1).then_some("left-pad"),
        };
        for action in Action::DECIDED {
            let question = Question::new(&principal, action, &target).unwrap();
            let whole = ask_cedar(&question, &set);
            let sliced = rules.ask(&question, rules.slice(&question)).unwrap();
            prop_assert!(sliced.evaluated <= whole.evaluated);
            prop_assert_eq!(Verdict { evaluated: 0, ..sliced }, Verdict { evaluated: 0, ..whole });
        }
    }
}
