-- What a stanch of schema 4 adds to that: the clock was set back by a minute.

INSERT INTO timeline (id, ahead) VALUES (1, 60000);
