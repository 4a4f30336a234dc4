/* bench store_events: durable events per second from 64 threads that report one event at a time
 * through sm_store_call, as runs do, beside a plain loop of single-row commits with the same
 * durability in the same minute. Prints both and their ratio; rounds are interleaved.
 *
 *   bench_store_events [DIR] [SECONDS]     DIR: on the disk to measure (default: .)
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/store.h"

#include <pthread.h>
#include <semaphore.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { THREADS = 64, ROUNDS = 3, SAMPLES = 1 << 20 };

typedef struct bench {
    sm_store *store;
    sem_t work;       /* posted by wake: completions wait */
    atomic_bool stop; /* reporters end after their present event */
    atomic_bool quit; /* the drainer ends */
    atomic_int samples;
    double cpu_us; /* CPU of the whole process per event in the last measurement */
    float *ms;
} bench;

typedef struct reporter {
    bench *b;
    sem_t answered;
    int number;
    long done;
    sm_rc rc;
} reporter;

static void wake(void *ctx) {
    sem_post(&((bench *)ctx)->work);
}

static void answered(void *ctx, sm_rc rc, const sm_err *err, const json_t *result) {
    reporter *r = ctx;
    (void)result;
    r->rc = rc;
    if (rc != SM_OK)
        fprintf(stderr, "%s\n", err->msg);
    sem_post(&r->answered);
}

static void *drain(void *arg) {
    bench *b = arg;
    while (!atomic_load(&b->quit)) {
        sem_wait(&b->work);
        sm_store_drain(b->store);
    }
    return NULL;
}

static json_t *report(const char *run, int number, long serial) {
    char id[32], event_id[48], uuid[33], host[32];
    snprintf(id, sizeof id, "bench/i%d.run", number);
    snprintf(host, sizeof host, "host-%ld", serial % 50);
    sm_id_new(sm_wall_ns(), uuid);
    snprintf(event_id, sizeof event_id, "event-%s", uuid);
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:[{s:s,s:I,s:s,s:s,s:s,s:{s:s},s:s}]}",
                     "run", run, "id", id, "ref_key", "a0cd79a7bfb9203122cbcb2e8cceadf0", "account",
                     "default", "node", "local", "checker", "rul_0c2cf60f5e7c4bd3a5d2d0a2f0f0aaaa",
                     "title", "Shop answers", "attempt", 1, "events", "event_id", event_id, "at_ns",
                     (json_int_t)sm_wall_ns(), "title", "Shop is slow", "message",
                     "`https://shop.example/` answered **200** in 913 ms", "status", "warning",
                     "dimension_tags", "host", host, "dimension", host);
}

static void *run_reporter(void *arg) {
    reporter *r = arg;
    char run[33];
    sm_id_new(sm_wall_ns(), run);
    while (!atomic_load(&r->b->stop) && r->rc == SM_OK) {
        int64_t begin = sm_mono_ns();
        sm_store_call(r->b->store, SM_OP_EVENTS_ACCEPT, report(run, r->number, r->done), answered,
                      r);
        while (sem_wait(&r->answered) != 0)
            continue;
        int n = atomic_fetch_add(&r->b->samples, 1);
        if (n < SAMPLES)
            r->b->ms[n] = (float)(sm_mono_ns() - begin) / 1e6F;
        r->done++;
    }
    return NULL;
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static double measure_store(bench *b, int threads, double seconds) {
    reporter *r = sm_calloc((size_t)threads, sizeof *r);
    pthread_t *t = sm_calloc((size_t)threads, sizeof *t);
    atomic_store(&b->stop, false);
    double cpu = cpu_seconds();
    int64_t begin = sm_mono_ns();
    for (int i = 0; i < threads; i++) {
        r[i].b = b;
        r[i].number = i;
        sem_init(&r[i].answered, 0, 0);
        pthread_create(&t[i], NULL, run_reporter, &r[i]);
    }
    usleep((useconds_t)(seconds * 1e6));
    atomic_store(&b->stop, true);
    long done = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(t[i], NULL);
        done += r[i].done;
        sem_destroy(&r[i].answered);
    }
    double took = (double)(sm_mono_ns() - begin) / 1e9;
    b->cpu_us = (cpu_seconds() - cpu) * 1e6 / (double)(done > 0 ? done : 1);
    free(r);
    free(t);
    return (double)done / took;
}

