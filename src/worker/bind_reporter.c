/* bind_reporter: the global `EventReporter` and its one method, `report` (script-api 4).
 *
 * It reads the script's tables raw, so no metamethod runs while it does; the author's mistakes
 * raise at the script's line before anything is reported, the world's data is repaired with a line
 * in the run log. `report` blocks in the host until the events are durable. It makes no ids, stores
 * nothing and knows no frames: that is the host's (sm_run_host). On the run's thread.
 *
 * Between reading the tree and freeing it, and between the host's answer and freeing it, no call
 * that can raise is made; the room for the ids is a userdata made before the host is asked.
 */
#include "worker/modules.h"
#include "worker/luaval.h"
#include "worker/run.h"
#include "worker/vm.h"
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TYPE_NAME "selfmon.EventReporter"

enum {
    CALL_BYTES_MAX = 16 << 20, /* JSON of one call: what a frame carries */
    CALL_BYTES_HEAD = 4 << 10, /* of it, kept for the frame's own header */
    CALL_BYTES_SURE = 2 << 20, /* below it, escaping cannot reach the maximum */
    ID_MAX = 64
};

typedef struct reporter {
    const sm_run *run; /* the run it was made in; compared, never followed */
    lua_Integer sent;  /* events reported through it */
} reporter;

/* One call's events on their way through C. */
typedef struct batch {
    bool list;      /* a list was given, so a list of ids is returned */
    size_t n;       /* events */
    json_t *events; /* array of checked events, owned */
    json_t *notes;  /* array of sentences about repairs, owned */
} batch;

/* Raises the sentence at the script's line, also when a C function such as pcall stands between. */
static int raise_here(lua_State *L, const char *sentence) {
    char where[320];
    sm_vm_where(L, where, sizeof where);
    if (where[0])
        lua_pushfstring(L, "%s: %s", where, sentence);
    else
        lua_pushstring(L, sentence);
    return lua_error(L);
}

static sm_rc check_list(const sm_val *const *items, batch *b, sm_err *err) {
    for (size_t i = 0; i < b->n; i++) {
        json_t *event = NULL;
        sm_rc rc = sm_event_check(items[i], (int)i + 1, &event, b->notes, err);
        if (rc != SM_OK)
            return rc;
        json_array_append_new(b->events, event);
    }
    return SM_OK;
}

/* SM_LIMIT when the JSON of the batch is too long for one call. */
static sm_rc check_size(const batch *b, sm_err *err) {
    size_t i, sum = 0;
    json_t *event;
    json_array_foreach(b->events, i, event) {
        const char *key;
        json_t *tag;
        sum += json_string_length(json_object_get(event, "title")) +
               json_string_length(json_object_get(event, "message"));
        json_object_foreach(json_object_get(event, "dimension_tags"), key, tag) sum +=
            strlen(key) + json_string_length(tag);
    }
    if (sum < CALL_BYTES_SURE)
        return SM_OK;
    sum = json_dumpb(b->events, NULL, 0, JSON_COMPACT);
    if (sum <= CALL_BYTES_MAX - CALL_BYTES_HEAD)
        return SM_OK;
    return sm_err_set(err, SM_LIMIT,
                      "report: the events are %.1f MiB of JSON, one call takes at most 16 MiB; "
                      "report them in several calls",
                      (double)sum / (double)(1 << 20));
}

/* Reads what stands at idx into *b; raises nothing. SM_LIMIT with an empty sentence: the budget of
 * events is used up. */
static sm_rc collect(lua_State *L, int idx, const sm_run *run, batch *b, sm_err *err) {
    sm_val root;
    const sm_val **items = NULL;
    const sm_val *single = &root;
    sm_rc rc = sm_luaval_read(L, idx, &root, err);
    if (rc != SM_OK) {
        sm_err_wrap(err, "report");
        goto out;
    }
    b->list = sm_luaval_list(&root, &items);
    if (!b->list) {
        bool named = false;
        for (size_t i = 0; i < root.u.t.n && !named; i++)
            named = root.u.t.p[i].key.type == SM_VAL_STR;
        if (!named) {
            rc = sm_err_set(err, SM_INVALID,
                            "report: a list of events must have the keys 1 to n without a gap");
            goto out;
        }
    }
    b->n = b->list ? root.u.t.n : 1;
    if (b->n > (size_t)run->limits.events || run->events > run->limits.events - (int)b->n) {
        rc = SM_LIMIT;
        goto out;
    }
    b->events = json_array();
    b->notes = json_array();
    rc = check_list(b->list ? items : &single, b, err);
    if (rc == SM_OK)
        rc = check_size(b, err);
out:
    free(items);
    sm_val_fini(&root);
    return rc;
}

