//! What only the whole configuration can show: pairs of stores, names that must differ, groups and their members.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Address, Kind};
use serde_json::Value;

use super::declared::{Host, Places, Publisher, Repository, System, member_address};
use super::reader::{Origin, Reader, nearest};
use super::value::{BlobKind, DatabaseUrl};
use super::{Blobs, Tls};
use crate::access::PublisherRule;

/// What other parts of the server know about the values that the file holds.
pub struct Checks<'a> {
    /// The names of the formats.
    pub formats: &'a [&'a str],
    /// Checks the `upstream` table of a proxy.
    pub upstream: &'a dyn Fn(&Value) -> Result<(), String>,
    /// Checks a repository as a whole: its settings, name rules and what its format says of them.
    pub repository: &'a dyn Fn(&Repository) -> Result<(), String>,
    /// Reads and checks a publisher's rule, for the server's own audience.
    pub publisher: &'a ReadPublisher,
    /// Checks the text of the policy file.
    pub policies: &'a dyn Fn(&str) -> Result<(), String>,
    /// Checks the files for TLS.
    pub tls: &'a dyn Fn(&Tls) -> Result<(), String>,
}

/// Reads the rule of a publisher of a name, for the server's own audience.
pub type ReadPublisher = dyn Fn(&str, Value, Option<&str>) -> Result<PublisherRule, String>;

/// Where what [`storage`] looks at came from.
pub(super) struct StorageOrigins {
    pub(super) url: Origin,
    pub(super) kind: Origin,
    pub(super) bucket: Origin,
    pub(super) access_key: Origin,
    pub(super) prefix: Origin,
    pub(super) master_key: Origin,
}

/// The pairs that work: SQLite with files on one machine, PostgreSQL with S3 on any number.
pub(super) fn storage(reader: &mut Reader<'_>, url: &DatabaseUrl, blobs: &Blobs, has_master_key: bool, origins: &StorageOrigins) {
    let mut problem = |place: &Origin, message: &str| reader.problem_at(place, message.to_owned());
    match (url.is_sqlite(), blobs.kind) {
        (true, BlobKind::Files) => return,
        (true, BlobKind::S3) => problem(
            &origins.kind,
            "blobs.kind is \"s3\" while database.url is empty: blobs in S3 need the records in PostgreSQL, so that several servers can share both. Set \
             database.url (ENTREPOT_DATABASE_URL), or leave blobs.kind at \"files\"",
        ),
        (false, BlobKind::Files) => problem(
            &origins.url,
            "database.url names PostgreSQL while blobs.kind is \"files\": servers that share records must share blobs. Set blobs.kind = \"s3\" and \
             blobs.bucket, or leave database.url empty",
        ),
        (false, BlobKind::S3) if !has_master_key => problem(
            &origins.master_key,
            "server.master_key is empty: with PostgreSQL it must be set (ENTREPOT_MASTER_KEY), the same on all replicas; openssl rand -hex 32 makes one",
        ),
        (false, BlobKind::S3) => {}
    }
    if blobs.kind != BlobKind::S3 {
        return;
    }
    if blobs.bucket.is_empty() {
        problem(&origins.bucket, "blobs.bucket is empty: S3 needs the name of a bucket");
    }
    if blobs.access_key.is_empty() != blobs.secret_key.is_none() {
        problem(
            &origins.access_key,
            "blobs.access_key and blobs.secret_key belong together: set both (ENTREPOT_S3_ACCESS_KEY, ENTREPOT_S3_SECRET_KEY), or none for the standard chain",
        );
    }
    let is_plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !blobs.prefix.is_empty() && !blobs.prefix.trim_end_matches('/').split('/').all(is_plain) {
        problem(&origins.prefix, "blobs.prefix: expected letters, digits, \"-\", \"_\" and \".\", with \"/\" between parts, such as \"entrepot/blobs\"");
    }
}

/// Reads a file that a setting names, and checks its text; a relative path starts at the folder of the configuration file.
pub(super) fn file(
    reader: &mut Reader<'_>,
    file: Option<&Path>,
    setting: &str,
    (path, place): (&str, &Origin),
    check: &dyn Fn(&str) -> Result<(), String>,
) -> Option<String> {
    if path.is_empty() {
        return None;
    }
    let path = file.and_then(Path::parent).unwrap_or_else(|| Path::new("")).join(path);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            if let Err(message) = check(&text) {
                reader.problem_at(place, format!("{setting}: {}: {message}", path.display()));
            }
            Some(text)
        }
        Err(cause) => {
            reader.problem_at(place, format!("{setting}: cannot read {}: {cause}", path.display()));
            None
        }
    }
}

/// Finds and checks the files for TLS: both or neither.
pub(super) fn tls(
    reader: &mut Reader<'_>,
    file: Option<&Path>,
    (certificate, certificate_place): (&str, &Origin),
    (key, key_place): (&str, &Origin),
    checks: &Checks<'_>,
) -> Option<Tls> {
    match (certificate.is_empty(), key.is_empty()) {
        (true, true) => return None,
        (false, false) => {}
        (false, true) => {
            reader.problem_at(certificate_place, String::from("tls.certificate is set and tls.key is not: TLS needs both"));
            return None;
        }
        (true, false) => {
            reader.problem_at(key_place, String::from("tls.key is set and tls.certificate is not: TLS needs both"));
            return None;
        }
    }
    let folder = file.and_then(Path::parent).unwrap_or_else(|| Path::new(""));
    let tls = Tls { certificate: folder.join(certificate), key: folder.join(key) };
    if let Err(message) = (checks.tls)(&tls) {
        let place = if message.starts_with("tls.key") { key_place } else { certificate_place };
        reader.problem_at(place, message);
    }
    Some(tls)
}

