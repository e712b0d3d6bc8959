use std::path::Path;

use super::{Checks, Config, Environment, Flags, Origin, Problem, read};

/// The formats that the server really has: the default repositories follow from them.
fn formats() -> Vec<&'static str> {
    let all: Vec<&str> = crate::formats::all().iter().map(|format| format.id()).collect();
    if all.is_empty() { vec!["npm", "generic"] } else { all }
}

fn read_with(text: &str, flags: &Flags, environment: &Environment) -> Result<Config, Vec<Problem>> {
    let formats = formats();
    let upstream = |value: &serde_json::Value| if value.get("url").is_some() { Ok(()) } else { Err(String::from("url is missing")) };
    let repository = |repository: &super::Repository| match repository.all_settings().get("odd") {
        Some(_) => Err(format!("{}: odd is no setting", repository.address())),
        None => Ok(()),
    };
    let tls = |tls: &super::Tls| if tls.key.ends_with("odd") { Err(format!("tls.key: {} is odd", tls.key.display())) } else { Ok(()) };
    let publisher = |_: &str, rule: serde_json::Value, audience: Option<&str>| {
        crate::access::PublisherRule::read(rule, audience).map_err(|error| error.message().to_owned())
    };
    let checks = Checks { formats: &formats, upstream: &upstream, repository: &repository, publisher: &publisher, policies: &|_| Ok(()), tls: &tls };
    read(Some(Path::new("config.toml")), text, flags, environment, &checks)
}

fn config(text: &str) -> Config {
    read_with(text, &Flags::default(), &Environment::default()).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    read_with(text, &Flags::default(), &Environment::default()).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn the_commented_file_is_the_defaults() {
    let file = config(include_str!("../../config.toml"));
    assert_eq!(file.values(), config("").values());
    let missing: Vec<_> =
        file.settings.iter().filter(|shown| shown.origin == Origin::Default).map(|shown| format!("{}.{}", shown.section, shown.name)).collect();
    assert!(missing.is_empty(), "config.toml does not name {missing:?}");
}

#[test]
fn default_then_file_then_environment_then_flag() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\ndata = \"here\"";
    let environment = Environment { listen: Some("127.0.0.1:2".into()), data: Some("there".into()), ..Environment::default() };
    let flags = Flags { listen: Some("127.0.0.1:3".into()), ..Flags::default() };
    let origin = |config: &Config, name: &str| config.settings.iter().find(|shown| shown.name == name).unwrap().origin.to_string();

    assert_eq!(config("").server.listen.port(), 8080);
    let file = config(text);
    assert_eq!((file.server.listen.port(), origin(&file, "listen")), (1, "config.toml:2".into()));
    let all = read_with(text, &flags, &environment).unwrap();
    assert_eq!((all.server.listen.port(), origin(&all, "listen")), (3, "flag --listen".into()));
    assert_eq!((all.server.data.to_str(), origin(&all, "data")), (Some("there"), "environment ENTREPOT_DATA".into()));
    assert_eq!(origin(&all, "workers"), "default");
}

#[test]
fn unknown_names_are_told_with_line_and_neighbour() {
    let text = "[server]\nlisen = \"x\"\n\n[sever]\n[[repository]]\nname = \"a\"\nformat = \"npm\"\nkin = \"hosted\"\n";
    let found = problems(text);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0], "config.toml:2: unknown name \"lisen\" in [server]; did you mean \"listen\"?");
    assert_eq!(found[1], "config.toml:4: unknown name \"sever\" at the top of the file; did you mean \"server\"?");
    assert_eq!(found[2], "config.toml:8: unknown name \"kin\" in [[repository]]; did you mean \"kind\"?");
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = r#"
[server]
listen = 8080
public_url = "ftp://x"
[limits]
max_upload_bytes = 1
[log]
level = "loud=quiet=x"
"#;
    let found = problems(text);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("config.toml:3: server.listen: expected an address"), "{found:?}");
    assert!(found[2].starts_with("config.toml:6: limits.max_upload_bytes: expected a number from 65536"), "{found:?}");
}

#[test]
fn syntax_is_told_with_its_line() {
    let found = problems("[server]\nlisten = \n");
    assert!(found[0].starts_with("config.toml:2: "), "{found:?}");
}

