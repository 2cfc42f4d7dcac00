-- The audit: every change of state, decision and change by a person, in the order of their commits.
CREATE TABLE audit (
    seq         INTEGER PRIMARY KEY,
    at          INTEGER NOT NULL,
    what        TEXT NOT NULL,
    by          TEXT NOT NULL,
    -- Where a person's request came from: the socket, or an address.
    origin      TEXT,
    tenant      TEXT,
    machine_id  TEXT,
    action_id   TEXT,
    alert_id    TEXT,
    rule_id     TEXT,
    -- The state before and after; of a decision its outcome.
    before      TEXT,
    after       TEXT,
    detail      TEXT NOT NULL,
    -- SHA-256 over the hash before it and this row; null until it is sealed.
    hash        TEXT
) STRICT;
-- What the sealer has yet to seal.
CREATE INDEX audit_unsealed ON audit (seq) WHERE hash IS NULL;

INSERT INTO audit (at, what, by, detail)
SELECT at, CASE what WHEN 'pause' THEN 'paused' ELSE 'resumed' END, by, why FROM operations ORDER BY id;
