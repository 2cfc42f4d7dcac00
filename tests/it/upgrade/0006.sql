-- What a stanch of schema 6 adds to that: a token in force, one that was revoked, and somebody signed in; and what the
-- audit says of the tokens.

INSERT INTO tokens (id, name, role, hash, created_at, created_by, expires_at, revoked_at, last_used_at, retired)
VALUES ('0197a000-0000-7000-8000-0000000000f1', 'ana', 'operator',
        '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08', 1794999000000, 'user:root',
        1802775000000, NULL, 1794999900000, 0),
       ('0197a000-0000-7000-8000-0000000000f2', 'pipeline', 'viewer',
        '60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752', 1794998000000, 'user:root',
        1802774000000, 1794999000000, NULL, 1);

INSERT INTO sessions (hash, token_id, created_at, expires_at)
VALUES ('fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13',
        '0197a000-0000-7000-8000-0000000000f1', 1794999900000, 1795043100000);

INSERT INTO audit (at, what, by, detail)
VALUES (1794998000000, 'token_created', 'user:root', 'pipeline (viewer, until 2027-02-16T10:33:20Z): for the pipeline'),
       (1794999000000, 'token_created', 'user:root', 'ana (operator, until 2027-02-16T10:50:00Z): for the console'),
       (1794999000000, 'token_revoked', 'user:root', 'pipeline (viewer): no longer needed');
