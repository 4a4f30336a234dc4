/* keyevent: one event of the outbox as a key event of the platform (platform.md, "Events"; fields
 * in platform-facts 3.2, 3.4). Pure. */
#pragma once
#include "base/buf.h"
#include "base/json.h"

/* payload: an outbox payload (store/store.h, EVENTS_ACCEPT; the event under `event`). Appends its
 * line: measurement `monitor`, tags, fields, timestamp. A dimension tag that has the name of one of
 * ours keeps ours. Optional members: event.fault_id and event.fault_start_ns (else a problem begins
 * its own fault, and an `ok` has none), exec_mode (else "crontab"), date_range in seconds (else 0).
 * SM_INVALID: no event_id, title, message, status or time. */
sm_rc sm_keyevent_line(sm_buf *out, const json_t *payload, sm_err *err);
/* df_monitor_checker_event_ref: first 32 hex of SHA-256(checker uuid, "\n", dimension). */
void sm_keyevent_ref(const char *checker, const char *dimension, char out[33]);
/* {title,message,status,dimension_tags} for `report_event` (2.7). New reference. */
json_t *sm_keyevent_report(const json_t *payload);
