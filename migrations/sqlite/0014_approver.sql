-- Who asks for an action does not approve it by another token of theirs: so it is kept which token asked, and which one
-- made a token. `asked_by` and `created_by` say the door since, as `token:ana`; older rows of `asked_by` are bare names.

ALTER TABLE actions ADD COLUMN asked_by_token TEXT;
-- Null: a user of this machine made it, or an older program.
ALTER TABLE tokens ADD COLUMN created_by_token TEXT;
