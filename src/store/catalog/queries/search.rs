//! The search: every word must begin a term of the package.

use diesel::prelude::*;
use diesel::sql_types::Text;
use entrepot_kit::PackageState;

use super::packages::{STATE, StateValues, found};
use super::{Backend, Conn};
use crate::store::catalog::convert::{from_column, limit_column, prefix_end};
use crate::store::catalog::failure::QueryResult;
use crate::store::catalog::schema::{package_documents, packages, search_terms};
use crate::store::model::MAX_TERMS;

/// Longest term, in bytes.
const MAX_TERM: usize = 128;
/// Words of a question that count.
const MAX_WORDS: usize = 8;
/// Most results of one page.
const MOST: usize = 1000;

#[diesel::declare_sql_function]
extern "SQL" {
    /// The number of characters of a text.
    fn length(text: Text) -> Integer;
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TERM)).unwrap_or(text)
}

/// Terms as they are kept: bounded, and none that begins another, by which it is found already.
pub(super) fn kept_terms(terms: &[String]) -> Vec<&str> {
    let mut kept: Vec<&str> = Vec::new();
    // PostgreSQL takes no NUL in a text.
    for term in terms.iter().map(|term| cut(term)).filter(|term| !term.is_empty() && !term.contains('\0')) {
        if !kept.iter().any(|longer| longer.starts_with(term)) {
            kept.retain(|shorter| !term.starts_with(shorter));
            if kept.len() < MAX_TERMS {
                kept.push(term);
            }
        }
    }
    kept
}

/// Takes a package out of the index.
pub(super) fn remove_terms(connection: &mut Conn, package: i64) -> QueryResult<()> {
    diesel::delete(search_terms::table.filter(search_terms::package_id.eq(package))).execute(connection)?;
    Ok(())
}

/// Puts a package into the index under these terms only.
pub(super) fn replace_terms(connection: &mut Conn, repository: i64, package: i64, terms: &[&str]) -> QueryResult<()> {
    remove_terms(connection, package)?;
    insert_terms(connection, repository, package, terms)
}

/// Puts a package that is not there into the index.
pub(super) fn insert_terms(connection: &mut Conn, repository: i64, package: i64, terms: &[&str]) -> QueryResult<()> {
    for term in terms {
        diesel::insert_into(search_terms::table)
            .values((search_terms::repository_id.eq(repository), search_terms::term.eq(term), search_terms::package_id.eq(package)))
            .execute(connection)?;
    }
    Ok(())
}

/// Live packages of these repositories that have, for each word of `text`, a term that begins with it: a package of that very
/// name first, then shorter names before longer ones. Without words: all packages.
pub(crate) fn search(connection: &mut Conn, repositories: &[i64], text: &str, from: usize, size: usize) -> QueryResult<(Vec<(i64, PackageState)>, u64)> {
    // No term has a NUL.
    let text = text.replace('\0', "\u{fffd}").to_lowercase();
    let words: Vec<&str> = text.split_whitespace().take(MAX_WORDS).map(cut).collect();
    let matching = || {
        let query = packages::table.inner_join(package_documents::table).filter(package_documents::died.is_null()).into_boxed::<Backend>();
        if words.is_empty() {
            return query.filter(packages::repository_id.eq_any(repositories));
        }
        // Only by their terms, which know the repository: told of both, SQLite would walk through all packages.
        words.iter().fold(query, |query, word| {
            let having = search_terms::table
                .filter(search_terms::repository_id.eq_any(repositories))
                .filter(search_terms::term.ge(*word))
                .filter(search_terms::term.lt(prefix_end(word)))
                .select(search_terms::package_id);
            query.filter(packages::id.eq_any(having))
        })
    };
    let total: i64 = matching().count().get_result(connection)?;
    let rows: Vec<(i64, StateValues)> = matching()
        .order((packages::name.eq(text.trim()).desc(), length(packages::name), packages::name, packages::repository_id))
        .limit(limit_column(size, MOST))
        .offset(limit_column(from, usize::MAX))
        .select((packages::repository_id, STATE))
        .load(connection)?;
    let found = rows.into_iter().map(|(repository, values)| (repository, found(values).state)).collect();
    Ok((found, from_column(total)))
}
