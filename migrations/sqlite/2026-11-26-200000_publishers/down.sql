DELETE FROM tokens WHERE principal_id IN (SELECT principal_id FROM publishers);
ALTER TABLE tokens DROP COLUMN workload;
DROP TABLE identity_tokens;
DROP TABLE publishers;
