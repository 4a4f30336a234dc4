-- What inspections remember (selfmon.store). who: "i/" and the inspection's association key, so that a
-- renamed one keeps it (its function id when there is no key), or "s/" and the name of a scope that
-- inspections share. value: JSON. bytes: of key and value. until_ms, changed_ms: wall clock; until_ms
-- null: for good.
CREATE TABLE memos (
    who        TEXT NOT NULL,
    key        TEXT NOT NULL,
    bytes      INTEGER NOT NULL,
    until_ms   INTEGER,
    changed_ms INTEGER NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (who, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX memos_until ON memos (until_ms) WHERE until_ms IS NOT NULL;
