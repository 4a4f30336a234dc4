-- The first schema. Times: *_ns wall nanoseconds, *_ms wall milliseconds, slot Unix seconds.
-- ANY columns keep one JSON value: text, integer, real and null as they are, the rest as a blob
-- of JSON text (src/store/sql.c).

PRAGMA application_id = 1397574705;

-- 'group' is the number of the last committed group of operations: it tells, after an I/O error at
-- commit, whether that group is there.
CREATE TABLE meta (
    key   TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO meta (key, value) VALUES ('group', 0);

-- What was reported, never changed after. seq is the order of acceptance.
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY,
    event_id       TEXT NOT NULL UNIQUE,
    id             TEXT NOT NULL,            -- function id of the inspection
    at_ns          INTEGER NOT NULL,
    run            TEXT NOT NULL,
    attempt        INTEGER NOT NULL,         -- of the run
    ref_key        TEXT,
    account        TEXT NOT NULL,
    node           ANY,
    checker        ANY,
    checker_title  TEXT,                     -- title of the inspection
    status         TEXT NOT NULL,
    title          TEXT NOT NULL,
    dimension      TEXT NOT NULL,
    dimension_tags TEXT NOT NULL,            -- JSON
    message        TEXT NOT NULL
) STRICT;
-- Every filter of the readers is answered from this index. One that begins with id would touch
-- another page for nearly every event of a group: twice the bytes of a commit.
CREATE INDEX events_at ON events (at_ns, id, status);

-- What is not delivered yet: an event without a row here was confirmed (its last attempt says so).
-- state: pending, inflight, held (unfinished), refused. dim: hash of inspection and dimension.
-- head: this is the oldest unfinished row of its dimension.
CREATE TABLE outbox (
    seq        INTEGER PRIMARY KEY REFERENCES events (seq),
    account    TEXT NOT NULL,
    id         TEXT NOT NULL,
    dim        INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('pending', 'inflight', 'held', 'refused')),
    head       INTEGER NOT NULL,
    attempt    INTEGER NOT NULL DEFAULT 0,   -- how often it was put back
    tries      INTEGER NOT NULL DEFAULT 0,   -- how often it was answered
    due_ms     INTEGER NOT NULL DEFAULT 0,
    bytes      INTEGER NOT NULL,
    changed_ns INTEGER,
    reason     ANY
) STRICT;
CREATE INDEX outbox_dim ON outbox (dim, seq) WHERE state IN ('pending', 'inflight', 'held');
CREATE INDEX outbox_head ON outbox (account, id, seq, due_ms)
    WHERE head = 1 AND state IN ('pending', 'held');
CREATE INDEX outbox_due ON outbox (due_ms) WHERE head = 1 AND state IN ('pending', 'held');

-- Answers to deliveries: the first ones of an event, and its last.
CREATE TABLE attempts (
    seq     INTEGER NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
    n       INTEGER NOT NULL,
    at_ns   INTEGER NOT NULL,
    verdict TEXT NOT NULL,                   -- delivered, retry, held, refused
    answer  ANY,
    PRIMARY KEY (seq, n)
) STRICT, WITHOUT ROWID;

-- One row per inspection and due instant. outcome 'planned' until it is finished.
CREATE TABLE slots (
    id         TEXT NOT NULL,
    slot       INTEGER NOT NULL,
    trigger    TEXT NOT NULL,
    planned_ns INTEGER NOT NULL,
    outcome    TEXT NOT NULL DEFAULT 'planned',
    run        TEXT,
    at_ns      INTEGER,
    count      INTEGER NOT NULL DEFAULT 1,   -- due instants this row stands for
    PRIMARY KEY (id, slot)
) STRICT, WITHOUT ROWID;
CREATE INDEX slots_slot ON slots (slot);
CREATE INDEX slots_planned ON slots (slot) WHERE outcome = 'planned';
CREATE INDEX slots_gap ON slots (slot) WHERE run IS NULL AND outcome <> 'planned';

-- One row per attempt of a run. outcome is null while it runs.
CREATE TABLE runs (
    seq         INTEGER PRIMARY KEY,
    run         TEXT NOT NULL,
    attempt     INTEGER NOT NULL,
    id          TEXT NOT NULL,
    slot        INTEGER,
    trigger     TEXT NOT NULL,
    started_ns  INTEGER NOT NULL,
    finished_ns INTEGER,
    outcome     TEXT,
    account     TEXT,
    node        ANY,
    worker      ANY,
    hash        TEXT,
    seconds     REAL,
    cpu         REAL,
    peak        INTEGER,
    events      INTEGER,
    late        INTEGER,
    error       TEXT,
    traceback   TEXT,
    params      TEXT,                        -- JSON
    UNIQUE (run, attempt)
) STRICT;
CREATE INDEX runs_started ON runs (started_ns);
CREATE INDEX runs_id ON runs (id, started_ns);
CREATE INDEX runs_open ON runs (seq) WHERE outcome IS NULL;

CREATE TABLE run_logs (
    seq INTEGER PRIMARY KEY REFERENCES runs (seq) ON DELETE CASCADE,
    log TEXT NOT NULL
) STRICT;

-- The newest finished run of each inspection; outlives the run's own row.
CREATE TABLE last_runs (
    id          TEXT NOT NULL PRIMARY KEY,
    run         TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT,
    finished_ns INTEGER NOT NULL,
    seconds     REAL,
    events      INTEGER
) STRICT, WITHOUT ROWID;

-- What a platform last said of an inspection.
CREATE TABLE registry (
    node    TEXT NOT NULL,
    account TEXT NOT NULL,
    id      TEXT NOT NULL,
    ref_key ANY,
    uuid    ANY,
    title   ANY,
    status  ANY,
    params  ANY,
    payload ANY,
    seen_ns INTEGER,
    PRIMARY KEY (node, account, id)
) STRICT;

-- Last good texts; a text is kept once, whoever uses it.
CREATE TABLE texts (
    file  TEXT NOT NULL PRIMARY KEY,
    hash  TEXT NOT NULL,
    specs ANY,
    at_ns INTEGER
) STRICT;
CREATE INDEX texts_hash ON texts (hash);
CREATE TABLE text_libs (
    file TEXT NOT NULL REFERENCES texts (file) ON DELETE CASCADE,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (file, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX text_libs_hash ON text_libs (hash);
CREATE TABLE blobs (
    hash TEXT NOT NULL PRIMARY KEY,
    text TEXT NOT NULL
) STRICT;

CREATE TABLE kv (
    key   TEXT NOT NULL PRIMARY KEY,
    value ANY
) STRICT;

-- The embedded platform.
CREATE TABLE local_items (
    seq       INTEGER PRIMARY KEY,
    uuid      TEXT NOT NULL UNIQUE,
    ref_key   TEXT NOT NULL,
    title     TEXT NOT NULL,
    status    INTEGER NOT NULL,
    func      TEXT NOT NULL,                 -- JSON: refFuncInfo
    kwargs    TEXT NOT NULL,                 -- JSON: callKwargs
    create_at INTEGER NOT NULL,
    update_at INTEGER NOT NULL,
    delete_at INTEGER NOT NULL DEFAULT -1
) STRICT;
CREATE UNIQUE INDEX local_items_alive ON local_items (ref_key) WHERE delete_at = -1;

CREATE TABLE local_events (
    seq      INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE,
    at_ns    INTEGER NOT NULL,
    seen_ns  INTEGER NOT NULL,
    ref_key  TEXT,
    payload  TEXT NOT NULL                   -- JSON
) STRICT;
CREATE INDEX local_events_at ON local_events (at_ns);
