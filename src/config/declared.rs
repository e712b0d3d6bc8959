//! Systems and repositories that the file declares.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use entrepot_kit::accounts::Tags;
use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Address, Kind, RepositoryName, SystemName};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check::{self, Checks};
use super::reader::{Origin, Reader};
use crate::access::PublisherRule;

/// A declared system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// Its name.
    pub name: SystemName,
    /// Its tags.
    pub tags: Tags,
    /// Most bytes that its hosted repositories have together.
    pub quota_bytes: Option<u64>,
}

/// A declared repository.
#[derive(Clone, PartialEq, Eq)]
pub struct Repository {
    /// The system that it belongs to.
    pub system: SystemName,
    /// Its name there.
    pub name: RepositoryName,
    /// The format that it speaks.
    pub format: String,
    /// Hosted, proxy or group.
    pub kind: Kind,
    /// Its tags.
    pub tags: Tags,
    /// Of a proxy: where it fetches from. May hold secrets.
    pub upstream: Option<Value>,
    /// Of a group: its members in order, each an address or an object with `repository` and name rules.
    pub members: Vec<Value>,
    /// What else the engine and the format know, such as `overwrite`.
    pub settings: Value,
}

impl Repository {
    /// `system/repository`.
    #[must_use]
    pub fn address(&self) -> Address {
        Address { system: self.system.clone(), repository: self.name.clone() }
    }

    /// All settings in one object, `upstream` and `members` among them: how the catalog keeps them and the API takes them.
    #[must_use]
    pub fn all_settings(&self) -> Map<String, Value> {
        let mut all = self.settings.as_object().cloned().unwrap_or_default();
        if let Some(upstream) = &self.upstream {
            all.insert(String::from("upstream"), upstream.clone());
        }
        if self.kind == Kind::Group {
            all.insert(String::from("members"), Value::from(self.members.clone()));
        }
        all
    }

    /// The settings with their secrets hidden.
    #[must_use]
    pub fn shown_settings(&self) -> Map<String, Value> {
        let mut settings = self.settings.as_object().cloned().unwrap_or_default();
        crate::registry::purge::hide_secret(&mut settings);
        settings
    }

    /// The upstream with its secrets hidden.
    #[must_use]
    pub fn shown_upstream(&self) -> Option<Value> {
        let mut upstream = self.upstream.clone()?;
        for secret in ["password", "token", "proxy"] {
            if let Some(value) = upstream.get_mut(secret) {
                *value = Value::from("(hidden)");
            }
        }
        // A URL may carry a password of its own.
        if let Some(url) = upstream.get_mut("url")
            && let Some(mut parsed) = url.as_str().and_then(|text| url::Url::parse(text).ok())
            && parsed.password().is_some()
        {
            *url = parsed.set_password(Some("hidden")).map_or_else(|()| Value::from("(hidden)"), |()| Value::from(parsed.as_str()));
        }
        Some(upstream)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("address", &self.address())
            .field("format", &self.format)
            .field("kind", &self.kind)
            .field("tags", &self.tags)
            .field("upstream", &self.shown_upstream())
            .field("members", &self.members)
            .field("settings", &self.shown_settings())
            .finish()
    }
}

/// A host that serves one repository at its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Its name, without port.
    pub name: String,
    /// The repository.
    pub repository: Address,
}

/// What identity tokens of a platform are worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub rule: PublisherRule,
}

/// Where the parts of a declaration stand.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub(super) header: Origin,
    pub(super) members: Vec<Origin>,
}

const SYSTEM_KEYS: [&str; 3] = ["name", "tags", "quota_bytes"];
const PUBLISHER_KEYS: [&str; 10] = ["name", "issuer", "audience", "claims", "repository", "packages", "actions", "expires_in", "allow_private", "ca_file"];
const HOST_KEYS: [&str; 2] = ["name", "repository"];
const REPOSITORY_KEYS: [&str; 11] = ["system", "name", "format", "kind", "tags", "upstream", "members", "signatures", "retention", "quota_bytes", "settings"];
/// The setting whose keys may be paths.
const SIGNATURES: &str = "signatures";
/// Further settings that may stand beside `settings`.
const BESIDE: [&str; 2] = ["retention", "quota_bytes"];
const MEMBER_KEYS: [&str; 5] = ["repository", "allow", "deny", "reserve", "merge"];

