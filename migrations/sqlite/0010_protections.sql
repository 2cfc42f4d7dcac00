-- The protect rules that were last in force, one row for each tenant that they protect, so that a set which lost one
-- is noticed after a restart too. A row whose lost_at is set waits for an operator, or for the rule to come back.
CREATE TABLE protections (
    -- Ids of rules differ by more than case.
    rule_id  TEXT NOT NULL COLLATE NOCASE,
    tenant   TEXT NOT NULL,
    title    TEXT NOT NULL,
    -- Since when it has been lost, and how; both null while it is in force.
    lost_at  INTEGER,
    why      TEXT,
    PRIMARY KEY (rule_id, tenant),
    CHECK ((lost_at IS NULL) = (why IS NULL))
) STRICT, WITHOUT ROWID;
