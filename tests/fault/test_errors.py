"""Errors of the disk at chosen system calls: never a false acknowledgement, never a hang, one sentence."""
from faults import Oracle, check_promise, fresh_state, inject, producer
from harness import project, run_all

REASONS = ("outbox is full: ", "the database ", "the directory ", "state directory ", "cannot make ", "cannot write ",
           "the disk failed to sync", "still wait for delivery")


def schedule(call, error, points, prepared, count=4):
    """One error at each of the points; returns how many schedules were noticed (a refusal or exit 1)."""
    with project() as p, Oracle() as prepare:
        p.script("producer.lua", producer(prepare, count))
        base = None
        if prepared:
            base = fresh_state(p, "template")
            done = p.run("run", "--once", "--state-dir", str(base), "inspections/")
            assert done.code == 0, done
        noticed = 0
        for point in points:
            with Oracle() as oracle:
                oracle.tried |= prepare.tried if prepared else set()
                oracle.acked.update(prepare.acked if prepared else {})
                p.script("producer.lua", producer(oracle, count))
                state = fresh_state(p, point, base)
                what = f"{error} at {call} {point}, {'used' if prepared else 'new'} state"
                code, out = inject(p, [f"{call}:error={error}:when={point}"], ["run", "--once", "--drain", "1",
                                   "inspections/"], state=state, timeout=25)
                assert code in (0, 1), (what, code, out)
                for said in oracle.refused.values():
                    right = ("outbox is full: ",) if error == "ENOSPC" and call == "pwrite64" else \
                        ("outbox is full: ", "the database ")
                    assert any(r in said for r in right), (what, said)
                if code == 1:
                    assert any(r in out for r in REASONS), (what, out)
                    said = [line for line in out.splitlines() if line.startswith("selfmon-lua: ")]
                    assert len(said) <= 1, (what, out)
                noticed += code == 1 or bool(oracle.refused)
                check_promise(p, oracle, what, state)
        print(f"# {error} at {len(points)} points of {call}: {noticed} noticed, lost 0", flush=True)
        return noticed


def test_no_space_at_writes():
    """ENOSPC at one write of the database: `outbox is full`, or done all the same"""
    assert schedule("pwrite64", "ENOSPC", [*range(1, 60, 5), *range(61, 240, 20)], True) >= 3


def test_no_space_from_a_write_on():
    """ENOSPC from a write on: the program says so and ends"""
    assert schedule("pwrite64", "ENOSPC", [f"{n}+" for n in (1, 4, 9, 21, 60, 100, 150)], True) >= 4


def test_io_error_at_writes():
    """EIO at one write of the database"""
    schedule("pwrite64", "EIO", [*range(2, 60, 6), *range(61, 240, 25)], True)


def test_io_error_from_a_write_on():
    """EIO from a write on"""
    assert schedule("pwrite64", "EIO", [f"{n}+" for n in (1, 4, 9, 21, 60, 100, 150)], True) >= 4


def test_io_error_at_syncs():
    """EIO at a sync: the commit is not acknowledged, the program ends with 1"""
    assert schedule("fdatasync", "EIO", range(1, 30, 2), True) >= 8


def test_errors_at_the_first_start():
    """errors while the first start makes the database: one sentence, and the next start is whole"""
    for call, error, points in (("pwrite64", "ENOSPC", (1, 3, 40, 82)), ("pwrite64", "EIO", (2, 50, 84)),
                                ("fdatasync,fsync", "EIO", (1, 2, 3))):
        assert schedule(call, error, points, False) >= 2


run_all(globals())