/// The systems of the file; `main` is always there.
pub(super) fn systems(reader: &mut Reader<'_>) -> Vec<(System, Places)> {
    let mut found: Vec<(System, Places)> = Vec::new();
    for (span, table) in reader.list("system").unwrap_or_default() {
        reader.unknown(table, &SYSTEM_KEYS, "in [[system]]");
        let Some((place, name)) = name_of(reader, table, &span, "system") else { continue };
        let (tags, quota_bytes) = (tags(reader, table), quota(reader, table));
        match SystemName::parse(name) {
            Ok(name) if found.iter().any(|(other, _)| other.name == name) => reader.problem_at(&place, format!("the system {name} is declared twice")),
            Ok(name) => found.push((System { name, tags, quota_bytes }, Places { header: place, members: Vec::new() })),
            Err(error) => reader.problem_at(&place, error.message().to_owned()),
        }
    }
    if let Ok(main) = SystemName::parse(DEFAULT_SYSTEM)
        && found.iter().all(|(system, _)| system.name != main)
    {
        found.insert(0, (System { name: main, tags: Tags::new(), quota_bytes: None }, Places { header: Origin::Default, members: Vec::new() }));
    }
    found
}

/// The repositories of the file; without any, a public hosted one in `main` for each format, and `true`.
pub(super) fn repositories(reader: &mut Reader<'_>, file: Option<&Path>, checks: &Checks<'_>) -> (Vec<(Repository, Places)>, bool) {
    let Some(tables) = reader.list("repository") else { return (defaults(checks.formats), true) };
    let mut found: Vec<(Repository, Places)> = Vec::new();
    for (span, table) in tables {
        reader.unknown(table, &REPOSITORY_KEYS, "in [[repository]]");
        let Some((repository, places)) = repository(reader, table, (&span, file), checks) else { continue };
        if found.iter().any(|(other, _)| other.address() == repository.address()) {
            reader.problem_at(&places.header, format!("the repository {} is declared twice", repository.address()));
        } else {
            found.push((repository, places));
        }
    }
    (found, false)
}

/// The hosts of the file, each with where it stands.
pub(super) fn hosts(reader: &mut Reader<'_>) -> Vec<(Host, Origin)> {
    let mut found: Vec<(Host, Origin)> = Vec::new();
    for (span, table) in reader.list("host").unwrap_or_default() {
        reader.unknown(table, &HOST_KEYS, "in [[host]]");
        let named = name_of(reader, table, &span, "host");
        if table.get("repository").is_none() {
            reader.problem(&span, String::from("this [[host]] names no repository, such as repository = \"main/oci\""));
        }
        let Some(((place, name), (repository_place, repository))) = named.zip(text(reader, table, "repository")) else { continue };
        let repository = if repository.contains('/') { repository.to_owned() } else { format!("{DEFAULT_SYSTEM}/{repository}") };
        match Address::parse(&repository) {
            _ if !is_host(name) => {
                reader.problem_at(&place, format!("{name:?} is no host: write its name in lower case and without port, such as \"charts.example.com\""));
            }
            _ if found.iter().any(|(other, _)| other.name == name) => reader.problem_at(&place, format!("the host {name} is declared twice")),
            Ok(repository) => found.push((Host { name: name.to_owned(), repository }, repository_place)),
            Err(error) => reader.problem_at(&repository_place, error.message().to_owned()),
        }
    }
    found
}

/// The publishers of the file, each with where it stands.
pub(super) fn publishers(reader: &mut Reader<'_>, audience: Option<&str>, checks: &Checks<'_>) -> Vec<(Publisher, Origin)> {
    let mut found: Vec<(Publisher, Origin)> = Vec::new();
    for (span, table) in reader.list("publisher").unwrap_or_default() {
        let before = reader.problem_count();
        reader.unknown(table, &PUBLISHER_KEYS, "in [[publisher]]");
        let named = name_of(reader, table, &span, "publisher");
        let rule: Map<String, Value> =
            table.iter().filter(|(key, _)| key.get_ref() != "name").map(|(key, value)| (key.get_ref().to_string(), reader.json(value))).collect();
        let Some((place, name)) = named.filter(|_| reader.problem_count() == before) else { continue };
        if found.iter().any(|(other, _)| other.name == name) {
            reader.problem_at(&place, format!("the publisher {name} is declared twice"));
            continue;
        }
        match (checks.publisher)(name, Value::Object(rule), audience) {
            Ok(rule) => found.push((Publisher { name: name.to_owned(), rule }, place)),
            Err(message) => reader.problem_at(&place, format!("the publisher {name}: {message}")),
        }
    }
    found
}

/// A name or address as it stands in a `Host` header, without port.
fn is_host(name: &str) -> bool {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => (1..=253).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte)),
    }
}

fn defaults(formats: &[&str]) -> Vec<(Repository, Places)> {
    let public = Tags::from([(String::from("visibility"), BTreeSet::from([String::from("public")]))]);
    let repository = |format: &&str| {
        let address = Address::new(DEFAULT_SYSTEM, format).ok()?;
        let repository = Repository {
            system: address.system,
            name: address.repository,
            format: (*format).to_owned(),
            kind: Kind::Hosted,
            tags: public.clone(),
            upstream: None,
            members: Vec::new(),
            settings: Value::Object(Map::new()),
        };
        Some((repository, Places { header: Origin::Default, members: Vec::new() }))
    };
    formats.iter().filter_map(repository).collect()
}

