/* vm: a Lua state with a memory cap, the one protected door into it, and the stop that sticks.
 *
 * The allocator counts the heap and refuses what passes the cap. The hook is armed only when a run
 * is to end (a permanent hook slows pure Lua); from then on it raises at every instruction, call
 * and return, so that no pcall, coroutine or __close handler outlives it (Redis masks its hook the
 * same way). What it raises is a light userdata: no allocation, no metamethod.
 *
 * Runs on the run's own thread; the signal handler too. `here` is the thread's only global.
 */
#include "worker/vm.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include "worker/runclock.h"
#include "worker/watchdog.h"
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    ERROR_MAX = 8 << 10,
    TRACE_FRAMES = 10,
    TRACE_LEVELS = 200,
    TRACE_MAX = 4 << 10,
    DEEP = 20000 /* calls inside each other: an endless recursion rather than too much data */
};

static const char sentinel; /* its address is the error object of a stopped run */

static _Thread_local struct {
    sm_run *volatile run; /* entered on this thread, NULL outside; read by the signal handler */
    sm_watchdog *dog;     /* who watches runs that this thread enters */
} here;

void sm_vm_where(lua_State *L, char *out, size_t cap) {
    lua_Debug ar;
    out[0] = '\0';
    for (int level = 0; level < TRACE_LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.source[0] == '@' && ar.currentline > 0) {
            snprintf(out, cap, "%s:%d", ar.source + 1, ar.currentline);
            return;
        }
    }
}

/* Ends the run for good: what the allocator refused cannot be given back to the script as an
 * ordinary error that pcall swallows. */
static void memory_lost(sm_run *run) {
    int none = SM_STOP_NONE;
    run->refused_size = 0;
    if (!atomic_compare_exchange_strong(&run->stop, &none, SM_STOP_MEMORY))
        return;
    lua_State *L = atomic_load(&run->current);
    if (L && !run->where[0])
        sm_vm_where(L, run->where, sizeof run->where);
    sm_vm_arm(run);
}

/* Lua's own limit for its stack lies near the usual cap. When recursion meets the cap first, it is
 * the mistake that Lua calls a stack overflow, an ordinary error. */
static bool overflow(sm_run *run) {
    lua_Debug ar;
    lua_State *L = atomic_load(&run->current);
    if (!L || !lua_getstack(L, DEEP, &ar))
        return false;
    run->refused_size = 0;
    sm_vm_where(L, run->trace_where, sizeof run->trace_where);
    return true;
}

/* lua_Alloc. osize is a type tag when ptr is NULL (Lua manual 4.1). A first refusal is remembered
 * only: the VM then collects everything and repeats the same request. A second refusal, or any
 * other request in between, means that the script lost this allocation. */
static void *cap_alloc(void *ud, void *ptr, size_t osize, size_t nsize) {
    sm_run *run = ud;
    size_t old = ptr ? osize : 0;
    if (nsize == 0) {
        free(ptr);
        run->mem_used -= old;
        return NULL;
    }
    bool grows = nsize > old;
    bool repeated = grows && run->refused_size == nsize && run->refused == ptr;
    if (grows && run->refused_size != 0 && !repeated)
        memory_lost(run);
    void *p = NULL;
    size_t rest = run->mem_used - old;
    if (!grows || (nsize <= run->limits.memory && rest <= run->limits.memory - nsize))
        p = realloc(ptr, nsize);
    if (p) {
        if (repeated)
            run->refused_size = 0;
        run->mem_used = rest + nsize;
        if (run->mem_used > run->mem_peak)
            run->mem_peak = run->mem_used;
        return p;
    }
    if (!grows)
        return ptr; /* Lua assumes that a shrink cannot fail */
    run->mem_asked = nsize - old;
    if (!repeated) {
        run->refused = ptr;
        run->refused_size = nsize;
    } else if (!overflow(run)) {
        memory_lost(run);
    }
    return NULL;
}

static int panic(lua_State *L) {
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "?";
    sm_log(SM_LOG_ERROR, "Lua raised outside a protected call: %s", text);
    return 0; /* Lua aborts */
}

lua_State *sm_vm_new(sm_run *run) {
    run->mem_used = run->mem_peak = run->mem_asked = run->refused_size = 0;
    atomic_store(&run->current, NULL);
    lua_State *L = lua_newstate(cap_alloc, run);
    if (!L)
        return NULL;
    memcpy(lua_getextraspace(L), &run, sizeof run);
    lua_atpanic(L, panic);
    run->L = L;
    atomic_store(&run->current, L);
    return L;
}

