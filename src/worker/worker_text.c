/* worker_text: the worker's cache of texts by hash: what the daemon sent is kept until it says
 * forget, and beyond that as long as a run holds it.
 *
 * Does not look into the texts. The reader thread puts, forgets and holds, the threads of the runs
 * release; `mu` guards everything.
 */
#include "worker/worker_text.h"
#include "base/map.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdlib.h>

struct sm_texts {
    pthread_mutex_t mu;
    sm_map by_hash; /* hash -> sm_held_text */
};

static void text_free(sm_held_text *held) {
    free(held->text);
    free(held);
}

sm_texts *sm_texts_new(void) {
    sm_texts *t = sm_calloc(1, sizeof *t);
    pthread_mutex_init(&t->mu, NULL);
    sm_map_init(&t->by_hash);
    return t;
}

void sm_texts_free(sm_texts *t) {
    sm_held_text *held;
    for (size_t pos = 0; (held = sm_map_next(&t->by_hash, &pos, NULL));)
        text_free(held);
    sm_map_fini(&t->by_hash);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

void sm_texts_put(sm_texts *t, const char *hash, const char *text, size_t n) {
    pthread_mutex_lock(&t->mu);
    if (!sm_map_get(&t->by_hash, hash)) {
        sm_held_text *held = sm_calloc(1, sizeof *held);
        held->text = sm_memdup(text ? text : "", n);
        held->n = n;
        sm_map_put(&t->by_hash, hash, held);
    }
    pthread_mutex_unlock(&t->mu);
}

void sm_texts_forget(sm_texts *t, const char *hash) {
    pthread_mutex_lock(&t->mu);
    sm_held_text *held = sm_map_del(&t->by_hash, hash);
    if (held && held->refs == 0)
        text_free(held);
    else if (held)
        held->unlisted = 1;
    pthread_mutex_unlock(&t->mu);
}

sm_held_text *sm_texts_hold(sm_texts *t, const char *hash) {
    pthread_mutex_lock(&t->mu);
    sm_held_text *held = sm_map_get(&t->by_hash, hash);
    if (held)
        held->refs++;
    pthread_mutex_unlock(&t->mu);
    return held;
}

void sm_texts_release(sm_texts *t, sm_held_text *held) {
    if (!held)
        return;
    pthread_mutex_lock(&t->mu);
    if (--held->refs == 0 && held->unlisted)
        text_free(held);
    pthread_mutex_unlock(&t->mu);
}
