/* worker: the main of a worker process: it makes itself harmless, says hello, and reads frames
 * until the daemon closes the socket.
 *
 * The main thread is the socket's reader: it never runs Lua and never waits for a run. It keeps the
 * texts, hands loads and runs to the pool, and wakes runs whose answer came. Which run goes where,
 * deadlines of C code and restarts are the daemon's business.
 */
#include "worker/entry.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/fetch.h"
#include "worker/worker.h"
#include <curl/curl.h>
#include <fcntl.h>
#include <lua.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SOCKET_FD = 3, ARENAS = 16, LOOK_MS = 2000 };

#ifdef SM_SANITIZED
enum { RUN_STACK = 8 << 20 };
#else
enum { RUN_STACK = 1 << 20 };
#endif

/* Keeps of the environment only what names files of the system. */
static void clear_environment(void) {
    static const char *const keep[] = {"TZDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"};
    char *values[SM_ARRAY_LEN(keep)];
    for (size_t i = 0; i < SM_ARRAY_LEN(keep); i++) {
        const char *value = getenv(keep[i]);
        values[i] = value ? sm_strdup(value) : NULL;
    }
    /* Also where /proc/PID/environ reads it. */
    for (char **e = environ; e && *e; e++)
        explicit_bzero(*e, strlen(*e));
    clearenv();
    for (size_t i = 0; i < SM_ARRAY_LEN(keep); i++) {
        if (values[i])
            setenv(keep[i], values[i], 1);
        free(values[i]);
    }
    setenv("TZ", "UTC", 1);
}

/* True when the process at the other end of the socket is our parent: a daemon that died before the
 * kernel was told to end us with it would leave us behind. */
static bool has_parent(void) {
    struct ucred peer = {0};
    socklen_t n = sizeof peer;
    if (getsockopt(SOCKET_FD, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0)
        return true; /* the end of the stream will tell */
    return peer.pid == getppid();
}

/* sm_confine_worker bounds it: each of glibc's arenas reserves 64 MiB, and each of libcurl's
 * threads that look up a name 8 MiB if it had the usual stack. */
static void save_address_space(void) {
    pthread_attr_t attr;
    mallopt(M_ARENA_MAX, ARENAS);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, RUN_STACK);
    pthread_setattr_default_np(&attr);
    pthread_attr_destroy(&attr);
}

