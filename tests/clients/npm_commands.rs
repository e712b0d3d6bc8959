//! npm's commands one by one, and publishing with the other clients.
#![cfg(test)]

use serde_json::{Value, json};

use crate::support::clients::Home;
use crate::support::process::Output;
use crate::support::{ADMIN_PASSWORD, TestServer};
use crate::token;

/// Somebody who may publish, with the real npm.
struct Author {
    server: TestServer,
    home: Home,
    token: String,
}

impl Author {
    async fn new() -> Self {
        let server = TestServer::start();
        let token = token(&server).await;
        let home = Home::new();
        home.npm_registry(&server.url("/main/npm/"), Some(&token));
        Self { server, home, token }
    }

    fn npm(&self, arguments: &[&str]) -> Output {
        self.home.npm(&self.home.project("anywhere"), arguments)
    }

    fn publish(&self, name: &str, version: &str, arguments: &[&str]) -> Output {
        self.home.npm(&self.home.package(name, version), &[&["publish"], arguments].concat())
    }

    fn view(&self, spec: &str, field: &str) -> Value {
        let output = self.npm(&["view", "--json", spec, field]).succeeded();
        if output.stdout.trim().is_empty() { Value::Null } else { output.json() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_publish_view_search_and_audit() {
    let author = Author::new().await;
    author.npm(&["ping"]).succeeded();
    author.publish("plain", "1.0.0", &[]).succeeded();
    author.publish("@acme/scoped", "1.0.0", &[]).succeeded();
    author.publish("@acme/scoped", "1.1.0-beta.1", &["--tag", "beta"]).succeeded();

    let again = author.publish("plain", "1.0.0", &[]).failed().text();
    assert!(again.contains("previously published versions: 1.0.0"), "{again}");
    let forced = author.publish("plain", "1.0.0", &["--force"]).failed().text();
    assert!(forced.contains("E403"), "the server refuses too: {forced}");

    assert_eq!(author.view("plain", "version"), "1.0.0");
    assert_eq!(author.view("@acme/scoped", "dist-tags"), json!({ "latest": "1.0.0", "beta": "1.1.0-beta.1" }));
    assert_eq!(author.view("@acme/scoped", "versions"), json!(["1.0.0", "1.1.0-beta.1"]));
    assert_eq!(author.view("@acme/scoped@beta", "version"), "1.1.0-beta.1");
    assert!(author.view("plain", "time")["1.0.0"].as_str().unwrap().ends_with('Z'));
    let tarball = author.view("@acme/scoped", "dist.tarball");
    assert_eq!(tarball, author.server.url("/main/npm/@acme/scoped/-/scoped-1.0.0.tgz"));
    assert!(author.npm(&["view", "no-such-package"]).failed().text().contains("E404"));

    let found = author.npm(&["search", "--json", "scoped"]).succeeded().json();
    assert_eq!(found.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["@acme/scoped"]);
    let all = author.npm(&["search", "--json", "made by a test"]).succeeded().json();
    assert_eq!(all.as_array().unwrap().len(), 2, "{all}");

    let reader = Home::new();
    reader.npm_registry(&author.server.url("/main/npm/"), None);
    let dependencies = json!({ "plain": "^1.0.0", "@acme/scoped": "beta" });
    let project = reader.npm_project("reader", &json!({ "name": "reader", "version": "1.0.0", "dependencies": dependencies }));
    reader.npm(&project, &["install"]).succeeded();
    assert_eq!(reader.node(&project, "console.log(require('@acme/scoped'))").succeeded().stdout, "1.1.0-beta.1\n");
    let audit = reader.npm(&project, &["audit", "--json"]).succeeded().json();
    assert_eq!((&audit["auditReportVersion"], &audit["metadata"]["vulnerabilities"]["total"]), (&json!(2), &json!(0)), "{audit}");
    assert!(reader.npm(&project, &["outdated", "--json"]).text().len() < 1000);
    signatures_verify(&author, &reader);
}

/// What `npm audit signatures` does after it has asked a service on the internet: each version's signature against the
/// registry's keys.
fn signatures_verify(author: &Author, reader: &Home) {
    let registry = author.server.url("/main/npm/");
    let script = format!(
        r#"
const crypto = require('node:crypto');
(async () => {{
  const get = async (path) => (await fetch({registry:?} + path)).json();
  const {{ keys }} = await get('-/npm/v1/keys');
  for (const name of ['plain', '@acme%2fscoped']) {{
    const packument = await get(name);
    for (const {{ version, name, dist }} of Object.values(packument.versions)) {{
      const [signature] = dist.signatures;
      const key = keys.find((key) => key.keyid === signature.keyid);
      const pem = `-----BEGIN PUBLIC KEY-----\n${{key.key}}\n-----END PUBLIC KEY-----`;
      if (key.expires !== null && Date.parse(packument.time[version]) > Date.parse(key.expires)) throw new Error('expired');
      for (const [text, expected] of [[`${{name}}@${{version}}:${{dist.integrity}}`, true], [`${{name}}@${{version}}:other`, false]]) {{
        if (crypto.createVerify('SHA256').update(text).verify(pem, signature.sig, 'base64') !== expected) throw new Error(`${{text}}: ${{!expected}}`);
      }}
      console.log('verified', name, version);
    }}
  }}
}})();
"#
    );
    let output = reader.node(&reader.project("signatures"), &script).succeeded();
    assert_eq!(output.stdout, "verified plain 1.0.0\nverified @acme/scoped 1.0.0\nverified @acme/scoped 1.1.0-beta.1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_dist_tag_deprecate_and_unpublish() {
    let author = Author::new().await;
    for version in ["1.0.0", "1.1.0", "2.0.0"] {
        author.publish("@acme/moving", version, &[]).succeeded();
    }
    author.npm(&["dist-tag", "add", "@acme/moving@1.1.0", "stable"]).succeeded();
    assert_eq!(author.npm(&["dist-tag", "ls", "@acme/moving"]).succeeded().stdout, "latest: 2.0.0\nstable: 1.1.0\n");
    author.npm(&["dist-tag", "rm", "@acme/moving", "stable"]).succeeded();
    assert_eq!(author.npm(&["dist-tag", "ls", "@acme/moving"]).succeeded().stdout, "latest: 2.0.0\n");
    author.npm(&["dist-tag", "add", "@acme/moving@7.0.0", "stable"]).failed();
    author.npm(&["dist-tag", "rm", "@acme/moving", "latest"]).failed();

    author.npm(&["deprecate", "@acme/moving@<2", "use 2"]).succeeded();
    assert_eq!(author.view("@acme/moving@1.0.0", "deprecated"), "use 2");
    assert_eq!(author.view("@acme/moving@2.0.0", "deprecated"), Value::Null);
    let reader = Home::new();
    reader.npm_registry(&author.server.url("/main/npm/"), None);
    let warned = reader.npm(&reader.project("reader"), &["install", "@acme/moving@1.1.0"]).succeeded();
    assert!(warned.stderr.contains("deprecated") && warned.stderr.contains("use 2"), "{warned}");
    author.npm(&["undeprecate", "@acme/moving@<2"]).succeeded();
    assert_eq!(author.view("@acme/moving@1.0.0", "deprecated"), Value::Null);

    author.npm(&["unpublish", "@acme/moving@2.0.0"]).succeeded();
    assert_eq!(author.view("@acme/moving", "versions"), json!(["1.0.0", "1.1.0"]));
    assert_eq!(author.view("@acme/moving", "dist-tags"), json!({ "latest": "1.1.0" }));
    let late = Home::new();
    late.npm_registry(&author.server.url("/main/npm/"), None);
    late.npm(&late.project("late"), &["install", "@acme/moving@2.0.0"]).failed();
    let again = author.publish("@acme/moving", "2.0.0", &[]).failed().text();
    assert!(again.contains("E409") || again.contains("E403"), "a number that was used stays used: {again}");

    author.npm(&["unpublish", "@acme/moving", "--force"]).succeeded();
    assert!(author.npm(&["view", "@acme/moving"]).failed().text().contains("E404"));
    late.npm(&late.project("later"), &["install", "@acme/moving"]).failed();
    author.publish("@acme/moving", "3.0.0", &[]).succeeded();
    assert_eq!(author.view("@acme/moving", "versions"), json!(["3.0.0"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_whoami_tokens_access_and_logout() {
    let author = Author::new().await;
    assert_eq!(author.npm(&["whoami"]).succeeded().stdout, "admin\n");
    author.publish("mine", "1.0.0", &[]).succeeded();
    let collaborators = author.npm(&["access", "list", "collaborators", "mine", "--json"]).succeeded().json();
    assert_eq!(collaborators, json!({ "admin": "read-write" }));
    assert!(author.npm(&["access", "get", "status", "mine"]).succeeded().stdout.contains("mine: "));

    let mut create =
        author.home.npm_dialog(&author.home.project("anywhere"), &["token", "create", "--packages-and-scopes-permission=read-only", "--packages-all"]);
    create.hear("assword:");
    create.say(ADMIN_PASSWORD);
    let said = create.succeeded();
    let made = said.split_whitespace().find(|word| word.starts_with("ent_")).unwrap_or_else(|| panic!("no token in {said}")).to_owned();
    let reader = Home::new();
    reader.npm_registry(&author.server.url("/main/npm/"), Some(&made));
    assert_eq!(reader.npm(&reader.project("p"), &["whoami"]).succeeded().stdout, "admin\n");
    let refused = reader.npm(&reader.package("more", "1.0.0"), &["publish"]).failed().text();
    assert!(refused.contains("E403"), "{refused}");

    let listed = author.npm(&["token", "list", "--json"]).succeeded().json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), 2, "{listed:?}");
    let key = listed.iter().find(|token| token["readonly"] == true).unwrap()["key"].as_str().unwrap().to_owned();
    assert!(!format!("{listed:?}").contains(&made), "a list shows no secrets");
    author.npm(&["token", "revoke", &key]).succeeded();
    reader.npm(&reader.project("p"), &["whoami"]).failed();
    assert_eq!(author.npm(&["token", "list", "--json"]).succeeded().json().as_array().unwrap().len(), 1);

    author.npm(&["logout"]).succeeded();
    author.npm(&["whoami"]).failed();
    let settings = std::fs::read_to_string(author.home.npmrc()).unwrap();
    assert!(!settings.contains("_authToken"), "{settings}");
    author.server.with_token(&author.token).get("/main/npm/-/whoami").await.is(401);
    let log = author.server.log();
    for token in [&made, &author.token] {
        let secret = token.split('_').nth(2).unwrap();
        assert!(!log.contains(secret), "a token's secret is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn npm_packages_published_by_pnpm_and_yarn() {
    let author = Author::new().await;
    let (home, registry) = (&author.home, author.server.url("/main/npm/"));
    for name in ["by-pnpm", "@acme/by-pnpm"] {
        home.pnpm(&home.package(name, "1.0.0"), &["publish", "--no-git-checks"]).succeeded();
    }
    for name in ["by-yarn1", "@acme/by-yarn1"] {
        home.yarn1(&home.package(name, "1.0.0"), &["publish", "--new-version", "1.0.0"]).succeeded();
    }
    for name in ["by-yarn4", "@acme/by-yarn4"] {
        let folder = home.package(name, "1.0.0");
        home.yarn4_registry(&folder, &registry, Some(&author.token));
        home.yarn4(&folder, &["install", "--no-immutable"]).succeeded();
        home.yarn4(&folder, &["npm", "publish"]).succeeded();
        assert_eq!(home.yarn4(&folder, &["npm", "whoami"]).succeeded().text().matches("admin").count(), 1);
    }
    let names = ["by-pnpm", "@acme/by-pnpm", "by-yarn1", "@acme/by-yarn1", "by-yarn4", "@acme/by-yarn4"];
    let reader = Home::new();
    reader.npm_registry(&registry, None);
    let project = reader.project("reader");
    reader.npm(&project, &[&["install"], &names[..]].concat()).succeeded();
    for name in names {
        assert_eq!(reader.node(&project, &format!("console.log(require({name:?}))")).succeeded().stdout, "1.0.0\n", "{name}");
    }
    let again = home.pnpm(&home.package("by-pnpm", "1.0.0"), &["publish", "--no-git-checks", "--force"]).failed();
    assert!(again.text().contains("by-pnpm"), "{again}");
}
