/* remote_list: the question which inspections a workspace knows: by association keys, at most 100 a
 * call, page after page.
 *
 * Keys that were seen there before make a refresh, which may be refused with SM_LIMIT when the
 * budget is spent; a question with any other key waits for budget. Questions that wait together are
 * asked in one call, so an answer may show items nobody asked for. Loop's thread.
 */
#include "base/buf.h"
#include "base/mem.h"
#include "daemon/remote_internal.h"
#include <stdlib.h>
#include <string.h>

enum { PAGE = 100, PAGES_MAX = 50, PATH_MAX_BYTES = 64 << 10 };

typedef struct question {
    struct question *next;
    sm_target_done done;
    void *ctx;
} question;

struct sm_remote_listing {
    sm_remote *remote;
    sm_remote_class class_;
    json_t *keys;
    json_t *items; /* of the pages so far */
    int page;      /* to be asked, from 1 */
    question *questions;
};

static void ask(sm_remote_listing *l) {
    sm_remote_call *c =
        sm_remote_call_new(l->remote, l->class_, NULL, NULL, sm_remote_list_done, l);
    c->listing = l;
    c->expires = l->class_ == SM_CALL_REFRESH;
    sm_remote_call_queue(c);
}

static void listing_free(sm_remote_listing *l) {
    json_decref(l->keys);
    json_decref(l->items);
    free(l);
}

static void answer(sm_remote_listing *l, sm_rc rc, const sm_err *err) {
    question *list = l->questions;
    l->questions = NULL;
    while (list) {
        question *q = list;
        list = q->next;
        q->done(q->ctx, rc, err, rc == SM_OK ? l->items : NULL);
        free(q);
    }
    listing_free(l);
}

size_t sm_remote_listing_size(const sm_remote_listing *l) {
    return json_array_size(l->keys);
}

bool sm_remote_listing_merge(sm_remote_listing *to, sm_remote_listing *from) {
    if (to->page > 1 || from->page > 1 || json_array_size(to->keys) == 0 ||
        json_array_size(from->keys) == 0 ||
        json_array_size(to->keys) + json_array_size(from->keys) > PAGE)
        return false;
    json_array_extend(to->keys, from->keys);
    question **end = &to->questions;
    while (*end)
        end = &(*end)->next;
    *end = from->questions;
    from->questions = NULL;
    listing_free(from);
    return true;
}

static void add_encoded(sm_buf *b, const char *s) {
    for (; *s; s++) {
        unsigned char x = (unsigned char)*s;
        bool plain = (x >= '0' && x <= '9') || (x >= 'A' && x <= 'Z') || (x >= 'a' && x <= 'z') ||
                     x == '-' || x == '_' || x == '.' || x == '~';
        if (plain)
            sm_buf_addc(b, (char)x);
        else
            sm_buf_addf(b, "%%%02X", x);
    }
}

char *sm_remote_listing_path(sm_remote_listing *l) {
    sm_buf path;
    size_t i;
    json_t *key;
    sm_buf_init(&path, PATH_MAX_BYTES);
    sm_buf_adds(&path, "/api/v1/self_built_checker/list?");
    json_array_foreach(l->keys, i, key) {
        sm_buf_adds(&path, i > 0 ? "," : "refKey=");
        add_encoded(&path, json_string_value(key));
    }
    if (i > 0)
        sm_buf_addc(&path, '&');
    sm_buf_addf(&path, "pageIndex=%d&pageSize=%d", l->page, (int)PAGE);
    return sm_buf_take(&path, NULL);
}

/* Adds what is alive; returns how many items the page had, -1 when it was no list. */
static int take_page(sm_remote_listing *l, const json_t *content) {
    const json_t *data = json_is_array(content) ? content : json_object_get(content, "data");
    size_t i;
    json_t *item;
    if (!json_is_array(data))
        return -1;
    json_array_foreach(data, i, item) {
        const char *key = sm_json_str(item, "refKey", NULL);
        if (!key || sm_json_int(item, "status", 0) == 3 || sm_json_int(item, "deleteAt", -1) > 0)
            continue; /* deleted there */
        json_array_append(l->items, item);
    }
    return (int)json_array_size(data);
}

/* Only keys that were asked for: a workspace may hold many others. */
static void remember_keys(sm_remote_listing *l) {
    sm_map *known = &l->remote->known, shown;
    size_t i;
    json_t *one;
    sm_map_init(&shown);
    json_array_foreach(l->items, i, one)
        sm_map_put(&shown, sm_json_str(one, "refKey", ""), l->remote);
    json_array_foreach(l->keys, i, one) {
        const char *key = json_string_value(one);
        if (sm_map_get(&shown, key))
            sm_map_put(known, key, l->remote);
        else
            sm_map_del(known, key);
    }
    sm_map_fini(&shown);
}

void sm_remote_list_done(void *listing, sm_openapi_answer *a) {
    sm_remote_listing *l = listing;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_remote_rc(l->remote, a, &err);
    if (rc != SM_OK) {
        answer(l, rc, &err);
        return;
    }
    int n = take_page(l, a->content);
    if (n < 0) {
        rc = sm_err_set(&err, SM_PROTO, "node %s: the platform's list holds no list",
                        l->remote->node);
        answer(l, rc, &err);
        return;
    }
    int64_t total = sm_json_int(a->page, "totalCount", -1);
    /* A longer page comes from a platform that does not page: it is all there is. */
    bool more = n == PAGE && (total < 0 || total > (int64_t)l->page * PAGE);
    if (more && l->page < PAGES_MAX) {
        l->page++;
        ask(l);
        return;
    }
    remember_keys(l);
    answer(l, SM_OK, &err);
}

void sm_remote_list(void *remote, const json_t *ref_keys, sm_target_done done, void *done_ctx) {
    sm_remote *r = remote;
    sm_remote_listing *l = sm_calloc(1, sizeof *l);
    size_t i;
    json_t *key;
    *l = (sm_remote_listing){.remote = r,
                             .class_ = SM_CALL_REFRESH,
                             .keys = json_deep_copy(ref_keys),
                             .items = json_array(),
                             .page = 1};
    if (json_array_size(l->keys) == 0)
        l->class_ = SM_CALL_LIST_NEW; /* everything there is: what a creation waits for */
    json_array_foreach(l->keys, i, key) {
        if (!sm_map_get(&r->known, json_string_value(key)))
            l->class_ = SM_CALL_LIST_NEW;
    }
    l->questions = sm_calloc(1, sizeof *l->questions);
    *l->questions = (question){.done = done, .ctx = done_ctx};
    ask(l);
}
