/* fetch: the engine: one thread, one curl multi, epoll; and the queue by which runs hand it work.
 *
 * A job is one call of sm_fetch_perform and lives on that run's stack: the engine forgets it, under
 * the run's lock, before perform returns. Transfers (easy handles) are pooled. Everything below
 * "engine's thread" is touched by that thread only; `mu` guards the inbox. Lock order: never both.
 */
#include "worker/fetch.h"
#include "base/clock.h"
#include "base/mem.h"
#include "worker/fetch_internal.h"
#include "worker/run.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    POOL_MAX = 256,        /* idle transfers kept */
    CONNECTIONS_MAX = 256, /* idle connections kept */
    EVENTS = 64
};

struct fetch_job {
    sm_run *run;
    const sm_fetch_req *reqs;
    sm_fetch_res *res;
    size_t n;
    size_t parallel;     /* transfers at once */
    size_t budget;       /* body bytes left for all answers */
    int64_t deadline_ns; /* of the run */
    /* engine's thread */
    size_t next;   /* first request not begun */
    size_t active; /* transfers under way */
    bool known;    /* in the engine's list */
    sm_transfer *going;
    struct fetch_job *prev, *later;
    /* guarded by the engine's mu */
    struct fetch_job *inbox_next;
    bool queued, cancel, finished;
    /* guarded by run->mu */
    bool done;
};

struct sm_fetch {
    pthread_t thread;
    int epoll_fd, wake_fd;
    CURLM *multi;
    /* engine's thread */
    int64_t timer_ns; /* when curl wants to be called; -1 never */
    sm_transfer *pool;
    size_t n_pool;
    fetch_job *jobs;
    /* guarded by mu */
    pthread_mutex_t mu;
    fetch_job *inbox, **inbox_end;
    bool stopping;
};

/* ---- transfers, engine's thread ------------------------------------------------------------ */

static sm_transfer *transfer_get(sm_fetch *f) {
    sm_transfer *t = f->pool;
    if (t) {
        f->pool = t->next;
        f->n_pool--;
        CURL *easy = t->easy;
        memset(t, 0, sizeof(*t));
        t->easy = easy;
        return t;
    }
    t = sm_calloc(1, sizeof(*t));
    t->easy = curl_easy_init();
    if (!t->easy) {
        free(t);
        return NULL;
    }
    return t;
}

static void transfer_put(sm_fetch *f, sm_transfer *t) {
    sm_transfer_clean(t);
    sm_fetch_req_fini(&t->hop);
    sm_netpolicy_free(t->policy);
    t->policy = NULL;
    if (f->n_pool < POOL_MAX) {
        t->next = f->pool;
        f->pool = t;
        f->n_pool++;
        return;
    }
    curl_easy_cleanup(t->easy);
    free(t);
}

static void transfer_unlink(sm_transfer *t) {
    if (t->prev)
        t->prev->next = t->next;
    else
        t->job->going = t->next;
    if (t->next)
        t->next->prev = t->prev;
    t->job->active--;
}

/* Hands the prepared hop to curl. */
static bool transfer_go(sm_fetch *f, sm_transfer *t) {
    if (!sm_transfer_prepare(t, sm_mono_ns()))
        return false;
    CURLMcode mc = curl_multi_add_handle(f->multi, t->easy);
    if (mc != CURLM_OK)
        sm_fetch_res_fail(t->res, "connect", "%s: %s", t->url.name, curl_multi_strerror(mc));
    return mc == CURLM_OK;
}

static int64_t deadline_of(const fetch_job *job, double timeout_s, int64_t now_ns) {
    double s = timeout_s > 0 && timeout_s < SM_FETCH_TIMEOUT_MAX ? timeout_s : SM_FETCH_TIMEOUT_MAX;
    int64_t own = now_ns + (int64_t)(s * (double)SM_NS_PER_S);
    return job->deadline_ns > 0 && job->deadline_ns < own ? job->deadline_ns : own;
}

