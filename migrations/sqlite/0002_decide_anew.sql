-- An alert may be decided anew for a device: what it joined came to nothing, or the device was merged into another.
-- The decision that no longer holds stays, and says why.

-- When a device of the alert was last put back to be decided anew: a wait for its record begins there.
ALTER TABLE alerts ADD COLUMN again_at INTEGER;

-- 1: this rule did not let the action go, so it alone does not keep it wanted.
ALTER TABLE action_alerts ADD COLUMN held INTEGER NOT NULL DEFAULT 0;

CREATE TABLE decisions_0002 (
    id              INTEGER PRIMARY KEY,
    alert_seq       INTEGER NOT NULL REFERENCES alerts (seq),
    tenant          TEXT NOT NULL,
    alert_id        TEXT NOT NULL,
    machine_id      TEXT NOT NULL,
    rule_id         TEXT NOT NULL,
    rule_hash       TEXT NOT NULL,
    outcome         TEXT NOT NULL
        CHECK (outcome IN ('acted', 'coalesced', 'shadowed', 'held', 'protected', 'suppressed')),
    reason          TEXT NOT NULL,
    matched         TEXT NOT NULL,
    action_id       TEXT,
    at              INTEGER NOT NULL,
    -- The pending machine action of somebody else's that it joined.
    joined          TEXT,
    -- Since when it no longer holds, and why; 0: it holds.
    superseded_at   INTEGER NOT NULL DEFAULT 0,
    superseded_why  TEXT,
    -- A rule decides once for each version and device, until that is decided anew.
    UNIQUE (alert_seq, machine_id, rule_id, superseded_at)
) STRICT;
INSERT INTO decisions_0002 (id, alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched,
                            action_id, at)
    SELECT id, alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched, action_id, at
    FROM decisions ORDER BY id;
DROP TABLE decisions;
ALTER TABLE decisions_0002 RENAME TO decisions;
CREATE INDEX decisions_by_alert ON decisions (tenant, alert_id);
-- Who joined a machine action that has just ended without effect.
CREATE INDEX decisions_joined ON decisions (tenant, joined) WHERE joined IS NOT NULL;
