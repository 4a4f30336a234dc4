/* failure_event: see failure_event.h. What a script said is shown as code: it is not Markdown of
 * ours, and it is masked. Called by failures.
 */
#include "daemon/failure_event.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/rand.h"
#include "base/secret.h"
#include "base/str.h"
#include "platform/event.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_MAX = 4000, MESSAGE_MAX = 16 << 10 };

/* "inspections/demo/x.lua:14" of a sentence that begins or goes on with it; n = 0: none. */
static const char *place_of(const char *sentence, size_t *n) {
    *n = 0;
    for (const char *p = sentence; p && (p = strstr(p, ".lua:")); p++) {
        size_t digits = strspn(p + 5, "0123456789");
        const char *begin = p;
        while (begin > sentence && !strchr(" '\"(`", begin[-1]))
            begin--;
        if (digits > 0 && begin < p) {
            *n = (size_t)(p - begin) + 5 + digits;
            return begin;
        }
    }
    return NULL;
}

/* A masked copy, one line, without what would end a code block. */
static char *quiet(const char *text, size_t max) {
    size_t n;
    char *masked = sm_mask(text, strlen(text), &n);
    char *shown = sm_str_printable(masked, n, max);
    for (char *p = shown; (p = strchr(p, '`'));)
        *p = '\'';
    free(masked);
    return shown;
}

static void add_length(sm_buf *b, int64_t ns) {
    int64_t s = ns / SM_NS_PER_S;
    if (s < 120)
        sm_buf_addf(b, "%lld s", (long long)(s < 0 ? 0 : s));
    else if (s < 7200)
        sm_buf_addf(b, "%lld min", (long long)(s / 60));
    else
        sm_buf_addf(b, "%lld h", (long long)(s / 3600));
}

static char *message_of(const sm_failure_told *t) {
    sm_buf b;
    char since[32];
    size_t n;
    char *sentence = t->sentence ? quiet(t->sentence, SENTENCE_MAX) : NULL;
    const char *place = sentence ? place_of(sentence, &n) : NULL;
    sm_time_rfc3339(t->since_ns, false, since);
    sm_buf_init(&b, MESSAGE_MAX);
    if (!t->outcome) {
        sm_buf_addf(&b, "`%s` %s. It had not run well since %s (", t->id,
                    sentence ? sentence : "runs again", since);
        add_length(&b, t->now_ns - t->since_ns);
        sm_buf_adds(&b, ").");
    } else if (strcmp(t->outcome, "load_error") == 0) {
        sm_buf_addf(&b, "The script of `%s` does not load%s.", t->id,
                    t->stale ? "; its last good version keeps running" : "");
    } else {
        sm_buf_addf(&b, "`%s` ended as **%s**. What it inspects is not known until it runs again.",
                    t->id, t->outcome);
    }
    if (t->outcome && sentence)
        sm_buf_addf(&b, "\n\n```\n%s\n```", sentence);
    if (t->outcome) {
        sm_buf_addf(&b, "\n\n- Since: %s", since);
        if (place)
            sm_buf_addf(&b, "\n- Line: `%.*s`", (int)n, place);
        if (t->run[0])
            sm_buf_addf(&b, "\n- Run: `%s`", t->run);
    }
    free(sentence);
    return sm_buf_take(&b, NULL);
}

json_t *sm_failure_event(const sm_failure_told *t) {
    char id[33], event_id[40], title[1024 + 64];
    json_t *event = NULL;
    sm_err err = SM_ERR_INIT;
    size_t len = strlen(t->title), cut = len;
    /* 256 characters with what stands before it. */
    for (size_t at = 0, chars = 0; at < len; chars++) {
        size_t step = sm_utf8_len(t->title + at, len - at);
        if (chars == 225) {
            cut = at;
            break;
        }
        at += step ? step : 1;
    }
    snprintf(title, sizeof title, "Inspection %s: %.*s", t->outcome ? "does not run" : "runs again",
             (int)cut, t->title);
    char *message = message_of(t);
    json_t *raw =
        json_pack("{s:o, s:o, s:s, s:{s:s}}", "title", sm_json_text(title, strlen(title)),
                  "message", sm_json_text(message, strlen(message)), "status",
                  t->outcome ? "error" : "ok", "dimension_tags", "selfmon_function", t->function);
    free(message);
    if (sm_event_check_json(raw, 1, &event, NULL, &err) != SM_OK) {
        json_decref(event);
        event = json_incref(raw); /* the store takes it; the sentence of `err` helps nobody */
    }
    json_decref(raw);
    sm_id_new(t->now_ns, id);
    snprintf(event_id, sizeof event_id, "event-%s", id);
    char *dimension = sm_event_dimension(json_object_get(event, "dimension_tags"));
    json_object_set_new(event, "event_id", json_string(event_id));
    json_object_set_new(event, "at_ns", json_integer(t->now_ns));
    json_object_set_new(event, "dimension", json_string(dimension));
    free(dimension);
    return event;
}
