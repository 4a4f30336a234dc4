/* zones_help: zones compiled by zic from our own text (tests/data/zones.zic), so that neither the
 * machine's tzdata nor its age matters. */
#pragma once
#include <stdio.h>
#include <stdlib.h>
#include "schedule/tz.h"

static char zones_at[64];

static void zones_remove(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", zones_at);
    if (system(command) != 0)
        fprintf(stderr, "%s is left behind\n", zones_at);
}

/* The directory they are in; compiled at the first call, removed at exit. */
static inline const char *zones_dir(void) {
    char command[600];
    if (zones_at[0])
        return zones_at;
    snprintf(zones_at, sizeof zones_at, "/tmp/sm-zones-XXXXXX");
    assert_non_null(mkdtemp(zones_at));
    atexit(zones_remove);
    snprintf(command, sizeof command, "PATH=\"$PATH:/usr/sbin:/sbin\" zic -d '%s' '%s'", zones_at,
             SM_TEST_DATA "/zones.zic");
    if (system(command) != 0)
        fail_msg("zic (package libc-bin) does not compile tests/data/zones.zic");
    return zones_at;
}

static inline sm_tz *zone(const char *name) {
    sm_err err = SM_ERR_INIT;
    sm_tz *tz = NULL;
    if (sm_tz_load(zones_dir(), name, &tz, &err) != SM_OK)
        fail_msg("%s", err.msg);
    return tz;
}