#[test]
fn two_pairs_of_stores_are_served() {
    let s3 = "[blobs]\nkind = \"s3\"\nbucket = \"b\"\nprefix = \"a/b/\"\n";
    let found = problems(s3);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("config.toml:2: blobs.kind is \"s3\" while database.url is empty"), "{found:?}");

    let database = Environment { database_url: Some("postgres://u:secret@h/d".into()), ..Environment::default() };
    let found = read_with("", &Flags::default(), &database).unwrap_err();
    assert_eq!(found.len(), 1);
    assert!(found[0].to_string().starts_with("environment ENTREPOT_DATABASE_URL: database.url names PostgreSQL"), "{found:?}");
    assert!(!found[0].to_string().contains("secret"));

    let found = read_with("[blobs]\nkind = \"s3\"\naccess_key = \"a\"\nprefix = \"/a\"", &Flags::default(), &database).unwrap_err();
    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(found[0].starts_with("server.master_key is empty: with PostgreSQL it must be set"), "{found:?}");
    assert!(found[1].starts_with("blobs.bucket is empty"), "{found:?}");
    assert!(found[2].starts_with("config.toml:3: blobs.access_key and blobs.secret_key belong together"), "{found:?}");
    assert!(found[3].starts_with("config.toml:4: blobs.prefix"), "{found:?}");

    let both = Environment { master_key: Some("ab".repeat(32).into()), ..database };
    let config = read_with(s3, &Flags::default(), &both).unwrap();
    assert_eq!((config.blobs.bucket.as_str(), config.blobs.region.as_str(), config.blobs.endpoint), ("b", "us-east-1", None));
    let short = Environment { master_key: Some("ab".into()), ..both };
    let found = read_with(s3, &Flags::default(), &short).unwrap_err();
    assert!(found.iter().any(|problem| problem.to_string().starts_with("environment ENTREPOT_MASTER_KEY: server.master_key: expected 64")), "{found:?}");
}

#[test]
fn files_that_settings_name_must_be_there() {
    let found = problems("[blobs]\nca_file = \"no-such.pem\"");
    assert!(found[0].starts_with("config.toml:2: blobs.ca_file: cannot read no-such.pem: "), "{found:?}");
}

#[test]
fn publishers_are_read_with_everything_else() {
    let with = |server: &str, publisher: &str| {
        format!(
            "{server}\n[[repository]]\nname = \"npm\"\nformat = \"npm\"\n[[repository]]\nname = \"all\"\nformat = \"npm\"\nkind = \"group\"\nmembers = [\"npm\"]\n\
             [[publisher]]\nname = \"app\"\nissuer = \"https://issuer.example\"\nclaims = {{ repository = \"acme/app\", ref = [\"a\", \"b\"] }}\n{publisher}"
        )
    };
    let (named, good) = ("[access]\naudience = \"packages.example\"", "repository = \"main/npm\"\npackages = [\"app\"]");
    let read = config(&with(named, good));
    assert_eq!((read.access.audience.as_deref(), read.publishers.len()), (Some("packages.example"), 1));
    assert_eq!((read.publishers[0].name.as_str(), read.publishers[0].rule.repository.to_string().as_str()), ("app", "main/npm"));
    let by_url = config(&with("[server]\npublic_url = \"https://packages.example:8443/\"", good));
    assert_eq!(by_url.access.audience.as_deref(), Some("packages.example:8443"));
    for (server, publisher, problem) in [
        ("", good, "audience is missing"),
        ("[access]\naudience = \"a b\"", good, "access.audience: expected a name"),
        (named, "repository = \"main/nmp\"\npackages = [\"app\"]", "main/nmp, which is not declared; did you mean \"main/npm\"?"),
        (named, "repository = \"main/all\"\npackages = [\"app\"]", "which is not hosted"),
        (named, "repository = \"main/npm\"", "missing field `packages`"),
        (named, "repository = \"main/npm\"\npackages = [\"app\"]\nexpires = 1", "unknown name \"expires\" in [[publisher]]"),
        (named, "repository = \"main/npm\"\npackages = [\"app\"]\nexpires_in = 60", "expires_in = 60 is out of range"),
        (named, "repository = \"main/npm\"\npackages = [\"app\"]\n[[publisher]]\nname = \"app\"", "the publisher app is declared twice"),
    ] {
        let found = problems(&with(server, publisher));
        assert!(found.len() == 1 && found[0].contains(problem), "{problem}: {found:?}");
    }
}

