DROP TABLE web_logins;
DROP TABLE leases;
DROP INDEX blobs_damaged;
DROP INDEX blobs_condemned;
ALTER TABLE blobs DROP COLUMN damaged;
ALTER TABLE blobs DROP COLUMN condemned;
ALTER TABLE blobs DROP COLUMN location;
