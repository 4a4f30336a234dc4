/* event_repair: the world's data in an event is repaired, never a reason to lose an alarm. Inner
 * header of event.c. Every function returns malloc'd valid UTF-8 and appends one sentence per
 * repair, beginning with `path`, to notes (NULL: silent). */
#pragma once
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>

/* Appends "PATH: sentence". */
void sm_event_note(json_t *notes, const char *path, const char *sentence);
char *sm_event_repair_title(const char *p, size_t n, const char *path, json_t *notes, size_t *len);
/* clean: also removes the author's margin (script-api 1.4); not for text that was cleaned before,
 * as cleaning twice may take a second margin. */
char *sm_event_repair_message(const char *p, size_t n, bool clean, const char *path, json_t *notes,
                              size_t *len);
/* "" when the tag is to be left out. */
char *sm_event_repair_tag(const char *p, size_t n, const char *path, json_t *notes, size_t *len);
/* Only UTF-8; what else is wrong with a key is the author's mistake. */
char *sm_event_repair_key(const char *p, size_t n, const char *path, json_t *notes, size_t *len);
/* A number as tag text: integral without ".0", else the shortest text that reads back the same. */
void sm_event_number(double x, char out[40]);
