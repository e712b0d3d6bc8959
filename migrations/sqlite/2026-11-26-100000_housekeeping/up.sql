-- When files were asked for last, and how often they were downloaded: written behind, in batches.
CREATE TABLE pulls (
    repository_id BIGINT NOT NULL REFERENCES repositories (id),
    path TEXT NOT NULL,
    last BIGINT NOT NULL,
    downloads BIGINT NOT NULL,
    PRIMARY KEY (repository_id, path)
) WITHOUT ROWID;
-- Since when that is known: what was not asked for since then may have been before.
INSERT INTO meta (name, value) VALUES ('pulls_since', CAST(strftime('%s', 'now') AS BIGINT) * 1000);

-- Most bytes that the hosted repositories of a system have together.
ALTER TABLE systems ADD COLUMN quota_bytes BIGINT;
-- The oldest revision whose view is whole; what died up to it may be forgotten.
ALTER TABLE repositories ADD COLUMN horizon BIGINT;

-- What a repository has at the moment is added up along this, each blob once.
CREATE INDEX entries_held ON entries (repository_id, blob) WHERE died IS NULL;
-- What is forgotten is found by this.
CREATE INDEX entries_died ON entries (repository_id, died) WHERE died IS NOT NULL;
CREATE INDEX versions_died ON versions (package_id, died) WHERE died IS NOT NULL;
CREATE INDEX package_documents_died ON package_documents (package_id, died) WHERE died IS NOT NULL;
