/* windows: see windows.h. A window is open from each instant of its cron expression for its
 * duration; the state of each is kept for the second it was asked for, so that a thousand events a
 * second cost one look.
 */
#include "daemon/windows.h"
#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "schedule/cron.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct window {
    char *match, *reason;
    sm_cron *cron;
    sm_tz *tz;
    int64_t duration_s;
    int64_t looked_s; /* when it was looked at last */
    int64_t until_s;  /* it is open until then; 0: closed */
} window;

struct sm_windows {
    window *p;
    size_t n;
    char text[512];
};

static void window_fini(window *w) {
    sm_cron_free(w->cron);
    sm_tz_free(w->tz);
    free(w->match);
    free(w->reason);
}

static sm_rc window_read(const json_t *v, const char *timezone, window *w, sm_err *err) {
    const char *zone = sm_json_str(v, "timezone", timezone);
    const json_t *duration = json_object_get(v, "duration");
    double seconds = json_is_number(duration) ? json_number_value(duration) : 0;
    *w = (window){.match = sm_strdup(sm_json_str(v, "match", "**")),
                  .reason = sm_strdup(sm_json_str(v, "reason", "")),
                  .looked_s = INT64_MIN};
    sm_rc rc = sm_cron_parse(sm_json_str(v, "cron", ""), NULL, false, &w->cron, err);
    if (rc == SM_OK && zone && strcmp(zone, "UTC") != 0)
        rc = sm_tz_load(NULL, zone, &w->tz, err);
    if (rc == SM_OK && json_is_string(duration))
        rc = sm_duration_parse(json_string_value(duration), &seconds, err);
    w->duration_s = (int64_t)seconds;
    return rc;
}

sm_windows *sm_windows_new(const json_t *maintenance, const char *timezone) {
    sm_windows *w = sm_calloc(1, sizeof *w);
    size_t i;
    json_t *v;
    w->p = sm_calloc(json_array_size(maintenance) + 1, sizeof *w->p);
    json_array_foreach(maintenance, i, v) {
        sm_err err = SM_ERR_INIT;
        if (window_read(v, timezone, &w->p[w->n], &err) == SM_OK) {
            w->n++;
        } else {
            sm_log(SM_LOG_ERROR, "maintenance.%zu has no effect: %s", i + 1, err.msg);
            window_fini(&w->p[w->n]);
        }
    }
    return w;
}

static bool open_at(window *w, int64_t now_s) {
    if (w->looked_s != now_s) {
        int64_t began;
        bool any = sm_cron_prev(w->cron, w->tz, now_s, &began);
        w->until_s = any && now_s < began + w->duration_s ? began + w->duration_s : 0;
        w->looked_s = now_s;
    }
    return w->until_s > 0;
}

const char *sm_windows_hold(sm_windows *w, const char *id, int64_t now_s) {
    for (size_t i = 0; i < w->n; i++) {
        window *one = &w->p[i];
        char until[32];
        if (!sm_str_glob(one->match, id) || !open_at(one, now_s))
            continue;
        sm_time_rfc3339(one->until_s * 1000000000LL, false, until);
        snprintf(w->text, sizeof w->text, "maintenance until %s%s%.300s", until,
                 one->reason[0] ? ": " : "", one->reason);
        return w->text;
    }
    return NULL;
}

bool sm_windows_any(const sm_windows *w) {
    return w->n > 0;
}

void sm_windows_free(sm_windows *w) {
    if (!w)
        return;
    for (size_t i = 0; i < w->n; i++)
        window_fini(&w->p[i]);
    free(w->p);
    free(w);
}
