"""What a key event of a self-built inspection must carry, judged point by point.

check() returns the list of everything that is wrong with a point; an empty list is a good event.
"""
import hashlib
import json
import re
import time

TAGS = {"df_source", "df_monitor_type", "df_status", "df_monitor_checker_id", "df_monitor_ref_key",
        "df_event_id", "df_monitor_checker_event_ref"}
IDENTITY = {"df_monitor_checker_id", "df_monitor_ref_key", "df_monitor_checker_event_ref"}
TEXTS = {"df_title", "df_message", "df_dimension_tags", "df_monitor_checker_name", "df_monitor_checker",
         "df_monitor_checker_sub", "df_exec_mode", "df_fault_status"}
NUMBERS = {"df_date_range"}
FAULT_NUMBERS = {"df_fault_start_time", "df_fault_duration", "df_issue_start_time", "df_issue_duration"}
STATUSES = ("ok", "info", "warning", "error", "critical")
EVENT_ID = re.compile(r"event-[0-9a-f]{32}\Z")


def normal(text):
    """A tag key or value as line protocol carries it: white space is a space, no backslash ends it, and none
    stands before a space (the public serialiser leaves that one, and InfluxDB's reader then loses the line)."""
    return re.sub(r"\\+(?= |\Z)", "", re.sub(r"\s", " ", text))


def event_ref(uuid, dimension):
    return hashlib.sha256(f"{uuid}\n{dimension}".encode()).hexdigest()[:32]


def dimension_of(text, wrong):
    try:
        tags = json.loads(text)
    except (TypeError, ValueError):
        tags = None
    if not isinstance(tags, dict) or not all(isinstance(v, str) for v in tags.values()):
        wrong.append(f"df_dimension_tags is no object of texts: {text!r}")
        return {}
    if list(tags) != sorted(tags):
        wrong.append(f"df_dimension_tags is not sorted: {text}")
    return tags


def check_dimension(point, tags, wrong):
    expected = {normal(k): normal(v) for k, v in tags.items()}
    expected = {k: v for k, v in expected.items() if k and v}
    for key, value in expected.items():
        got = point.tags.get(key)
        if got is None:
            wrong.append(f"dimension tag {key!r} is no tag of the event")
        elif got != value and not (len(value.encode()) > 1024 and value.startswith(got)):
            wrong.append(f"dimension tag {key!r} is {got!r}, expected {value!r}")
    for key in set(point.tags) - TAGS - set(expected):
        wrong.append(f"unknown tag {key!r}")


def check_identity(point, known, wrong):
    """known(ref_key) gives every row (living or deleted) that ever had the association key."""
    tags, fields = point.tags, point.fields
    rows = known(tags.get("df_monitor_ref_key"))
    if not rows:
        wrong.append(f"no inspection has the association key {tags.get('df_monitor_ref_key')!r}")
    elif tags.get("df_monitor_checker_id") not in [row["uuid"] for row in rows]:
        wrong.append(f"df_monitor_checker_id {tags.get('df_monitor_checker_id')!r} is not that of its key")
    ref = event_ref(tags.get("df_monitor_checker_id"), fields.get("df_dimension_tags"))
    if tags.get("df_monitor_checker_event_ref") != ref:
        wrong.append(f"df_monitor_checker_event_ref is {tags.get('df_monitor_checker_event_ref')!r}, not {ref}")


def check_fields(fields, status, wrong):
    fault = status != "ok"
    needed = TEXTS | NUMBERS | (FAULT_NUMBERS | {"df_fault_id"} if fault else set())
    for key in sorted(needed - set(fields)):
        wrong.append(f"field {key} is missing")
    for key, value in fields.items():
        if key in TEXTS | {"df_fault_id"}:
            fits = isinstance(value, str)
        elif key in NUMBERS | FAULT_NUMBERS:
            fits = type(value) is int and value >= 0
        else:
            wrong.append(f"unknown field {key!r}")
            continue
        if not fits:
            wrong.append(f"field {key} is {value!r}")
    fixed = {"df_monitor_checker": "self_hosted_monitor", "df_monitor_checker_sub": "check",
             "df_fault_status": "fault" if fault else "ok"}
    for key, value in fixed.items():
        if fields.get(key) != value:
            wrong.append(f"{key} is {fields.get(key)!r}, expected {value!r}")
    if fields.get("df_exec_mode") not in ("crontab", "async", "manual"):
        wrong.append(f"df_exec_mode is {fields.get('df_exec_mode')!r}")
    title = fields.get("df_title")
    if not title or not isinstance(title, str) or "\n" in title or len(title) > 256:
        wrong.append(f"df_title is {title!r}")
    if "df_fault_id" in fields and not EVENT_ID.match(str(fields["df_fault_id"])):
        wrong.append(f"df_fault_id is {fields['df_fault_id']!r}")
    now = time.time()
    for key in FAULT_NUMBERS & set(fields):
        if key.endswith("_time") and not 0 < fields[key] <= now + 2:
            wrong.append(f"{key} is {fields[key]!r}: no time in seconds")


def check(point, known, marked=False):
    """Everything that is wrong with a point. `marked`: an event of no inspection is fine, too."""
    wrong, tags = [], point.tags
    alone = marked and not IDENTITY & set(tags)
    if point.measurement != "monitor":
        wrong.append(f"measurement {point.measurement!r}")
    for key in sorted(TAGS - set(tags) - (IDENTITY if alone else set())):
        wrong.append(f"tag {key} is missing")
    if tags.get("df_source") != "monitor" or tags.get("df_monitor_type") != "bot_obs":
        wrong.append("df_source or df_monitor_type is wrong")
    if tags.get("df_status") not in STATUSES:
        wrong.append(f"df_status {tags.get('df_status')!r}")
    if not EVENT_ID.match(tags.get("df_event_id", "")):
        wrong.append(f"df_event_id {tags.get('df_event_id')!r}")
    if abs(point.time - time.time_ns()) > 2 * 86400 * 10**9:
        wrong.append(f"timestamp {point.time} is not of these days")
    check_fields(point.fields, tags.get("df_status"), wrong)
    check_dimension(point, dimension_of(point.fields.get("df_dimension_tags"), wrong), wrong)
    if not alone:
        check_identity(point, known, wrong)
    return wrong
