/* bind_log: selfmon.log: debug, info, warn, error, each with a text and optional fields, into the
 * run's log (outside a run to standard error). A line is `text name=value …`, names in byte order.
 * What a field holds is the world's data and never raises; the log escapes control bytes and masks
 * secrets. On the run's thread. */
#include "worker/modules.h"
#include "worker/luaval.h"
#include "worker/run.h"
#include "base/secret.h"
#include "base/str.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct line {
    char *p;
    size_t n;
    bool full; /* something did not fit; nothing is added any more */
} line;

enum { LINE_MAX_BYTES = SM_RUNLOG_LINE };

static void add(line *l, const char *p, size_t n) {
    if (l->full || n > LINE_MAX_BYTES - l->n) {
        l->full = true;
        return;
    }
    memcpy(l->p + l->n, p, n);
    l->n += n;
}

/* A text as it is when it reads as one word, else in quotes. */
static void add_text(line *l, const char *p, size_t n) {
    char *masked = sm_mask_borrowed(&p, &n);
    bool plain = n > 0;
    for (size_t i = 0; i < n && plain; i++)
        plain = !strchr(" =\"", p[i]) && (unsigned char)p[i] > 0x20;
    if (!plain)
        add(l, "\"", 1);
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '"')
            add(l, "\\", 1);
        if (p[i] == '\n') /* of the text it begins a new record, of a field it does not */
            add(l, "\\n", 2);
        else
            add(l, p + i, 1);
    }
    if (!plain)
        add(l, "\"", 1);
    free(masked);
}

static void add_value(line *l, const sm_val *v) {
    char number[40];
    json_t *json = NULL;
    char *text;
    switch (v->type) {
    case SM_VAL_BOOL:
        add(l, v->u.b ? "true" : "false", v->u.b ? 4 : 5);
        break;
    case SM_VAL_INT:
        snprintf(number, sizeof number, "%lld", (long long)v->u.i);
        add(l, number, strlen(number));
        break;
    case SM_VAL_NUM:
        snprintf(number, sizeof number, "%.14g", v->u.n);
        add(l, number, strlen(number));
        break;
    case SM_VAL_STR:
        add_text(l, v->u.s.p, v->u.s.n);
        break;
    case SM_VAL_TABLE:
        if (sm_luaval_json(v, "", &json, NULL) == SM_OK) {
            size_t n;
            text = sm_json_dump(json, &n);
            const char *shown = text;
            char *masked = sm_mask_borrowed(&shown, &n);
            add(l, shown, n);
            free(masked);
            free(text);
            json_decref(json);
        } else {
            add(l, "(table)", 7);
        }
        break;
    case SM_VAL_NIL:
    case SM_VAL_OTHER:
    default:
        add(l, "(", 1);
        add(l, v->type == SM_VAL_OTHER ? v->u.s.p : "nil", v->type == SM_VAL_OTHER ? v->u.s.n : 3);
        add(l, ")", 1);
        break;
    }
}

static int by_name(const void *a, const void *b) {
    const sm_val *x = &((const sm_pair *)a)->key, *y = &((const sm_pair *)b)->key;
    bool xs = x->type == SM_VAL_STR, ys = y->type == SM_VAL_STR;
    if (xs && ys)
        return strcmp(x->u.s.p, y->u.s.p);
    if (xs != ys)
        return xs ? -1 : 1;
    if (x->type == SM_VAL_INT && y->type == SM_VAL_INT)
        return (x->u.i > y->u.i) - (x->u.i < y->u.i);
    return 0;
}

static int write_line(lua_State *L, const char *level) {
    size_t n;
    const char *text = luaL_checklstring(L, 1, &n);
    if (!lua_isnoneornil(L, 2))
        luaL_checktype(L, 2, LUA_TTABLE);
    if (lua_type(L, 2) == LUA_TTABLE) {
        /* The line is Lua's own memory, so that nothing is lost when the log's limit raises. */
        line l = {.p = lua_newuserdatauv(L, LINE_MAX_BYTES, 0)};
        sm_val fields;
        sm_err err = SM_ERR_INIT;
        char *masked = sm_mask_borrowed(&text, &n);
        add(&l, text, n < LINE_MAX_BYTES / 2 ? n : LINE_MAX_BYTES / 2);
        free(masked);
        if (sm_luaval_read(L, 2, &fields, &err) != SM_OK) {
            add(&l, " (", 2);
            add(&l, err.msg, strlen(err.msg));
            add(&l, ")", 1);
        } else if (fields.u.t.n > 0) {
            qsort(fields.u.t.p, fields.u.t.n, sizeof *fields.u.t.p, by_name);
            for (size_t i = 0; i < fields.u.t.n && !l.full; i++) {
                add(&l, " ", 1);
                add_value(&l, &fields.u.t.p[i].key);
                add(&l, "=", 1);
                add_value(&l, &fields.u.t.p[i].val);
            }
        }
        sm_val_fini(&fields);
        text = l.p;
        n = l.n;
    }
    const sm_run *run = sm_run_of(L);
    if (!run || run->phase == SM_PHASE_FREE) {
        char *shown = sm_str_printable(text, n, LINE_MAX_BYTES);
        fprintf(stderr, "%s: %s\n", level, shown);
        free(shown);
    } else {
        sm_run_log(L, level, text, n);
    }
    return 0;
}

static int log_debug(lua_State *L) {
    return write_line(L, "debug");
}

static int log_info(lua_State *L) {
    return write_line(L, "info");
}

static int log_warn(lua_State *L) {
    return write_line(L, "warn");
}

static int log_error(lua_State *L) {
    return write_line(L, "error");
}

static const luaL_Reg functions[] = {
    {"debug", log_debug}, {"info", log_info}, {"warn", log_warn},
    {"error", log_error}, {NULL, NULL},
};

int sm_bind_log_open(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
