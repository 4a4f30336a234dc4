-- A row may stand for several due instants in a row that had no run: slot is the first of them,
-- until the last (null: a single slot that nobody has answered for, or that was run), count how
-- many; about: the count is an estimate. rule: which schedule planned it (null: not known).
-- reason: why there was no run.
ALTER TABLE slots ADD COLUMN until INTEGER;
ALTER TABLE slots ADD COLUMN about INTEGER NOT NULL DEFAULT 0;
ALTER TABLE slots ADD COLUMN rule INTEGER;
ALTER TABLE slots ADD COLUMN reason TEXT;

-- Skipped and missed slots are no runs: those that have a run's row lose it.
DELETE FROM runs WHERE outcome IN ('skipped', 'missed');
UPDATE slots SET run = NULL WHERE outcome IN ('skipped', 'missed');
UPDATE slots SET until = slot WHERE run IS NULL AND outcome <> 'planned';

-- Slots that nobody has answered for: planned, or passed while no process was there.
DROP INDEX slots_planned;
CREATE INDEX slots_open ON slots (id, slot)
    WHERE run IS NULL AND until IS NULL AND outcome IN ('planned', 'missed');

-- Seconds from the due instant (with its spread) until the run was handed to a worker.
ALTER TABLE runs ADD COLUMN lateness REAL;
