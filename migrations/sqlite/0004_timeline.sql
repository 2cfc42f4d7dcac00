-- Quota windows, pauses of lanes and the grace between two looks are kept on a timeline that never jumps, whatever
-- people do to the clock. It is the clock's time plus `ahead` milliseconds.
CREATE TABLE timeline (
    id     INTEGER PRIMARY KEY CHECK (id = 1),
    ahead  INTEGER NOT NULL
) STRICT;
