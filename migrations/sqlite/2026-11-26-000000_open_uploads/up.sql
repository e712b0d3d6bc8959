-- A principal's open uploads are counted when it begins one more: those that are done must not cost anything then.
DROP INDEX uploads_repository;
CREATE INDEX uploads_repository ON uploads (repository_id, principal, open);
