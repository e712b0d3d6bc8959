//! Every query of the catalog, once for both databases: this folder is compiled twice, each time with another `Conn`.

use super::{BYTEWISE, Backend, Conn, SNAPSHOT, broken_references, continue_behind, for_change, highest};

pub(in crate::store::catalog) mod accounts;
pub(in crate::store::catalog) mod birth;
pub(in crate::store::catalog) mod commit;
pub(in crate::store::catalog) mod entries;
pub(in crate::store::catalog) mod facts;
pub(in crate::store::catalog) mod folders;
pub(in crate::store::catalog) mod forget;
pub(in crate::store::catalog) mod gc;
pub(in crate::store::catalog) mod history;
pub(in crate::store::catalog) mod leases;
pub(in crate::store::catalog) mod logs;
pub(in crate::store::catalog) mod packages;
mod prepared;
pub(in crate::store::catalog) mod publishers;
pub(in crate::store::catalog) mod pulls;
pub(in crate::store::catalog) mod purge;
pub(in crate::store::catalog) mod repositories;
pub(in crate::store::catalog) mod restore;
pub(in crate::store::catalog) mod search;
pub(in crate::store::catalog) mod transfer;
pub(in crate::store::catalog) mod uploads;
pub(in crate::store::catalog) mod upstream;
pub(in crate::store::catalog) mod verify;
pub(in crate::store::catalog) mod web_logins;

/// Narrows a query to what lives: now, or at a revision. The present has a branch of its own, for the partial indexes.
macro_rules! at_view {
    ($query:expr, $table:ident, $at:expr, |$narrowed:ident| $rest:expr) => {
        match $at {
            None => {
                let $narrowed = $query.filter($table::died.is_null());
                $rest
            }
            Some(at) => {
                let at = $crate::store::catalog::convert::to_column(at);
                let $narrowed = $query.filter($table::born.le(at)).filter($table::died.is_null().or($table::died.gt(at)));
                $rest
            }
        }
    };
}
use at_view;