void sm_vm_close(lua_State *L) {
    sm_run *run = sm_run_of(L);
    lua_sethook(L, NULL, 0, 0);
    atomic_store(&run->current, NULL);
    run->L = NULL;
    lua_close(L);
}

/* Message handler of the one door: writes the traceback of script frames into C memory (Lua's own
 * may be what ran out) and leaves the error object as it is. */
static int message_handler(lua_State *L) {
    sm_run *run = sm_run_of(L);
    sm_buf text;
    lua_Debug ar;
    int frames = 0;
    sm_buf_init(&text, TRACE_MAX);
    run->trace_where[0] = '\0';
    for (int level = 1; frames < TRACE_FRAMES && level < TRACE_LEVELS; level++) {
        if (!lua_getstack(L, level, &ar))
            break;
        lua_getinfo(L, "Sln", &ar);
        if (ar.source[0] != '@')
            continue;
        if (frames == 0)
            snprintf(run->trace_where, sizeof run->trace_where, "%s:%d", ar.source + 1,
                     ar.currentline);
        sm_buf_addf(&text, "%s%s:%d: in ", frames ? "\n" : "", ar.source + 1, ar.currentline);
        if (*ar.what == 'm') {
            sm_buf_adds(&text, "main chunk");
        } else if (ar.namewhat[0]) {
            char *name = sm_str_printable(ar.name, strlen(ar.name), 80);
            bool global = strcmp(ar.namewhat, "global") == 0;
            sm_buf_addf(&text, "%s '%s'", global ? "function" : ar.namewhat, name);
            free(name);
        } else {
            sm_buf_addf(&text, "function <line %d>", ar.linedefined);
        }
        frames++;
    }
    free(run->trace);
    run->trace = frames ? sm_buf_take(&text, NULL) : NULL;
    sm_buf_fini(&text);
    return 1;
}

/* Debug hook of a stopped run. The door's own message handler is let through: it runs while the
 * error that this hook raised is on its way. */
static void stop_hook(lua_State *L, lua_Debug *ar) {
    sm_run *run = sm_run_of(L);
    lua_getinfo(L, "f", ar);
    bool own = lua_tocfunction(L, -1) == message_handler;
    lua_pop(L, 1);
    if (!own && atomic_load(&run->stop) != SM_STOP_NONE)
        sm_vm_raise_stop(L);
}

void sm_vm_arm(sm_run *run) {
    lua_State *L = atomic_load(&run->current);
    if (L)
        lua_sethook(L, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

_Noreturn void sm_vm_raise_stop(lua_State *L) {
    sm_run *run = sm_run_of(L);
    if (!run->where[0])
        sm_vm_where(L, run->where, sizeof run->where);
    lua_sethook(L, stop_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&sentinel);
    lua_error(L);
    abort(); /* lua_error does not return; its prototype does not say so */
}

static bool fits(const sm_run *run, size_t n) {
    return n <= run->limits.memory / 2 && run->mem_used <= run->limits.memory - 2 * n;
}

void sm_vm_room(lua_State *L, size_t n) {
    sm_run *run = sm_run_of(L);
    if (fits(run, n))
        return;
    lua_gc(L, LUA_GCCOLLECT);
    if (fits(run, n))
        return;
    run->mem_asked = n;
    memory_lost(run);
    sm_vm_raise_stop(L);
}

/* The error object at the top as a sentence, by raw type: no metamethod may run here. */
static char *error_text(lua_State *L, const sm_run *run, int status) {
    char number[64];
    if (status == LUA_ERRMEM) {
        const char *where = run->trace_where;
        return sm_asprintf("%s%sstack overflow", where, where[0] ? ": " : "");
    }
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        size_t n;
        const char *p = lua_tolstring(L, -1, &n);
        char *masked = sm_mask_borrowed(&p, &n);
        char *text = sm_str_printable(p, n, ERROR_MAX);
        free(masked);
        return text;
    }
    case LUA_TNUMBER:
        if (lua_isinteger(L, -1))
            snprintf(number, sizeof number, "%" PRId64, (int64_t)lua_tointeger(L, -1));
        else
            snprintf(number, sizeof number, "%.14g", lua_tonumber(L, -1));
        break;
    default:
        snprintf(number, sizeof number, "(error object is a %s value)", luaL_typename(L, -1));
    }
    if (run->trace_where[0])
        return sm_asprintf("%s: %s", run->trace_where, number);
    return sm_strdup(number);
}