/* Begins request i of the job; when it cannot begin, its result is an error already. */
static void transfer_begin(sm_fetch *f, fetch_job *job, size_t i) {
    sm_transfer *t = transfer_get(f);
    if (!t) {
        sm_fetch_res_fail(&job->res[i], "connect", "out of memory for another transfer");
        return;
    }
    t->job = job;
    t->first = t->req = &job->reqs[i];
    t->res = &job->res[i];
    t->budget = &job->budget;
    t->start_ns = sm_mono_ns();
    t->deadline_ns = deadline_of(job, t->req->timeout_s, t->start_ns);
    if (!transfer_go(f, t)) {
        transfer_put(f, t);
        return;
    }
    t->next = job->going;
    if (t->next)
        t->next->prev = t;
    job->going = t;
    job->active++;
}

/* True when another hop is under way. */
static bool transfer_redirect(sm_fetch *f, sm_transfer *t) {
    sm_fetch_req next;
    sm_err why = SM_ERR_INIT;
    switch (sm_redirect_next(t->req, t->res, &next, &why)) {
    case SM_REDIRECT_NONE:
        return false;
    case SM_REDIRECT_REFUSED:
        sm_fetch_res_fail(t->res, "redirect", "%s: %s", t->url.name, why.msg);
        return false;
    case SM_REDIRECT_FOLLOW:
        break;
    }
    *t->budget += t->res->body_n;
    sm_fetch_res_fini(t->res);
    sm_transfer_clean(t); /* before the request goes that it points into */
    sm_fetch_req_fini(&t->hop);
    t->hop = next;
    t->req = &t->hop;
    return transfer_go(f, t);
}

static void job_finish(sm_fetch *f, fetch_job *job);

static void job_advance(sm_fetch *f, fetch_job *job) {
    while (job->next < job->n && job->active < job->parallel)
        transfer_begin(f, job, job->next++);
    if (job->active == 0 && job->next == job->n)
        job_finish(f, job);
}

static void transfer_ended(sm_fetch *f, sm_transfer *t, CURLcode code) {
    fetch_job *job = t->job;
    curl_multi_remove_handle(f->multi, t->easy);
    sm_transfer_collect(t, code);
    if (transfer_redirect(f, t))
        return;
    transfer_unlink(t);
    transfer_put(f, t);
    job_advance(f, job);
}

/* ---- jobs, engine's thread ----------------------------------------------------------------- */

static void job_learn(sm_fetch *f, fetch_job *job) {
    job->known = true;
    job->later = f->jobs;
    if (job->later)
        job->later->prev = job;
    f->jobs = job;
}

static void job_forget(sm_fetch *f, fetch_job *job) {
    if (!job->known)
        return;
    if (job->prev)
        job->prev->later = job->later;
    else
        f->jobs = job->later;
    if (job->later)
        job->later->prev = job->prev;
}

/* The last touch of a job: afterwards perform may return and its stack is gone. */
static void job_finish(sm_fetch *f, fetch_job *job) {
    job_forget(f, job);
    pthread_mutex_lock(&f->mu);
    job->finished = true; /* nobody queues it from here on */
    if (job->queued) {
        fetch_job **at = &f->inbox;
        while (*at != job)
            at = &(*at)->inbox_next;
        *at = job->inbox_next;
        if (f->inbox_end == &job->inbox_next)
            f->inbox_end = at;
        job->queued = false;
    }
    pthread_mutex_unlock(&f->mu);

    sm_run *run = job->run;
    pthread_mutex_lock(&run->mu);
    job->done = true;
    pthread_cond_broadcast(&run->cv);
    pthread_mutex_unlock(&run->mu);
}

static void cancelled(const sm_fetch_req *req, sm_fetch_res *res) {
    sm_fetch_url url = {0};
    const char *name = "request";
    if (sm_fetch_url_parse(req->url, strlen(req->url), &url, NULL) == SM_OK)
        name = url.name;
    sm_fetch_res_fail(res, "cancelled", "%s: the run ended before the answer came", name);
    sm_fetch_url_fini(&url);
}

