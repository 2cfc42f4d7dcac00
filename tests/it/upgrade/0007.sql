-- What a stanch of schema 7 adds to that: a channel that has told of two held actions and owes a third.

INSERT INTO notice_channels (channel, seq) VALUES ('night', 1000);
INSERT INTO notices (id, channel, what, tenant, rule_id, first_at, last_at, count, fresh, items, told, tries, owed_since, next_at, quiet_at)
VALUES ('0197a000-0000-7000-8000-00000000000f', 'night', 'held', 'contoso', 'contain-ransomware', 1795500000000, 1795500060000,
        3, 1, '[{"at":"2026-11-24T06:01:00Z","machine_id":null,"device_name":"pc-1","action_id":null,"kind":"restrict","alert_id":"alert-4","alert_title":null,"by":"rule:contain-ransomware","reason":"approval"}]',
        1, 0, 1795500060000, 1795500060000, 1795500900000);
