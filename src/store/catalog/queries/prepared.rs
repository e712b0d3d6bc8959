//! Updates whose text is always the same.

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::{QueryResult, RunQueryDsl};

use super::Conn;

/// An update that is prepared once for each connection. By itself diesel prepares each anew, as its text may depend on its values: on those
/// that are an `Option` of an assignment. What is found again is found by its text, so that even a wrong use costs room only. It must return
/// something: diesel asks a query that is loaded whether it can be kept, one that is only executed it asks past this.
pub(super) struct Prepared<S>(pub(super) S);

impl<DB: Backend, S: QueryFragment<DB>> QueryFragment<DB> for Prepared<S> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<S> QueryId for Prepared<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<S: Query> Query for Prepared<S> {
    type SqlType = S::SqlType;
}

impl<S> RunQueryDsl<Conn> for Prepared<S> {}
