-- What a stanch of schema 8 adds to that: somebody paused with a key.

INSERT INTO idempotency (caller, key, request, body_hash, at, status, content_type, body)
VALUES ('ana/admin', '6f1c0d2e-6f0e-4b5c-9a34-1c1f7a1b9d10', 'POST /pause', 'e3b0', 1795500000000, 200, 'application/json', '{}');
