-- Which fault an event belongs to: the id and the time of the first problem of its dimension since
-- the last `ok`; null for an `ok` that ends nothing, and for what was accepted before.
ALTER TABLE events ADD COLUMN fault_id TEXT;
ALTER TABLE events ADD COLUMN fault_start_ns INTEGER;
-- How the run was started, in the platform's words: crontab, manual. null: not said.
ALTER TABLE events ADD COLUMN exec_mode TEXT;

-- The faults that are open now. checker: of the latest event that named one; a checker that was
-- made anew on the platform begins a new fault.
CREATE TABLE faults (
    id        TEXT NOT NULL,                 -- function id of the inspection
    dimension TEXT NOT NULL,
    fault_id  TEXT NOT NULL,                 -- event_id of its first event
    start_ns  INTEGER NOT NULL,
    checker   TEXT,
    PRIMARY KEY (id, dimension)
) STRICT, WITHOUT ROWID;
