-- Where a blob's bytes lie (NULL: inline, or a file named by the digest alone), since when gc may remove it, and since when its
-- bytes are known to be missing or wrong.
ALTER TABLE blobs ADD COLUMN location TEXT;
ALTER TABLE blobs ADD COLUMN condemned BIGINT;
ALTER TABLE blobs ADD COLUMN damaged BIGINT;
CREATE INDEX blobs_condemned ON blobs (condemned) WHERE condemned IS NOT NULL;
CREATE INDEX blobs_damaged ON blobs (damaged) WHERE damaged IS NOT NULL;

-- Work that one process at a time does.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- Sign-ins through a browser that a command-line client waits for, by the hash of what that client knows.
CREATE TABLE web_logins (
    poll_hash BLOB NOT NULL PRIMARY KEY,
    page TEXT NOT NULL,
    network TEXT NOT NULL,
    ends BIGINT NOT NULL,
    principal_id BIGINT REFERENCES principals (id) ON DELETE CASCADE,
    token_id TEXT
);
CREATE UNIQUE INDEX web_logins_page ON web_logins (page);
CREATE INDEX web_logins_ends ON web_logins (ends);
CREATE INDEX web_logins_network ON web_logins (network);
CREATE INDEX web_logins_principal ON web_logins (principal_id);