/* Asks the host and copies the ids into the room of n * ID_MAX bytes. Raises nothing. */
static sm_rc send_batch(sm_run *run, const batch *b, char *room, sm_err *err) {
    json_t *ids = NULL;
    size_t i;
    json_t *note, *id;
    json_array_foreach(b->notes, i, note)
        sm_runlog_add(&run->log, "note", json_string_value(note), json_string_length(note));
    sm_rc rc = run->host->report(run->host->ctx, run, b->events, &ids, err);
    if (rc == SM_OK && json_array_size(ids) != b->n)
        rc = sm_err_set(err, SM_PROTO, "report: %zu events were reported, %zu ids came back", b->n,
                        json_array_size(ids));
    if (rc == SM_OK) {
        json_array_foreach(ids, i, id) {
            const char *text = json_string_value(id);
            snprintf(room + i * ID_MAX, ID_MAX, "%s", text ? text : "");
        }
    }
    json_decref(ids);
    return rc;
}

static reporter *check_self(lua_State *L) {
    reporter *self = luaL_testudata(L, 1, TYPE_NAME);
    if (self)
        return self;
    if (lua_type(L, 1) == LUA_TTABLE || lua_type(L, 1) == LUA_TNONE)
        raise_here(L, "report: use reporter:report(event) with a colon instead of "
                      "reporter.report(event)");
    luaL_typeerror(L, 1, TYPE_NAME);
    return NULL;
}

/* Room for the ids of whatever list stands at idx, made before anything of C is held. */
static char *id_room(lua_State *L, int idx, const sm_run *run) {
    size_t n = 0, most = run->limits.events > 0 ? (size_t)run->limits.events : 1;
    for (lua_pushnil(L); lua_next(L, idx); lua_pop(L, 1)) {
        if (++n >= most) {
            lua_pop(L, 2);
            break;
        }
    }
    return lua_newuserdatauv(L, (n + 1) * ID_MAX, 0);
}

static int push_ids(lua_State *L, const batch *b, const char *room) {
    if (!b->list) {
        lua_pushstring(L, room);
        return 1;
    }
    lua_createtable(L, (int)b->n, 0);
    for (size_t i = 0; i < b->n; i++) {
        lua_pushstring(L, room + i * ID_MAX);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int report(lua_State *L) {
    reporter *self = check_self(L);
    sm_run *run = sm_run_of(L);
    batch b = {0};
    sm_err err = SM_ERR_INIT;

    sm_run_check(L);
    if (self->run != run || run->phase != SM_PHASE_RUNNING)
        return raise_here(L, "report: the run of this reporter is over");
    if (lua_gettop(L) > 2)
        return raise_here(L,
                          "report: expected one event or one list of events, got more arguments");
    if (lua_type(L, 2) != LUA_TTABLE) {
        char text[160];
        snprintf(text, sizeof text, "report: expected an event or a list of events, got %.60s",
                 lua_isnoneornil(L, 2) ? "nothing" : sm_luaval_typename(L, 2));
        return raise_here(L, text);
    }
    char *room = id_room(L, 2, run);

    /* From here to the two json_decref nothing raises. */
    sm_rc rc = collect(L, 2, run, &b, &err);
    bool spent = rc == SM_LIMIT && err.code == SM_OK;
    if (rc == SM_OK && b.n > 0)
        rc = send_batch(run, &b, room, &err);
    json_decref(b.events);
    json_decref(b.notes);

    if (rc == SM_OK) { /* they are durable, even if the run was stopped meanwhile */
        run->events += (int)b.n;
        self->sent += (lua_Integer)b.n;
    }
    if (spent)
        sm_run_stop(run, SM_STOP_EVENTS);
    sm_run_check(L);
    if (rc != SM_OK)
        return raise_here(L, err.msg[0] ? err.msg : "report: the run has ended");
    return push_ids(L, &b, room);
}

static int reporter_tostring(lua_State *L) {
    const reporter *self = luaL_checkudata(L, 1, TYPE_NAME);
    lua_pushfstring(L, "EventReporter (%I events reported)", (LUAI_UACINT)self->sent);
    return 1;
}

static const luaL_Reg methods[] = {
    {"report", report},
    {NULL, NULL},
};

static const luaL_Reg metamethods[] = {
    {"__tostring", reporter_tostring},
    {NULL, NULL},
};

/* EventReporter() */
static int construct(lua_State *L) {
    const sm_run *run = sm_run_of(L);
    if (run && run->phase == SM_PHASE_LOADING)
        return raise_here(L,
                          "EventReporter must be constructed inside the inspection function, not "
                          "while the script is loading");
    if (!run || run->phase != SM_PHASE_RUNNING || !run->host || !run->host->report)
        return raise_here(L, "EventReporter can only be constructed in the run of an inspection");
    if (lua_gettop(L) > 0)
        return raise_here(L, "EventReporter: expected no arguments; events go to "
                             "reporter:report(event)");
    reporter *self = lua_newuserdatauv(L, sizeof *self, 0);
    *self = (reporter){.run = run};
    luaL_setmetatable(L, TYPE_NAME);
    return 1;
}

int sm_bind_reporter_open(lua_State *L) {
    if (luaL_newmetatable(L, TYPE_NAME)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushboolean(L, 0);
        lua_setfield(L, -2, "__metatable");
    }
    lua_pop(L, 1);
    lua_pushcfunction(L, construct);
    return 1;
}
