use serde_json::{Value, json};

use super::PublisherRule;

fn rule(change: impl FnOnce(&mut Value)) -> Result<PublisherRule, String> {
    let mut value = json!({
        "issuer": "https://issuer.example", "claims": { "repository": "acme/app" }, "repository": "main/npm", "packages": ["@acme/app"],
    });
    change(&mut value);
    PublisherRule::read(value, Some("packages.example")).map_err(|error| error.message().to_owned())
}

#[test]
fn what_would_let_anybody_publish_is_refused() {
    let read = rule(|_| {}).unwrap();
    assert_eq!((read.expires_in, read.actions.as_slice(), read.allow_private), (900, &[entrepot_kit::Action::Publish][..], false));
    for (name, value, reason) in [
        ("claims", json!({}), "claims are 1 to"),
        ("claims", json!({ "repository": "*" }), "more than any text"),
        ("claims", json!({ "repository": ["acme/app", "**"] }), "more than any text"),
        ("claims", json!({ "iss": "x" }), "none that can be chosen"),
        ("claims", json!({ "repository": [] }), "give 1 to"),
        ("claims", json!({ "repository": "*a*b*c*d*e*" }), "stars"),
        ("issuer", json!("http://issuer.example"), "plain http"),
        ("issuer", json!("ftp://issuer.example"), "https://"),
        ("issuer", json!("https://user:secret@issuer.example"), "without user"),
        ("issuer", json!("https://issuer.example/?a"), "without user"),
        ("issuer", json!("issuer"), "not a URL"),
        ("packages", json!([]), "packages"),
        ("packages", json!([""]), "packages"),
        ("actions", json!(["manage"]), "actions"),
        ("actions", json!(["sign-in"]), "actions"),
        ("actions", json!([]), "actions"),
        ("expires_in", json!(899), "out of range"),
        ("expires_in", json!(21_601), "out of range"),
        ("audience", json!([]), "audience"),
        ("repository", json!("npm"), ""),
        ("other", json!(1), "unknown field"),
    ] {
        let refused = rule(|rule| rule[name] = value.clone());
        assert!(refused.as_ref().is_err_and(|message| message.contains(reason) && !message.contains("secret")), "{name} = {value}: {refused:?}");
    }
    assert!(rule(|rule| (rule["issuer"], rule["allow_private"]) = (json!("http://127.0.0.1:1"), json!(true))).is_ok());
    let nameless = PublisherRule::read(serde_json::to_value(&read).unwrap(), None).unwrap_err();
    assert!(nameless.message().contains("audience is missing"), "{nameless}");
}

#[test]
fn claims_are_compared_as_a_whole() {
    let accepts = |wanted: Value, claims: Value| {
        let rule = rule(|rule| rule["claims"] = wanted).unwrap();
        rule.accepts(claims.as_object().unwrap())
    };
    let wanted = json!({ "repository": "acme/app", "ref": ["refs/heads/main", "refs/tags/v*"] });
    for good in ["refs/heads/main", "refs/tags/v1.0"] {
        assert!(accepts(wanted.clone(), json!({ "repository": "acme/app", "ref": good, "other": 1 })), "{good}");
    }
    for bad in [
        json!({ "repository": "acme/app", "ref": "refs/heads/main2" }),
        json!({ "repository": "acme/app", "ref": "xrefs/tags/v1" }),
        json!({ "repository": "acme/app" }),
        json!({ "repository": "acme/App", "ref": "refs/heads/main" }),
        json!({ "repository": "acme/app\u{0}", "ref": "refs/heads/main" }),
        json!({ "repository": null, "ref": "refs/heads/main" }),
        json!({ "repository": { "acme/app": 1 }, "ref": "refs/heads/main" }),
        json!({}),
    ] {
        assert!(!accepts(wanted.clone(), bad.clone()), "{bad}");
    }
    assert!(accepts(json!({ "protected": "true", "id": "7" }), json!({ "protected": true, "id": 7 })));
    assert!(accepts(json!({ "groups": "release" }), json!({ "groups": ["dev", "release"] })));
    let pod = json!({ "kubernetes.io": { "namespace": "build", "a/b": { "c": "d" } } });
    assert!(accepts(json!({ "/kubernetes.io/namespace": "build" }), pod.clone()));
    assert!(accepts(json!({ "/kubernetes.io/a~1b/c": "d" }), pod.clone()));
    assert!(!accepts(json!({ "/kubernetes.io/namespace": "other" }), pod.clone()) && !accepts(json!({ "kubernetes.io": "build" }), pod));
}

#[test]
fn a_token_is_for_us_or_for_nobody() {
    let own = rule(|_| {}).unwrap();
    for (audience, server, good) in [
        ("packages.example", Some("packages.example"), true),
        ("npm:packages.example", Some("packages.example:8443"), true),
        ("packages.example:8443", Some("packages.example:8443"), true),
        ("npm:packages.example:8443", Some("packages.example:8443"), false),
        ("packages.example.evil", Some("packages.example"), false),
        ("npm:", Some(""), true),
        ("packages.example", None, false),
    ] {
        assert_eq!(own.is_for(audience, server), good, "{audience} {server:?}");
    }
    let named = rule(|rule| rule["audience"] = json!(["a", "npm:b"])).unwrap();
    assert!(named.is_for("a", Some("x")) && named.is_for("npm:b", None) && !named.is_for("x", Some("x")) && !named.is_for("npm:a", Some("a")));
}
