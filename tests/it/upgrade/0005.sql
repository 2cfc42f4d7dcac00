-- What a stanch of schema 5 adds to that: somebody paused, from the socket.

INSERT INTO audit (at, what, by, origin, tenant, machine_id, action_id, alert_id, rule_id, before, after, detail, hash)
VALUES (1795500000000, 'paused', 'user:ana', 'socket', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'a drill', NULL);
