#!/usr/bin/python3
"""Makes golden.json: what numpy, scipy and the statistics module say of lists, for stats_spec.lua.

Run with Debian's python3-numpy and python3-scipy; the file is committed, so that the specs need neither.
null is a missing point."""
import json
import math
import pathlib
import statistics

import numpy as np
from scipy import stats

rng = np.random.default_rng(20260901)


def rounded(values, digits=6):
    return [round(float(v), digits) for v in values]


n = 60
LISTS = {
    "one": [4.25],
    "two": [1, 2],
    "small": [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5],
    "even": [10, -2.5, 7, 7],
    "constant": [7.5] * 20,
    "offset": [1e9 + x for x in (4, 7, 13, 16)],
    "far": [1e15 + x for x in (1, 2, 3, 4, 5, 6)],
    "tiny": [1e-300, 2e-300, 3e-300],
    "huge": [1.5e308, 1.6e308, 1.2e308],
    "cancel": [1e16, 1, -1e16, 3],
    "negative": [-5, -1, -3, -2, -4],
    "normal": rounded(rng.normal(50, 10, 200)),
    "spiky": rounded(np.where(np.arange(n) % 17 == 5, 400, rng.normal(20, 2, n))),
    "rising": rounded(3 + 0.5 * np.arange(n) + rng.normal(0, 2, n)),
    "falling": rounded(900 - 4.2 * np.arange(n) + rng.normal(0, 5, n)),
    "cauchy": rounded(rng.standard_cauchy(101)),
    "integers": [int(v) for v in rng.integers(0, 5, 100)],
    "step": rounded(np.concatenate([rng.normal(10, 1, 40), rng.normal(13, 1, 30)])),
    "gaps": [None if i % 7 == 3 else round(2 + 0.25 * i + (i % 3) * 0.5, 4) for i in range(50)],
    "long": [((i * 7919) % 10007) / 7 for i in range(20000)],
}


def describe(name, values):
    clean = [v for v in values if v is not None]
    a = np.array(clean, dtype=float)
    out = {"mean": float(statistics.mean(map(float, clean))) if name != "huge" else float(np.mean(a / 4) * 4),
           "median": float(np.median(a)) if name != "huge" else 1.5e308,
           "quantile": [float(q) for q in np.quantile(a, [0, 0.05, 0.25, 0.5, 0.9, 0.99, 1])],
           "mad": float(stats.median_abs_deviation(a)),
           "iqr_outliers": []}
    if len(clean) >= 2 and name not in ("huge",):
        out["stdev"] = statistics.stdev(map(float, clean))
        out["pstdev"] = statistics.pstdev(map(float, clean))
    if len(clean) >= 4 and name != "huge":
        low, high = np.quantile(a, [0.25, 0.75])
        out["iqr_outliers"] = [i + 1 for i, v in enumerate(values)
                               if v is not None and (v < low - 1.5 * (high - low) or v > high + 1.5 * (high - low))]
        med, mad = np.median(a), stats.median_abs_deviation(a, scale="normal")
        if mad == 0:
            mad = np.mean(np.abs(a - med)) * math.sqrt(math.pi / 2)
        out["mad_outliers"] = [i + 1 for i, v in enumerate(values) if v is not None and mad and abs(v - med) / mad > 3.5]
        if np.std(a):
            out["zscore"] = [float(z) for z in stats.zscore(a, ddof=1)[:50]]
    return out


def ewma(values, alpha):
    last, out = None, []
    for v in values:
        last = v if last is None else (last if v is None else alpha * v + (1 - alpha) * last)
        out.append(last)
    return [v if v is not None else next(w for w in values if w is not None) for v in out]


