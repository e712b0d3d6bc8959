DROP INDEX uploads_repository;
CREATE INDEX uploads_repository ON uploads (repository_id, principal);
DROP INDEX blobs_sha512;
ALTER TABLE blobs DROP COLUMN sha512;
