-- Times are milliseconds since 1970 UTC, but columns named *_ticks: units of 100 ns, as alerts carry them.

-- The inbox: one row for each version of each alert.
CREATE TABLE alerts (
    seq                INTEGER PRIMARY KEY,
    tenant             TEXT NOT NULL,
    alert_id           TEXT NOT NULL,
    last_update_ticks  INTEGER NOT NULL,
    source             TEXT NOT NULL,
    received_at        INTEGER NOT NULL,
    body               TEXT NOT NULL,
    -- Of a version that carries no time of its own, or none that can be read: what makes it the same again.
    undated_hash       TEXT,
    malformed          TEXT,
    machine_ids        TEXT NOT NULL,
    -- The machine ids that are not decided yet.
    pending            TEXT NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('received', 'waiting', 'decided')),
    due_at             INTEGER NOT NULL,
    tries              INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant, alert_id, last_update_ticks)
) STRICT;
CREATE UNIQUE INDEX alerts_undated ON alerts (tenant, alert_id, undated_hash) WHERE undated_hash IS NOT NULL;
CREATE INDEX alerts_undecided ON alerts (due_at, seq) WHERE state <> 'decided';

CREATE TABLE decisions (
    id          INTEGER PRIMARY KEY,
    alert_seq   INTEGER NOT NULL REFERENCES alerts (seq),
    tenant      TEXT NOT NULL,
    alert_id    TEXT NOT NULL,
    machine_id  TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    rule_hash   TEXT NOT NULL,
    outcome     TEXT NOT NULL
        CHECK (outcome IN ('acted', 'coalesced', 'shadowed', 'held', 'protected', 'suppressed')),
    reason      TEXT NOT NULL,
    matched     TEXT NOT NULL,
    action_id   TEXT,
    at          INTEGER NOT NULL,
    UNIQUE (alert_seq, machine_id, rule_id)
) STRICT;
CREATE INDEX decisions_by_alert ON decisions (tenant, alert_id);

CREATE TABLE actions (
    id                 TEXT PRIMARY KEY,
    tenant             TEXT NOT NULL,
    machine_id         TEXT NOT NULL,
    kind               TEXT NOT NULL CHECK (kind IN ('restrict', 'release')),
    family             TEXT NOT NULL CHECK (family IN ('code_execution')),
    state              TEXT NOT NULL CHECK (state IN ('held', 'queued', 'sending', 'uncertain', 'submitted',
                           'succeeded', 'failed', 'timed_out', 'cancelled', 'rejected', 'expired')),
    level              INTEGER NOT NULL,
    -- The place in the queue: greater goes first.
    rank               INTEGER NOT NULL,
    -- Asked for by a human: may use the reserve.
    by_operator        INTEGER NOT NULL,
    -- Asked for or approved by a human: the gate's checks of rule, mode and alert do not apply.
    by_human           INTEGER NOT NULL,
    asked_by           TEXT,
    rule_id            TEXT,
    rule_hash          TEXT,
    -- The rule set under which a rule last wanted it.
    rules_hash         TEXT,
    comment            TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    -- The decision, request or approval: a human override that is newer holds it.
    decided_at         INTEGER NOT NULL,
    queued_at          INTEGER,
    due_at             INTEGER NOT NULL,
    sent_at            INTEGER,
    finished_at        INTEGER,
    -- Milliseconds; null: until a human releases it.
    expires_after      INTEGER,
    expires_at         INTEGER,
    attempts           INTEGER NOT NULL DEFAULT 0,
    -- What the next wait grows with.
    backoff            INTEGER NOT NULL DEFAULT 0,
    hold_reason        TEXT,
    held_at            INTEGER,
    -- When the alert that created it was received.
    alert_received_at  INTEGER,
    claimed_by         TEXT,
    -- Of an uncertain action: since when a look may speak of it, how many have, whether another machine
    -- action was said to be active, and whether it is still wanted.
    uncertain_at       INTEGER,
    answered_at        INTEGER,
    looks              INTEGER NOT NULL DEFAULT 0,
    busy               INTEGER NOT NULL DEFAULT 0,
    wanted             INTEGER NOT NULL DEFAULT 1,
    -- By Microsoft's clock, a time before which its machine action can not have been created.
    look_from_ticks    INTEGER,
    machine_action_id  TEXT,
    -- The machine action is not ours: its comment says so.
    adopted            INTEGER NOT NULL DEFAULT 0,
    cancel_asked_by    TEXT,
    cancel_why         TEXT,
    cancel_due_at      INTEGER,
    cancel_sent_at     INTEGER,
    error_code         TEXT,
    error_message      TEXT,
    retry_of           TEXT,
    -- The restrict that a release undoes.
    undoes             TEXT,
    by_expiry          INTEGER NOT NULL DEFAULT 0,
    -- Of a restrict that may have had effect: when that ended, and when a release ended well after it.
    ended_at           INTEGER,
    released_at        INTEGER
) STRICT;
CREATE UNIQUE INDEX actions_one_open ON actions (tenant, machine_id, kind)
    WHERE state IN ('held', 'queued', 'sending', 'uncertain', 'submitted');
