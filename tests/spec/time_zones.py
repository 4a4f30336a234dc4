#!/usr/bin/python3
"""What Python's zoneinfo says of instants and local times around the changes of clocks, for time_zones_spec.lua.

Lines: "p <zone> <local time> <instant>" (a local time that occurs twice is the first, one that does not exist moves on
by the gap) and "f <zone> <instant> <ISO 8601> <abbreviation> <day of year> <ISO year>-<ISO week>-<weekday>"."""
import datetime as dt
import random
import zoneinfo

ZONES = """Europe/Berlin Europe/London Europe/Dublin America/New_York America/St_Johns America/Sao_Paulo America/Caracas
Asia/Kolkata Asia/Kathmandu Asia/Tehran Asia/Shanghai Asia/Pyongyang Australia/Lord_Howe Australia/Eucla
Pacific/Apia Pacific/Kiritimati Pacific/Chatham Africa/Casablanca Africa/Monrovia Antarctica/Troll UTC
America/Nuuk Asia/Gaza""".split()
UTC = dt.timezone.utc
EPOCH = dt.datetime(1970, 1, 1, tzinfo=UTC)
random.seed(20260905)


def at(zone, second):
    return (EPOCH + dt.timedelta(seconds=second)).astimezone(zone)


def changes(zone):
    """Instants of the first second of each new offset, 1971 to 2037."""
    found, step = [], 86400 * 5
    for low in range(365 * 86400, 2145916800, step):
        high = low + step
        if at(zone, low).utcoffset() == at(zone, high).utcoffset():
            continue
        a, b = low, high
        while b - a > 1:
            middle = (a + b) // 2
            a, b = (middle, b) if at(zone, middle).utcoffset() == at(zone, a).utcoffset() else (a, middle)
        found.append(b)
    return found


for name in ZONES:
    zone = zoneinfo.ZoneInfo(name)
    instants = changes(zone)
    random.shuffle(instants)
    moments = [random.randrange(-10**9, 4 * 10**9) for _ in range(20)]
    for change in instants[:25]:
        moments += [change - 1, change, change + 1]
        before, after = at(zone, change - 1).replace(tzinfo=None), at(zone, change).replace(tzinfo=None)
        for base in (before, after):
            for delta in (-5400, -3600, -1800, -1, 0, 1, 900, 1800, 3599, 3600, 5400):
                local = base + dt.timedelta(seconds=delta)
                instant = (local - local.replace(tzinfo=zone, fold=0).utcoffset() - EPOCH.replace(tzinfo=None)).total_seconds()
                print("p", name, local.isoformat(), int(instant))
    for second in moments:
        local = at(zone, second)
        offset = local.utcoffset().total_seconds()
        if offset % 60 == 0:
            text = local.isoformat().replace("+00:00", "Z")
            year, week, day = local.isocalendar()
            print("f", name, second, text, local.tzname(), local.strftime("%j"), f"{year:04}-{week:02}-{day}")
