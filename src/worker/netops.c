/* netops: performs the operations of selfmon.net (see netops.h): a connection with a first talk, a
 * connection to keep, a look at certificates; DNS, ping and NTP are in rooms of their own.
 *
 * One operation runs on the run's own thread, where a stop interrupts its wait by a signal.
 * Several run on helper threads, woken through an eventfd; the run's thread waits for them on its
 * condition, so that a stopped run is rid of them at once. They are joined before it returns.
 */
#include "worker/netops.h"
#include "base/clock.h"
#include "base/mem.h"
#include "worker/nettls.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

void sm_netop_fini(sm_netop *op) {
    if (op->send)
        explicit_bzero(op->send, op->send_n);
    free(op->send);
    free(op->ca);
    free(op->error);
    json_decref(op->args);
    json_decref(op->value);
    if (op->stream)
        sm_netstream_close(op->stream);
    free(op->stream);
    memset(op, 0, sizeof *op);
}

void sm_netop_fail(sm_netop *op, const char *code, const char *sentence) {
    free(op->error);
    op->error = sm_strdup(sentence);
    snprintf(op->code, sizeof op->code, "%s", code);
}

static void free_trust(void *store) {
    X509_STORE_free(store);
}

X509_STORE *sm_net_trust(sm_run *run) {
    if (!run->trust) {
        run->trust_free = free_trust;
        run->trust = sm_nettls_trust();
    }
    return run->trust;
}

static bool wants_trust(const sm_netop *op) {
    return !op->ca && (strcmp(op->what, "tls") == 0 || json_object_get(op->args, "tls"));
}

static json_t *timings(const sm_netstream *s, int64_t begin) {
    json_t *out = json_pack("{s:f, s:f, s:f}", "dns", s->dns_s, "connect", s->connect_s, "total",
                            (double)(sm_mono_ns() - begin) / (double)SM_NS_PER_S);
    if (s->ssl)
        json_object_set_new(out, "tls", json_real(s->tls_s));
    return out;
}

static json_t *place(const sm_netstream *s) {
    return json_pack("{s:s, s:i}", "ip", s->ip, "port", s->port);
}

/* Bytes as they came: the only texts of ours that need not be UTF-8. */
static json_t *bytes(const char *p, size_t n) {
    json_t *out = json_stringn_nocheck(n ? p : "", n);
    return out ? out : json_string("");
}

static sm_nettls tls_opts(const sm_run *run, const sm_netop *op, const json_t *o, const char *host,
                          bool verify) {
    return (sm_nettls){.trust = run->trust,
                       .servername = sm_json_str(o, "servername", host),
                       .verify = sm_json_bool(o, "verify", verify),
                       .ca = op->ca,
                       .at = sm_json_int(o, "verify_time", 0)};
}

/* The greeting or answer: a line, a number of bytes, or what comes until `expect` is in it. */
static sm_rc read_banner(sm_netstream *s, const json_t *args, const sm_netwait *w, json_t **out,
                         sm_err *err) {
    const char *expect = sm_json_str(args, "expect", NULL);
    int64_t want = sm_json_int(args, "read", 0);
    sm_rc rc = SM_OK;
    size_t n = 0;
    if (want > 0) {
        n = (size_t)want;
        rc = sm_netstream_need(s, n, w, err);
    } else if (expect) {
        size_t len = json_string_length(json_object_get(args, "expect"));
        while (rc == SM_OK && !(s->in.len && memmem(s->in.data, s->in.len, expect, len)))
            rc = s->in.len > SM_NET_LINE_MAX
                     ? sm_err_set(err, SM_PROTO, "%s: does not say \"%s\" in its first %d KiB",
                                  s->who, expect, (int)SM_NET_LINE_MAX >> 10)
                     : sm_netstream_more(s, w, err);
        n = s->in.len;
        if ((rc == SM_TIMEOUT || rc == SM_CLOSED) && !atomic_load(w->stop)) {
            char said[SM_ERR_MAX];
            memcpy(said, err->msg, sizeof said);
            rc = sm_err_set(err, SM_PROTO, "%s; \"%s\" was expected, %zu bytes came", said, expect,
                            n);
        }
    } else if (json_object_get(args, "read")) {
        rc = sm_netstream_line(s, &n, w, err);
        while (rc == SM_OK && n > 0 && (s->in.data[n - 1] == '\n' || s->in.data[n - 1] == '\r'))
            n--;
    } else {
        return SM_OK;
    }
    if (rc == SM_OK)
        *out = bytes(s->in.data, n);
    return rc;
}

