//! Both migration sets give the same schema.

use std::collections::BTreeSet;

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};

use super::server::fresh_database;
use crate::store::catalog::{postgres, sqlite};

#[derive(QueryableByName, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Column {
    #[diesel(sql_type = Text)]
    relation: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Bool)]
    required: bool,
}

const SQLITE: &str = "SELECT t.name AS relation, c.name AS name, (c.\"notnull\" OR c.pk > 0) AS required
    FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE '\\_\\_%' ESCAPE '\\'
    UNION ALL SELECT 'index', name, TRUE FROM sqlite_master WHERE type = 'index' AND name NOT LIKE 'sqlite_%'";
const POSTGRES: &str = "SELECT table_name::text AS relation, column_name::text AS name, is_nullable = 'NO' AS required
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%'
    UNION ALL SELECT 'index', indexname::text, TRUE FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%\\_pkey' AND indexname NOT LIKE '%\\_key'";

#[test]
fn both_databases_have_the_same_schema() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let of_postgres: BTreeSet<Column> = {
        let _inside = runtime.enter();
        let url = fresh_database();
        drop(postgres::Database::open(&url).expect("opened"));
        let mut connection = postgres::Conn::establish(&url).expect("connected");
        diesel::sql_query(POSTGRES).load(&mut connection).expect("columns").into_iter().collect()
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("catalog.db");
    let mut connection = made_and_closed(&file);
    let of_sqlite: BTreeSet<Column> = diesel::sql_query(SQLITE).load(&mut connection).expect("columns").into_iter().collect();
    assert!(of_sqlite.len() > 50, "the schema is too small to be true: {of_sqlite:?}");
    let differences: Vec<_> = of_sqlite.symmetric_difference(&of_postgres).collect();
    assert!(differences.is_empty(), "{differences:#?}");
}

/// A plain connection to a new database. The one that made it closes on a thread of its own, and locks the file for a moment at its end.
fn made_and_closed(file: &std::path::Path) -> sqlite::Conn {
    drop(sqlite::Database::open(file).expect("opened"));
    let mut connection = sqlite::Conn::establish(&file.to_string_lossy()).expect("connected");
    connection.batch_execute("PRAGMA busy_timeout = 60000").expect("patient");
    connection
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

#[test]
fn queries_walk_over_little() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("catalog.db");
    let mut connection = made_and_closed(&file);
    let mut uses = |query: &str, index: &str| {
        let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {query}")).load(&mut connection).expect("a plan");
        assert!(steps.iter().any(|step| step.detail.contains(index)), "{query}: {:?}", steps.iter().map(|step| &step.detail).collect::<Vec<_>>());
    };
    let below = "repository_id = 1 AND path > 'a/' AND path < 'a0' AND died IS NULL";
    uses(&format!("SELECT * FROM entries INNER JOIN blobs ON digest = blob WHERE {below} ORDER BY path LIMIT 10"), "entries_live");
    uses(&format!("UPDATE entries SET died = 5 WHERE {below}"), "entries_live");
    uses("SELECT * FROM entries WHERE repository_id = 1 AND path = 'a' AND died IS NULL", "entries_live");
    uses("SELECT * FROM entries WHERE repository_id = 1 AND path = 'a' AND born <= 3 AND (died IS NULL OR died > 3)", "entries_path");
    // An index document is amended by what began and what ended; else versions are looked for where few are.
    let since = "package_id = 1 AND born > 3 AND born <= 5 AND (died IS NULL OR died > 5)";
    uses(&format!("SELECT * FROM versions LEFT JOIN fragments ON version_id = id AND kind = 'a' WHERE {since} LIMIT 10"), "versions_package_born");
    uses("SELECT version FROM versions WHERE package_id = 1 AND died > 3 AND died <= 5 LIMIT 10", "versions_died");
    uses("UPDATE versions SET died = 5 WHERE package_id = 1 AND died IS NULL", "versions_live");
    uses("SELECT * FROM versions WHERE package_id = 1 AND version = 'a' ORDER BY born DESC LIMIT 1", "versions_born");
    // gc and verify look at few blobs at a time, however many there are.
    uses("SELECT digest FROM blobs WHERE condemned <= 5 ORDER BY condemned LIMIT 10", "blobs_condemned");
    let unnamed = "NOT EXISTS (SELECT * FROM entries WHERE entries.blob = blobs.digest)";
    uses(&format!("SELECT digest, size FROM blobs WHERE digest > x'00' AND digest <= x'ff' AND {unnamed} ORDER BY digest"), "entries_blob");
    uses("SELECT location FROM blobs WHERE location IN ('a', 'b')", "blobs_location");
    let having = "SELECT package_id FROM search_terms WHERE repository_id IN (1, 2) AND term >= 'a' AND term < 'b'";
    uses(
        &format!("SELECT count(*) FROM packages p INNER JOIN package_documents d ON d.package_id = p.id WHERE d.died IS NULL AND p.id IN ({having})"),
        "p USING INTEGER PRIMARY KEY",
    );
}

#[test]
fn the_list_of_tables_is_the_schema() {
    use crate::store::catalog::tables::{ColumnKind, TABLES};

    #[derive(QueryableByName)]
    struct Told {
        #[diesel(sql_type = Text)]
        relation: String,
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = Text)]
        kind: String,
        #[diesel(sql_type = Bool)]
        required: bool,
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        key: i64,
    }

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("catalog.db");
    drop(sqlite::Database::open(&file).expect("opened"));
    let mut connection = sqlite::Conn::establish(&file.to_string_lossy()).expect("connected");
    let query = "SELECT t.name AS relation, c.name AS name, c.type AS kind, (c.\"notnull\" OR c.pk > 0) AS required, c.pk AS key
        FROM sqlite_master t JOIN pragma_table_info(t.name) c
        WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%' AND t.name NOT LIKE '\\_\\_%' ESCAPE '\\'";
    let told: Vec<Told> = diesel::sql_query(query).load(&mut connection).expect("columns");
    let kind = |told: &Told| match told.kind.as_str() {
        "BIGINT" => ColumnKind::Number,
        "INTEGER" if told.key > 0 => ColumnKind::Number,
        "INTEGER" => ColumnKind::Small,
        "BOOLEAN" => ColumnKind::Flag,
        "TEXT" => ColumnKind::Text,
        "BLOB" => ColumnKind::Bytes,
        other => panic!("{}.{} has the type {other}", told.relation, told.name),
    };
    let schema: BTreeSet<_> =
        told.iter().map(|told| (told.relation.as_str(), told.name.as_str(), format!("{:?}", kind(told)), !told.required, told.key)).collect();
    let listed: BTreeSet<_> = TABLES
        .iter()
        .flat_map(|table| {
            let key = |index: usize| if index < table.key { i64::try_from(index).expect("few columns") + 1 } else { 0 };
            table.columns.iter().enumerate().map(move |(index, column)| (table.name, column.name, format!("{:?}", column.kind), column.optional, key(index)))
        })
        .collect();
    let differences: Vec<_> = schema.symmetric_difference(&listed).collect();
    assert!(differences.is_empty(), "src/store/catalog/tables.rs is not the schema: a backup would lose this: {differences:#?}");
}
