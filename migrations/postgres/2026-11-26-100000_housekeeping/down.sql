DROP INDEX package_documents_died;
DROP INDEX versions_died;
DROP INDEX entries_died;
DROP INDEX entries_held;
ALTER TABLE repositories DROP COLUMN horizon;
ALTER TABLE systems DROP COLUMN quota_bytes;
DELETE FROM meta WHERE name = 'pulls_since';
DROP TABLE pulls;