static char *stop_sentence(const sm_run *run) {
    char text[256];
    /* Without a place of its own the stop came while an error of the script was on its way. */
    const char *where = run->where[0] ? run->where : run->trace_where;
    sm_run_stop_text(run, text, sizeof text);
    return where[0] ? sm_asprintf("%s: %s", where, text) : sm_strdup(text);
}

static sm_rc stop_rc(int stop) {
    switch ((sm_stop)stop) {
    case SM_STOP_TIMEOUT:
        return SM_TIMEOUT;
    case SM_STOP_CANCELLED:
        return SM_CLOSED;
    default:
        return SM_LIMIT;
    }
}

sm_rc sm_vm_call(lua_State *L, int nargs, int nresults, char **error, char **traceback) {
    sm_run *run = sm_run_of(L);
    sm_run *before = here.run;
    sm_rc rc = SM_OK;
    int base = lua_gettop(L) - nargs;
    *error = NULL;
    if (traceback)
        *traceback = NULL;
    free(run->trace);
    run->trace = NULL;
    run->trace_where[0] = '\0';
    here.run = run;
    atomic_store(&run->current, L);
    if (!lua_checkstack(L, 3)) {
        lua_settop(L, base - 1);
        *error = sm_strdup("stack overflow");
        here.run = before;
        return SM_INVALID;
    }
    lua_pushcfunction(L, message_handler);
    lua_insert(L, base);
    if (atomic_load(&run->stop) != SM_STOP_NONE)
        sm_vm_arm(run); /* the signal may have come before `here` was set */
    int status = lua_pcall(L, nargs, nresults, base);
    if (run->refused_size != 0)
        memory_lost(run);
    int stop = atomic_load(&run->stop);
    if (stop != SM_STOP_NONE) {
        *error = stop_sentence(run);
        rc = stop_rc(stop);
    } else if (status != LUA_OK) {
        *error = error_text(L, run, status);
        rc = SM_INVALID;
    }
    if (rc != SM_OK) {
        lua_settop(L, base - 1);
        if (traceback) {
            *traceback = run->trace;
            run->trace = NULL;
        }
    } else {
        lua_remove(L, base);
    }
    here.run = before;
    return rc;
}

void sm_vm_enter(sm_run *run) {
    run->tid = (int)syscall(SYS_gettid);
    run->started_ns = sm_mono_ns();
    run->log.started_ns = run->started_ns;
    run->cpu_start_ns = sm_thread_cpu_ns();
    run->deadline_ns = INT64_MAX;
    if (run->limits.wall_s > 0 && run->limits.wall_s < 1e9)
        run->deadline_ns =
            run->started_ns +
            sm_runclock_begin(run, (int64_t)(run->limits.wall_s * (double)SM_NS_PER_S));
    run->outer = here.run;
    run->dog = here.dog;
    pthread_mutex_lock(&run->mu);
    run->thread = pthread_self();
    run->entered = true;
    pthread_mutex_unlock(&run->mu);
    here.run = run;
    if (run->dog)
        sm_watchdog_add(run->dog, run);
}

void sm_vm_leave(void) {
    sm_run *run = here.run;
    if (!run)
        return;
    if (run->dog)
        sm_watchdog_remove(run->dog, run);
    pthread_mutex_lock(&run->mu);
    run->entered = false;
    pthread_mutex_unlock(&run->mu);
    here.run = run->outer;
}

void sm_vm_watched_by(sm_watchdog *dog) {
    here.dog = dog;
}

/* lua_sethook is the one API function that may be called from a signal handler (Lua manual, lua.c
 * does the same); the state is this thread's own. */
static void on_signal(int sig) {
    (void)sig;
    sm_run *run = here.run;
    if (run && atomic_load(&run->stop) != SM_STOP_NONE)
        sm_vm_arm(run);
}

void sm_vm_install_signal(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sa.sa_flags = SA_RESTART;
    sigemptyset(&sa.sa_mask);
    sigaction(SM_VM_SIGNAL, &sa, NULL);
}
