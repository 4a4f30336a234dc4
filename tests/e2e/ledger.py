"""Soundness of the ledger of slots: every due instant has exactly one answer.

check() reads the store of a daemon that has ended (it holds the file while it lives). Other tests use it
after whatever they did to the daemon.
"""
import pathlib
import sqlite3
import time

ANSWERS = {"ok", "failed", "timeout", "limit", "disabled", "skipped", "missed", "bad_params", "unregistered",
           "crashed", "cancelled"}


def read(db):
    """Rows of the ledger and of the scheduled runs: ([slot rows], [run rows])."""
    path = pathlib.Path(db)
    if path.is_dir():
        path = path / "selfmon.db"
    base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    base.row_factory = sqlite3.Row
    try:
        slots = [dict(r) for r in base.execute("SELECT * FROM slots ORDER BY id, slot")]
        runs = [dict(r) for r in base.execute("SELECT * FROM runs WHERE trigger = 'schedule' ORDER BY seq")]
    finally:
        base.close()
    return slots, runs


def every(seconds):
    """Due instants of `@every`: its multiples."""
    def due(first, last):
        begin = -(-first // seconds) * seconds
        return range(begin, last + 1, seconds)
    return due


def is_open(row):
    return row["run"] is None and row["until"] is None and row["outcome"] in ("planned", "missed")


def check_one(name, rows, due, now):
    """One inspection; returns {outcome: instants}."""
    counts, end, problems = {}, None, []
    late = [r for r in rows if is_open(r) and r["slot"] < now]
    problems += [f"nobody answered for {r['slot']} ({r['outcome']})" for r in late]
    answered = [r for r in rows if not is_open(r)]
    own = {r["slot"] for r in answered if r["run"] is not None}
    for row in answered:
        if row["outcome"] not in ANSWERS:
            problems.append(f"{row['slot']}: outcome {row['outcome']}")
        counts[row["outcome"]] = counts.get(row["outcome"], 0) + row["count"]
        if row["run"] is not None and (row["count"] != 1 or row["until"] is not None):
            problems.append(f"{row['slot']}: a run stands for more than one instant")
        if row["run"] is None and row["until"] is None:
            problems.append(f"{row['slot']}: {row['outcome']} without a run and without an end")
        if row["run"] is None and row["until"] is not None:
            if end is not None and row["slot"] <= end:
                problems.append(f"the gap at {row['slot']} begins in the one that ends at {end}")
            end = row["until"]
            if due is not None and not row["about"]:
                meant = [t for t in due(row["slot"], row["until"]) if t not in own]
                if len(meant) != row["count"]:
                    problems.append(f"the gap {row['slot']}..{row['until']} says {row['count']} instants, "
                                    f"the schedule {len(meant)}")
    if due is not None and answered:
        gaps = [(r["slot"], r["until"]) for r in answered if r["run"] is None]
        first = answered[0]["slot"]
        last = max(r["until"] or r["slot"] for r in answered)
        instants = list(due(first, last))
        for t in instants:
            if t not in own and not any(a <= t <= b for a, b in gaps):
                problems.append(f"no row for {t}")
        problems += [f"{t} is no due instant" for t in sorted(own - set(instants))]
    if problems:
        raise AssertionError(f"{name}: " + "; ".join(problems[:10]) +
                             (f"; and {len(problems) - 10} more" if len(problems) > 10 else ""))
    return counts


def check(rows_or_db, due=None, now=None):
    """Raises AssertionError unless the ledger is sound.

    rows_or_db: state directory, database file, or what read() returned. due: function (first, last) -> due
    instants in order, for all ids, or a dict of them by id (an id without one is checked for form only).
    now: until when everything must be answered for (Unix seconds; default: the present less a minute, which
    the last slots may need). Returns {id: {outcome: instants}}.
    """
    slots, runs = rows_or_db if isinstance(rows_or_db, tuple) else read(rows_or_db)
    now = time.time() - 60 if now is None else now
    seen = {}
    for run in runs:
        if run["slot"] is not None and run["outcome"] != "cancelled":
            seen.setdefault((run["id"], run["slot"]), []).append(run["run"])
    twice = {key: ids for key, ids in seen.items() if len(ids) > 1}
    if twice:
        raise AssertionError(f"slots that ran twice: {list(twice.items())[:5]}")
    by_id = {}
    for row in slots:
        by_id.setdefault(row["id"], []).append(row)
    return {name: check_one(name, rows, due.get(name) if isinstance(due, dict) else due, now)
            for name, rows in by_id.items()}
