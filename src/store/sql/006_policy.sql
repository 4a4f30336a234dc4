-- What is known of each dimension: it replaces the faults. who: association key, so that a renamed
-- inspection keeps it (the function id when there is no key). Statuses are ranks: ok 0, info 1,
-- warning 2, error 3, critical 4; null: none (src/store/policy.h). A row goes when nothing is left
-- to remember.
CREATE TABLE dims (
    who       TEXT NOT NULL,
    dimension TEXT NOT NULL,
    id        TEXT NOT NULL,
    status    INTEGER NOT NULL,
    streak    INTEGER NOT NULL DEFAULT 0,
    sent      INTEGER,
    sent_ns   INTEGER,
    delivered INTEGER,
    over      INTEGER NOT NULL DEFAULT 0,
    muted     INTEGER NOT NULL DEFAULT 0,
    run       TEXT,                          -- the latest run that reported it
    seq       INTEGER,                       -- its newest event
    fault_id  TEXT,                          -- event_id of the first problem since the last ok
    start_ns  INTEGER,
    checker   TEXT,
    PRIMARY KEY (who, dimension)
) STRICT, WITHOUT ROWID;
CREATE INDEX dims_muted ON dims (who) WHERE muted = 1;

-- A problem that was open before there was a policy counts as delivered.
INSERT INTO dims (who, dimension, id, status, sent, sent_ns, delivered, seq, fault_id, start_ns,
                  checker)
    SELECT coalesce(nullif(e.ref_key, ''), f.id), f.dimension, f.id, 2, 2, f.start_ns, 2, e.seq,
           f.fault_id, f.start_ns, f.checker
    FROM faults f JOIN events e ON e.event_id = f.fault_id
    WHERE true ON CONFLICT DO NOTHING;
DROP TABLE faults;

-- What a policy decided: JSON {send, rule, was, status, count, of, why}; null: let out as reported.
ALTER TABLE events ADD COLUMN policy TEXT;

-- How many events an inspection with a budget has let out since from_ns, and when it last told of
-- those that it held back.
CREATE TABLE budgets (
    who       TEXT NOT NULL PRIMARY KEY,
    from_ns   INTEGER NOT NULL,
    let_out   INTEGER NOT NULL,
    held      INTEGER NOT NULL DEFAULT 0,
    digest_ns INTEGER
) STRICT, WITHOUT ROWID;

-- Held back by hand. id may hold wildcards; dimension null: all of them.
CREATE TABLE mutes (
    id        TEXT NOT NULL,
    dimension TEXT NOT NULL DEFAULT '',      -- '' : all
    until_ns  INTEGER NOT NULL,
    reason    TEXT NOT NULL,
    made_ns   INTEGER NOT NULL,
    PRIMARY KEY (id, dimension)
) STRICT, WITHOUT ROWID;
