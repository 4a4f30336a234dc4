/* lineproto: points of line protocol exactly as the vendor's client writes them
 * (platform-facts 3.6), with the recommended deviations: a point without fields or measurement,
 * with nan or inf, or with an integer outside int64 is refused; empty tags are fine. And two more,
 * as a reader refuses such a line or loses its end: of names that are equal once normalised the
 * first in byte order is written, and a tag with the name of a field is left out; in names and tag
 * values, backslashes before a blank go as those at the end do. Pure. */
#pragma once
#include "base/buf.h"
#include "base/json.h"

/* Appends one line (no newline). tags: object name -> text (others by their JSON text; null
 * skipped); fields: object name -> text, number, boolean or list of one type; null skipped. time_ns
 * is written as it is. SM_INVALID names the field and the rule; nothing is appended then. */
sm_rc sm_lineproto_add(sm_buf *out, const char *measurement, const json_t *tags,
                       const json_t *fields, int64_t time_ns, sm_err *err);
