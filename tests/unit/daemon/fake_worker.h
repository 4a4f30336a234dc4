/* fake_worker: what the dispatcher's and the catalogue's tests share: a temporary directory, a
 * wrapper that starts tests/fakes/fake_worker.py as `self --worker`, a loop with a guard. */
#pragma once
#include "base/clock.h"
#include "daemon/dispatcher.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static inline void fake_make(char dir[64], char self[128]) {
    snprintf(dir, 64, "/tmp/sm-test-XXXXXX");
    if (!mkdtemp(dir))
        abort();
    snprintf(self, 128, "%s/self", dir);
    FILE *f = fopen(self, "we");
    fprintf(f, "#!/bin/sh\nexec /usr/bin/python3 -IS '%s/tests/fakes/fake_worker.py' \"$@\"\n",
            SM_TEST_SOURCE);
    fclose(f);
    chmod(self, 0755);
}

static inline void fake_remove(const char *dir) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", dir);
    if (system(command) != 0)
        abort();
}

static inline void fake_on_guard(uv_timer_t *t) {
    *(bool *)t->data = true;
}

/* Runs the loop until *flag >= want, at most `ms`. True when it was reached. */
static inline bool fake_wait(uv_loop_t *loop, const int *flag, int want, int ms) {
    uv_timer_t guard;
    bool late = false;
    uv_timer_init(loop, &guard);
    guard.data = &late;
    uv_update_time(loop);
    uv_timer_start(&guard, fake_on_guard, (uint64_t)ms, 0);
    while (*flag < want && !late)
        uv_run(loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&guard, NULL);
    uv_run(loop, UV_RUN_NOWAIT);
    return *flag >= want;
}
