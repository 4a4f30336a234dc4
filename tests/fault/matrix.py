#!/usr/bin/python3
"""The fault matrix: runs the tests of its rows (matrix_rows.py) and writes docs/reliability.md.

usage: tests/fault/matrix.py --run [--quick] [ROW…]   each test of the rows (all) alone, then the page with the results
       tests/fault/matrix.py --write                  the page, with the results that it has
       tests/fault/matrix.py --check                  every row and test is there, the page is what the table gives
       tests/fault/matrix.py --list [ROW…]            what would run

--quick leaves SELFMON_TEST_LONG and SELFMON_FAULT_EVERY out: 20 kills and every tenth point. The program is that of
SELFMON_LUA, or build/selfmon-lua; the unit tests lie beside it, in tests/."""
import argparse
import ast
import os
import pathlib
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from matrix_rows import PARTS, ROWS  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "reliability.md"
PROGRAM = pathlib.Path(os.environ.get("SELFMON_LUA", ROOT / "build" / "selfmon-lua")).resolve()
WANTED = [*range(1, 38), *range(47, 53), 60]
LONGEST = 3600  # seconds of one test
FIGURES = 300   # characters of figures in the page

HEAD = """# What is promised, and how it is proven

When `report()` returns, the event is on stable storage of this machine. It is sent until the platform confirms it, in
order per dimension, at least once, always with the same id. It is never dropped by age, by count or by a restart. It
ends as `refused` only when the platform says that it will never take it (a bad request); then it stays visible
(`selfmon-lua outbox`) and can be sent again by hand. If the store cannot take an event, `report()` raises an error and
the run is `failed`: nothing is half taken.

Exactly once cannot be had over HTTP without the receiver's help: when a connection ends before the answer, nobody knows
whether the request was carried out. So it is sent again, with the same id; who keys by the id sees each event once.

## What is not covered

- The loss of the disk itself, and a disk that says it has synced and has not.
- An event that a script never reported, because it ended before.
- A person who drops events that wait or were refused (`selfmon-lua outbox drop`).
- Two daemons on copies of one state directory, as of a cloned machine. On one machine and one directory the second is
  refused at once. On copies nothing detects it: both have the same association keys, so both use the same objects on
  the platform (none is made twice, and neither changes what the other set), what waited at the time of the copy is
  sent by both with the same ids, and from then on every run and every event exists twice, with ids of its own. Give a
  clone a new state directory.
- Power that fails cannot be tried in a test here; instead the order of system calls is checked: no id is acknowledged
  before a sync that covers it (row 2).

## The faults

After every fault the tests ask: is everything there that `report()` returned for (lost 0), nothing that was not
reported (unexpected 0), each body as it was reported, each id once (duplicates 0), does a fresh event arrive? `make
test` runs a quick part, `make test-all` all of it with every tenth point of the schedules of kills and errors, `make
test-fault-full` every point and 200 random kills, and writes this page.

The command of a row is `tests/fault/matrix.py --run ROW`.
"""


def where(test):
    """(file, function) of a reference."""
    name, function = test.split("::")
    return ROOT / "tests" / name, function


def title_of(test):
    """The title a test prints, None when there is no such test."""
    path, function = where(test)
    if not path.exists():
        return None
    if path.suffix == ".c":
        return function if f"cmocka_unit_test({function})" in path.read_text() or re.search(
            rf"cmocka_unit_test_\w+\({function}\b", path.read_text()) else None
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name == function:
            return (ast.get_docstring(node) or function).strip().splitlines()[0]
    return None


def command(test):
    path, function = where(test)
    if path.suffix == ".c":
        folder, room = path.parent.name, path.stem
        return [str(PROGRAM.parent / "tests" / f"unit_{folder}_{room}")]
    return ["/usr/bin/python3", str(path), "=" + function]


