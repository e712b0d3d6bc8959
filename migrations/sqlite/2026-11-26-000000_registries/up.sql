-- A principal's open uploads are counted when it begins one more: those that are done must not cost anything then.
DROP INDEX uploads_repository;
CREATE INDEX uploads_repository ON uploads (repository_id, principal, open);
-- A blob whose SHA-512 was computed is found by that too.
ALTER TABLE blobs ADD COLUMN sha512 BLOB;
CREATE INDEX blobs_sha512 ON blobs (sha512) WHERE sha512 IS NOT NULL;
