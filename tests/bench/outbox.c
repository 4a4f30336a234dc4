/* bench outbox: a store with a great outbox: how long it takes to open, how much memory it needs,
 * how long the numbers and the list take, and how fast it drains in order (a stand-in for the
 * platform answers at once).
 *
 *   bench_outbox [DIR] [EVENTS] [DRAINED]     DIR: on the disk to measure (default: .)
 */
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LANES = 100, BATCH = 100, REPORT = 500, TARGET_DRAIN = 20000 };

static double seconds_since(int64_t begin) {
    return (double)(sm_mono_ns() - begin) / 1e9;
}

static json_t *call(sm_store *s, sm_store_op op, json_t *args) {
    sm_err err = SM_ERR_INIT;
    json_t *out = NULL;
    if (sm_store_call_sync(s, op, args, &out, &err) != SM_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return out;
}

/* One inspection reports REPORT events; of the first one come nine of ten. */
static void fill(sm_store *s, long from) {
    char id[32];
    long lane = from / REPORT % 10 ? 0 : from / REPORT / 10 % LANES;
    json_t *events = json_array();
    snprintf(id, sizeof id, "bench/i%ld.run", lane);
    for (long i = from; i < from + REPORT; i++) {
        char event_id[40], host[32];
        snprintf(event_id, sizeof event_id, "event-%026ld", i);
        snprintf(host, sizeof host, "host-%ld", i % 5000);
        json_array_append_new(
            events,
            json_pack("{s:s, s:I, s:s, s:s, s:s, s:{s:s}, s:s}", "event_id", event_id, "at_ns",
                      (json_int_t)(sm_wall_ns()), "title", "Shop is slow", "message",
                      "`https://shop.example/` answered **200** in 913 ms", "status", "warning",
                      "dimension_tags", "host", host, "dimension", host));
    }
    json_decref(call(s, SM_OP_EVENTS_ACCEPT,
                     json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "run",
                               "01a20541b725731b8b18e2b57ff12999", "id", id, "ref_key",
                               "a0cd79a7bfb9203122cbcb2e8cceadf0", "account", "default", "node",
                               "local", "checker", "rul_0c2cf60f5e7c4bd3a5d2d0a2f0f0aaaa", "title",
                               "Shop answers", "attempt", 1, "events", events)));
}

static sm_store *open_store(const char *path) {
    sm_store_options opt = {.path = path, .outbox_bytes = INT64_C(8) << 30};
    sm_err err = SM_ERR_INIT;
    sm_store *s;
    if (sm_store_open(&opt, &s, &err) != SM_OK) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    return s;
}

static long resident_kib(void) {
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL && fscanf(f, "%*s %ld", &pages) != 1)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* Delivers up to n events; per second. The first batch tells whether it is fair. */
static double drain(sm_store *s, long n, int *lanes, double *cpu_us) {
    int64_t begin = sm_mono_ns();
    double cpu = cpu_seconds();
    long done = 0;
    *lanes = 0;
    while (done < n) {
        json_t *rows =
            call(s, SM_OP_OUTBOX_CLAIM,
                 json_pack("{s:I, s:i, s:s}", "now_ms", (json_int_t)(sm_wall_ns() / SM_NS_PER_MS),
                           "limit", BATCH, "account", "default"));
        json_t *ids = json_array(), *row, *seen = json_object();
        size_t i;
        json_array_foreach(rows, i, row) {
            json_array_append(ids, json_object_get(row, "event_id"));
            json_object_set_new(seen, sm_json_str(json_object_get(row, "payload"), "id", ""),
                                json_true());
        }
        if (done == 0)
            *lanes = (int)json_object_size(seen);
        done += (long)json_array_size(ids);
        bool empty = json_array_size(ids) == 0;
        json_decref(seen);
        json_decref(rows);
        json_decref(call(s, SM_OP_OUTBOX_DONE,
                         json_pack("{s:o, s:I, s:s}", "ids", ids, "at_ns", (json_int_t)sm_wall_ns(),
                                   "answer", "")));
        if (empty)
            break;
    }
    *cpu_us = (cpu_seconds() - cpu) * 1e6 / (double)(done > 0 ? done : 1);
    return (double)done / seconds_since(begin);
}

int main(int argc, char **argv) {
    char dir[512], path[600];
    long n = argc > 2 ? strtol(argv[2], NULL, 10) : 100000;
    long drained = argc > 3 ? strtol(argv[3], NULL, 10) : 100000;
    int lanes;
    double cpu_us;
    snprintf(dir, sizeof dir, "%s/bench_outbox.XXXXXX", argc > 1 ? argv[1] : ".");
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        return 1;
    }
    snprintf(path, sizeof path, "%s/store.db", dir);
    sm_store *s = open_store(path);
    int64_t begin = sm_mono_ns();
    for (long i = 0; i < n; i += REPORT)
        fill(s, i);
    printf("filled: %ld events in %.1f s\n", n, seconds_since(begin));
    sm_store_close(s);
    long before = resident_kib();
    begin = sm_mono_ns();
    s = open_store(path);
    double opened = seconds_since(begin);
    begin = sm_mono_ns();
    json_t *stats = call(s, SM_OP_OUTBOX_STATS, NULL);
    json_t *health = call(s, SM_OP_HEALTH, NULL);
    double counted = seconds_since(begin);
    begin = sm_mono_ns();
    json_t *list = call(s, SM_OP_OUTBOX_LIST, json_pack("{s:i}", "limit", 100));
    double listed = seconds_since(begin);
    printf("open: %.2f s with %lld waiting, %ld KiB more resident; numbers %.1f ms; list %.1f ms\n",
           opened, (long long)sm_json_int(stats, "pending", 0), resident_kib() - before,
           counted * 1000, listed * 1000);
    json_decref(stats);
    json_decref(health);
    json_decref(list);
    double rate = drain(s, drained < n ? drained : n, &lanes, &cpu_us);
    printf(
        "P12 drain: %.0f events/s (target %d), CPU %.1f us per event, %d inspections in the first "
        "batch\n",
        rate, TARGET_DRAIN, cpu_us, lanes);
    sm_store_close(s);
    unlink(path);
    rmdir(dir);
    return opened <= 5 && lanes > 1 && rate >= TARGET_DRAIN ? 0 : 1;
}
