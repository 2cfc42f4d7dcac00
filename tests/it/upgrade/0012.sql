-- What a stanch of schema 12 adds to that: an alert that came in two rows, the second one decided.

UPDATE alerts SET parts = 1 WHERE alert_id = 'alert-0';
INSERT INTO alert_parts (alert_seq, part, source, received_at, machine_ids, body)
SELECT seq, 1, source, received_at, '["00000000000000000000000000000000000000ff"]', '{"id": "alert-0"}'
FROM alerts WHERE alert_id = 'alert-0';
