/* spec: what a worker says an inspection is (docs/internals/frames.md), checked as from a stranger.
 * Pure. */
#pragma once
#include "base/err.h"
#include "base/json.h"

enum { SM_SPECS_MAX = 1000 }; /* inspections in one file */

/* Checks one spec. *out: new reference with only the known members, each of its type and size.
 * SM_INVALID names the member; a true worker never causes it. */
sm_rc sm_spec_check(const json_t *spec, json_t **out, sm_err *err);
