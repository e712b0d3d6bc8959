-- What began since a revision, of one package: by this an index document is amended.
CREATE INDEX versions_package_born ON versions (package_id, born);