def run(test, quick):
    """(passed, skipped, seconds, figures, output) of one test alone."""
    env = dict(os.environ, SELFMON_LUA=str(PROGRAM), PYTHONDONTWRITEBYTECODE="1", LC_ALL="C.UTF-8",
               CMOCKA_MESSAGE_OUTPUT="TAP")
    if quick:
        for name in ("SELFMON_TEST_LONG", "SELFMON_FAULT_EVERY"):
            env.pop(name, None)
    began = time.monotonic()
    try:
        done = subprocess.run(command(test), cwd=ROOT, env=env, text=True, errors="replace", timeout=LONGEST,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = done.stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        out = str(error)
    seconds, title, figures, verdict = time.monotonic() - began, title_of(test), [], None
    for line in out.splitlines():
        found = re.match(r"(ok|not ok) \d+ - (.*)", line)
        if found and found.group(2).split(" # SKIP")[0].strip() == title.split(" # SKIP")[0].strip():
            verdict = found
        elif line.startswith("# "):
            figures.append(line[2:].strip())
    passed = verdict is not None and verdict.group(1) == "ok"
    skipped = verdict.group(2).split(" # SKIP ")[1] if passed and " # SKIP " in verdict.group(2) else ""
    return passed, skipped, seconds, figures if passed and title != test.split("::")[1] else [], out


def results_of_page():
    """{row: result} as the page has them."""
    text = PAGE.read_text() if PAGE.exists() else ""
    return {int(n): cell.strip() for n, cell in re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", text, re.M)}


def cell(text):
    return text.replace("|", "\\|").replace("\n", " ")


def page(results):
    parts = [HEAD]
    for title, first, last in PARTS:
        parts.append(f"\n### {title}\n\n| # | fault | what is expected | tests | last result |\n|---|---|---|---|---|")
        for r in (r for r in ROWS if first <= r.number <= last):
            tests = ", ".join(f"`{t.split('/', 1)[1] if not t.startswith('unit') else t}`" for t in r.tests)
            expected = cell(r.expected) + (f". Not kept: {cell(r.fails)}" if r.fails else "")
            parts.append(f"| {r.number} | {cell(r.fault)} | {expected} | {tests} | {results.get(r.number, 'not run')} |")
    parts.append("\n## What a container without privileges lacks\n\n| # | lacks | tested instead |\n|---|---|---|")
    parts += [f"| {r.number} | {cell(r.lacks)} | {cell(r.nearest)} |" for r in ROWS if r.lacks]
    return "\n".join(parts) + "\n"


def without_results(text):
    return re.sub(r"^(\| \d+ \|.*\|) [^|]* \|$", r"\1", text.split("## What a container")[0], flags=re.M) + \
        "## What a container".join(text.split("## What a container")[1:])


def check():
    numbers = [r.number for r in ROWS]
    wrong = [[f"row {n} is missing" for n in WANTED if n not in numbers]
             + [f"row {n} is there {numbers.count(n)} times" for n in set(numbers) if numbers.count(n) > 1]]
    wrong.append([f"row {r.number}: there is no {t}" for r in ROWS for t in r.tests if title_of(t) is None]
                 + [f"row {r.number} names no test" for r in ROWS if not r.tests])
    now = PAGE.read_text() if PAGE.exists() else ""
    wrong.append([] if without_results(now) == without_results(page(results_of_page()))
                 else ["docs/reliability.md is not what the table gives: tests/fault/matrix.py --write"])
    names = ("every row of the fault matrix is there, once", "each row's tests exist", "docs/reliability.md is current")
    print(f"1..{len(names)}")
    for number, (name, bad) in enumerate(zip(names, wrong), 1):
        print(f"{'not ok' if bad else 'ok'} {number} - {name}")
        for sentence in bad:
            print(f"# {sentence}")
    return 1 if any(wrong) else 0


def run_rows(chosen, quick):
    results, known, failed = results_of_page(), {}, 0
    today = time.strftime("%Y-%m-%d", time.gmtime())
    for r in chosen:
        figures, seconds, bad, skipped = [], 0, [], []
        for test in r.tests:
            if test not in known:
                known[test] = run(test, quick)
                ok, skip, took, _, out = known[test]
                print(f"{'pass' if ok else 'FAIL'}  {test:<75} {took:6.1f} s {skip}", flush=True)
                if not ok:
                    print("\n".join(out.splitlines()[-60:]), flush=True)
            ok, skip, took, said, _ = known[test]
            seconds += took
            figures += said
            bad += [] if ok else [test.split("::")[1]]
            skipped += [skip] if skip else []
        failed += bool(bad)
        text = "; ".join(figures)
        text = text if len(text) <= FIGURES else text[:FIGURES].rsplit(" ", 1)[0] + " …"
        word = f"**failed**: {', '.join(bad)}" if bad else "passed"
        results[r.number] = cell(f"{word} {today}, {seconds:.0f} s" + (f"; skipped: {'; '.join(skipped)}" if skipped else "")
                                 + (f": {text}" if text else "")).replace("\\|", "/")
        print(f"row {r.number}: {results[r.number]}", flush=True)
        PAGE.write_text(page(results))
    print(f"{len(chosen) - failed} rows passed, {failed} failed")
    return 1 if failed else 0


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "quick", "check", "write", "list"):
        ask.add_argument("--" + name, action="store_true")
    ask.add_argument("row", nargs="*", type=int)
    given = ask.parse_args()
    unknown = [n for n in given.row if n not in [r.number for r in ROWS]]
    if unknown:
        ask.error(f"there is no row {unknown[0]}; rows are 1-37, 47-52 and 60")
    chosen = [r for r in ROWS if not given.row or r.number in given.row]
    if given.check:
        return check()
    if given.run:
        return run_rows(chosen, given.quick)
    if given.write:
        PAGE.write_text(page(results_of_page()))
        return 0
    if given.list:
        for r in chosen:
            for test in r.tests:
                print(r.number, *command(test))
        return 0
    ask.error("--run, --check, --write or --list")


sys.exit(main())