/// What declarations say about each other.
pub(super) fn declared(reader: &mut Reader<'_>, systems: &[(System, Places)], repositories: &[(Repository, Places)], checks: &Checks<'_>) {
    let by_address: HashMap<Address, &Repository> = repositories.iter().map(|(repository, _)| (repository.address(), repository)).collect();
    for (repository, places) in repositories {
        if !checks.formats.contains(&repository.format.as_str()) {
            let hint = nearest(&repository.format, checks.formats).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            let message = format!("unknown format {:?}{hint} (known formats: {})", repository.format, checks.formats.join(", "));
            reader.problem_at(&places.header, message);
        }
        if systems.iter().all(|(system, _)| system.name != repository.system) {
            let message = format!("the system {} is not declared; write [[system]] with name = {:?}", repository.system, repository.system.as_str());
            reader.problem_at(&places.header, message);
        }
        if repository.system.as_str() == DEFAULT_SYSTEM && systems.iter().any(|(system, _)| system.name.as_str() == repository.name.as_str()) {
            let message = format!("{} is also the name of a system: a system and a repository of {DEFAULT_SYSTEM} may not share a name", repository.name);
            reader.problem_at(&places.header, message);
        }
        members(reader, repository, places, &by_address);
        if repository.kind == Kind::Group
            && let Some(way) = way_back(repository, &by_address)
        {
            reader.problem_at(&places.header, format!("the group {} is a member of itself: {way}", repository.address()));
        }
    }
}

/// A host serves what the file declares.
pub(super) fn hosts(reader: &mut Reader<'_>, hosts: &[(Host, Origin)], repositories: &[(Repository, Places)]) {
    for (host, place) in hosts {
        let known: Vec<String> = repositories.iter().map(|(repository, _)| repository.address().to_string()).collect();
        let wanted = host.repository.to_string();
        if !known.contains(&wanted) {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let hint = nearest(&wanted, &known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
            reader.problem_at(place, format!("the host {} serves {wanted}, which is not declared{hint}", host.name));
        }
    }
}

/// A publisher is for a hosted repository that the file declares.
pub(super) fn publishers(reader: &mut Reader<'_>, publishers: &[(Publisher, Origin)], repositories: &[(Repository, Places)]) {
    for (publisher, place) in publishers {
        let wanted = &publisher.rule.repository;
        match repositories.iter().find(|(repository, _)| repository.address() == *wanted) {
            Some((repository, _)) if repository.kind != Kind::Hosted => {
                reader.problem_at(place, format!("the publisher {} is for {wanted}, which is not hosted: nothing is published there", publisher.name));
            }
            Some(_) => {}
            None => {
                let known: Vec<String> = repositories.iter().map(|(repository, _)| repository.address().to_string()).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let hint = nearest(&wanted.to_string(), &known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                reader.problem_at(place, format!("the publisher {} is for {wanted}, which is not declared{hint}", publisher.name));
            }
        }
    }
}

fn members(reader: &mut Reader<'_>, group: &Repository, places: &Places, by_address: &HashMap<Address, &Repository>) {
    let mut seen = Vec::new();
    for (member, place) in group.members.iter().zip(&places.members) {
        let text = member_address(member);
        let address = match Address::parse(&text) {
            Ok(address) => address,
            Err(error) => {
                reader.problem_at(place, format!("members: {}", error.message()));
                continue;
            }
        };
        match by_address.get(&address) {
            None => {
                let known: Vec<String> = by_address.keys().map(ToString::to_string).collect();
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let hint = nearest(&text, &known).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                reader.problem_at(place, format!("the group {} has a member {text} that is not declared{hint}", group.address()));
            }
            Some(found) if found.format != group.format => {
                let message = format!("the group {} speaks {}, its member {text} speaks {}", group.address(), group.format, found.format);
                reader.problem_at(place, message);
            }
            Some(_) if seen.contains(&address) => reader.problem_at(place, format!("the group {} has {text} twice", group.address())),
            Some(_) => {}
        }
        seen.push(address);
    }
}

/// The shortest way from a group along its members back to itself.
fn way_back(group: &Repository, by_address: &HashMap<Address, &Repository>) -> Option<String> {
    let home = group.address();
    let mut came_from: HashMap<Address, Address> = HashMap::new();
    let mut waiting = VecDeque::from([home.clone()]);
    while let Some(here) = waiting.pop_front() {
        for member in by_address.get(&here)?.members.iter().filter_map(|member| Address::parse(&member_address(member)).ok()) {
            if member == home {
                let mut way = vec![home.to_string(), here.to_string()];
                let mut step = &here;
                while let Some(before) = came_from.get(step) {
                    way.push(before.to_string());
                    step = before;
                }
                // A group that lists itself is its own only step.
                way.reverse();
                return Some(way.join(" > "));
            }
            if by_address.contains_key(&member) && !came_from.contains_key(&member) {
                came_from.insert(member.clone(), here.clone());
                waiting.push_back(member);
            }
        }
    }
    None
}
