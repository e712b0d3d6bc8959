//! What must hold between repositories: members exist and speak the same format, groups form no cycle, names are unambiguous.

use std::collections::{BTreeMap, BTreeSet};

use entrepot_kit::name::DEFAULT_SYSTEM;
use entrepot_kit::{Action, Address, Error, Kind, Result};
use serde_json::Value;

use crate::registry::reconcile::Wanted;
use crate::registry::table::members;
use crate::registry::{Context, Engine};
use crate::store::model::RepositoryRow;

use super::call::Found;

/// Groups within groups: as deep as the engine goes.
const MAX_DEPTH: usize = 8;

/// Checks a new or changed repository against all others. `before` are the members that it has already: those were somebody else's
/// decision, perhaps, and stay.
///
/// # Errors
/// 400 naming the member, 409 for a name that is taken by a system.
pub(super) async fn check(engine: &Engine, context: &Context, wanted: &Wanted, before: &[Address], rows: &[RepositoryRow]) -> Result<()> {
    let systems = engine.catalog.systems().await?;
    let taken = |name: &str| systems.iter().any(|system| system.name.as_str() == name);
    if wanted.address.system.as_str() == DEFAULT_SYSTEM && taken(wanted.address.repository.as_str()) {
        let name = &wanted.address.repository;
        return Err(Error::conflict(format!("there is a system {name}: a system and a repository of {DEFAULT_SYSTEM} may not share a name")));
    }
    if wanted.kind != Kind::Group {
        return Ok(());
    }
    let settings = Value::Object(wanted.settings.clone());
    let direct: Vec<Address> = members(&settings)?.into_iter().map(|member| member.repository).collect();
    for member in &direct {
        let row = rows.iter().find(|row| row.address == *member);
        let row = match row {
            Some(row) if before.contains(member) || readable(engine, context, row, &systems).await? => row,
            _ if *member == wanted.address => return Err(Error::bad_request(format!("{member} cannot be a member of itself"))),
            _ => return Err(Error::bad_request(format!("the member {member} does not exist, or you may not read it"))),
        };
        if row.format != wanted.format {
            return Err(Error::bad_request(format!("the member {member} speaks {}, not {}", row.format, wanted.format)));
        }
    }
    let hosted = |address: &Address| rows.iter().any(|row| row.address == *address && row.kind == Kind::Hosted);
    if let Some(name) = settings.get("publish_to") {
        let named = name.as_str().and_then(|name| Address::parse(name).ok()).filter(|address| direct.contains(address) && hosted(address));
        named.ok_or_else(|| Error::bad_request(format!("publish_to = {name} is not one of the group's hosted members, written system/repository")))?;
    }
    check_nesting(&wanted.address, &direct, rows)
}

async fn readable(engine: &Engine, context: &Context, row: &RepositoryRow, systems: &[crate::store::model::SystemRow]) -> Result<bool> {
    let system_tags = systems.iter().find(|system| system.name == row.address.system).map(|system| system.tags.clone()).unwrap_or_default();
    let found = Found { row: row.clone(), system_tags };
    Ok(engine.access.decide(&context.caller, Action::Read, &found.target()).await?.allowed)
}

/// The direct members of every group; a group whose stored settings are broken has none.
fn groups(rows: &[RepositoryRow]) -> BTreeMap<&Address, Vec<Address>> {
    let groups = rows.iter().filter(|row| row.kind == Kind::Group);
    groups.map(|row| (&row.address, members(&row.settings).unwrap_or_default().into_iter().map(|member| member.repository).collect())).collect()
}

