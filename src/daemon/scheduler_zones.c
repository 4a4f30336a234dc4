/* scheduler_zones: zone files that change while the process runs (an update of tzdata renames new
 * files over the old ones): the zones of the inspections that use them are read again and their
 * next slots computed anew. A file that is gone or is no zone file any more leaves the old rules.
 *
 * One stat an inspection with a zone, every 30 s. Each change is told once. Owned by the loop's
 * thread.
 */
#include "base/log.h"
#include "base/mem.h"
#include "base/clock.h"
#include "daemon/scheduler_parts.h"
#include <stdlib.h>
#include <string.h>

/* Logs the sentence unless it was the last one about this zone. */
static void tell(sm_scheduler *s, sm_level level, const char *zone, const char *sentence) {
    char *told = sm_map_get(&s->zones, zone);
    if (told && strcmp(told, sentence) == 0)
        return;
    free(told);
    sm_map_put(&s->zones, zone, sm_strdup(sentence));
    if (sentence[0])
        sm_log(level, "%s", sentence);
}

/* Reads the zone of p's inspection again; true when it has new rules. */
static bool read_again(sm_plan *p, sm_tz_state state) {
    sm_inspection *i = p->inspection;
    const char *zone = sm_tz_name(i->tz);
    sm_err err = SM_ERR_INIT;
    sm_tz *tz = NULL;
    char text[600];
    if (state == SM_TZ_GONE || sm_tz_load(NULL, zone, &tz, &err) != SM_OK) {
        snprintf(text, sizeof text, "time zone %s: %s %s; its old rules stay", zone,
                 sm_tz_path(i->tz), state == SM_TZ_GONE ? "is gone" : "is no zone file any more");
        tell(p->scheduler, SM_LOG_ERROR, zone, text);
        return false;
    }
    snprintf(text, sizeof text,
             "time zone %s: %s changed; the next slots of its schedules are computed again", zone,
             sm_tz_path(tz));
    tell(p->scheduler, SM_LOG_WARN, zone, text);
    sm_tz_free(i->tz);
    i->tz = tz;
    return true;
}

void sm_zones_look(sm_scheduler *s) {
    size_t pos = 0;
    int64_t now = s->clock->wall_ns(s->clock->ctx) / SM_NS_PER_S;
    for (sm_plan *p; (p = sm_map_next(&s->plans, &pos, NULL));) {
        sm_tz_state state = p->inspection ? sm_tz_look(p->inspection->tz) : SM_TZ_SAME;
        if (state == SM_TZ_SAME || !read_again(p, state))
            continue;
        /* What is due already stays. */
        if (!p->fresh && (p->slot == SM_NO_SLOT || p->slot > now))
            sm_plan_target(p, now > p->last_slot ? now : p->last_slot);
    }
    /* The next change of the same zone is told again. */
    const char *zone;
    char *told;
    pos = 0;
    while ((told = sm_map_next(&s->zones, &pos, &zone)))
        if (strstr(told, " changed; "))
            told[0] = '\0';
}

void sm_zones_fini(sm_scheduler *s) {
    size_t pos = 0;
    for (char *told; (told = sm_map_next(&s->zones, &pos, NULL));)
        free(told);
    sm_map_fini(&s->zones);
}
