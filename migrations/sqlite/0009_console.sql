-- What the console counts over time and by rule, without reading whole rows.
CREATE INDEX alerts_received ON alerts (received_at);
CREATE INDEX actions_by_kind ON actions (kind, created_at);
CREATE INDEX decisions_by_rule ON decisions (rule_id, outcome, at) WHERE superseded_at = 0;
