-- What a stanch of schema 13 adds to that: an alert that Graph names otherwise, and one that a notification named.

INSERT INTO alert_aliases (tenant, alias, alert_id, at) VALUES ('contoso', 'ad-alert-0', 'alert-0', 1795500000000);
INSERT INTO alert_requests (tenant, alert_id, source, told_at, due_at)
VALUES ('contoso', 'ad-told', 'told', 1795500000000, 1795500000000);