static void job_cancel(sm_fetch *f, fetch_job *job) {
    while (job->going) {
        sm_transfer *t = job->going;
        curl_multi_remove_handle(f->multi, t->easy);
        cancelled(t->req, t->res);
        transfer_unlink(t);
        transfer_put(f, t);
    }
    for (; job->next < job->n; job->next++)
        cancelled(&job->reqs[job->next], &job->res[job->next]);
    job_finish(f, job);
}

/* ---- the loop, engine's thread ------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known) {
    (void)easy;
    sm_fetch *f = arg;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(f->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        (void)curl_multi_assign(f->multi, fd, NULL);
        return 0;
    }
    struct epoll_event ev = {.data.fd = fd};
    ev.events = (what & CURL_POLL_IN ? (uint32_t)EPOLLIN : 0u) |
                (what & CURL_POLL_OUT ? (uint32_t)EPOLLOUT : 0u);
    if (epoll_ctl(f->epoll_fd, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) != 0 &&
        (errno == EEXIST || errno == ENOENT)) /* the number was closed and opened again */
        (void)epoll_ctl(f->epoll_fd, errno == EEXIST ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
    (void)curl_multi_assign(f->multi, fd, f);
    return 0;
}

static int on_timer(CURLM *multi, long ms, void *arg) {
    (void)multi;
    sm_fetch *f = arg;
    f->timer_ns = ms < 0 ? -1 : sm_mono_ns() + ms * SM_NS_PER_MS;
    return 0;
}

static void read_messages(sm_fetch *f) {
    int left = 0;
    CURLMsg *m = NULL;
    while ((m = curl_multi_info_read(f->multi, &left)) != NULL) {
        char *private = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        if (curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private) == CURLE_OK && private)
            transfer_ended(f, (sm_transfer *)(void *)private, code);
    }
}

/* False when the engine is to stop. */
static bool read_inbox(sm_fetch *f) {
    for (;;) {
        pthread_mutex_lock(&f->mu);
        bool stopping = f->stopping;
        fetch_job *job = f->inbox;
        bool cancel = false;
        if (job) {
            f->inbox = job->inbox_next;
            if (!f->inbox)
                f->inbox_end = &f->inbox;
            job->queued = false;
            cancel = job->cancel;
        }
        pthread_mutex_unlock(&f->mu);
        if (!job)
            return !stopping;
        if (!job->known)
            job_learn(f, job);
        if (cancel || stopping)
            job_cancel(f, job);
        else
            job_advance(f, job);
    }
}

static int wait_ms(const sm_fetch *f) {
    if (f->timer_ns < 0)
        return -1;
    int64_t ns = f->timer_ns - sm_mono_ns();
    if (ns <= 0)
        return 0;
    return (int)((ns + SM_NS_PER_MS - 1) / SM_NS_PER_MS);
}

static void *engine_main(void *arg) {
    sm_fetch *f = arg;
    struct epoll_event events[EVENTS];
    bool going = true;
    while (going) {
        int running = 0, n = epoll_wait(f->epoll_fd, events, EVENTS, wait_ms(f));
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == f->wake_fd) {
                uint64_t count = 0;
                (void)!read(fd, &count, sizeof(count));
                going = read_inbox(f);
                continue;
            }
            uint32_t ev = events[i].events;
            int flags = (ev & EPOLLIN ? CURL_CSELECT_IN : 0) |
                        (ev & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
                        (ev & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0);
            (void)curl_multi_socket_action(f->multi, fd, flags, &running);
        }
        if (f->timer_ns >= 0 && f->timer_ns <= sm_mono_ns()) {
            f->timer_ns = -1; /* curl sets it again when it wants more */
            (void)curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
        read_messages(f);
    }
    while (f->jobs)
        job_cancel(f, f->jobs);
    return NULL;
}

/* ---- any thread ---------------------------------------------------------------------------- */

static void wake(sm_fetch *f) {
    uint64_t one = 1;
    (void)!write(f->wake_fd, &one, sizeof(one));
}

