"""The shipped inspections of workspace data on the real road: script, daemon, stand-in of the platform, event and
recovery; and the forecast of local disks on a real file system with a history in the real store."""
import json
import math
import os
import shutil
import time

from harness import ROOT, project, run_all
from remote import shop

HOUR = 3600


def install(p, *folders):
    for folder in ("lib", *folders):
        source = ROOT / "inspections" / folder
        target = p.dir / "inspections" / folder
        target.mkdir(parents=True, exist_ok=True)
        for file in source.glob("*.lua"):
            if not file.name.endswith("_spec.lua"):
                shutil.copy(file, target / file.name)


def series(query, tags, columns, make, step=None):
    """One series over the range asked for: make(seconds before the end) gives the values of a row."""
    low, high = query["timeRange"]
    step = (step or query.get("interval") or (high - low) // 1000) * 1000
    rows, at = [], high - (high - low) // step * step
    while at <= high:
        rows.append([at, *make((at - high) / 1000)])
        at += step
    return {"name": "x", "tags": tags, "columns": ["time", *columns], "units": [None] * (1 + len(columns)), "values": rows}


def noise(s):
    return math.sin(s * 12.9898) * 43758.5453 % 1


def answer(query, broken):
    """What a workspace says: of a healthy world, or of one in which everything is wrong."""
    q, (low, high) = query["q"], query["timeRange"]
    last_hour = time.time() * 1000 - high < 60000
    if q.startswith("M::`disk`") and "`device`" in q:
        return [series(query, {"host": "web1", "device": "/dev/sda1"}, ["used"],
                       lambda s: [(89 if broken else 60) + (s / HOUR * 0.4 if broken else 0) + noise(s) / 10])]
    if q.startswith("M::`system`"):
        return [series(query, {"host": "web1"}, ["uptime"], lambda s: [max(0, s + 300) if broken else 10**6 + s])]
    if q.startswith(("M::`disk`", "M::`cpu`", "M::`mem`")):
        if "cluster_name_k8s" in q:
            return [series(query, {"cluster_name_k8s": "prod", "host": "n1"}, ["used"], lambda s: [99 if broken else 40])]
        if "`mem`" in q and high - low > 10 * HOUR * 1000:
            return [series(query, {"host": "web1"}, ["used"],
                           lambda s: [40 + (max(0, s / HOUR + 7) * 5 if broken else 0) + noise(s) / 2])]
        return [series(query, {"host": "db1"}, ["used"], lambda s: [99 if broken else 40])]
    if q.startswith("M::`mysql`"):
        rate = 1 if "Slow" in q else 100
        return [series(query, {"host": "db1"}, ["n"],
                       lambda s: [10**6 + s / 60 * rate + (max(0, s + 1800) / 60 * rate * 8 if broken else 0)])]
    if q.startswith("O::`kubelet_pod`"):
        return [series(query, {"cluster_name_k8s": "prod", "phase": phase}, ["pods"], lambda s, n=n: [n])
                for phase, n in (("Running", 50), ("Pending", 30 if broken else 1))]
    if q.startswith("OH::`kubelet_pod`"):
        return [series(query, {"cluster_name_k8s": "prod", "namespace": "shop", "pod_name": f"p{i}"}, ["most", "least"],
                       lambda s, i=i: [4 if broken and last_hour and i < 5 else 1, 1]) for i in range(10)]
    if q.startswith("O::`host_processes`"):
        return [series(query, {"process_name": "java"}, ["used"], lambda s: [61.5])]
    if q.startswith("T::") and "error_message" in q or q.startswith("R::`error`"):
        kind = "new and bad" if broken and last_hour else "as ever 17"
        tag = {"service": "shop"} if q.startswith("T::") else {"app_id": "shop"}
        return [series(query, {**tag, "error_type": "E", "error_message": kind}, ["n"], lambda s: [7])]
    if q.startswith("T::"):
        late = -80 * 60
        if "percentile" in q:
            return [series(query, {"service": "shop"}, ["p99"], lambda s: [(2e6 if broken and s > late else 3e5) * (1 + noise(s) / 5)])]
        if "status" in q:
            return [series(query, {"service": "shop"}, ["n"], lambda s: [(30 if broken and s > late else 1) + round(noise(s))])]
        return [series(query, {"service": "shop"}, ["n"], lambda s: [100 + round(9 * noise(s))])]
    if q.startswith("R::`view`"):
        return [series(query, {"app_id": "shop"}, ["lcp", "fid", "cls", "views"],
                       lambda s: [4e9, 3e8, 0.4, 100] if broken else [1e9, 5e7, 0.01, 100], step=HOUR)]
    raise AssertionError(f"no answer to {q}")


NAMES = ["apm_errors", "apm_performance", "disk_forecast", "host_restart", "k8s_health", "k8s_pod_restart", "memory_leak",
         "mysql_performance", "rum_errors", "rum_performance"]


def once(p):
    done = p.once("--json", timeout=120)
    runs = {run["id"]: run for run in done.json()}
    assert sorted(runs) == [f"workspace/{name}.run" for name in NAMES], done
    return runs


def test_healthy_broken_healed():
    """all ten say nothing of a healthy workspace, report a broken one, and recover; without data they fail"""
    with shop() as (p, platform):
        install(p, "workspace")
        world = {"broken": False}
        platform.data = lambda query: answer(query, world["broken"])
        for name, run in once(p).items():
            assert run["outcome"] == "ok", (name, run)
        assert p.events() == [], p.events()

        world["broken"] = True
        for _ in range(2):  # RUM performance waits for the second look
            for name, run in once(p).items():
                assert run["outcome"] == "ok", (name, run)
        bad = [e for e in p.events() if e["status"] != "ok"]
        of = {e["id"] for e in bad}
        assert of == {f"workspace/{name}.run" for name in NAMES}, (sorted(of), json.dumps(bad)[:2000])

        platform.data = lambda query: None
        failed = {name for name, run in once(p).items() if run["outcome"] == "failed"}
        assert failed == {f"workspace/{name}.run" for name in NAMES if not name.endswith("_errors")}, failed
        quiet = [e for e in p.events() if e["status"] == "ok"]
        assert {e["id"] for e in quiet} <= {"workspace/apm_errors.run", "workspace/rum_errors.run"}, quiet

        world["broken"] = False
        platform.data = lambda query: answer(query, False)
        for _ in range(2):
            once(p)
        # Each open problem, the runner's own events of the failed runs aside, has its recovery.
        last = {}
        for e in sorted(p.events("-n", "1000"), key=lambda e: e["event_id"]):
            last[e["id"], json.dumps(e["dimension_tags"], sort_keys=True)] = e["status"]
        assert len(last) >= 12 and set(last.values()) == {"ok"}, last
        platform.check()


SEED = '''monitor{{ title = "seed" }}
function run()
  local store, time, host = require "selfmon.store", require "selfmon.time", require "selfmon.host"
  for _, disk in ipairs(assert(host.disks())) do
    local history = {{ size = disk.size, t = {{}}, p = {{}} }}
    local now = math.floor(time.now())
    for i = 1, 40 do
      history.t[i], history.p[i] = now - (41 - i) * 900, {percent}
    end
    assert(store.set("disk:" .. disk.mount, history))
  end
end
'''


def test_local_disk():
    """a real disk with a history that leads to the limit is reported, and recovers when the history does not"""
    with project() as p:
        install(p)
        target = p.dir / "inspections" / "host" / "disk_forecast.lua"
        target.parent.mkdir()
        source = (ROOT / "inspections" / "host" / "disk_forecast.lua").read_text()
        # The limit is put 20 points above what is used; a rise of 1 point a quarter of an hour reaches it in 5 hours.
        stat = os.statvfs("/")
        used = 100 * (stat.f_blocks - stat.f_bfree) / (stat.f_blocks - stat.f_bfree + stat.f_bavail)

        def run(percent):
            target.write_text(SEED.format(percent=percent))
            assert p.once("--json").json()[0]["outcome"] == "ok"
            target.write_text(source)
            done = p.once("-p", f"host/disk_forecast.run:limit={min(100, used + 20):.1f}", "--json")
            assert done.json()[0]["outcome"] == "ok", done

        run("disk.percent")
        assert p.events() == [], p.events()
        run("disk.percent - (41 - i)")
        root = [e for e in p.events() if e["dimension_tags"]["mount"] == "/"]
        assert len(root) == 1 and root[0]["status"] == "critical", p.events()
        assert "is full in" in root[0]["title"] and "points a day" in root[0]["message"], root
        run("disk.percent")
        states = {e["dimension_tags"]["mount"]: e["status"] for e in sorted(p.events(), key=lambda e: e["event_id"])}
        assert states["/"] == "ok" and set(states.values()) == {"ok"}, p.events()


run_all(globals())
