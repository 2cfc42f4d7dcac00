-- An alert that Microsoft names by two ids, one of MDE and one of Graph, is one alert. It is stored under the id that
-- came first; the other is its alias. An alert has at most one.
CREATE TABLE alert_aliases (
    tenant    TEXT NOT NULL,
    alias     TEXT NOT NULL,
    alert_id  TEXT NOT NULL,
    at        INTEGER NOT NULL,
    PRIMARY KEY (tenant, alias)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alert_aliases_one ON alert_aliases (tenant, alert_id);
-- Which of them are old enough to be removed.
CREATE INDEX alert_aliases_by_age ON alert_aliases (at);

-- Alerts that Graph has sent before this step name the product's id in the row as it came.
INSERT OR IGNORE INTO alert_aliases (tenant, alias, alert_id, at)
    SELECT a.tenant, a.body ->> '$.original.providerAlertId', a.alert_id, a.received_at FROM alerts a
    WHERE a.malformed IS NULL
    AND json_type(a.body, '$.original.lastUpdateDateTime') = 'text'
    AND json_type(a.body, '$.original.providerAlertId') = 'text'
    AND a.body ->> '$.original.providerAlertId' NOT IN ('', a.alert_id)
    AND (lower(a.body ->> '$.original.serviceSource') IS 'microsoftdefenderforendpoint'
         OR a.body ->> '$.original.providerAlertId' GLOB 'da[0-9]*_*[0-9]')
    AND NOT EXISTS (SELECT 1 FROM alerts o WHERE o.tenant = a.tenant
                    AND o.alert_id = a.body ->> '$.original.providerAlertId')
    ORDER BY a.seq;

-- Alerts that a change notification of Graph named and that are to be fetched by themselves.
CREATE TABLE alert_requests (
    tenant    TEXT NOT NULL,
    alert_id  TEXT NOT NULL,
    -- The webhook that was told last.
    source    TEXT NOT NULL,
    told_at   INTEGER NOT NULL,
    -- Counts what was told of the alert: an answer ends the request only if nothing was told since it was asked for.
    told      INTEGER NOT NULL DEFAULT 1,
    due_at    INTEGER NOT NULL,
    tries     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, alert_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX alert_requests_due ON alert_requests (tenant, due_at);
