-- What a stanch of schema 2 adds to that: a decision that no longer holds, and one that joined a human's restrict.

UPDATE alerts SET again_at = {now} - 80000 WHERE alert_id = 'alert-3';
INSERT INTO decisions (alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched, at, joined,
                       superseded_at, superseded_why)
SELECT seq, tenant, alert_id, machine_ids ->> '$[0]', 'contain-ransomware', 'b0c4', 'coalesced',
       'open: the device is already being restricted by a human', '[{"field":"category","value":"Ransomware"}]', {now} - 100000,
       '11111111-0000-4000-8000-000000000008', {now} - 80000, 'the restrict that it joined failed'
FROM alerts WHERE alert_id = 'alert-3';
INSERT INTO action_alerts (action_id, alert_id, rule_id, at, held)
VALUES ('0197a000-0000-7000-8000-000000000001', 'alert-9', 'watch-ransomware', {now} - 70000, 1);
