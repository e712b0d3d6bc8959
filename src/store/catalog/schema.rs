//! The tables, as diesel sees them. `migrations/sqlite` and `migrations/postgres` create them; a test compares all three.
//!
//! - Numbers and times are BIGINT (times in milliseconds since 1970), JSON is TEXT, digests are raw bytes.
//! - `born` and `died` are revisions of the repository. What lives at revision r: `born <= r AND (died IS NULL OR died > r)`.
//!   A row that is born and replaced in one revision is not kept.
//! - `packages` is the identity of a name, made once and never deleted: the states of a package are `package_documents`, and
//!   `package_changes` has a row for each revision that touched it, its versions or its entries.
//! - Each state of a version is a row of `versions`; `ordinal` counts a package's versions in the order of first publication.
//! - `blobs.location` names the bytes in the blob store and is never used again for others; it is empty for inline bytes and for
//!   files of the first version, which are named by their digest. `condemned`: no entry led there at that time, gc may remove it
//!   after its grace. `damaged`: the bytes are known to be missing or wrong; whoever brings the same bytes again mends it.
//! - `repositories.horizon` is the oldest revision whose view is whole: what died up to it may be gone. A version that died keeps its row, without
//!   its document, where its name must stay taken.
//! - `entries.package` is a name, not a reference: in a proxy files belong to packages that have no row.

diesel::table! {
    meta (name) { name -> Text, value -> BigInt, }
}
diesel::table! {
    systems (id) { id -> BigInt, name -> Text, tags -> Text, declared -> Bool, created -> BigInt, quota_bytes -> Nullable<BigInt>, }
}
diesel::table! {
    repositories (id) {
        id -> BigInt, system_id -> BigInt, name -> Text, format -> Text, kind -> Text, tags -> Text, settings -> Text, declared -> Bool,
        head -> BigInt, head_time -> BigInt, created -> BigInt, deleted -> Nullable<BigInt>, horizon -> Nullable<BigInt>,
    }
}
diesel::table! {
    revisions (repository_id, number) {
        repository_id -> BigInt, number -> BigInt, time -> BigInt, principal -> Text, action -> Text, subject -> Text, request_id -> Text,
    }
}
diesel::table! {
    packages (id) { id -> BigInt, repository_id -> BigInt, name -> Text, created -> BigInt, changed -> BigInt, modified -> BigInt, ordinals -> BigInt, }
}
diesel::table! {
    package_documents (id) { id -> BigInt, package_id -> BigInt, document -> Text, terms -> Text, born -> BigInt, died -> Nullable<BigInt>, }
}
diesel::table! {
    package_changes (package_id, revision) { package_id -> BigInt, revision -> BigInt, time -> BigInt, }
}
diesel::table! {
    versions (id) {
        id -> BigInt, package_id -> BigInt, version -> Text, document -> Text, published -> BigInt, ordinal -> BigInt, born -> BigInt,
        died -> Nullable<BigInt>,
    }
}
diesel::table! {
    fragments (version_id, kind) { version_id -> BigInt, kind -> Text, bytes -> Binary, }
}
diesel::table! {
    blobs (digest) {
        digest -> Binary, size -> BigInt, digests -> Text, inline -> Nullable<Binary>, created -> BigInt, location -> Nullable<Text>,
        condemned -> Nullable<BigInt>, damaged -> Nullable<BigInt>, sha512 -> Nullable<Binary>,
    }
}
diesel::table! {
    entries (id) {
        id -> BigInt, repository_id -> BigInt, path -> Text, package -> Nullable<Text>, version -> Nullable<Text>, blob -> Binary,
        content_type -> Nullable<Text>, data -> Text, created -> BigInt, born -> BigInt, died -> Nullable<BigInt>,
    }
}
diesel::table! {
    search_terms (repository_id, term, package_id) { repository_id -> BigInt, term -> Text, package_id -> BigInt, }
}
diesel::table! {
    upstream_state (repository_id, key) {
        repository_id -> BigInt, key -> Text, url -> Text, etag -> Nullable<Text>, last_modified -> Nullable<Text>, checked -> BigInt,
        status -> Integer,
    }
}
diesel::table! {
    principals (id) {
        id -> BigInt, kind -> Text, name -> Text, tags -> Text, password_hash -> Nullable<Text>, disabled -> Bool, created -> BigInt,
    }
}
diesel::table! {
    tokens (id) {
        id -> Text, principal_id -> BigInt, name -> Text, secret_hash -> Binary, repositories -> Text, actions -> Text, created -> BigInt,
        expires -> Nullable<BigInt>, revoked -> Nullable<BigInt>, workload -> Nullable<Text>,
    }
}
diesel::table! {
    publishers (principal_id) { principal_id -> BigInt, issuer -> Text, settings -> Text, declared -> Bool, }
}
diesel::table! {
    identity_tokens (hash) { hash -> Binary, ends -> BigInt, }
}
diesel::table! {
    policies (name) { name -> Text, text -> Text, updated -> BigInt, }
}
diesel::table! {
    audit (id) {
        id -> BigInt, time -> BigInt, principal -> Text, action -> Text, resource -> Text, outcome -> Text, detail -> Text, request_id -> Text,
        remote -> Text,
    }
}
diesel::table! {
    keys (id) { id -> Text, purpose -> Text, public -> Binary, sealed -> Binary, created -> BigInt, expires -> Nullable<BigInt>, }
}
diesel::table! {
    pulls (repository_id, path) { repository_id -> BigInt, path -> Text, last -> BigInt, downloads -> BigInt, }
}
diesel::table! {
    leases (name) { name -> Text, holder -> Text, until -> BigInt, }
}
diesel::table! {
    web_logins (poll_hash) {
        poll_hash -> Binary, page -> Text, network -> Text, ends -> BigInt, principal_id -> Nullable<BigInt>, token_id -> Nullable<Text>,
    }
}
diesel::table! {
    uploads (id) {
        id -> Text, repository_id -> BigInt, principal -> Text, touched -> BigInt, step -> BigInt, size -> BigInt, parts -> BigInt, open -> Bool,
        location -> Nullable<Text>, hashes -> Binary, state -> Text, tail -> Binary,
    }
}

diesel::joinable!(repositories -> systems (system_id));
diesel::joinable!(package_documents -> packages (package_id));
diesel::joinable!(versions -> packages (package_id));
diesel::joinable!(fragments -> versions (version_id));
diesel::joinable!(entries -> blobs (blob));
diesel::joinable!(publishers -> principals (principal_id));
diesel::allow_tables_to_appear_in_same_query!(principals, publishers);
diesel::allow_tables_to_appear_in_same_query!(
    meta,
    systems,
    repositories,
    revisions,
    packages,
    package_documents,
    package_changes,
    versions,
    fragments,
    blobs,
    entries,
    search_terms,
    upstream_state,
    pulls,
);
