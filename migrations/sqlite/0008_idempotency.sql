-- Changes that callers asked for with a key of their own: one that is sent again is carried out once.
CREATE TABLE idempotency (
    -- The caller's name and role.
    caller       TEXT NOT NULL,
    key          TEXT NOT NULL,
    -- What was asked for: the method and the path with its query, and the SHA-256 of the body in hex.
    request      TEXT NOT NULL,
    body_hash    TEXT NOT NULL,
    at           INTEGER NOT NULL,
    -- The answer; without a status it is under way or broke off. The body is null where it is not to be kept.
    status       INTEGER,
    content_type TEXT,
    body         TEXT,
    PRIMARY KEY (caller, key)
) STRICT;
-- Which keys are old; which of a caller's are the oldest.
CREATE INDEX idempotency_by_age ON idempotency (at);
CREATE INDEX idempotency_of_caller ON idempotency (caller, at);
