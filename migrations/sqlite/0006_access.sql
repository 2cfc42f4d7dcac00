-- API tokens. Of a secret only its hash is kept.
CREATE TABLE tokens (
    id           TEXT PRIMARY KEY,
    name         TEXT NOT NULL,
    role         TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    -- SHA-256 of the secret, in hex.
    hash         TEXT NOT NULL UNIQUE,
    created_at   INTEGER NOT NULL,
    created_by   TEXT NOT NULL,
    expires_at   INTEGER NOT NULL,
    revoked_at   INTEGER,
    -- Written at most once an hour.
    last_used_at INTEGER,
    -- 1: it was revoked, or has expired and somebody took its name for another.
    retired      INTEGER NOT NULL DEFAULT 0 CHECK (retired IN (0, 1))
) STRICT;
-- One token of a name.
CREATE UNIQUE INDEX tokens_one_of_a_name ON tokens (name) WHERE retired = 0;

-- Who is signed in to the console. Of a cookie only its hash is kept.
CREATE TABLE sessions (
    hash       TEXT PRIMARY KEY,
    token_id   TEXT NOT NULL REFERENCES tokens (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
-- What ends with a token.
CREATE INDEX sessions_of_a_token ON sessions (token_id, created_at);
