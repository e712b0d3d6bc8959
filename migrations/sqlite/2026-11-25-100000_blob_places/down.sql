DROP INDEX blobs_location;
