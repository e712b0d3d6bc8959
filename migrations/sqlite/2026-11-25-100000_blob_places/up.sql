-- gc and verify ask which of the stored files are named. A place is never used twice.
CREATE UNIQUE INDEX blobs_location ON blobs (location) WHERE location IS NOT NULL;