/// Walks level by level, so that the work is bounded by levels times groups, whatever the shape.
fn check_nesting(group: &Address, direct: &[Address], rows: &[RepositoryRow]) -> Result<()> {
    let mut graph = groups(rows);
    graph.insert(group, direct.to_vec());
    let down = |level: &BTreeSet<Address>| -> BTreeSet<Address> {
        level.iter().filter_map(|address| graph.get(address)).flatten().filter(|member| graph.contains_key(member)).cloned().collect()
    };
    let up = |level: &BTreeSet<Address>| -> BTreeSet<Address> {
        graph.iter().filter(|(_, members)| members.iter().any(|member| level.contains(member))).map(|(address, _)| (*address).clone()).collect()
    };
    let mut levels = 1;
    let mut level = down(&BTreeSet::from([group.clone()]));
    while !level.is_empty() && levels <= MAX_DEPTH {
        if level.contains(group) {
            return Err(Error::bad_request(format!("{group} would be a member of itself, through other groups")));
        }
        level = down(&level);
        levels += 1;
    }
    let mut level = up(&BTreeSet::from([group.clone()]));
    while !level.is_empty() && levels <= MAX_DEPTH {
        level = up(&level);
        levels += 1;
    }
    if levels > MAX_DEPTH {
        return Err(Error::bad_request(format!("groups would be nested more than {MAX_DEPTH} deep")));
    }
    Ok(())
}

/// Refuses to take a member away from under a group, which could not be served any more. Groups are named to those who may read them.
///
/// # Errors
/// 409.
pub(super) async fn check_unused(engine: &Engine, context: &Context, address: &Address, rows: &[RepositoryRow]) -> Result<()> {
    let users: Vec<_> = groups(rows).into_iter().filter(|(_, members)| members.contains(address)).map(|(group, _)| group.clone()).collect();
    if users.is_empty() {
        return Ok(());
    }
    let systems = engine.catalog.systems().await?;
    let mut named = Vec::new();
    for row in rows.iter().filter(|row| users.contains(&row.address)) {
        if readable(engine, context, row, &systems).await? {
            named.push(row.address.to_string());
        }
    }
    let named = if named.is_empty() { String::from("a group that you may not read") } else { named.join(", ") };
    Err(Error::conflict(format!("{address} is a member of {named}: take it out there first")))
}

#[cfg(test)]
mod tests {
    use super::check_nesting;
    use crate::store::model::RepositoryRow;
    use entrepot_kit::{Address, Kind, Timestamp};
    use serde_json::json;

    fn group(name: &str, members: &[&str]) -> RepositoryRow {
        RepositoryRow {
            id: 0,
            address: Address::parse(name).unwrap(),
            format: "npm".into(),
            kind: Kind::Group,
            tags: Default::default(),
            settings: json!({ "members": members }),
            declared: false,
            head: 0,
            head_time: Timestamp(0),
            created: Timestamp(0),
            horizon: 0,
        }
    }

    fn nest(name: &str, members: &[&str], rows: &[RepositoryRow]) -> Result<(), String> {
        let members: Vec<_> = members.iter().map(|member| Address::parse(member).unwrap()).collect();
        check_nesting(&Address::parse(name).unwrap(), &members, rows).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn cycles_are_found_at_any_length() {
        let rows = [group("a/one", &["a/two", "a/leaf"]), group("a/two", &["a/three"]), group("a/three", &["a/leaf"])];
        assert_eq!(nest("a/three", &["a/leaf", "a/other"], &rows), Ok(()));
        assert_eq!(nest("a/four", &["a/one", "a/two"], &rows), Ok(()));
        for member in ["a/one", "a/two", "a/three"] {
            assert!(nest("a/three", &["a/leaf", member], &rows).unwrap_err().contains("itself"), "{member}");
        }
    }

    #[test]
    fn groups_nest_eight_deep_counted_up_and_down() {
        let chain = |from: usize, to: usize| (from..to).map(|n| group(&format!("a/g{n}"), &[&format!("a/g{}", n + 1)])).collect::<Vec<_>>();
        // g1 … g7 are groups within each other, and g8 ends them.
        assert_eq!(nest("a/g8", &["a/leaf"], &chain(1, 8)), Ok(()));
        assert!(nest("a/g9", &["a/leaf"], &chain(1, 9)).unwrap_err().contains("nested"));
        let mut rows = chain(1, 5);
        rows.extend(chain(6, 10));
        assert!(nest("a/g5", &["a/g6"], &rows).unwrap_err().contains("nested"), "four above, itself, four below");
        assert_eq!(nest("a/g5", &["a/g7"], &rows), Ok(()));
    }
}
