-- What began since a revision, of one package: by this an index document is amended.
CREATE INDEX versions_package_born ON versions (package_id, born);
-- The index of what lives is made after that of all: of two that fit, SQLite takes the younger.
DROP INDEX versions_live;
CREATE UNIQUE INDEX versions_live ON versions (package_id, version) WHERE died IS NULL;
