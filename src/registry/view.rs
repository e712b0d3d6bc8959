//! Views: a repository now, or as it was.

use entrepot_kit::name::VIEW_SEPARATOR;
use entrepot_kit::{Address, Error, Kind, Result, Timestamp};

use crate::registry::{Engine, Repo};
use std::sync::Arc;

pub use entrepot_kit::Moment;

/// A repository as an address names it.
#[derive(Clone)]
pub struct View {
    /// The repository.
    pub repo: Arc<Repo>,
    /// `None`: the newest state.
    pub moment: Option<Moment>,
}

/// Reads the two segments of an address: `npm`, `npm.at-r12`, `npm.at-20261101`, `npm.at-20261101t120000z`.
///
/// # Errors
/// 400 for malformed names and moments.
pub fn parse_address(system: &str, repository: &str) -> Result<(Address, Option<Moment>)> {
    let Some((name, when)) = repository.split_once(VIEW_SEPARATOR) else { return Ok((Address::new(system, repository)?, None)) };
    let revision = when.strip_prefix('r').filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).and_then(|digits| digits.parse().ok());
    let moment = revision
        .map(Moment::Revision)
        .or_else(|| Timestamp::parse_compact(when).map(Moment::Time))
        .ok_or_else(|| Error::bad_request(format!("{when:?} names no moment: use r123 (a revision), 20261101 or 20261101t120000z (UTC)")))?;
    Ok((Address::new(system, name)?, Some(moment)))
}

impl Engine {
    /// The revision at which a view reads a hosted or proxy repository; `None`: the newest.
    pub(crate) async fn revision(&self, repo: &Repo, moment: Option<Moment>) -> Result<Option<u64>> {
        let at = self.revision_of(repo, moment.or_else(|| repo.frozen())).await?;
        match at {
            Some(at) if at < repo.row.horizon => {
                let horizon = repo.row.horizon;
                Err(Error::not_found(format!("{} remembers its past from revision {horizon} on (retention.history_days)", repo.address())))
            }
            at => Ok(at),
        }
    }

    async fn revision_of(&self, repo: &Repo, moment: Option<Moment>) -> Result<Option<u64>> {
        match moment {
            None => Ok(None),
            Some(Moment::Revision(revision)) if revision <= repo.head() => Ok(Some(revision)),
            Some(Moment::Revision(revision)) => Err(Error::not_found(format!("{} has no revision {revision}; its newest is {}", repo.address(), repo.head()))),
            Some(Moment::Time(time)) => Ok(Some(self.catalog.revision_at(repo.id(), time).await?)),
        }
    }
}

/// Refuses what a view cannot say.
///
/// # Errors
/// 404 for a revision of a group: revisions count one repository each.
pub fn check_moment(repo: &Repo, moment: Option<Moment>) -> Result<()> {
    match moment {
        Some(Moment::Revision(_)) if repo.kind() == Kind::Group => {
            Err(Error::not_found("a group has no revisions of its own: name a time instead, as in .at-20261101t120000z"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, parse_address};

    #[test]
    fn addresses_name_moments() {
        assert!(matches!(parse_address("main", "npm"), Ok((_, None))));
        assert!(matches!(parse_address("main", "npm.at-r12"), Ok((address, Some(Moment::Revision(12)))) if address.to_string() == "main/npm"));
        assert!(matches!(parse_address("main", "npm.at-20261101t120000z"), Ok((_, Some(Moment::Time(_))))));
        for bad in ["npm.at-", "npm.at-r", "npm.at-r1x", "npm.at-2026", "npm.at-r99999999999999999999"] {
            assert!(parse_address("main", bad).is_err(), "{bad}");
        }
    }
}
