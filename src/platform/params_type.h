/* params_type: what a value of a parameter type is: conversion, rule, words for sentences. Inner
 * header of the params rooms. A `decl` is one item of a schema (params.h). */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>

typedef enum sm_ptype {
    SM_P_STRING,
    SM_P_NUMBER,
    SM_P_INTEGER,
    SM_P_BOOLEAN,
    SM_P_LIST,
    SM_P_TABLE,
    SM_P_DURATION,
    SM_P_ANY,
    SM_P_UNKNOWN
} sm_ptype;

sm_ptype sm_ptype_parse(const char *name); /* NULL or not known: SM_P_UNKNOWN */
const char *sm_ptype_name(sm_ptype t);
/* "text", "text, number, …" for sentences: names of all types. */
extern const char *const sm_ptype_names[8];

/* What a JSON value is in a sentence: `"x"`, 250, true, a list, a table. malloc'd, short. */
char *sm_ptype_shown(const json_t *v);
/* The rule of a declaration in words: "a number from 0 to 100", "one of fast, full". malloc'd. */
char *sm_ptype_rule(const json_t *decl);
/* Converts what a form, a configuration or a script gave to what the script sees. SM_OK and a new
 * reference; SM_NOT_FOUND: no value (null, or an empty text for a non-string); SM_INVALID: does not
 * convert or breaks min, max or enum; err->msg is then only "expected RULE, got VALUE". */
sm_rc sm_ptype_convert(const json_t *decl, const json_t *v, json_t **out, sm_err *err);
/* Is v of the type as a script would write it (no conversion)? A duration may be number or text.
 * An empty array is also an empty table and the other way round. */
bool sm_ptype_is(sm_ptype t, const json_t *v);
/* Number of seconds of a duration, or the number itself; false when it is neither. */
bool sm_ptype_number(sm_ptype t, const json_t *v, double *out);
