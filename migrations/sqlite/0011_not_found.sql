-- How often Microsoft said that it does not know the machine of an action, though there was such a machine.
ALTER TABLE actions ADD COLUMN not_found INTEGER NOT NULL DEFAULT 0;
