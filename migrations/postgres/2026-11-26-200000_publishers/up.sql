-- What identity tokens of an issuer are worth: the workload that they name, and a token of ours for one repository.
CREATE TABLE publishers (
    principal_id BIGINT NOT NULL PRIMARY KEY REFERENCES principals (id) ON DELETE CASCADE,
    issuer TEXT NOT NULL,
    settings TEXT NOT NULL,
    declared BOOLEAN NOT NULL
);
CREATE INDEX publishers_issuer ON publishers (issuer);

-- Identity tokens that were exchanged, until they end by themselves.
CREATE TABLE identity_tokens (
    hash BYTEA NOT NULL PRIMARY KEY,
    ends BIGINT NOT NULL
);
CREATE INDEX identity_tokens_ends ON identity_tokens (ends);

-- Of a token that was given for an identity token: what it may be used for, and what is known of its bearer.
ALTER TABLE tokens ADD COLUMN workload TEXT;