static sm_rc op_tcp(sm_netop *op, const json_t *net, const sm_netwait *w, sm_err *err) {
    sm_netstream s;
    int64_t begin = sm_mono_ns();
    json_t *banner = NULL;
    sm_netstream_init(&s);
    sm_rc rc = sm_netstream_connect(&s, sm_json_str(op->args, "host", ""),
                                    (int)sm_json_int(op->args, "port", 0), net, w, err);
    if (rc == SM_OK && op->send)
        rc = sm_netstream_send(&s, op->send, op->send_n, w, err);
    if (rc == SM_OK)
        rc = read_banner(&s, op->args, w, &banner, err);
    if (rc == SM_OK) {
        op->value = place(&s);
        json_object_set_new(op->value, "timings", timings(&s, begin));
        if (banner)
            json_object_set(op->value, "banner", banner);
    }
    json_decref(banner);
    sm_netstream_close(&s);
    return rc;
}

static sm_rc op_open(sm_netop *op, const sm_run *run, const sm_netwait *w, sm_err *err) {
    int64_t begin = sm_mono_ns();
    const char *host = sm_json_str(op->args, "host", "");
    const json_t *tls = json_object_get(op->args, "tls");
    sm_netstream *s = sm_malloc(sizeof *s);
    op->stream = s;
    sm_netstream_init(s);
    sm_rc rc =
        sm_netstream_connect(s, host, (int)sm_json_int(op->args, "port", 0), run->net, w, err);
    if (rc == SM_OK && tls) {
        sm_nettls o = tls_opts(run, op, tls, host, true);
        rc = sm_nettls_start(s, &o, w, NULL, err);
    }
    if (rc == SM_OK) {
        op->value = place(s);
        json_object_set_new(op->value, "timings", timings(s, begin));
        if (s->ssl)
            json_object_set_new(op->value, "protocol", json_string(SSL_get_version(s->ssl)));
    }
    return rc;
}

static sm_rc op_tls(sm_netop *op, const sm_run *run, const sm_netwait *w, sm_err *err) {
    sm_netstream s;
    int64_t begin = sm_mono_ns();
    const char *host = sm_json_str(op->args, "host", "");
    const char *starttls = sm_json_str(op->args, "starttls", NULL);
    sm_nettls o = tls_opts(run, op, op->args, host, false);
    json_t *report = NULL;
    sm_netstream_init(&s);
    sm_rc rc =
        sm_netstream_connect(&s, host, (int)sm_json_int(op->args, "port", 443), run->net, w, err);
    if (rc == SM_OK && starttls)
        rc = sm_nettls_ask(&s, starttls, w, err);
    if (rc == SM_OK)
        rc = sm_nettls_start(&s, &o, w, &report, err);
    if (rc == SM_OK && !report)
        rc = sm_err_set(err, SM_INVALID, "%s: showed no certificate", s.who);
    if (rc == SM_OK) {
        op->value = place(&s);
        json_object_update(op->value, report);
        json_t *times = timings(&s, begin);
        json_object_set_new(times, "tls", json_real(s.tls_s));
        json_object_set_new(op->value, "timings", times);
    }
    json_decref(report);
    sm_netstream_close(&s);
    return rc;
}

static void perform_one(sm_netop *op, const sm_run *run, const _Atomic int *stop, int wake_fd) {
    const json_t *net = run->net;
    sm_err err = SM_ERR_INIT;
    sm_netwait whole = {run->deadline_ns, stop, wake_fd};
    sm_netwait w = sm_netwait_within(&whole, sm_json_num(op->args, "timeout", 10));
    sm_rc rc;
    if (strcmp(op->what, "tcp") == 0)
        rc = op_tcp(op, net, &w, &err);
    else if (strcmp(op->what, "open") == 0)
        rc = op_open(op, run, &w, &err);
    else if (strcmp(op->what, "tls") == 0)
        rc = op_tls(op, run, &w, &err);
    else if (strcmp(op->what, "dns") == 0)
        rc = sm_netop_dns(op->args, net, &w, &op->value, &err);
    else if (strcmp(op->what, "ping") == 0)
        rc = sm_netop_ping(op->args, net, &w, &op->value, &err);
    else
        rc = sm_netop_ntp(op->args, net, &w, &op->value, &err);
    if (rc != SM_OK)
        sm_netop_fail(op, sm_net_code(rc), err.msg);
}

