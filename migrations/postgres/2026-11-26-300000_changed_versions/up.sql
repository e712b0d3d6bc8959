-- What began since a revision, of one package: by this an index document is amended. Why it has the name, migrations/sqlite says.
CREATE INDEX versions_package_born ON versions (package_id, born, version);