fn repository(reader: &mut Reader<'_>, table: &DeTable<'_>, (span, file): (&Range<usize>, Option<&Path>), checks: &Checks<'_>) -> Option<(Repository, Places)> {
    let before = reader.problem_count();
    let system = text(reader, table, "system").map_or(DEFAULT_SYSTEM, |(_, system)| system);
    let named = name_of(reader, table, span, "repository");
    let format = text(reader, table, "format");
    if format.is_none() && table.get("format").is_none() {
        reader.problem(span, format!("this [[repository]] has no format; known formats: {}", checks.formats.join(", ")));
    }
    let kind = match text(reader, table, "kind") {
        None | Some((_, "hosted")) => Kind::Hosted,
        Some((_, "proxy")) => Kind::Proxy,
        Some((_, "group")) => Kind::Group,
        Some((place, other)) => {
            reader.problem_at(&place, format!("{other:?} is no kind of repository; use \"hosted\", \"proxy\" or \"group\""));
            return None;
        }
    };
    let tags = tags(reader, table);
    let upstream = upstream(reader, table, span, kind, checks);
    let (members, member_places) = members(reader, table, span, kind);
    let mut settings = settings(reader, table);
    if let (Some(signatures), Some(settings)) = (signatures(reader, table, file), settings.as_object_mut()) {
        settings.insert(String::from(SIGNATURES), signatures);
    }
    for key in BESIDE {
        beside(reader, table, key, &mut settings);
    }
    let ((place, name), (_, format)) = (named?, format?);
    match Address::new(system, name) {
        Ok(Address { system, repository: name }) => {
            let repository = Repository { system, name, format: format.to_owned(), kind, tags, upstream, members, settings };
            // What the engine says follows from what was reported already, where there was something.
            if reader.problem_count() == before
                && checks.formats.contains(&format)
                && let Err(message) = (checks.repository)(&repository)
            {
                reader.problem_at(&place, message);
            }
            Some((repository, Places { header: place, members: member_places }))
        }
        Err(error) => {
            reader.problem_at(&place, error.message().to_owned());
            None
        }
    }
}

/// A text that may be missing; another type is a problem.
fn text<'a>(reader: &mut Reader<'_>, table: &'a DeTable<'_>, key: &str) -> Option<(Origin, &'a str)> {
    let value = table.get(key)?;
    let found = value.get_ref().as_str();
    if found.is_none() {
        reader.problem(&value.span(), format!("{key}: expected a text"));
    }
    Some((reader.place(&value.span()), found?))
}

fn name_of<'a>(reader: &mut Reader<'_>, table: &'a DeTable<'_>, span: &Range<usize>, what: &str) -> Option<(Origin, &'a str)> {
    if table.get("name").is_none() {
        reader.problem(span, format!("this [[{what}]] has no name"));
    }
    text(reader, table, "name")
}

