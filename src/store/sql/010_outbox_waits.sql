-- Whether a row waits (pending, inflight, held), as a column of its own: an index that names `state`
-- in its condition is written anew at each change between those.
ALTER TABLE outbox ADD COLUMN waits INTEGER NOT NULL DEFAULT 1;
UPDATE outbox SET waits = 0 WHERE state = 'refused';
DROP INDEX outbox_dim;
CREATE INDEX outbox_dim ON outbox (dim, seq) WHERE waits = 1;

-- Only what was put back is due at another time than at once.
DROP INDEX outbox_due;
CREATE INDEX outbox_due ON outbox (due_ms)
    WHERE due_ms > 0 AND head = 1 AND state IN ('pending', 'held');