static void check(int rc, sqlite3 *h) {
    if (rc != SQLITE_OK && rc != SQLITE_DONE) {
        fprintf(stderr, "reference: %s\n", sqlite3_errmsg(h));
        exit(1);
    }
}

static double measure_reference(const char *path, double seconds) {
    sqlite3 *h;
    sqlite3_stmt *st;
    check(sqlite3_open(path, &h), h);
    check(sqlite3_exec(h,
                       "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA "
                       "synchronous=FULL; CREATE TABLE IF NOT EXISTS e (seq INTEGER PRIMARY KEY, "
                       "id TEXT UNIQUE, payload TEXT)",
                       NULL, NULL, NULL),
          h);
    check(sqlite3_prepare_v2(h, "INSERT INTO e (id, payload) VALUES (?1, ?2)", -1, &st, NULL), h);
    char payload[401];
    memset(payload, 'x', 400);
    payload[400] = '\0';
    long done = 0;
    int64_t begin = sm_mono_ns(), end = begin + (int64_t)(seconds * 1e9);
    while (sm_mono_ns() < end) {
        char id[33];
        sm_id_new(sm_wall_ns(), id);
        sqlite3_bind_text(st, 1, id, -1, SQLITE_STATIC);
        sqlite3_bind_text(st, 2, payload, -1, SQLITE_STATIC);
        check(sqlite3_step(st), h);
        sqlite3_reset(st);
        done++;
    }
    double took = (double)(sm_mono_ns() - begin) / 1e9;
    sqlite3_finalize(st);
    sqlite3_close(h);
    return (double)done / took;
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void print_latency(bench *b, const char *name) {
    int n = atomic_exchange(&b->samples, 0);
    n = n < SAMPLES ? n : SAMPLES;
    if (n == 0)
        return;
    qsort(b->ms, (size_t)n, sizeof *b->ms, compare);
    printf("%s: p50 %.2f ms, p99 %.2f ms\n", name, (double)b->ms[n / 2],
           (double)b->ms[n - 1 - n / 100]);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    char dir[512], path[600], reference[600];
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
    snprintf(dir, sizeof dir, "%s/bench_store.XXXXXX", argc > 1 ? argv[1] : ".");
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    snprintf(path, sizeof path, "%s/store.db", dir);
    snprintf(reference, sizeof reference, "%s/reference.db", dir);
    bench b = {.ms = sm_malloc(SAMPLES * sizeof(float))};
    sem_init(&b.work, 0, 0);
    sm_store_options opt = {.path = path,
                            .outbox_bytes = INT64_C(8) << 30,
                            .min_free_bytes = INT64_C(256) << 20,
                            .wake = wake,
                            .ctx = &b};
    sm_err err = SM_ERR_INIT;
    if (sm_store_open(&opt, &b.store, &err) != SM_OK) {
        fprintf(stderr, "%s\n", err.msg);
        return 1;
    }
    pthread_t drainer;
    pthread_create(&drainer, NULL, drain, &b);
    double ratio[ROUNDS], rate[ROUNDS], alone = 0;
    for (int i = 0; i < ROUNDS; i++) {
        double base = measure_reference(reference, seconds / 3);
        rate[i] = measure_store(&b, THREADS, seconds);
        ratio[i] = rate[i] / base;
        printf("round %d: store %.0f events/s, reference %.0f commits/s, ratio %.1f, CPU %.1f us "
               "per event\n",
               i + 1, rate[i], base, ratio[i], b.cpu_us);
    }
    print_latency(&b, "64 reporters");
    alone = measure_store(&b, 1, seconds / 3);
    print_latency(&b, "one reporter");
    qsort(rate, ROUNDS, sizeof *rate, by_value);
    qsort(ratio, ROUNDS, sizeof *ratio, by_value);
    printf("P9 store_events: %.0f durable events/s (target 30000), ratio %.1f to single-row "
           "commits; alone %.0f/s\n",
           rate[ROUNDS / 2], ratio[ROUNDS / 2], alone);
    atomic_store(&b.quit, true);
    sem_post(&b.work);
    pthread_join(drainer, NULL);
    sm_store_close(b.store);
    unlink(path);
    unlink(reference);
    rmdir(dir);
    free(b.ms);
    return rate[ROUNDS / 2] >= 30000 ? 0 : 1;
}