def line(values, times=None):
    y = np.array([math.nan if v is None else v for v in values], dtype=float)
    x = np.arange(1, len(values) + 1, dtype=float) if times is None else np.array(times, dtype=float)
    keep = ~np.isnan(y)
    x, y = x[keep], y[keep]
    fit, robust, size = stats.linregress(x, y), stats.theilslopes(y, x), len(x)
    rest = y - (fit.intercept + fit.slope * x)
    s = math.sqrt(np.sum(rest ** 2) / (size - 2))
    t = stats.t.ppf(0.975, size - 2)
    at = x[-1] + 10 * (x[-1] - x[0]) / (size - 1)
    margin = t * s * math.sqrt(1 + 1 / size + (at - x.mean()) ** 2 / np.sum((x - x.mean()) ** 2))
    value = fit.intercept + fit.slope * at
    rest = y - (robust.intercept + robust.slope * x)
    return {"times": None if times is None else [float(v) for v in times], "slope": fit.slope,
            "intercept": fit.intercept, "r2": fit.rvalue ** 2, "robust_slope": robust.slope,
            "robust_intercept": robust.intercept, "robust_stdev": stats.median_abs_deviation(rest, scale="normal"),
            "at": float(at), "value": value, "low": value - margin, "high": value + margin, "stdev": s}


def cut(values, least=5):
    """The place with the greatest t of the ranks, and its p corrected for places tried and neighbours alike."""
    r = stats.rankdata(values)
    size = len(r)
    places = range(least, size - least + 1)
    found = [stats.ttest_ind(r[:k], r[k:]).statistic for k in places]
    best = int(np.argmax(np.abs(found)))
    k = least + best
    rest = np.concatenate([r[:k] - r[:k].mean(), r[k:] - r[k:].mean()])
    rho = max(0.0, float(np.sum(rest[1:] * rest[:-1]) / np.sum(rest ** 2)))
    t = abs(found[best]) * math.sqrt((1 - rho) / (1 + rho))
    before, after = np.median(values[:k]), np.median(values[k:])
    costs = {c: sum(abs(v - before) for v in values[:c]) + sum(abs(v - after) for v in values[c:]) for c in places}
    return {"index": min(places, key=lambda c: (round(costs[c], 9), c)) + 1, "p": min(1.0, 2 * stats.t.sf(t, size - 2) * len(places))}


def season(period, count):
    i = np.arange(count)
    values = rounded(100 + 0.05 * i + 10 * np.sin(2 * np.pi * i / period) + rng.normal(0, 1, count))
    kernel = np.ones(period) / period if period % 2 else np.concatenate([[.5], np.ones(period - 1), [.5]]) / period
    half = period // 2
    trend = np.convolve(values, kernel, "valid")
    moved = np.array(values)[half:count - half] - trend
    pattern = np.array([moved[(np.arange(half, count - half) % period) == k].mean() for k in range(period)])
    return {"values": values, "period": period, "pattern": [float(v) for v in pattern - pattern.mean()],
            "trend": [float(v) for v in trend], "first": half + 1}


# "long" is made by the spec in the same way.
golden = {"lists": {name: v for name, v in LISTS.items() if name != "long"}, "figures": {name: describe(name, v) for name, v in LISTS.items()}}
golden["ewma"] = [{"list": name, "alpha": a, "values": ewma(LISTS[name], a)}
                  for name, a in (("small", 0.5), ("rising", 0.1), ("gaps", 0.3), ("constant", 1))]
epoch = [1790000000 + 300 * i for i in range(n)]
golden["lines"] = [dict(line(LISTS[name], times), list=name)
                   for name, times in (("rising", None), ("falling", None), ("spiky", None), ("gaps", None),
                                       ("small", None), ("rising", epoch), ("falling", epoch))]
golden["cuts"] = [dict(cut(LISTS[name]), list=name) for name in ("step", "rising", "normal", "cauchy")]
golden["seasons"] = [season(24, 240), season(7, 70), season(12, 60)]
golden["t"] = [{"confidence": c, "df": d, "t": stats.t.ppf((1 + c) / 2, d)}
               for c in (0.5, 0.9, 0.95, 0.99, 0.999) for d in (1, 2, 5, 30, 1000)]
path = pathlib.Path(__file__).with_name("golden.json")
path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")
