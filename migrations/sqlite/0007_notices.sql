-- Messages to people: how far each channel has read the audit, and what it has to tell. Columns named next_at, quiet_at
-- and owed_since are on the steady timeline.
CREATE TABLE notice_channels (
    channel  TEXT PRIMARY KEY,
    -- The audit is read up to here.
    seq      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row for each message that grows: all of one case, tenant and rule ('' where there is none) that happened close
-- together.
CREATE TABLE notices (
    id          TEXT PRIMARY KEY,
    channel     TEXT NOT NULL REFERENCES notice_channels (channel) ON DELETE CASCADE,
    what        TEXT NOT NULL,
    tenant      TEXT NOT NULL,
    rule_id     TEXT NOT NULL,
    first_at    INTEGER NOT NULL,
    last_at     INTEGER NOT NULL,
    count       INTEGER NOT NULL,
    -- How many of them no message has told of, and the first of these.
    fresh       INTEGER NOT NULL,
    items       TEXT NOT NULL,
    -- How many messages have told of it.
    told        INTEGER NOT NULL DEFAULT 0,
    -- How often the next one was sent in vain, and since when it is owed.
    tries       INTEGER NOT NULL DEFAULT 0,
    owed_since  INTEGER NOT NULL,
    -- No message before.
    next_at     INTEGER NOT NULL,
    -- With nothing new until then it is over, and what comes later is another.
    quiet_at    INTEGER NOT NULL,
    UNIQUE (channel, what, tenant, rule_id)
) STRICT;
