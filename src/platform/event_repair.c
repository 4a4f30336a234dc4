/* event_repair: repairs what scripts read from the world: known secrets, bad UTF-8, control bytes,
 * over-long or empty texts (script-api 4, "The world's data is repaired").
 *
 * Each repair leaves one sentence for the run log. The result of a repair needs no further repair,
 * so that the daemon's second check changes nothing. Called by event.c only; any thread.
 */
#include "platform/event_repair.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "platform/event.h"
#include "platform/text.h"
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ellipsis[] = "\xe2\x80\xa6";
enum { ELLIPSIS_LEN = 3 };

void sm_event_note(json_t *notes, const char *path, const char *sentence) {
    if (!notes)
        return;
    char *s = sm_asprintf("%s: %s", path, sentence);
    json_array_append_new(notes, sm_json_text(s, strlen(s)));
    free(s);
}

static char *repair_utf8(const char *p, size_t n, const char *path, json_t *notes, size_t *len) {
    bool changed = false;
    char *masked = sm_mask_borrowed(&p, &n);
    char *s = sm_utf8_repair(p, n, len, &changed);
    if (masked)
        sm_event_note(notes, path, "a secret was masked");
    free(masked);
    if (changed)
        sm_event_note(notes, path, "invalid UTF-8 became U+FFFD");
    return s;
}

/* Replaces control bytes by spaces in place, a CRLF by one; `keep` are left alone. */
static size_t blank_controls(char *s, size_t n, const char *keep, bool *changed) {
    size_t used = 0;
    *changed = false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '\r' && i + 1 < n && s[i + 1] == '\n') {
            *changed = true;
            continue;
        }
        if ((c < 0x20 || c == 0x7f) && !(c != 0 && strchr(keep, c))) {
            *changed = true;
            s[used++] = ' ';
        } else {
            s[used++] = (char)c;
        }
    }
    s[used] = '\0';
    return used;
}

static char *replace(char *old, const char *with, size_t *len) {
    free(old);
    *len = strlen(with);
    return sm_strdup(with);
}

/* Cuts to at most max bytes, the closing "…" included. */
static char *cut_bytes(char *s, size_t max, const char *path, json_t *notes, size_t *len) {
    if (*len <= max)
        return s;
    char why[96];
    snprintf(why, sizeof why, "cut from %zu to %zu bytes", *len, max);
    sm_event_note(notes, path, why);
    size_t keep = sm_utf8_cut(s, *len, max - ELLIPSIS_LEN);
    memcpy(s + keep, ellipsis, ELLIPSIS_LEN + 1);
    *len = keep + ELLIPSIS_LEN;
    return s;
}

static char *cut_chars(char *s, size_t max, const char *path, json_t *notes, size_t *len) {
    size_t chars = sm_utf8_count(s, *len);
    if (chars <= max)
        return s;
    char why[96];
    snprintf(why, sizeof why, "cut from %zu to %zu characters", chars, max);
    sm_event_note(notes, path, why);
    size_t keep = 0;
    for (size_t i = 0; i + 1 < max; i++)
        keep += sm_utf8_len(s + keep, *len - keep);
    /* A new string, as "…" may be longer than the characters it stands for. */
    char *out = sm_malloc(keep + ELLIPSIS_LEN + 1);
    memcpy(out, s, keep);
    memcpy(out + keep, ellipsis, ELLIPSIS_LEN + 1);
    free(s);
    *len = keep + ELLIPSIS_LEN;
    return out;
}

static bool is_blank(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (s[i] != ' ')
            return false;
    return true;
}

char *sm_event_repair_title(const char *p, size_t n, const char *path, json_t *notes, size_t *len) {
    bool changed;
    char *s = repair_utf8(p, n, path, notes, len);
    *len = blank_controls(s, *len, "", &changed);
    if (changed)
        sm_event_note(notes, path, "line breaks and control bytes became spaces");
    if (is_blank(s, *len)) {
        sm_event_note(notes, path, "empty; sent as (no title)");
        return replace(s, "(no title)", len);
    }
    return cut_chars(s, SM_EVENT_TITLE_CHARS, path, notes, len);
}

char *sm_event_repair_message(const char *p, size_t n, bool clean, const char *path, json_t *notes,
                              size_t *len) {
    bool changed, crlf = memmem(p, n, "\r\n", 2) != NULL;
    char *s = repair_utf8(p, n, path, notes, len);
    *len = blank_controls(s, *len, "\n\t", &changed);
    if (changed && !crlf)
        sm_event_note(notes, path, "control bytes became spaces");
    if (clean) {
        char *cleaned = sm_text_clean(s, *len, len);
        free(s);
        s = cleaned;
    }
    if (*len == 0) {
        sm_event_note(notes, path, "empty; sent as (no message)");
        return replace(s, "(no message)", len);
    }
    return cut_bytes(s, SM_EVENT_MESSAGE_BYTES, path, notes, len);
}

char *sm_event_repair_tag(const char *p, size_t n, const char *path, json_t *notes, size_t *len) {
    bool changed;
    char *s = repair_utf8(p, n, path, notes, len);
    *len = blank_controls(s, *len, "", &changed);
    if (changed)
        sm_event_note(notes, path, "line breaks and control bytes became spaces");
    if (*len == 0)
        sm_event_note(notes, path, "left out, as its value is empty");
    return cut_bytes(s, SM_EVENT_TAG_VALUE_BYTES, path, notes, len);
}

char *sm_event_repair_key(const char *p, size_t n, const char *path, json_t *notes, size_t *len) {
    return repair_utf8(p, n, path, notes, len);
}

void sm_event_number(double x, char out[40]) {
    /* Below 2^63 an integral float reads like the integer it is; beyond, digits would be noise. */
    if (fabs(x) < 0x1p63 && floor(x) == x) {
        snprintf(out, 40, "%lld", (long long)x);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, x);
        double back = strtod(out, NULL);
        if (!(back < x) && !(back > x))
            return;
    }
}
