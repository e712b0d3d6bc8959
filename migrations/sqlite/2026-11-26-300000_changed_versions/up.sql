-- What began since a revision, of one package: by this an index document is amended. Questions for what lives must not walk over all that
-- began: of two indexes that fit, SQLite takes the narrower, and of equal ones the younger. So this one has the name too, and the index of
-- what lives is made once more.
CREATE INDEX versions_package_born ON versions (package_id, born, version);
DROP INDEX versions_live;
CREATE UNIQUE INDEX versions_live ON versions (package_id, version) WHERE died IS NULL;