#[test]
fn keys_of_signatures_are_text_or_files() {
    let repository = |rest: &str| format!("[[repository]]\nname = \"a\"\nformat = \"npm\"\n{rest}");
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/oci/cosign/cosign.pub");
    let pem = std::fs::read_to_string(file).unwrap();
    for text in [
        format!("signatures = {{ mode = \"pull\", keys = [{file:?}, '''{pem}'''] }}"),
        format!("settings.signatures = {{ mode = \"pull\", keys = [{file:?}, {pem:?}] }}"),
    ] {
        let config = config(&repository(&text));
        let settings = config.repositories.iter().find(|repository| repository.name.as_str() == "a").unwrap().all_settings();
        assert_eq!(settings["signatures"], serde_json::json!({ "mode": "pull", "keys": [pem, pem] }), "{text}");
    }
    let found = problems(&repository("signatures = { mode = \"pull\", keys = [\n  \"no-such.pub\",\n  \"\",\n] }"));
    assert!(
        found[0].starts_with("config.toml:5: signatures.keys: cannot read no-such.pub: ") && found[1].starts_with("config.toml:6: signatures.keys: "),
        "{found:?}"
    );
    let twice = problems(&repository("signatures = { mode = \"pull\" }\nsettings = { signatures = { mode = \"tag\" } }"));
    assert!(twice[0].starts_with("config.toml:4: signatures: "), "{twice:?}");
}

#[test]
fn tls_needs_both_files() {
    let file = config("[tls]\ncertificate = \"a/cert.pem\"\nkey = \"/b/key.pem\"\n");
    let tls = file.tls.unwrap();
    assert_eq!((tls.certificate.to_str(), tls.key.to_str()), (Some("a/cert.pem"), Some("/b/key.pem")));
    assert!(config("").tls.is_none());
    assert_eq!(problems("[tls]\nkey = \"x\"\n"), ["config.toml:2: tls.key is set and tls.certificate is not: TLS needs both"]);
    assert_eq!(problems("[tls]\ncertificate = \"x\"\n"), ["config.toml:2: tls.certificate is set and tls.key is not: TLS needs both"]);
    assert_eq!(problems("[tls]\ncertificate = \"x\"\nkey = \"odd\"\n"), ["config.toml:3: tls.key: odd is odd"]);
}

#[test]
fn only_this_machine_reads_the_figures() {
    let shown = |text: &str| config(text).metrics.networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(""), ["127.0.0.0/8", "::1/128"]);
    assert_eq!(shown("[metrics]\nnetworks = [\"10.1.0.0/16\", \"192.0.2.1\"]"), ["10.1.0.0/16", "192.0.2.1/32"]);
    assert!(shown("[metrics]\nnetworks = []").is_empty());
}

#[test]
fn repositories_need_what_their_kind_needs() {
    let text = r#"
[[repository]]
name = "a"
format = "nmp"
[[repository]]
name = "b"
format = "npm"
kind = "proxy"
[[repository]]
name = "c"
format = "npm"
kind = "group"
[[repository]]
name = "b"
format = "npm"
members = ["main/a"]
[[repository]]
name = "d"
system = "nowhere"
format = "npm"
kind = "proxy"
upstream = { }
"#;
    let found = problems(text);
    let expect = [
        "config.toml:3: unknown format \"nmp\"; did you mean \"npm\"?",
        "config.toml:5: a proxy needs an upstream",
        "config.toml:9: a group needs members",
        "config.toml:14: the repository main/b is declared twice",
        "config.toml:16: only a group has members",
        "config.toml:18: the system nowhere is not declared",
        "config.toml:22: upstream: url is missing",
    ];
    assert_eq!(found.len(), expect.len(), "{found:#?}");
    for (found, expect) in found.iter().zip(expect) {
        assert!(found.starts_with(expect), "{found} is not {expect}");
    }
}

