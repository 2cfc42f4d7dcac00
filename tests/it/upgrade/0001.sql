-- What a stanch of schema 1 left behind when it was killed. {now} is that moment, in milliseconds since 1970.

INSERT INTO tenants (tenant, inventory_at, fleet, covered_until_ticks)
VALUES ('contoso', {now} - 60000, 1200, ({now} - 60000) * 10000);
INSERT INTO sources (tenant, source, floor_ticks, watermark_ticks, polled_at)
VALUES ('contoso', 'defender', ({now} - 86400000) * 10000, ({now} - 60000) * 10000 + 7, {now} - 10000);
INSERT INTO brake (id, since, by, why) VALUES (1, {now} - 5000, 'user:alice', 'the upgrade');
INSERT INTO operations (at, by, what, why) VALUES ({now} - 5000, 'user:alice', 'pause', 'the upgrade');
INSERT INTO calls (tenant, lane, held_from) VALUES ('contoso', 'restrict', {now} - 20000), ('contoso', 'alerts', {now} - 10000);
INSERT INTO lanes (tenant, lane, pauses, trouble, troubles, trouble_device)
VALUES ('contoso', 'restrict', 1, 'unanswered', 2, NULL);
INSERT INTO machine_requests (tenant, machine_id, due_at, tries)
VALUES ('contoso', '0000000000000000000000000000000000000009', {now} + 60000, 2);

-- Devices 0 to 6, each in another situation.
INSERT INTO devices (tenant, machine_id, record, fetched_at, name)
SELECT 'contoso', printf('%040x', value),
       json_object('id', printf('%040x', value), 'computerDnsName', 'pc-' || value || '.contoso.test', 'osPlatform',
                   'Windows11', 'onboardingStatus', 'Onboarded', 'healthStatus', 'Active'),
       {now} - 60000, 'pc-' || value || '.contoso.test'
FROM json_each('[0,1,2,3,4,5,6]');
UPDATE devices SET restricted = 1, restricted_since = {now} - 7200000, restricted_by = '0197a000-0000-7000-8000-000000000000'
WHERE machine_id LIKE '%0';
UPDATE devices SET restricted = 1, restricted_since = {now} - 3600000 WHERE machine_id LIKE '%5';
UPDATE devices SET override_at = {now} - 3600000, override_reason = 'a human released the device',
                   released_at = {now} - 3600000 WHERE machine_id LIKE '%6';

-- An alert on each of devices 0 to 4, and a row that was no alert.
INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, machine_ids, pending, state, due_at)
SELECT 'contoso', 'alert-' || value, ({now} - 120000 + value) * 10000 + 3, 'defender', {now} - 110000,
       json_object('id', 'alert-' || value, 'machineId', printf('%040x', value), 'category', 'Ransomware',
                   'severity', 'High', 'status', 'New', 'title', 'Suspicious file encryption',
                   'lastUpdateTime', strftime('%Y-%m-%dT%H:%M:%fZ', ({now} - 120000 + value) / 1000.0, 'unixepoch'),
                   'lastEventTime', strftime('%Y-%m-%dT%H:%M:%fZ', ({now} - 120000) / 1000.0, 'unixepoch')),
       json_array(printf('%040x', value)), '[]', 'decided', {now} - 110000
FROM json_each('[0,1,2,3,4]');
UPDATE alerts SET state = 'waiting', pending = machine_ids, tries = 1, due_at = {now} - 1 WHERE alert_id = 'alert-3';
INSERT INTO alerts (tenant, alert_id, last_update_ticks, source, received_at, body, undated_hash, malformed, machine_ids,
                    pending, state, due_at)
VALUES ('contoso', 'no-alert', ({now} - 90000) * 10000, 'defender', {now} - 90000, '{"id":"no-alert"}',
        '8e2f61d7047b1c9e', 'machineId is missing', '[]', '[]', 'decided', {now} - 90000);

INSERT INTO decisions (alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched, action_id, at)
SELECT seq, tenant, alert_id, machine_ids ->> '$[0]', 'contain-ransomware', 'b0c4', 'acted', 'every guard passed',
       '[{"field":"category","value":"Ransomware"}]', '0197a000-0000-7000-8000-00000000000' || substr(alert_id, -1), {now} - 109000