/// Most bytes that the hosted repositories of a system have together.
fn quota(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<u64> {
    let value = table.get("quota_bytes")?;
    let number = reader.json(value).as_u64();
    if number.is_none() {
        reader.problem(&value.span(), String::from("quota_bytes: expected a number of bytes"));
    }
    number
}

/// Each value is a text or a list of texts.
fn tags(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Tags {
    let mut tags = Tags::new();
    let Some(value) = table.get("tags") else { return tags };
    let Some(table) = value.get_ref().as_table() else {
        reader.problem(&value.span(), String::from("tags: expected a table, such as { visibility = \"public\", team = [\"a\", \"b\"] }"));
        return tags;
    };
    for (key, value) in table {
        match texts(value.get_ref()) {
            Some(values) => drop(tags.insert(key.get_ref().to_string(), values.into_iter().collect())),
            None => reader.problem(&value.span(), format!("the tag {:?} is neither a text nor a list of texts", key.get_ref())),
        }
    }
    tags
}

fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Array(items) => items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn upstream(reader: &mut Reader<'_>, table: &DeTable<'_>, span: &Range<usize>, kind: Kind, checks: &Checks<'_>) -> Option<Value> {
    let Some(value) = table.get("upstream") else {
        if kind == Kind::Proxy {
            reader.problem(span, String::from("a proxy needs an upstream, such as upstream = { url = \"https://registry.example/\" }"));
        }
        return None;
    };
    if kind != Kind::Proxy {
        reader.problem(&value.span(), String::from("only a proxy has an upstream; set kind = \"proxy\" or remove it"));
        return None;
    }
    let json = reader.json(value);
    if let Err(message) = (checks.upstream)(&json) {
        reader.problem(&value.span(), format!("upstream: {message}"));
    }
    Some(json)
}

fn members(reader: &mut Reader<'_>, table: &DeTable<'_>, span: &Range<usize>, kind: Kind) -> (Vec<Value>, Vec<Origin>) {
    let Some(value) = table.get("members") else {
        if kind == Kind::Group {
            reader.problem(span, String::from("a group needs members, such as members = [\"main/npm-local\", \"main/npm-remote\"]"));
        }
        return Default::default();
    };
    let mut found = (Vec::new(), Vec::new());
    if kind != Kind::Group {
        reader.problem(&value.span(), String::from("only a group has members; set kind = \"group\" or remove them"));
        return found;
    }
    let Some(items) = value.get_ref().as_array() else {
        reader.problem(&value.span(), String::from("members: expected a list of addresses system/repository"));
        return found;
    };
    for item in items.iter() {
        if is_member(reader, item) {
            found.0.push(reader.json(item));
            found.1.push(reader.place(&item.span()));
        }
    }
    found
}

/// An address, or a table of an address and name rules.
fn is_member(reader: &mut Reader<'_>, item: &Spanned<DeValue<'_>>) -> bool {
    let DeValue::Table(table) = item.get_ref() else {
        if item.get_ref().is_str() {
            return true;
        }
        reader.problem(&item.span(), String::from("a member is an address \"system/repository\" or a table { repository = \"…\", deny = [\"…\"] }"));
        return false;
    };
    reader.unknown(table, &MEMBER_KEYS, "in a member");
    for (key, value) in table {
        let fits = if key.get_ref() == "repository" { value.get_ref().is_str() } else { value.get_ref().is_array() && texts(value.get_ref()).is_some() };
        if !fits {
            reader.problem(
                &value.span(),
                format!("{}: expected {}", key.get_ref(), if key.get_ref() == "repository" { "an address" } else { "a list of name patterns" }),
            );
        }
    }
    if table.get("repository").is_none() {
        reader.problem(&item.span(), String::from("this member names no repository"));
        return false;
    }
    true
}

/// A setting that stands beside the others instead of among them.
fn beside(reader: &mut Reader<'_>, table: &DeTable<'_>, key: &str, settings: &mut Value) {
    let (Some(value), Some(settings)) = (table.get(key), settings.as_object_mut()) else { return };
    let json = reader.json(value);
    if settings.insert(key.to_owned(), json).is_some() {
        reader.problem(&value.span(), format!("{key}: it stands in settings as well; write it once"));
    }
}

/// Whose signatures are needed, beside the other settings or among them. A key that is no PEM text is the path of a file with one.
fn signatures(reader: &mut Reader<'_>, table: &DeTable<'_>, file: Option<&Path>) -> Option<Value> {
    let among = table.get("settings").and_then(|settings| settings.get_ref().as_table()).and_then(|settings| settings.get(SIGNATURES));
    let value = match (table.get(SIGNATURES), among) {
        (Some(value), Some(_)) => {
            reader.problem(&value.span(), String::from("signatures: it stands in settings as well; write it once"));
            return None;
        }
        (value, among) => value.or(among)?,
    };
    let mut json = reader.json(value);
    let items = value.get_ref().as_table().and_then(|table| table.get("keys")).and_then(|keys| keys.get_ref().as_array());
    let keys = json.get_mut("keys").and_then(Value::as_array_mut);
    for (item, key) in items.into_iter().flat_map(|items| items.iter()).zip(keys.into_iter().flatten()) {
        let Some(path) = item.get_ref().as_str().filter(|text| !text.contains("-----BEGIN ")) else { continue };
        let place = reader.place(&item.span());
        if path.is_empty() {
            reader.problem_at(&place, String::from("signatures.keys: a key is PEM text, or the path of a file with it"));
        } else if let Some(pem) = check::file(reader, file, "signatures.keys", (path, &place), &|_| Ok(())) {
            *key = Value::from(pem);
        }
    }
    Some(json)
}

fn settings(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Value {
    match table.get("settings") {
        None => Value::Object(Map::new()),
        Some(value) if value.get_ref().is_table() => reader.json(value),
        Some(value) => {
            reader.problem(&value.span(), String::from("settings: expected a table, such as { overwrite = true }"));
            Value::Object(Map::new())
        }
    }
}

/// The address that a member names; without a system it is one of `main`.
pub(super) fn member_address(member: &Value) -> String {
    let text = member.as_str().or_else(|| member.get("repository").and_then(Value::as_str)).unwrap_or_default();
    if text.contains('/') { text.to_owned() } else { format!("{DEFAULT_SYSTEM}/{text}") }
}
