/* json: jansson behind our limits. Values are jansson's `json_t *`; its reference rules hold
 * (a "new" reference is the caller's to json_decref).
 *
 * Parsing is strict: UTF-8, no duplicate keys, no NaN, at most max bytes, at most 64 levels, any
 * value at the top. Dumping is compact, UTF-8, keys sorted, reals with %.17g.
 */
#pragma once
#include "base/err.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SM_JSON_DEPTH = 64 };

/* *out is a new reference. SM_INVALID names line and column; SM_LIMIT when too long or deep. */
sm_rc sm_json_parse(const char *text, size_t n, size_t max, json_t **out, sm_err *err);
/* malloc'd NUL-terminated text; never NULL. len may be NULL. */
char *sm_json_dump(const json_t *j, size_t *len);
/* As sm_json_dump, indented by two blanks: what `--json` prints. */
char *sm_json_pretty(const json_t *j, size_t *len);

/* Borrowed readers of object members, with a default when absent, null or of another type; a
 * string that holds a NUL counts as another type (read it with json_string_length). */
const char *sm_json_str(const json_t *obj, const char *key, const char *def);
int64_t sm_json_int(const json_t *obj, const char *key, int64_t def); /* also integral reals */
double sm_json_num(const json_t *obj, const char *key, double def);   /* integer or real */
bool sm_json_bool(const json_t *obj, const char *key, bool def);
/* Adds one to the integer member `name` of an object of counts; absent counts as 0. */
void sm_json_count(json_t *counts, const char *name);
/* String from bytes that may be bad UTF-8 (repaired). New reference, never NULL. */
json_t *sm_json_text(const char *p, size_t n);
