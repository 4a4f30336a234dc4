/* params: parameters of an inspection (script-api 3): declared, converted, checked, merged. Pure.
 *
 * A schema is a JSON array in registered order (order, then name in byte order) of
 * {"name","type","default"?,"required"?,"min"?,"max"?,"enum"?,"items"?,"order"?,"doc"?};
 * default is as written (a duration stays text).
 */
#pragma once
#include "base/err.h"
#include "base/json.h"

/* From the script's `params` table as JSON object (an empty Lua table may come as [] or {}), by
 * example or in full. SM_INVALID: `params.threshold.min: expected a number, got "x"`. */
sm_rc sm_params_declare(const json_t *table, json_t **schema, sm_err *err);

/* Merges script default < conf < platform < override (each an object or NULL). *values: new object
 * with the script's values (durations as seconds, integers as integers). notes: array that gets a
 * sentence per ignored unknown parameter (may be NULL). SM_INVALID is `bad_params`:
 * `parameter threshold: expected a number from 0 to 100, got 250 (set on the platform)`. */
sm_rc sm_params_resolve(const json_t *schema, const json_t *conf, const json_t *platform,
                        const json_t *override, json_t **values, json_t *notes, sm_err *err);