#[test]
fn what_the_engine_says_comes_with_the_line() {
    assert_eq!(problems("[[repository]]\nname = \"a\"\nformat = \"npm\"\nsettings = { odd = 1 }"), ["config.toml:2: main/a: odd is no setting"]);
}

#[test]
fn groups_know_their_members_and_have_no_cycles() {
    let group = |name: &str, members: &str| format!("[[repository]]\nname = \"{name}\"\nformat = \"npm\"\nkind = \"group\"\nmembers = {members}\n");
    let found = problems(&group("a", "[\"main/b\", \"main/a2\", 3, { repository = \"x\", dney = [] }]"));
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(found.iter().any(|problem| problem.contains("member main/a2 that is not declared; did you mean \"main/a\"?")), "{found:#?}");
    assert!(found.iter().any(|problem| problem.contains("did you mean \"deny\"?")), "{found:#?}");

    let found = problems(&(group("a", "[\"main/b\"]") + &group("b", "[\"main/c\"]") + &group("c", "[{ repository = \"main/a\", deny = [\"x*\"] }]")));
    assert_eq!(found[0], "config.toml:2: the group main/a is a member of itself: main/a > main/b > main/c > main/a");
    assert_eq!(found.len(), 3);
    assert_eq!(problems(&group("a", "[\"main/a\"]")), ["config.toml:2: the group main/a is a member of itself: main/a > main/a"]);

    let leaf = "[[repository]]\nname = \"z\"\nformat = \"npm\"\n";
    config(&(group("a", "[\"main/b\", \"main/z\"]") + &group("b", "[\"main/z\"]") + leaf));
    let other = "[[repository]]\nname = \"z\"\nformat = \"generic\"\n";
    assert!(problems(&(group("a", "[\"main/z\"]") + other))[0].contains("its member main/z speaks generic"));
}

#[test]
fn a_repository_of_main_shares_no_name_with_a_system() {
    let found = problems("[[system]]\nname = \"ops\"\n[[repository]]\nname = \"ops\"\nformat = \"npm\"\n");
    assert!(found[0].starts_with("config.toml:4: ops is also the name of a system"), "{found:?}");
}

#[test]
fn an_empty_list_declares_nothing() {
    assert!(config("repository = []").repositories.is_empty());
    let names: Vec<String> = config("").repositories.iter().map(|repository| repository.address().to_string()).collect();
    assert_eq!(names, formats().iter().map(|format| format!("main/{format}")).collect::<Vec<_>>());
}

#[test]
fn secrets_are_never_shown() {
    let text = r#"
[server]
master_key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
[blobs]
access_key = "known"
secret_key = "hush5"
[[repository]]
name = "r"
format = "npm"
kind = "proxy"
upstream = { url = "https://u:hush1@registry.example/", username = "u", password = "hush2", token = "hush3" }
"#;
    let environment = Environment { admin_password: Some("hush4-hush4".into()), ..Environment::default() };
    let config = read_with(text, &Flags::default(), &environment).unwrap();
    for shown in [config.show(), format!("{config:?}")] {
        assert!(!shown.contains("hush") && !shown.contains("0123456789abcdef"), "{shown}");
        assert!(shown.contains("registry.example"), "{shown}");
    }
    assert_eq!(config.repositories[0].upstream.as_ref().unwrap()["password"], "hush2");
}

#[test]
fn what_is_shown_can_be_read_again() {
    let text = r#"
[server]
trusted_proxies = ["10.0.0.0/8", "::1"]
[[system]]
name = "ops"
tags = { team = ["b", "a"], tier = "1" }
[[repository]]
system = "ops"
name = "files"
format = "generic"
settings = { overwrite = true, "odd key" = [1, 2.5] }
"#;
    let first = config(text);
    assert_eq!(config(&first.show()).values(), first.values());
}

