-- Uploads in several requests, where each may reach another replica. `step` counts the changes of a row: each is made on the
-- condition that nobody made another one meanwhile. What can be long is last.
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    principal TEXT NOT NULL,
    touched BIGINT NOT NULL,
    step BIGINT NOT NULL,
    size BIGINT NOT NULL,
    parts BIGINT NOT NULL,
    open BOOLEAN NOT NULL,
    location TEXT,
    hashes BLOB NOT NULL,
    state TEXT NOT NULL,
    tail BLOB NOT NULL
);
CREATE INDEX uploads_repository ON uploads (repository_id, principal);
CREATE INDEX uploads_touched ON uploads (touched);
CREATE INDEX uploads_location ON uploads (location) WHERE location IS NOT NULL;
