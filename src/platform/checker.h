/* checker: what is registered on a platform for one inspection (platform.md, "Registration").
 * Pure: builds and compares payloads; who sends them is the daemon's business. */
#pragma once
#include "base/json.h"
#include <stdbool.h>

/* {"refKey","title","refFuncInfo":{"funcId","description","definition","category","args","kwargs"}}
 * description = doc plus one list line per documented parameter after a blank line; definition =
 * `run(max_ms=800, url='https://…')` with Python literals. New reference. */
json_t *sm_checker_payload(const char *function_id, const char *ref_key, const char *title,
                           const char *doc, const char *category, const json_t *schema);
/* The item of this association key in what the platform lists; of several the oldest (two
 * simultaneous creations can make two). Borrowed; NULL when there is none. */
const json_t *sm_checker_find(const json_t *items, const char *ref_key);
/* Does what the platform shows (an item of its list: title, jsonScript.refFuncInfo) differ from
 * the payload? funcId is not compared (it cannot be changed). */
bool sm_checker_differs(const json_t *payload, const json_t *item);
/* Python literal of a JSON value, as in a definition: 'text', True, None, [1, 2], {'a': 1}. */
char *sm_checker_python(const json_t *v);
