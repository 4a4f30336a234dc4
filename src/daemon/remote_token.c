/* remote_token: the workspace's token and uuid, from workspace/get, in memory only.
 *
 * Asked when somebody needs it, kept until an event is refused with it; one that was never accepted
 * is asked for again at most twice a minute. An answer without a token means that the key lacks the
 * role; that is remembered as long, so that held events do not spend the budget on it. Loop's
 * thread.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "daemon/remote_internal.h"
#include <stdlib.h>
#include <string.h>

#define AGAIN_NS (30 * SM_NS_PER_S)

const char sm_remote_no_token[] = "the API key may not read the workspace's token: it lacks the "
                                  "Administrator role (workspace/get "
                                  "answered without a token)";

/* jansson does not wipe what it frees. */
static void wipe_text(json_t *text) {
    if (json_is_string(text))
        explicit_bzero((char *)(uintptr_t)json_string_value(text), json_string_length(text));
}

bool sm_remote_token_take(sm_remote *r, json_t *content) {
    json_t *token = json_object_get(content, "token");
    const char *uuid = sm_json_str(content, "uuid", "");
    bool found = json_string_length(token) > 0;
    sm_secret_free(r->token);
    r->token = found ? sm_secret_new(json_string_value(token), json_string_length(token)) : NULL;
    free(r->workspace);
    r->workspace = sm_strdup(uuid);
    r->token_none = !found;
    r->token_used = false;
    wipe_text(token);
    wipe_text(json_object_get(content, "cliToken"));
    return found;
}

static void tell_waiters(sm_remote *r, bool known, const sm_openapi_answer *a) {
    sm_remote_waiter *list = r->waiters;
    r->waiters = NULL;
    while (list) {
        sm_remote_waiter *w = list;
        list = w->next;
        w->done(w->ctx, known, a);
        free(w);
    }
}

/* The key is good but may not read the token: for deliveries that is a refused key. */
static void no_token(sm_openapi_answer *a) {
    a->kind = SM_OPENAPI_REFUSED;
    snprintf(a->sentence, sizeof a->sentence, "%s", sm_remote_no_token);
    a->verdict = (sm_answer){.road = SM_ROAD_OPENAPI,
                             .transport = SM_TRANSPORT_ANSWERED,
                             .http = 403,
                             .body_known = true,
                             .retry_after_s = -1};
}

static void asked(void *ctx, sm_openapi_answer *a) {
    sm_remote *r = ctx;
    bool known = a->kind == SM_OPENAPI_OK && sm_remote_token_take(r, a->content);
    r->token_asked = false;
    r->token_ns = sm_mono_ns();
    r->token_none = a->kind == SM_OPENAPI_OK && !known; /* an outage is no missing role */
    if (r->token_none) {
        no_token(a);
        char text[SM_ERR_MAX];
        snprintf(text, sizeof text, "node %s: %s", r->node, sm_remote_no_token);
        sm_remote_note_error(r, text);
    }
    tell_waiters(r, known, a);
}

bool sm_remote_token_drop(sm_remote *r) {
    if (!r->token_used && sm_mono_ns() - r->token_ns < AGAIN_NS)
        return false;
    sm_secret_free(r->token);
    r->token = NULL;
    return true;
}

void sm_remote_token_get(sm_remote *r, sm_remote_token_done done, void *ctx) {
    if (r->token) {
        sm_openapi_answer ok = {.kind = SM_OPENAPI_OK};
        done(ctx, true, &ok);
        return;
    }
    if (r->token_none && sm_mono_ns() - r->token_ns < AGAIN_NS) {
        sm_openapi_answer a = {.kind = SM_OPENAPI_OK};
        no_token(&a);
        done(ctx, false, &a);
        return;
    }
    sm_remote_waiter *w = sm_calloc(1, sizeof *w);
    *w = (sm_remote_waiter){.next = r->waiters, .done = done, .ctx = ctx};
    r->waiters = w;
    if (r->token_asked)
        return;
    r->token_asked = true;
    sm_remote_call_queue(
        sm_remote_call_new(r, SM_CALL_TOKEN, sm_strdup("/api/v1/workspace/get"), NULL, asked, r));
}

void sm_remote_token_end(sm_remote *r) {
    sm_openapi_answer a = {.kind = SM_OPENAPI_DOWN,
                           .sentence = "the program is stopping",
                           .verdict = {.road = SM_ROAD_OPENAPI,
                                       .transport = SM_TRANSPORT_FAILED,
                                       .retry_after_s = -1}};
    tell_waiters(r, false, &a);
}