#[test]
fn hosts_serve_what_is_declared() {
    let repository = "[[repository]]\nname = \"images\"\nformat = \"npm\"\n";
    let good =
        config(&format!("{repository}[[host]]\nname = \"a.example\"\nrepository = \"main/images\"\n[[host]]\nname = \"[::1]\"\nrepository = \"images\"\n"));
    let hosts: Vec<_> = good.hosts.iter().map(|host| (host.name.as_str(), host.repository.to_string())).collect();
    assert_eq!(hosts, [("a.example", String::from("main/images")), ("[::1]", String::from("main/images"))]);
    assert!(good.show().contains("[[host]]\nname = \"a.example\"\nrepository = \"main/images\""));
    for (host, message) in [
        ("name = \"a.example\"\nrepository = \"main/image\"", "which is not declared; did you mean \"main/images\"?"),
        ("name = \"a.example:5000\"\nrepository = \"main/images\"", "without port"),
        ("name = \"A.example\"\nrepository = \"main/images\"", "in lower case"),
        ("name = \"a.example\"", "names no repository"),
        ("repository = \"main/images\"", "has no name"),
        ("name = \"a.example\"\nrepository = \"main/images\"\nport = 1", "unknown name \"port\""),
        ("name = \"a.example\"\nrepository = \"main/images\"\n[[host]]\nname = \"a.example\"\nrepository = \"main/images\"", "declared twice"),
    ] {
        let found = problems(&format!("{repository}[[host]]\n{host}\n"));
        assert!(found.len() == 1 && found[0].contains(message), "{host}: {found:?}");
    }
}

#[test]
fn retention_and_quotas_stand_beside_settings_or_among_them() {
    let repository = |lines: &str| format!("[[repository]]\nname = \"images\"\nformat = \"npm\"\n{lines}\n");
    let expected = serde_json::json!({ "retention": { "keep": 3, "protect": ["v.*"] }, "quota_bytes": 5 });
    for text in
        ["retention = { keep = 3, protect = [\"v.*\"] }\nquota_bytes = 5", "settings = { retention = { keep = 3, protect = [\"v.*\"] }, quota_bytes = 5 }"]
    {
        assert_eq!(config(&repository(text)).repositories[0].settings, expected, "{text}");
    }
    let twice = problems(&repository("quota_bytes = 5\nsettings = { quota_bytes = 6 }"));
    assert_eq!(twice, ["config.toml:4: quota_bytes: it stands in settings as well; write it once"]);
    let system = |quota: &str| format!("[[system]]\nname = \"ops\"\nquota_bytes = {quota}\n");
    assert_eq!(config(&system("1_000")).systems.iter().find(|system| system.name.as_str() == "ops").unwrap().quota_bytes, Some(1000));
    assert!(problems(&system("\"much\""))[0].starts_with("config.toml:3: quota_bytes: expected a number of bytes"));
    assert!(config(&system("7")).show().contains("quota_bytes = 7"));
}

/// An environment with these variables.
fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::from_lookup(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into()))
}

