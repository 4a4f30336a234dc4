/* grave: the end of a worker process, however it comes: reaped, told, its jobs ended or repeated.
 *
 * Only own pids are waited for. What a worker wrote before it died counts. A worker's record lives
 * until its poll handle is closed. One that was well and went with a run that had not come back
 * from a call convicts that run. Owned by the loop.
 */
#include "base/clock.h"
#include "base/log.h"
#include "daemon/dispatch.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

void sm_ghost_free(sm_ghost *g) {
    if (g && g->inspection)
        sm_inspection_unref(g->inspection);
    if (g)
        free(g->name);
    free(g);
}

static void on_closed(uv_handle_t *h) {
    sm_link *l = h->data;
    sm_worker *w = l->ctx;
    size_t pos = 0;
    for (sm_ghost *g; (g = sm_map_next(&w->ghosts, &pos, NULL));)
        sm_ghost_free(g);
    sm_map_fini(&w->ghosts);
    free(w->key);
    free(w);
}

/* Says how a process ended. */
static void how_ended(const sm_worker *w, int status, char *out, size_t cap) {
    if (WIFSIGNALED(status) && w->why[0] && WTERMSIG(status) == SIGKILL)
        snprintf(out, cap, "its worker process was ended because %s", w->why);
    else if (WIFSIGNALED(status))
        snprintf(out, cap, "its worker process was ended by signal %d (%s)", WTERMSIG(status),
                 sigdescr_np(WTERMSIG(status)) ? sigdescr_np(WTERMSIG(status)) : "unknown");
    else
        snprintf(out, cap, "its worker process exited with code %d", WEXITSTATUS(status));
}

/* A job whose worker died under it. */
static void lose(sm_worker *w, sm_job *j, int status, const char *how) {
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    sm_dispatcher *d = w->d;
    if (d->stopping) {
        sm_job_end_now(j, "cancelled", "the program is stopping", 0);
    } else if (!j->is_load) {
        d->counts.lost += !j->cancelled;
        j->foreign = signal == SIGKILL && !w->why[0];
        sm_job_end_now(j, j->cancelled ? "cancelled" : "lost", how, signal);
    } else if (w->kind == SM_WORKER_SHARED && j->attempt == 1) {
        /* A neighbour may have been the culprit. */
        j->attempt = 2;
        j->alone = true;
        j->worker = NULL;
        w->loads--;
        sm_job_move(j, &d->waiting_alone);
    } else {
        char text[SM_ERR_MAX];
        if (signal)
            snprintf(text, sizeof text, "%s/%s: loading crashed its worker (signal %d)", d->display,
                     j->source->file, signal);
        else
            snprintf(text, sizeof text, "%s/%s: loading ended its worker (exit code %d)",
                     d->display, j->source->file, WEXITSTATUS(status));
        sm_job_end_now(j, "failed", text, 0);
    }
}

void sm_grave_tell(sm_dispatcher *d, int64_t now) {
    if (d->untold == 0)
        return;
    int64_t at = d->told_ns + SM_TELL_S * SM_NS_PER_S;
    if (at > now) {
        sm_deadline_at(d, at);
        return;
    }
    sm_log(SM_LOG_WARN, "%d more worker %s ended in the last minute, %d jobs lost; the last %s",
           d->untold, d->untold == 1 ? "process" : "processes", d->untold_jobs, d->untold_last);
    d->untold = d->untold_jobs = 0;
    d->told_ns = now;
}

/* The first death is told at once; those of the minute after it are told together. */
static void tell(sm_worker *w, const char *how) {
    sm_dispatcher *d = w->d;
    int64_t now = sm_mono_ns();
    if (w->why[0] && w->jobs.n == 0) {
        sm_log(SM_LOG_DEBUG, "worker %d: %s; 0 jobs lost", (int)w->pid, how);
    } else if (d->told_ns == INT64_MIN || now - d->told_ns >= SM_TELL_S * SM_NS_PER_S) {
        sm_grave_tell(d, now);
        d->told_ns = now;
        sm_log(SM_LOG_WARN, "worker %d: %s; %d %s lost", (int)w->pid, how, w->jobs.n,
               w->jobs.n == 1 ? "job" : "jobs");
    } else {
        d->untold++;
        d->untold_jobs += w->jobs.n;
        snprintf(d->untold_last, sizeof d->untold_last, "(%d) %.200s", (int)w->pid, how);
        sm_grave_tell(d, now);
    }
}

/* Names the runs that never came back, if the worker itself was well until the end. */
static void convict(sm_worker *w) {
    const sm_dispatcher *d = w->d;
    int64_t before = sm_mono_ns() - SM_LATE_MS * SM_NS_PER_MS * 9 / 10;
    size_t pos = 0;
    for (sm_ghost *g; (g = sm_map_next(&w->ghosts, &pos, NULL));)
        if (d->opt.stuck && g->inspection && w->pong >= g->ping && g->since_ns <= before)
            d->opt.stuck(d->opt.stuck_ctx, g->inspection);
}

static void bury(sm_worker *w, int status) {
    sm_dispatcher *d = w->d;
    char how[SM_ERR_MAX];
    bool asked = w->state == SM_WORKER_RETIRING;
    w->reaped = true;
    w->state = SM_WORKER_DYING;
    if (!w->muted)
        sm_link_drain(&w->link); /* a result that it wrote before it died counts */
    how_ended(w, status, how, sizeof how);
    if (w->prev)
        w->prev->next = w->next;
    else
        d->workers = w->next;
    if (w->next)
        w->next->prev = w->prev;
    if (!asked && !d->stopping) {
        d->counts.died += !w->why[0];
        d->deaths++;
        if (w->hello)
            tell(w, how + strlen("its worker process "));
        else
            sm_pool_failed(d, how);
    }
    convict(w);
    sm_pool_fill(d);
    /* The newest first: it had the least time to do harm, and is repeated before the others. */
    while (w->jobs.last)
        lose(w, w->jobs.last, status, how);
    sm_link_close(&w->link, on_closed);
    sm_deadline_at(d, 0);
}

void sm_grave_reap(sm_dispatcher *d) {
    sm_worker *next;
    for (sm_worker *w = d->workers; w; w = next) {
        int status;
        next = w->next;
        pid_t got = waitpid(w->pid, &status, WNOHANG);
        if (got < 0 && errno == ECHILD)
            status = 0; /* somebody else reaped it; how it ended is lost */
        else if (got != w->pid)
            continue;
        bury(w, status);
    }
    sm_placing_all(d);
}
