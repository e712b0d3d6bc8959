DROP INDEX uploads_repository;
CREATE INDEX uploads_repository ON uploads (repository_id, principal);