/// PostgreSQL and an S3 server by the variables of other programs.
const SERVICES: [(&str, &str); 11] = [
    ("DBHOST", "db.example.com"),
    ("DBPORT", "5433"),
    ("DBUSER", "packages"),
    ("DBPASS", "hush/1"),
    ("DBNAME", "registry"),
    ("MINIO_ENDPOINT", "s3.example.com:9000"),
    ("MINIO_ACCESS_KEY", "known"),
    ("MINIO_SECRET_KEY", "hush2"),
    ("MINIO_BUCKET", "bytes"),
    ("MINIO_SECURE", "true"),
    ("ENTREPOT_MASTER_KEY", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
];

#[test]
fn services_can_be_named_by_the_variables_of_other_programs() {
    // Whatever the file says of the same, down to a copy of all defaults.
    let file = include_str!("../../config.toml");
    let all = read_with(file, &Flags::default(), &environment(&SERVICES)).unwrap();
    assert_eq!(all.database.url.expose(), "postgres://packages:hush%2F1@db.example.com:5433/registry");
    let blobs = &all.blobs;
    assert_eq!((blobs.kind, blobs.bucket.as_str(), blobs.endpoint.as_deref()), (super::BlobKind::S3, "bytes", Some("https://s3.example.com:9000")));
    assert_eq!((blobs.path_style, blobs.access_key.as_str(), blobs.secret_key.is_some()), (true, "known", true));
    for shown in [all.show(), format!("{all:?}"), format!("{:?}", environment(&SERVICES))] {
        assert!(!shown.contains("hush"), "{shown}");
    }
    assert!(all.show().contains("# environment MINIO_BUCKET") && all.show().contains("# environment DBHOST"), "{}", all.show());

    let plain: Vec<_> = SERVICES.into_iter().filter(|(name, _)| *name != "MINIO_SECURE").collect();
    let plain = read_with("", &Flags::default(), &environment(&plain)).unwrap();
    assert_eq!(plain.blobs.endpoint.as_deref(), Some("http://s3.example.com:9000"));
}

#[test]
fn services_that_are_named_in_part_are_told_what_is_missing() {
    let found = |variables: &[(&str, &str)]| -> Vec<String> {
        read_with("", &Flags::default(), &environment(variables)).unwrap_err().iter().map(ToString::to_string).collect()
    };
    let without = |names: &[&str]| -> Vec<_> { SERVICES.into_iter().filter(|(name, _)| !names.contains(name)).collect() };
    for (left_out, expected) in [
        (&["DBPASS"][..], "environment DBHOST: DBPASS is not set: DBHOST, DBPORT, DBUSER, DBPASS, DBNAME belong together; set it too, or none"),
        (&["DBHOST", "DBNAME"], "environment DBPORT: DBHOST, DBNAME are not set"),
        (&["MINIO_SECRET_KEY"], "environment MINIO_ENDPOINT: MINIO_SECRET_KEY is not set"),
        (&["MINIO_ENDPOINT", "MINIO_BUCKET"], "environment MINIO_ACCESS_KEY: MINIO_ENDPOINT, MINIO_BUCKET are not set"),
    ] {
        let found = found(&without(left_out));
        assert!(found.len() == 1 && found[0].starts_with(expected), "{left_out:?}: {found:?}");
        assert!(!found.concat().contains("hush"), "{found:?}");
    }
    assert!(
        found(&[("MINIO_SECURE", "true")])[0].starts_with("environment MINIO_SECURE: MINIO_ENDPOINT, MINIO_ACCESS_KEY, MINIO_SECRET_KEY, MINIO_BUCKET are")
    );

    let with = |name: &'static str, value: &'static str| -> Vec<_> {
        let mut all = SERVICES.to_vec();
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
        all
    };
    for (name, value, expected) in [
        ("DBPORT", "many", "environment DBPORT: DBPORT: expected the number of a port"),
        ("DBHOST", "db/hush", "environment DBHOST: DBHOST: expected the name or address of a machine"),
        ("MINIO_ENDPOINT", "http://s3.example.com", "environment MINIO_ENDPOINT: MINIO_ENDPOINT: expected a host and a port"),
        ("MINIO_SECURE", "perhaps", "environment MINIO_SECURE: MINIO_SECURE: expected true or false"),
        ("ENTREPOT_DATABASE_URL", "postgres://u:hush@h/d", "environment DBHOST: DBHOST and ENTREPOT_DATABASE_URL both say where PostgreSQL is"),
        ("ENTREPOT_S3_SECRET_KEY", "hush", "environment MINIO_ENDPOINT: MINIO_ENDPOINT and ENTREPOT_S3_SECRET_KEY both speak of the S3 server"),
        ("ENTREPOT_MASTER_KEY", "hush", "environment ENTREPOT_MASTER_KEY: server.master_key: expected 64"),
    ] {
        let found = found(&with(name, value));
        assert!(found.iter().any(|problem| problem.starts_with(expected)), "{name}: {found:?}");
        assert!(!found.concat().contains("hush"), "{found:?}");
    }
}

#[test]
fn redis_is_named_by_the_file_or_the_environment() {
    let shown = |text: &str, variables: &[(&str, &str)]| read_with(text, &Flags::default(), &environment(variables)).unwrap().show();
    assert!(config("").redis.url.is_none());
    let all = shown("[redis]\nurl = \"redis://a.example\"", &[("REDIS_URL", "rediss://user:hush@b.example:6380/1?password=hush")]);
    assert!(all.contains("url = \"rediss://user:hidden@b.example:6380/1?hidden\"") && all.contains("environment REDIS_URL"), "{all}");
    assert!(problems("[redis]\nurl = \"http://hush.example\"")[0].starts_with("config.toml:2: redis.url: expected empty, or"));
}
