//! The tables of the catalog as data, for what treats all of them alike: backup, restore, migration.
//!
//! In an order in which every row comes after those that it refers to. A test holds the list against the schema: a new table or
//! column that is not here would be lost by a backup.

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A number of 64 bits.
    Number,
    /// A number of 32 bits.
    Small,
    /// Yes or no.
    Flag,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
}

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether it may be empty. A column that is younger than an archive must be.
    pub optional: bool,
}

/// A table.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns; those of the primary key first.
    pub columns: &'static [Column],
    /// How many columns the primary key has.
    pub key: usize,
    /// Whether the database numbers its rows.
    pub numbered: bool,
    /// Whether its rows belong to processes that run at the moment, so that no copy of them is of use.
    pub passing: bool,
}

const fn column(name: &'static str, kind: ColumnKind) -> Column {
    Column { name, kind, optional: false }
}

const fn number(name: &'static str) -> Column {
    column(name, ColumnKind::Number)
}

const fn flag(name: &'static str) -> Column {
    column(name, ColumnKind::Flag)
}

const fn text(name: &'static str) -> Column {
    column(name, ColumnKind::Text)
}

const fn bytes(name: &'static str) -> Column {
    column(name, ColumnKind::Bytes)
}

const fn optional(column: Column) -> Column {
    Column { optional: true, ..column }
}

const fn table(name: &'static str, key: usize, columns: &'static [Column]) -> Table {
    Table { name, columns, key, numbered: false, passing: false }
}

const fn numbered(name: &'static str, columns: &'static [Column]) -> Table {
    Table { numbered: true, ..table(name, 1, columns) }
}

const fn passing(table: Table) -> Table {
    Table { passing: true, ..table }
}

/// Counters of the catalog as a whole.
pub const META: Table = table("meta", 1, &[text("name"), number("value")]);

/// What is known of blobs. `location` is a matter of one blob store and means nothing elsewhere.
pub const BLOBS: Table = table(
    "blobs",
    1,
    &[
        bytes("digest"),
        number("size"),
        text("digests"),
        optional(bytes("inline")),
        number("created"),
        optional(text("location")),
        optional(number("condemned")),
        optional(number("damaged")),
        optional(bytes("sha512")),
    ],
);

/// The signing keys, sealed by the master key.
pub const KEYS: Table = table("keys", 1, &[text("id"), text("purpose"), bytes("public"), bytes("sealed"), number("created"), optional(number("expires"))]);

/// Every table.
pub const TABLES: &[Table] = &[
    META,
    numbered("systems", &[number("id"), text("name"), text("tags"), flag("declared"), number("created"), optional(number("quota_bytes"))]),
    numbered(
        "repositories",
        &[
            number("id"),
            number("system_id"),
            text("name"),
            text("format"),
            text("kind"),
            text("tags"),
            text("settings"),
            flag("declared"),
            number("head"),
            number("head_time"),
            number("created"),
            optional(number("deleted")),
            optional(number("horizon")),
        ],
    ),
    numbered("principals", &[number("id"), text("kind"), text("name"), text("tags"), optional(text("password_hash")), flag("disabled"), number("created")]),
    table(
        "tokens",
        1,
        &[
            text("id"),
            number("principal_id"),
            text("name"),
            bytes("secret_hash"),
            text("repositories"),
            text("actions"),
            number("created"),
            optional(number("expires")),
            optional(number("revoked")),
            optional(text("workload")),
        ],
    ),
    table("publishers", 1, &[number("principal_id"), text("issuer"), text("settings"), flag("declared")]),
    table("identity_tokens", 1, &[bytes("hash"), number("ends")]),
    table("policies", 1, &[text("name"), text("text"), number("updated")]),
    KEYS,
    table("revisions", 2, &[number("repository_id"), number("number"), number("time"), text("principal"), text("action"), text("subject"), text("request_id")]),
    numbered("packages", &[number("id"), number("repository_id"), text("name"), number("created"), number("changed"), number("modified"), number("ordinals")]),
    numbered("package_documents", &[number("id"), number("package_id"), text("document"), text("terms"), number("born"), optional(number("died"))]),
    table("package_changes", 2, &[number("package_id"), number("revision"), number("time")]),
    numbered(
        "versions",
        &[
            number("id"),
            number("package_id"),
            text("version"),
            text("document"),
            number("published"),
            number("ordinal"),
            number("born"),
            optional(number("died")),
        ],
    ),
    table("fragments", 2, &[number("version_id"), text("kind"), bytes("bytes")]),
    BLOBS,
    numbered(
        "entries",
        &[
            number("id"),
            number("repository_id"),
            text("path"),
            optional(text("package")),
            optional(text("version")),
            bytes("blob"),
            optional(text("content_type")),
            text("data"),
            number("created"),
            number("born"),
            optional(number("died")),
        ],
    ),
    table("search_terms", 3, &[number("repository_id"), text("term"), number("package_id")]),
    table(
        "upstream_state",
        2,
        &[
            number("repository_id"),
            text("key"),
            text("url"),
            optional(text("etag")),
            optional(text("last_modified")),
            number("checked"),
            column("status", ColumnKind::Small),
        ],
    ),
    table("pulls", 2, &[number("repository_id"), text("path"), number("last"), number("downloads")]),
    numbered(
        "audit",
        &[
            number("id"),
            number("time"),
            text("principal"),
            text("action"),
            text("resource"),
            text("outcome"),
            text("detail"),
            text("request_id"),
            text("remote"),
        ],
    ),
    passing(table("leases", 1, &[text("name"), text("holder"), number("until")])),
    passing(table(
        "web_logins",
        1,
        &[bytes("poll_hash"), text("page"), text("network"), number("ends"), optional(number("principal_id")), optional(text("token_id"))],
    )),
    // What has arrived of an upload lies in one blob store and nowhere else: its client begins again.
    passing(table(
        "uploads",
        1,
        &[
            text("id"),
            number("repository_id"),
            text("principal"),
            number("touched"),
            number("step"),
            number("size"),
            number("parts"),
            flag("open"),
            optional(text("location")),
            bytes("hashes"),
            text("state"),
            bytes("tail"),
        ],
    )),
];

/// The tables whose rows are worth a copy.
pub fn lasting() -> impl DoubleEndedIterator<Item = &'static Table> {
    TABLES.iter().filter(|table| !table.passing)
}

impl Table {
    /// The columns of the primary key.
    pub(super) fn key_columns(&self) -> &'static [Column] {
        self.columns.get(..self.key).unwrap_or_default()
    }

    /// Where a column stands.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}