/* False when the engine stops and takes no more, or has already finished the job. */
static bool queue_job(sm_fetch *f, fetch_job *job, bool cancel) {
    bool ok = false, first = false;
    pthread_mutex_lock(&f->mu);
    if (!job->finished && (cancel || !f->stopping)) {
        ok = true;
        job->cancel = cancel;
        if (!job->queued) {
            first = f->inbox == NULL;
            job->queued = true;
            job->inbox_next = NULL;
            *f->inbox_end = job;
            f->inbox_end = &job->inbox_next;
        }
    }
    pthread_mutex_unlock(&f->mu);
    if (first)
        wake(f);
    return ok;
}

void sm_fetch_perform(void *engine, sm_run *run, const sm_fetch_req *reqs, sm_fetch_res *res,
                      size_t n) {
    sm_fetch *f = engine;
    fetch_job job = {.run = run, .reqs = reqs, .res = res, .n = n, .deadline_ns = run->deadline_ns};
    job.parallel = run->limits.http_parallel > 0 ? (size_t)run->limits.http_parallel : 1;
    job.budget = run->limits.memory > 0 ? run->limits.memory : SIZE_MAX;
    if (n == 0)
        return;
    if (!queue_job(f, &job, false)) {
        for (size_t i = 0; i < n; i++)
            cancelled(&reqs[i], &res[i]);
        return;
    }
    bool going = true;
    pthread_mutex_lock(&run->mu);
    while (!job.done && going)
        going = sm_run_wait(run, INT64_MAX);
    if (!job.done) {
        pthread_mutex_unlock(&run->mu);
        (void)queue_job(f, &job, true);
        pthread_mutex_lock(&run->mu);
        while (!job.done) /* short: the engine never blocks */
            pthread_cond_wait(&run->cv, &run->mu);
    }
    pthread_mutex_unlock(&run->mu);
}

static sm_rc open_engine(sm_fetch *f, sm_err *err) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(f->multi = curl_multi_init()))
        return sm_err_set(err, SM_INTERNAL, "libcurl does not start");
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (f->epoll_fd < 0 || f->wake_fd < 0)
        return sm_err_sys(err, errno, "epoll for HTTP");
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = f->wake_fd};
    if (epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, f->wake_fd, &ev) != 0)
        return sm_err_sys(err, errno, "epoll for HTTP");
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_MAX);
    return SM_OK;
}

static void close_engine(sm_fetch *f) {
    while (f->pool) {
        sm_transfer *t = f->pool;
        f->pool = t->next;
        curl_easy_cleanup(t->easy);
        free(t);
    }
    curl_multi_cleanup(f->multi);
    curl_global_cleanup();
    if (f->epoll_fd >= 0)
        close(f->epoll_fd);
    if (f->wake_fd >= 0)
        close(f->wake_fd);
    pthread_mutex_destroy(&f->mu);
    free(f);
}

sm_fetch *sm_fetch_start(sm_err *err) {
    sm_fetch *f = sm_calloc(1, sizeof(*f));
    f->epoll_fd = f->wake_fd = -1;
    f->timer_ns = -1;
    f->inbox_end = &f->inbox;
    pthread_mutex_init(&f->mu, NULL);
    if (open_engine(f, err) != SM_OK) {
        close_engine(f);
        return NULL;
    }
    /* Signals are for runs' threads; a SIGPIPE of OpenSSL's write must not end the process. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&f->thread, NULL, engine_main, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        sm_err_sys(err, rc, "thread for HTTP");
        close_engine(f);
        return NULL;
    }
    (void)pthread_setname_np(f->thread, "fetch");
    return f;
}

void sm_fetch_stop(sm_fetch *f) {
    if (!f)
        return;
    pthread_mutex_lock(&f->mu);
    f->stopping = true;
    pthread_mutex_unlock(&f->mu);
    wake(f);
    pthread_join(f->thread, NULL);
    close_engine(f);
}
