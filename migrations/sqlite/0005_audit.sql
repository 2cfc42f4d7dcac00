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
    -- What was before and after: states; of a decision its outcome, of a rule set its hash, of a source its name, of a
    -- checkpoint the number and the hash of the last row that was removed.
    before      TEXT,
    after       TEXT,
    detail      TEXT NOT NULL,
    -- SHA-256 over the hash before it and this row; null until it is sealed.
    hash        TEXT
) STRICT;
-- What the sealer has yet to seal.
CREATE INDEX audit_unsealed ON audit (seq) WHERE hash IS NULL;
-- Whether the last that was said of the rules, a tenant or a source is still so; and where the chain begins.
CREATE INDEX audit_standing ON audit (what, tenant, seq)
WHERE what IN ('rules_loaded', 'rules_stale', 'tenant_sick', 'tenant_well', 'source_sick', 'source_well',
               'checkpoint');

-- Against accidents: whoever can write the file can drop these too, and is found by the chain.
CREATE TRIGGER audit_is_not_rewritten BEFORE UPDATE ON audit
WHEN OLD.hash IS NOT NULL OR NEW.hash IS NULL OR NEW.seq IS NOT OLD.seq OR NEW.at IS NOT OLD.at
    OR NEW.what IS NOT OLD.what OR NEW.by IS NOT OLD.by OR NEW.origin IS NOT OLD.origin
    OR NEW.tenant IS NOT OLD.tenant OR NEW.machine_id IS NOT OLD.machine_id OR NEW.action_id IS NOT OLD.action_id
    OR NEW.alert_id IS NOT OLD.alert_id OR NEW.rule_id IS NOT OLD.rule_id OR NEW.before IS NOT OLD.before
    OR NEW.after IS NOT OLD.after OR NEW.detail IS NOT OLD.detail
BEGIN
    SELECT RAISE(ABORT, 'a row of the audit is never changed, it is only sealed, once');
END;
CREATE TRIGGER audit_is_removed_below_a_checkpoint BEFORE DELETE ON audit
WHEN OLD.seq > COALESCE((
    SELECT CAST(before AS INTEGER) FROM audit WHERE what = 'checkpoint' AND tenant IS NULL
    AND what IN ('rules_loaded', 'rules_stale', 'tenant_sick', 'tenant_well', 'source_sick', 'source_well',
                 'checkpoint')
    ORDER BY seq DESC LIMIT 1), 0)
BEGIN
    SELECT RAISE(ABORT, 'a row of the audit is removed only below a checkpoint');
END;

INSERT INTO audit (at, what, by, detail)
SELECT at, CASE what WHEN 'pause' THEN 'paused' ELSE 'resumed' END, by, why FROM operations ORDER BY id;
