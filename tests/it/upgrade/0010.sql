-- What a stanch of schema 10 adds to that: a protection in force, and one that is lost.

INSERT INTO protections (rule_id, tenant, title, lost_at, why)
VALUES ('never-restrict-controllers', 'contoso', 'Never restrict domain controllers', NULL, NULL),
       ('never-restrict-kiosks', 'contoso', 'Never restrict kiosks', 1795500000000, 'no rule has this id any more');
