-- The same schema as in migrations/postgres; src/store/catalog/schema.rs explains it. What can be long is the
-- last column of its table: SQLite reads through it to reach what stands behind.
CREATE TABLE meta (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
-- Bumped by every change to systems, repositories, principals, tokens and policies.
INSERT INTO meta (name, value) VALUES ('epoch', 1);

CREATE TABLE systems (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    declared BOOLEAN NOT NULL,
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX systems_name ON systems (name);

CREATE TABLE repositories (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    system_id BIGINT NOT NULL REFERENCES systems (id),
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    kind TEXT NOT NULL,
    tags TEXT NOT NULL,
    settings TEXT NOT NULL,
    declared BOOLEAN NOT NULL,
    head BIGINT NOT NULL,
    head_time BIGINT NOT NULL,
    created BIGINT NOT NULL,
    deleted BIGINT
);
CREATE UNIQUE INDEX repositories_name ON repositories (system_id, name) WHERE deleted IS NULL;
CREATE INDEX repositories_deleted ON repositories (deleted) WHERE deleted IS NOT NULL;

CREATE TABLE revisions (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    number BIGINT NOT NULL,
    time BIGINT NOT NULL,
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    request_id TEXT NOT NULL,
    PRIMARY KEY (repository_id, number)
);
CREATE UNIQUE INDEX revisions_time ON revisions (repository_id, time);

CREATE TABLE packages (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    name TEXT NOT NULL,
    created BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    ordinals BIGINT NOT NULL
);
CREATE UNIQUE INDEX packages_name ON packages (repository_id, name);

CREATE TABLE package_documents (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    package_id BIGINT NOT NULL REFERENCES packages (id),
    born BIGINT NOT NULL,
    died BIGINT,
    terms TEXT NOT NULL,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX package_documents_born ON package_documents (package_id, born);
CREATE UNIQUE INDEX package_documents_live ON package_documents (package_id) WHERE died IS NULL;

CREATE TABLE package_changes (
    package_id BIGINT NOT NULL REFERENCES packages (id),
    revision BIGINT NOT NULL,
    time BIGINT NOT NULL,
    PRIMARY KEY (package_id, revision)
) WITHOUT ROWID;

CREATE TABLE versions (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    package_id BIGINT NOT NULL REFERENCES packages (id),
    version TEXT NOT NULL,
    published BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    born BIGINT NOT NULL,
    died BIGINT,
    document TEXT NOT NULL
);
CREATE UNIQUE INDEX versions_born ON versions (package_id, version, born);
CREATE UNIQUE INDEX versions_live ON versions (package_id, version) WHERE died IS NULL;

CREATE TABLE fragments (
    version_id BIGINT NOT NULL REFERENCES versions (id),
    kind TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (version_id, kind)
);

CREATE TABLE blobs (
    digest BLOB NOT NULL PRIMARY KEY,
    size BIGINT NOT NULL,
    digests TEXT NOT NULL,
    created BIGINT NOT NULL,
    inline BLOB
);

CREATE TABLE entries (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    path TEXT NOT NULL,
    package TEXT,
    version TEXT,
    blob BLOB NOT NULL REFERENCES blobs (digest),
    content_type TEXT,
    created BIGINT NOT NULL,
    born BIGINT NOT NULL,
    died BIGINT,
    data TEXT NOT NULL
);
CREATE UNIQUE INDEX entries_path ON entries (repository_id, path, born);
-- The index of what lives is made after that of all: of two that fit, SQLite takes the younger.
CREATE UNIQUE INDEX entries_live ON entries (repository_id, path) WHERE died IS NULL;
CREATE INDEX entries_package ON entries (repository_id, package, version) WHERE package IS NOT NULL;
CREATE INDEX entries_blob ON entries (blob);

CREATE TABLE search_terms (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    term TEXT NOT NULL,
    package_id BIGINT NOT NULL REFERENCES packages (id),
    PRIMARY KEY (repository_id, term, package_id)
) WITHOUT ROWID;
CREATE INDEX search_terms_package ON search_terms (package_id);

CREATE TABLE upstream_state (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    key TEXT NOT NULL,
    url TEXT NOT NULL,
    etag TEXT,
    last_modified TEXT,
    checked BIGINT NOT NULL,
    status INTEGER NOT NULL,
    PRIMARY KEY (repository_id, key)
) WITHOUT ROWID;

CREATE TABLE principals (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    tags TEXT NOT NULL,
    password_hash TEXT,
    disabled BOOLEAN NOT NULL,
    created BIGINT NOT NULL
);
CREATE UNIQUE INDEX principals_name ON principals (kind, name);

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    principal_id BIGINT NOT NULL REFERENCES principals (id),
    name TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    repositories TEXT NOT NULL,
    actions TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT,
    revoked BIGINT
);
CREATE INDEX tokens_principal ON tokens (principal_id);

CREATE TABLE policies (
    name TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL,
    updated BIGINT NOT NULL
);

CREATE TABLE audit (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    time BIGINT NOT NULL,
    principal TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    request_id TEXT NOT NULL,
    remote TEXT NOT NULL
);
CREATE INDEX audit_principal ON audit (principal, id);
CREATE INDEX audit_resource ON audit (resource, id);

CREATE TABLE keys (
    id TEXT NOT NULL PRIMARY KEY,
    purpose TEXT NOT NULL,
    public BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT
);
CREATE INDEX keys_purpose ON keys (purpose, created);
