-- Who asks for an action does not approve it by another token of theirs: so it is kept which token asked, and which one
-- made a token. `asked_by` and `created_by` say the door since, as `token:ana`; older rows of `asked_by` are bare names.

ALTER TABLE actions ADD COLUMN asked_by_token TEXT;
-- Null: a user of this machine made it, or an older program.
ALTER TABLE tokens ADD COLUMN created_by_token TEXT;

-- The histories of actions are compared with the audit, which keeps since when old actions were removed. Of those that an
-- older program removed it is said once, here.
INSERT INTO audit (at, what, by, after, detail)
SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER), 'actions_removed', 'stanch', strftime('%Y-%m-%dT%H:%M:%fZ', 'now'),
       'actions were removed before the audit kept that'
WHERE EXISTS (SELECT 1 FROM audit a WHERE a.what = 'transition' AND a.action_id IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM actions x WHERE x.id = a.action_id));