FROM alerts WHERE alert_id IN ('alert-0', 'alert-1', 'alert-2');
INSERT INTO decisions (alert_seq, tenant, alert_id, machine_id, rule_id, rule_hash, outcome, reason, matched, action_id, at)
SELECT seq, tenant, alert_id, machine_ids ->> '$[0]', 'contain-ransomware', 'b0c4', 'held', 'approval: the rule asks for an approval',
       '[{"field":"category","value":"Ransomware"}]', '0197a000-0000-7000-8000-000000000004', {now} - 109000
FROM alerts WHERE alert_id = 'alert-4';

-- Action n is on device n: 0 succeeded and has expired, 1 is queued, 2 was being sent, 4 is held, 6 was released.
INSERT INTO actions (id, tenant, machine_id, kind, family, state, level, rank, by_operator, by_human, rule_id, rule_hash,
                     rules_hash, comment, created_at, decided_at, queued_at, due_at, expires_after, alert_received_at)
SELECT '0197a000-0000-7000-8000-00000000000' || value, 'contoso', printf('%040x', value), 'restrict', 'code_execution',
       'queued', 4, 4, 0, 0, 'contain-ransomware', 'b0c4', '9d1e',
       'Restrict code execution due to alert alert-' || value || ' [stanch:0197a000-0000-7000-8000-00000000000' || value || ']',
       {now} - 109000, {now} - 109000, {now} - 109000, {now} - 109000, 100000, {now} - 110000
FROM json_each('[0,1,2,4,6]');
UPDATE actions SET state = 'succeeded', sent_at = {now} - 108000, finished_at = {now} - 107000, expires_at = {now} - 8000,
                   attempts = 1, look_from_ticks = ({now} - 408000) * 10000, ended_at = {now} - 107000,
                   machine_action_id = '11111111-0000-4000-8000-000000000000'
WHERE machine_id LIKE '%0';
UPDATE actions SET state = 'sending', sent_at = {now} - 1000, attempts = 1, look_from_ticks = ({now} - 301000) * 10000,
                   claimed_by = '0197a000-0000-7000-8000-0000000000ff'
WHERE machine_id LIKE '%2';
UPDATE actions SET state = 'held', queued_at = NULL, held_at = {now} - 109000,
                   hold_reason = 'approval: the rule asks for an approval'
WHERE machine_id LIKE '%4';
UPDATE actions SET state = 'timed_out', sent_at = {now} - 7300000, finished_at = {now} - 3700000, attempts = 2,
                   ended_at = {now} - 3700000, released_at = {now} - 3600000, error_code = 'gave_up',
                   error_message = 'no final status within 30d', retry_of = '0197a000-0000-7000-8000-0000000000aa'
WHERE machine_id LIKE '%6';

INSERT INTO action_alerts (action_id, alert_id, rule_id, at)
SELECT '0197a000-0000-7000-8000-00000000000' || value, 'alert-' || value, 'contain-ransomware', {now} - 109000
FROM json_each('[0,1,2,4,6]');
INSERT INTO action_history (action_id, at, from_state, to_state, by, detail)
SELECT id, created_at, NULL, iif(state = 'held', 'held', 'queued'), 'rule:contain-ransomware', 'alert' FROM actions;
INSERT INTO action_history (action_id, at, from_state, to_state, by, detail)
SELECT id, sent_at, 'queued', 'sending', 'stanch', 'claimed' FROM actions WHERE sent_at IS NOT NULL;
INSERT INTO action_history (action_id, at, from_state, to_state, by, detail)
SELECT id, sent_at, 'sending', 'submitted', 'microsoft', 'accepted' FROM actions WHERE finished_at IS NOT NULL;
INSERT INTO action_history (action_id, at, from_state, to_state, by, detail)
SELECT id, finished_at, 'submitted', state, 'microsoft', 'ended' FROM actions WHERE finished_at IS NOT NULL;

INSERT INTO machine_actions (tenant, id, machine_id, kind, status, is_final, created_ticks, last_update_ticks, action_id, look_at)
VALUES ('contoso', '11111111-0000-4000-8000-000000000000', '0000000000000000000000000000000000000000', 'restrict',
        'Succeeded', 1, ({now} - 108000) * 10000, ({now} - 107000) * 10000, '0197a000-0000-7000-8000-000000000000', {now}),
       ('contoso', '11111111-0000-4000-8000-000000000008', '0000000000000000000000000000000000000008', 'restrict',
        'Pending', 0, ({now} - 50000) * 10000, ({now} - 50000) * 10000, NULL, {now} + 600000);
