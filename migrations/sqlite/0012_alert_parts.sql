-- One version of an alert may come in several rows, each with other devices. What a later row brings is a part of it.

-- How many parts a version has; 0: the row in alerts is all of it.
ALTER TABLE alerts ADD COLUMN parts INTEGER NOT NULL DEFAULT 0;

-- The part that was decided on; 0: the row in alerts.
ALTER TABLE decisions ADD COLUMN part INTEGER NOT NULL DEFAULT 0;

CREATE TABLE alert_parts (
    alert_seq    INTEGER NOT NULL REFERENCES alerts (seq),
    part         INTEGER NOT NULL,
    source       TEXT NOT NULL,
    received_at  INTEGER NOT NULL,
    -- The devices that it added. All devices of the version stand in alerts.machine_ids too.
    machine_ids  TEXT NOT NULL,
    body         TEXT NOT NULL,
    PRIMARY KEY (alert_seq, part)
) STRICT;
