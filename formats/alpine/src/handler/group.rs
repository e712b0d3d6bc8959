//! Groups: the members' packages in one index, signed with the group's own key.
//!
//! Of what two members have in the same version the first one's counts. Of names that a hosted member owns proxies have no say, unless a rule
//! merges them.

use std::collections::HashSet;

use entrepot_kit::{Error, File, Kind, Moment, Read, Repository, Result, Timestamp, blocking};
use serde_json::Value;

use super::{get, index, proxy};
use crate::index::{Record, records};
use crate::place::{Folder, split};

/// The settings that say which names come from where.
const RULES: [&str; 2] = ["members", "rules"];

/// A member that has something there.
#[derive(Clone)]
pub(super) struct Member {
    repository: Repository<Read>,
    is_hosted: bool,
    stamp: String,
}

/// The members that have something in a folder, and when the newest of their states came to be.
pub(super) async fn members(group: &Repository<Read>, folder: &Folder) -> Result<Option<(Vec<Member>, Timestamp)>> {
    let (mut members, mut newest) = (Vec::new(), Timestamp(0));
    for member in group.members(None).await? {
        let address = member.address().to_string();
        if member.kind() == Kind::Hosted {
            let Some(state) = index::state(&member, folder).await? else { continue };
            newest = newest.max(state.time);
            let repository = member.at(Moment::Revision(state.revision))?;
            members.push(Member { repository, is_hosted: true, stamp: format!("{address}@{}", state.revision) });
        } else {
            // All or nothing: clients would take what a member that failed has for removed.
            let file = proxy::index(&member, folder).await.map_err(|error| failed(&address, error))?;
            let Some(file) = file else { continue };
            newest = newest.max(file.entry.created);
            let digest = file.entry.digest.ok_or_else(|| Error::internal("an index that is not here whole"))?;
            members.push(Member { repository: member, is_hosted: false, stamp: format!("{address}#{digest}") });
        }
    }
    Ok((!members.is_empty()).then_some((members, newest)))
}

fn failed(member: &str, error: Error) -> Error {
    let seconds = error.retry_after().unwrap_or(5);
    Error::unavailable(format!("the member {member} of this group failed: {}", error.message()), seconds).with_source(error)
}

/// Names the state of all that the group's index is made of.
pub(super) fn stamp(group: &Repository<Read>, members: &[Member]) -> String {
    let mut stamp: Vec<String> = members.iter().map(|member| member.stamp.clone()).collect();
    stamp.extend(RULES.iter().filter_map(|rule| group.setting::<Value>(rule)).map(|rule| rule.to_string()));
    entrepot_kit::Sha256Digest::of(stamp.join(";").as_bytes()).hex()
}

/// The records of all members.
pub(super) async fn joined(group: &Repository<Read>, folder: &Folder, members: &[Member]) -> Result<Vec<String>> {
    let (mut seen, mut joined) = (HashSet::new(), Vec::new());
    for member in members {
        let found: Vec<String> = if member.is_hosted {
            index::hosted(&member.repository, folder).await?
        } else {
            let text = proxy::text(&member.repository, folder).await.map_err(|error| failed(&member.repository.address().to_string(), error))?;
            let Some(text) = text else { continue };
            blocking(move || Ok(records(&text).map(|record| record.text().to_owned()).collect())).await?
        };
        let hidden = if member.is_hosted {
            HashSet::new()
        } else {
            let names: HashSet<&str> = found.iter().map(|record| Record::new(record).name()).collect();
            let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            names.sort_unstable();
            group.private_names(&names).await?
        };
        for record in found {
            let fields = Record::new(&record);
            if !hidden.contains(fields.name()) && seen.insert((fields.name().to_owned(), fields.version().to_owned())) {
                joined.push(record);
            }
        }
    }
    Ok(joined)
}

/// A package of the first member that has it.
pub(super) async fn package(group: &Repository<Read>, folder: &Folder, file: &str) -> Result<Option<File>> {
    let name = split(file).map(|(name, _)| name);
    let mut failure = None;
    for member in group.members(name).await? {
        match Box::pin(get::package(&member, folder, file)).await {
            Ok(Some(file)) => return Ok(Some(file)),
            Ok(None) => {}
            Err(error) => failure = Some(failed(&member.address().to_string(), error)),
        }
    }
    failure.map_or(Ok(None), Err)
}