CREATE UNIQUE INDEX actions_one_on_the_wire ON actions (tenant, machine_id, family)
    WHERE state IN ('sending', 'uncertain', 'submitted');
CREATE INDEX actions_queue ON actions (tenant, kind, rank DESC, created_at, id) WHERE state = 'queued';
-- A query uses a partial index only if it repeats the index's own condition word for word.
CREATE INDEX actions_open ON actions (tenant, state)
    WHERE state IN ('held', 'queued', 'sending', 'uncertain', 'submitted');
CREATE INDEX actions_by_machine_action ON actions (tenant, machine_action_id) WHERE machine_action_id IS NOT NULL;
CREATE INDEX actions_by_device ON actions (tenant, machine_id, created_at);
CREATE INDEX actions_counted ON actions (tenant, queued_at) WHERE kind = 'restrict' AND queued_at IS NOT NULL;
CREATE INDEX actions_expiring ON actions (expires_at) WHERE expires_at IS NOT NULL AND released_at IS NULL;
CREATE INDEX actions_undoing ON actions (undoes) WHERE undoes IS NOT NULL;
CREATE INDEX actions_by_age ON actions (created_at, id);

-- Who asked for an action: each alert and rule once.
CREATE TABLE action_alerts (
    action_id  TEXT NOT NULL REFERENCES actions (id),
    alert_id   TEXT NOT NULL,
    rule_id    TEXT NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (action_id, alert_id, rule_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE action_history (
    id         INTEGER PRIMARY KEY,
    action_id  TEXT NOT NULL REFERENCES actions (id),
    at         INTEGER NOT NULL,
    from_state TEXT,
    to_state   TEXT NOT NULL,
    by         TEXT NOT NULL,
    detail     TEXT NOT NULL
) STRICT;
CREATE INDEX action_history_by_action ON action_history (action_id, id);

-- Microsoft's machine-action list, as far as it is about our families.
CREATE TABLE machine_actions (
    tenant             TEXT NOT NULL,
    id                 TEXT NOT NULL,
    machine_id         TEXT NOT NULL,
    kind               TEXT NOT NULL,
    status             TEXT NOT NULL,
    is_final           INTEGER NOT NULL,
    created_ticks      INTEGER NOT NULL,
    last_update_ticks  INTEGER NOT NULL,
    -- Our action whose tag it carries.
    action_id          TEXT,
    look_at            INTEGER NOT NULL,
    -- It was pending for longer than machine actions are followed, and counts for nothing.
    abandoned          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX machine_actions_open ON machine_actions (tenant, look_at) WHERE is_final = 0;
CREATE INDEX machine_actions_pending ON machine_actions (tenant, machine_id, kind, created_ticks) WHERE is_final = 0;
CREATE INDEX machine_actions_by_device ON machine_actions (tenant, machine_id);
CREATE INDEX machine_actions_by_action ON machine_actions (action_id) WHERE action_id IS NOT NULL;

-- What is known of each device: its record, and what was done to it.
CREATE TABLE devices (
    tenant           TEXT NOT NULL,
    machine_id       TEXT NOT NULL,
    record           TEXT,
    fetched_at       INTEGER,
    name             TEXT,
    merged_into      TEXT,
    restricted       INTEGER NOT NULL DEFAULT 0,
    restricted_since INTEGER,
    -- The action of ours that restricted it; null: a human.
    restricted_by    TEXT,
    override_at      INTEGER,
    override_reason  TEXT,
    expired_at       INTEGER,
    -- When a release, by anyone, last ended well.
    released_at      INTEGER,
    PRIMARY KEY (tenant, machine_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_restricted ON devices (tenant, machine_id) WHERE restricted = 1;

-- Machines to be asked for by themselves.
CREATE TABLE machine_requests (
    tenant      TEXT NOT NULL,
    machine_id  TEXT NOT NULL,
    due_at      INTEGER NOT NULL,
    tries       INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, machine_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX machine_requests_due ON machine_requests (tenant, due_at);

CREATE TABLE tenants (
    tenant               TEXT PRIMARY KEY,
    inventory_at         INTEGER,
    fleet                INTEGER,
    -- By Microsoft's clock: the machine-action list was read completely up to here.
    covered_until_ticks  INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE sources (
    tenant           TEXT NOT NULL,
    source           TEXT NOT NULL,
    floor_ticks      INTEGER NOT NULL,
    watermark_ticks  INTEGER NOT NULL,
    polled_at        INTEGER,
    PRIMARY KEY (tenant, source)
) STRICT, WITHOUT ROWID;

-- One row for each API call that still counts in a window.
CREATE TABLE calls (
    id         INTEGER PRIMARY KEY,
    tenant     TEXT NOT NULL,
    lane       TEXT NOT NULL,
    -- When the call begins to give its slot back: its answer, or when it was sent plus the time-out.
    held_from  INTEGER NOT NULL
) STRICT;
CREATE INDEX calls_by_lane ON calls (tenant, lane, held_from);

-- What keeps a lane from sending.
CREATE TABLE lanes (
    tenant        TEXT NOT NULL,
    lane          TEXT NOT NULL,
    paused_until  INTEGER,
    reason        TEXT,
    -- How many pauses in a row: what the next one grows with.
    pauses        INTEGER NOT NULL DEFAULT 0,
    -- While one call probes a lane that was paused: until when it may take.
    probe_until   INTEGER,
    -- Troubles of one sort in a row, and the devices that they were about.
    trouble       TEXT,
    troubles      INTEGER NOT NULL DEFAULT 0,
    trouble_device TEXT,
    PRIMARY KEY (tenant, lane)
) STRICT, WITHOUT ROWID;

CREATE TABLE brake (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    since  INTEGER NOT NULL,
    by     TEXT NOT NULL,
    why    TEXT NOT NULL
) STRICT;

-- What operators changed that is no action.
CREATE TABLE operations (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    by    TEXT NOT NULL,
    what  TEXT NOT NULL,
    why   TEXT NOT NULL
) STRICT;

-- Every device that is known of, with what is known of its restriction: by our open actions first, then by
-- Microsoft's list, what others have pending there included.
CREATE VIEW device_states AS
WITH known AS (
    SELECT tenant, machine_id FROM devices
    UNION SELECT tenant, machine_id FROM actions
    UNION SELECT tenant, machine_id FROM machine_actions
), facts AS (
    SELECT k.tenant, k.machine_id, d.name, d.record ->> '$.osPlatform' AS os_platform,
           COALESCE(d.restricted, 0) AS restricted, d.restricted_since, d.restricted_by, d.released_at,
           (SELECT id FROM actions a WHERE a.tenant = k.tenant AND a.machine_id = k.machine_id AND a.kind = 'restrict'
            AND a.state <> 'held' AND a.state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')) AS open_restrict,
           (SELECT id FROM actions a WHERE a.tenant = k.tenant AND a.machine_id = k.machine_id AND a.kind = 'release'
            AND a.state IN ('held', 'queued', 'sending', 'uncertain', 'submitted')) AS open_release,
           (SELECT m.created_ticks / 10000 FROM machine_actions m WHERE m.tenant = k.tenant
            AND m.machine_id = k.machine_id AND m.kind = 'restrict' AND m.is_final = 0 AND m.abandoned = 0
            ORDER BY m.created_ticks DESC LIMIT 1) AS pending_since,
           (SELECT m.created_ticks / 10000 FROM machine_actions m WHERE m.tenant = k.tenant
            AND m.machine_id = k.machine_id AND m.kind = 'release' AND m.is_final = 0 AND m.abandoned = 0
            ORDER BY m.created_ticks DESC LIMIT 1) AS releasing_since
    FROM known k LEFT JOIN devices d ON d.tenant = k.tenant AND d.machine_id = k.machine_id
)
SELECT f.tenant, f.machine_id, f.name, f.os_platform,
       CASE WHEN f.open_release IS NOT NULL OR f.releasing_since IS NOT NULL THEN 'releasing'
            WHEN f.restricted THEN 'restricted'
            WHEN f.open_restrict IS NOT NULL OR f.pending_since IS NOT NULL THEN 'pending'
            ELSE 'none' END AS restriction,
       CASE WHEN f.open_release IS NOT NULL THEN (SELECT created_at FROM actions WHERE id = f.open_release)
            WHEN f.releasing_since IS NOT NULL THEN f.releasing_since
            WHEN f.restricted THEN f.restricted_since
            WHEN f.open_restrict IS NOT NULL THEN (SELECT created_at FROM actions WHERE id = f.open_restrict)
            WHEN f.pending_since IS NOT NULL THEN f.pending_since
            ELSE f.released_at END AS since,
       CASE WHEN f.restricted THEN (SELECT expires_at FROM actions WHERE id = f.restricted_by)
            ELSE (SELECT expires_at FROM actions WHERE id = f.open_restrict) END AS expires_at,
       CASE WHEN f.restricted THEN f.restricted_by IS NOT NULL
            WHEN f.open_restrict IS NOT NULL
                THEN NOT (SELECT adopted FROM actions WHERE id = f.open_restrict)
            WHEN f.pending_since IS NOT NULL THEN 0 END AS by_us,
       CASE WHEN f.open_release IS NOT NULL THEN f.open_release
            WHEN f.restricted THEN f.restricted_by
            ELSE f.open_restrict END AS action_id
FROM facts f;
