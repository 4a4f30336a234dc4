/* worker_text: the texts of scripts and libraries that the daemon sent, by hash. */
#pragma once
#include <stddef.h>

typedef struct sm_texts sm_texts;
typedef struct sm_held_text { /* a text while somebody holds it */
    char *text;               /* NUL-terminated; constant */
    size_t n;
    int refs;     /* guarded by the table's lock */
    int unlisted; /* forgotten: freed with the last reference */
} sm_held_text;

sm_texts *sm_texts_new(void);
void sm_texts_free(sm_texts *t); /* nothing may be held any more */
/* Keeps a text (copied) under its hash; a second one under the same hash changes nothing. */
void sm_texts_put(sm_texts *t, const char *hash, const char *text, size_t n);
void sm_texts_forget(sm_texts *t, const char *hash);
/* NULL when it is not there. The caller gives it back with sm_texts_release. */
sm_held_text *sm_texts_hold(sm_texts *t, const char *hash);
void sm_texts_release(sm_texts *t, sm_held_text *held);
