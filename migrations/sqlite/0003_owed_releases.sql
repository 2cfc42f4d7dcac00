-- A release is owed while a device may be restricted that should not be: a release of it did not succeed, or a
-- restrict of ours landed after its release.

-- When the next release of this action's device is due for it; null: none is owed.
ALTER TABLE actions ADD COLUMN owed_at INTEGER;
-- How many releases in a row before this one did not succeed.
ALTER TABLE actions ADD COLUMN reissues INTEGER NOT NULL DEFAULT 0;
CREATE INDEX actions_owed ON actions (owed_at) WHERE owed_at IS NOT NULL;