/* Nothing to inherit, nothing to leave behind, no life without the daemon. False: it is gone. */
static bool settle(sm_worker *w, int argc, char **argv) {
    sigset_t none;
    clear_environment();
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    /* A key pressed in the daemon's terminal is for the daemon, which then decides. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    close_range(SOCKET_FD + 1, ~0U, 0);
    fcntl(SOCKET_FD, F_SETFD, FD_CLOEXEC);
    int flags = fcntl(SOCKET_FD, F_GETFL);
    fcntl(SOCKET_FD, F_SETFL, flags & ~O_NONBLOCK);
    save_address_space();
    /* The signal comes when the thread that made us ends: the daemon's loop, which lives as long as
     * the daemon. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sm_confine_worker(argc > 2 ? strtoull(argv[2], NULL, 10) : 0,
                      argc > 3 ? strtoull(argv[3], NULL, 10) : 0, &w->confined);
    return has_parent();
}

static sm_rc say_hello(sm_worker *w, sm_err *err) {
    json_t *lacks = json_array();
    const char *lack;
    for (size_t i = 0; (lack = sm_confine_lacks(&w->confined, i)) != NULL; i++)
        json_array_append_new(lacks, json_string(lack));
    json_t *head = json_pack("{s:s, s:i, s:s, s:s, s:s, s:o}", "t", "hello", "pid", (int)getpid(),
                             "lua", LUA_RELEASE, "curl", curl_version(), "openssl",
                             OpenSSL_version(OPENSSL_VERSION), "lacks", lacks);
    sm_rc rc = sm_wlink_send(w->link, head, NULL, 0, err);
    json_decref(head);
    return rc;
}

static void begin_job(sm_worker *w, sm_frame *frame) {
    sm_err err = SM_ERR_INIT;
    json_t *refusal = NULL;
    sm_wjob *job = sm_wjob_new(w, frame, &refusal);
    if (!job) {
        sm_wlink_send(w->link, refusal, NULL, 0, NULL);
        json_decref(refusal);
    } else if (sm_pool_give(w->pool, job, &err) != SM_OK) {
        sm_wjob_refuse(job, err.msg);
    }
}

/* Acts on one frame. SM_CLOSED for `stop`; SM_PROTO for one that is not known. */
static sm_rc take_frame(sm_worker *w, sm_frame *frame, sm_err *err) {
    const json_t *head = frame->head;
    const char *t = sm_json_str(head, "t", "");
    if (strcmp(t, "run") == 0 || strcmp(t, "load") == 0) {
        begin_job(w, frame);
    } else if (strcmp(t, "ack") == 0 || strcmp(t, "nak") == 0) {
        sm_wjob_answer(w, head);
    } else if (strcmp(t, "answer") == 0) {
        sm_wjob_answered(w, frame);
    } else if (strcmp(t, "text") == 0) {
        sm_texts_put(w->texts, sm_json_str(head, "hash", ""), frame->body, frame->body_len);
    } else if (strcmp(t, "forget") == 0) {
        size_t i;
        json_t *hash;
        json_array_foreach(json_object_get(head, "hashes"), i, hash) {
            if (json_is_string(hash))
                sm_texts_forget(w->texts, json_string_value(hash));
        }
    } else if (strcmp(t, "ping") == 0) {
        json_t *pong =
            json_pack("{s:s, s:I}", "t", "pong", "n", (json_int_t)sm_json_int(head, "n", 0));
        sm_wlink_send(w->link, pong, NULL, 0, NULL);
        json_decref(pong);
    } else if (strcmp(t, "cancel") == 0) {
        sm_wjob_cancel(w, sm_json_str(head, "run", ""));
    } else if (strcmp(t, "stop") == 0) {
        return sm_err_set(err, SM_CLOSED, "told to stop");
    } else {
        return sm_err_set(err, SM_PROTO, "unknown frame \"%.40s\"", t);
    }
    return SM_OK;
}

/* Now and then, by the pings at the latest, looks whether a file that Landlock knows by what it was
 * has been replaced, as a new /etc/resolv.conf is: then it asks, once, for another in its place. */
static void look_around(sm_worker *w) {
    int64_t now = sm_mono_ns();
    if (w->stale || now - w->looked_ns < LOOK_MS * SM_NS_PER_MS)
        return;
    w->looked_ns = now;
    w->stale = sm_confine_stale(&w->confined);
    if (!w->stale)
        return;
    json_t *head = json_pack("{s:s}", "t", "stale");
    sm_wlink_send(w->link, head, NULL, 0, NULL);
    json_decref(head);
}

static sm_rc serve(sm_worker *w, sm_err *err) {
    sm_frame_reader reader;
    sm_rc rc = say_hello(w, err);
    sm_frame_reader_init(&reader);
    while (rc == SM_OK) {
        sm_frame frame = {0};
        rc = sm_frame_recv(SOCKET_FD, &reader, &frame, err);
        look_around(w);
        if (rc == SM_OK)
            rc = take_frame(w, &frame, err);
        sm_frame_fini(&frame);
    }
    sm_frame_reader_fini(&reader);
    return rc;
}

int sm_worker_main(int argc, char **argv) {
    sm_worker w = {0};
    sm_err err = SM_ERR_INIT;
    if (fcntl(SOCKET_FD, F_GETFD) < 0) {
        fprintf(stderr, "selfmon-lua --worker is started by the daemon, not by hand\n");
        return 64;
    }
    if (!settle(&w, argc, argv))
        return 1;
    sm_log_setup(SM_LOG_INFO, false, false);
    pthread_mutex_init(&w.mu, NULL);
    sm_map_init(&w.live);
    w.link = sm_wlink_new(SOCKET_FD);
    w.texts = sm_texts_new();
    w.pool = sm_pool_new(RUN_STACK, sm_wjob_do, NULL, &w);
    sm_rc rc = sm_watchdog_new(true, &w.dog, &err);
    if (rc == SM_OK) {
        w.fetch = sm_fetch_start(&err);
        rc = w.fetch ? serve(&w, &err) : err.code;
    }
    if (rc != SM_CLOSED)
        sm_log(SM_LOG_ERROR, "worker %d: %s", (int)getpid(), err.msg);
    /* Runs may still be under way, even in C code that never returns: nobody waits for them, and
     * no library's exit handler may pull the ground from under them. */
    _exit(rc == SM_CLOSED ? 0 : 1);
}
