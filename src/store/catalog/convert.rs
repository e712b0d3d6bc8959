//! Between the columns of the catalog and the types of the rest of the server.

use entrepot_kit::{Algorithm, Digests, Kind, PrincipalKind, Sha256Digest};

use super::failure::{QueryError, QueryResult};

/// A revision, count or size as the database stores it.
pub(super) fn to_column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A revision, count or size as the database stored it.
pub(super) fn from_column(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A number of rows to ask for.
pub(super) fn limit_column(limit: usize, most: usize) -> i64 {
    i64::try_from(limit.min(most)).unwrap_or(i64::MAX)
}

pub(super) fn to_json(value: &impl serde::Serialize) -> QueryResult<String> {
    serde_json::to_string(value).map_err(|cause| QueryError::damaged("value on its way in", cause))
}

pub(super) fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> QueryResult<T> {
    serde_json::from_str(text).map_err(|cause| QueryError::damaged(what, cause))
}

pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Hosted => "hosted",
        Kind::Proxy => "proxy",
        Kind::Group => "group",
    }
}

pub(super) fn kind(text: &str) -> QueryResult<Kind> {
    [Kind::Hosted, Kind::Proxy, Kind::Group].into_iter().find(|kind| kind_name(*kind) == text).ok_or_else(|| QueryError::damaged("kind of repository", text))
}

pub(super) fn principal_kind_name(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::User => "user",
        PrincipalKind::Robot => "robot",
        PrincipalKind::Workload => "workload",
        PrincipalKind::Anonymous => "anonymous",
    }
}

pub(super) fn principal_kind(text: &str) -> QueryResult<PrincipalKind> {
    [PrincipalKind::User, PrincipalKind::Robot, PrincipalKind::Workload, PrincipalKind::Anonymous]
        .into_iter()
        .find(|kind| principal_kind_name(*kind) == text)
        .ok_or_else(|| QueryError::damaged("kind of principal", text))
}

pub(super) fn sha256(bytes: &[u8]) -> QueryResult<Sha256Digest> {
    <[u8; 32]>::try_from(bytes).map(Sha256Digest::from_bytes).map_err(|cause| QueryError::damaged("digest", cause))
}

/// The column of a blob's digests: all but SHA-256, which is its key.
pub(super) fn other_digests(digests: &Digests) -> Digests {
    let mut others = Digests::new();
    for algorithm in digests.algorithms().filter(|algorithm| *algorithm != Algorithm::Sha256) {
        others.insert(algorithm, digests.get(algorithm).unwrap_or_default().to_vec());
    }
    others
}

/// The smallest text that is greater than every text beginning with `prefix`, by the order of bytes: the prefix with the
/// greatest of all characters behind it.
pub(super) fn prefix_end(prefix: &str) -> String {
    format!("{prefix}\u{10ffff}")
}

#[cfg(test)]
mod tests {
    use super::{kind, kind_name, other_digests, principal_kind, principal_kind_name};
    use entrepot_kit::{Algorithm, Hasher, Kind, PrincipalKind};

    #[test]
    fn names_of_kinds_are_those_of_their_json() {
        for value in [Kind::Hosted, Kind::Proxy, Kind::Group] {
            assert_eq!(serde_json::to_value(value).unwrap(), kind_name(value));
            assert_eq!(kind(kind_name(value)).unwrap(), value);
        }
        for value in [PrincipalKind::User, PrincipalKind::Robot, PrincipalKind::Workload, PrincipalKind::Anonymous] {
            assert_eq!(serde_json::to_value(value).unwrap(), principal_kind_name(value));
            assert_eq!(principal_kind(principal_kind_name(value)).unwrap(), value);
        }
        assert!(kind("mirror").is_err() && principal_kind("").is_err());
    }

    #[test]
    fn the_key_is_not_stored_twice() {
        let (_, digests) = Hasher::new(&[Algorithm::Sha1]).finish();
        assert_eq!(other_digests(&digests).algorithms().collect::<Vec<_>>(), [Algorithm::Sha1]);
    }
}
