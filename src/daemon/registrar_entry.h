/* registrar_entry: the registrar's memory: one entry per inspection (private to registrar*.c).
 * Loop's thread. */
#pragma once
#include "base/map.h"
#include "daemon/identity.h"
#include "daemon/registrar.h"

typedef struct sm_waiter {
    struct sm_waiter *next;
    sm_inspection *inspection; /* referenced */
    bool ask;
    sm_registrar_done done;
    void *ctx;
} sm_waiter;

typedef struct sm_entry {  /* one inspection, by function id */
    struct sm_entry *next; /* in `wanted` or in a batch */
    char *id;
    sm_inspection *inspection; /* referenced while a question is open */
    json_t *payload;           /* what we want registered; NULL until asked */
    json_t *registered;        /* payload that the platform is known to have */
    bool known;
    int status;
    char *uuid, *ref_key;
    json_t *params;
    int64_t seen_ns;    /* wall */
    bool twins;         /* several objects there have its key; told once */
    bool asking;        /* in `wanted` or under way */
    bool fresh;         /* memory answers this question */
    bool sent;          /* its list is under way, or more */
    int64_t created_ns; /* monotonic: a create was accepted and not shown since; 0: none */
    unsigned futile;    /* modifications that were accepted and not shown, one after the other */
    bool created; /* create was sent for this question: a second one would go round for ever */
    sm_waiter *waiters; /* of this question, in order */
    sm_waiter *later;   /* of the next one */
} sm_entry;

struct sm_registrar {
    uv_loop_t *loop;
    sm_store *store;
    const sm_target *target;
    int64_t max_age_ns;
    sm_map entries;
    sm_entry *wanted, **wanted_end; /* to be asked at the next turn, in order */
    sm_identity *identity;          /* guards creations, or NULL */
    uv_timer_t turn;                /* fires once the loop has collected what is wanted */
    size_t waiting;
    size_t under_way;    /* answers of target, identity or store that are still to come */
    const char *stopped; /* why every question is answered at once, or NULL */
    void (*ready)(void *ctx);
    void *ready_ctx;
};

sm_entry *sm_entry_get(sm_registrar *r, const char *id); /* makes it */
void sm_entry_free(sm_entry *e);
/* What is known belongs to another association key: it says nothing about this one. */
void sm_entry_forget(sm_entry *e);
void sm_entry_view(const sm_entry *e, const char *error, sm_view *v);
/* Takes over what the platform shows of e; `registered` is NULL when it differs from the payload.
 */
void sm_entry_take(sm_entry *e, const json_t *item);
void sm_entry_registered(sm_entry *e, json_t *payload /* referenced */);
/* Writes it to the store. */
void sm_entry_keep(sm_registrar *r, const sm_entry *e);
void sm_waiter_free(sm_waiter *w);
void sm_waiters_add(sm_waiter **list, sm_waiter *w);
void sm_waiters_free(sm_waiter *list);