/* ---- several at once ----------------------------------------------------------------------- */

/* Lives on the stack of sm_netops_perform, which joins its threads. */
typedef struct batch {
    sm_run *run;
    sm_netop *ops;
    size_t n;
    atomic_size_t next;
    size_t alive; /* guarded by run->mu */
    _Atomic int stop;
    int wake_fd;
    atomic_llong budget; /* bytes that all answers may still take */
} batch;

/* About how much memory a value takes. */
static long long weight(const json_t *j) {
    long long sum = 64 + (long long)json_string_length(j);
    const char *key;
    json_t *v;
    size_t i;
    json_object_foreach((json_t *)(uintptr_t)j, key, v) sum += 64 + weight(v);
    json_array_foreach((json_t *)(uintptr_t)j, i, v) sum += 8 + weight(v);
    return sum;
}

/* What one answer more takes of the budget; too much: it is dropped. */
static void weigh(batch *b, sm_netop *op) {
    long long bytes = op->value ? weight(op->value) : 0;
    if (atomic_fetch_sub(&b->budget, bytes) >= bytes)
        return;
    json_decref(op->value);
    op->value = NULL;
    sm_netop_fail(op, "too_large", "all answers together are longer than the run's memory");
}

static void *helper(void *arg) {
    batch *b = arg;
    for (;;) {
        size_t i = atomic_fetch_add(&b->next, 1);
        if (i >= b->n || atomic_load(&b->stop))
            break;
        perform_one(&b->ops[i], b->run, &b->stop, b->wake_fd);
        weigh(b, &b->ops[i]);
    }
    pthread_mutex_lock(&b->run->mu);
    b->alive--;
    pthread_cond_broadcast(&b->run->cv);
    pthread_mutex_unlock(&b->run->mu);
    return NULL;
}

static size_t start_helpers(batch *b, pthread_t *threads, size_t want) {
    pthread_attr_t attr;
    sigset_t all, before;
    size_t n = 0;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, SM_NET_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for runs' threads */
    pthread_mutex_lock(&b->run->mu);
    while (n < want && pthread_create(&threads[n], &attr, helper, b) == 0)
        n++;
    b->alive = n;
    pthread_mutex_unlock(&b->run->mu);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return n;
}

static void perform_all(sm_run *run, sm_netop *ops, size_t n) {
    uint64_t one = 1;
    batch b = {.run = run, .ops = ops, .n = n, .wake_fd = eventfd(0, EFD_CLOEXEC)};
    atomic_init(&b.budget, (long long)run->limits.memory);
    size_t want = (size_t)(run->limits.http_parallel > 0 ? run->limits.http_parallel : 1);
    size_t most = (size_t)(SM_NET_OPEN_MAX + 1 - run->connections); /* descriptors are shared */
    if (want > most)
        want = most;
    if (want > n)
        want = n;
    pthread_t *threads = sm_calloc(want, sizeof *threads);
    size_t started = b.wake_fd < 0 ? 0 : start_helpers(&b, threads, want);
    pthread_mutex_lock(&run->mu);
    while (b.alive > 0 && sm_run_wait(run, INT64_MAX))
        ;
    pthread_mutex_unlock(&run->mu);
    if (atomic_load(&run->stop)) {
        atomic_store(&b.stop, 1);
        while (b.wake_fd >= 0 && write(b.wake_fd, &one, sizeof one) < 0 && errno == EINTR)
            ;
    }
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (b.wake_fd >= 0)
        close(b.wake_fd);
    free(threads);
}

void sm_netops_perform(sm_run *run, sm_netop *ops, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (wants_trust(&ops[i]))
            (void)sm_net_trust(run); /* before there are threads */
    if (n == 1)
        perform_one(&ops[0], run, &run->stop, -1);
    else if (n > 1)
        perform_all(run, ops, n);
    for (size_t i = 0; i < n; i++)
        if (!ops[i].value && !ops[i].code[0])
            sm_netop_fail(&ops[i], "connect", "no thread could be started for it");
}
