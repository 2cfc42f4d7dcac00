-- What a stanch of schema 14 adds to that: a token that another token made, and who asked for an action with one.

INSERT INTO tokens (id, name, role, hash, created_at, created_by, expires_at, revoked_at, last_used_at, retired,
                    created_by_token)
VALUES ('0197a000-0000-7000-8000-0000000000f3', 'second', 'viewer',
        'fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9', 1794999500000, 'token:ana',
        1802775500000, NULL, NULL, 0, '0197a000-0000-7000-8000-0000000000f1');

UPDATE actions SET asked_by = 'token:ana', asked_by_token = '0197a000-0000-7000-8000-0000000000f1'
WHERE id = '0197a000-0000-7000-8000-000000000006';

INSERT INTO audit (at, what, by, detail)
VALUES (1794999500000, 'token_created', 'token:ana', 'second (viewer, until 2027-02-16T10:58:20Z): for a second pipeline');
