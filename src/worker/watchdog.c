/* watchdog: stops runs at their wall deadline and their CPU budget, and makes busy ones nice.
 *
 * One thread with a heap of the runs by the instant it must look at each next. It never touches a
 * Lua state: it sets the run's stop flag, wakes it and signals its thread, where the handler arms
 * the hook. While a stopped run goes on, the signal is repeated. It cannot end a C function that
 * does not return; the daemon's kill does.
 *
 * THREADS. `mu` guards the heap and the watch_* members of the runs in it; a run is added and
 * removed by its own thread.
 */
#include "worker/watchdog.h"
#include "base/clock.h"
#include "base/mem.h"
#include "worker/vm.h"
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { STACK_BYTES = 256 << 10 };
static const int64_t again_ns = 50 * SM_NS_PER_MS; /* signal repeated to a stopped run */
static const int64_t busy_ns = 10 * SM_NS_PER_MS;  /* CPU after which a run gets nice 19 */
static const int64_t look_ns = 1000 * SM_NS_PER_MS;

struct sm_watchdog {
    pthread_t thread;
    pthread_mutex_t mu;
    pthread_cond_t cv; /* CLOCK_MONOTONIC */
    sm_run **heap;     /* binary heap by watch_ns */
    size_t n, cap;
    int64_t sleeps_until; /* instant the thread waits for */
    bool nice, quit;
};

static void place(sm_watchdog *dog, size_t slot, sm_run *run) {
    dog->heap[slot] = run;
    run->watch_slot = slot;
}

static void sift_up(sm_watchdog *dog, size_t slot, sm_run *run) {
    while (slot > 0 && dog->heap[(slot - 1) / 2]->watch_ns > run->watch_ns) {
        place(dog, slot, dog->heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    place(dog, slot, run);
}

static void sift_down(sm_watchdog *dog, size_t slot, sm_run *run) {
    for (;;) {
        size_t child = 2 * slot + 1;
        if (child >= dog->n)
            break;
        if (child + 1 < dog->n && dog->heap[child + 1]->watch_ns < dog->heap[child]->watch_ns)
            child++;
        if (dog->heap[child]->watch_ns >= run->watch_ns)
            break;
        place(dog, slot, dog->heap[child]);
        slot = child;
    }
    place(dog, slot, run);
}

/* CPU time the run's thread has spent on it; the run is alive because it is still in the heap. */
static int64_t cpu_used(const sm_run *run) {
    clockid_t id;
    struct timespec ts;
    if (pthread_getcpuclockid(run->thread, &id) != 0 || clock_gettime(id, &ts) != 0)
        return 0;
    return (int64_t)ts.tv_sec * SM_NS_PER_S + ts.tv_nsec - run->cpu_start_ns;
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Looks at one run; returns when to look again. */
static int64_t look(sm_watchdog *dog, sm_run *run, int64_t now) {
    int stop = atomic_load(&run->stop);
    if (stop == SM_STOP_NONE && now >= run->deadline_ns)
        stop = SM_STOP_TIMEOUT;
    int64_t used = stop == SM_STOP_NONE ? cpu_used(run) : 0;
    int64_t budget = 0;
    if (run->limits.cpu_s > 0 && run->limits.cpu_s < 1e9)
        budget = (int64_t)(run->limits.cpu_s * (double)SM_NS_PER_S);
    if (stop == SM_STOP_NONE && budget > 0 && used >= budget)
        stop = SM_STOP_CPU;
    if (stop != SM_STOP_NONE) {
        sm_run_stop(run, (sm_stop)stop);
        return now + again_ns;
    }
    int64_t next = run->deadline_ns;
    /* One thread cannot spend its budget faster than the wall clock runs. */
    if (budget > 0)
        next = min64(next, now + budget - used);
    if (dog->nice && !atomic_load(&run->niced)) {
        if (used >= busy_ns) {
            setpriority(PRIO_PROCESS, (id_t)run->tid, 19);
            atomic_store(&run->niced, true);
        } else {
            /* A parked run is looked at ever more rarely: half its age later, at most a second. */
            int64_t wait = (now - run->started_ns) / 2;
            wait = min64(wait < busy_ns ? busy_ns : wait, look_ns);
            next = min64(next, now + wait);
        }
    }
    return next;
}

static void sleep_until(sm_watchdog *dog, int64_t until) {
    dog->sleeps_until = until;
    if (until == INT64_MAX) {
        pthread_cond_wait(&dog->cv, &dog->mu);
        return;
    }
    struct timespec ts = {.tv_sec = (time_t)(until / SM_NS_PER_S),
                          .tv_nsec = (long)(until % SM_NS_PER_S)};
    pthread_cond_timedwait(&dog->cv, &dog->mu, &ts);
}

static void *watch(void *arg) {
    sm_watchdog *dog = arg;
    pthread_mutex_lock(&dog->mu);
    while (!dog->quit) {
        if (dog->n == 0) {
            sleep_until(dog, INT64_MAX);
            continue;
        }
        int64_t now = sm_mono_ns();
        sm_run *run = dog->heap[0];
        if (run->watch_ns > now) {
            sleep_until(dog, run->watch_ns);
            continue;
        }
        run->watch_ns = look(dog, run, now);
        sift_down(dog, 0, run);
    }
    pthread_mutex_unlock(&dog->mu);
    return NULL;
}

sm_rc sm_watchdog_new(bool nice, sm_watchdog **out, sm_err *err) {
    sm_watchdog *dog = sm_calloc(1, sizeof *dog);
    pthread_condattr_t cond;
    pthread_attr_t attr;
    dog->nice = nice;
    dog->sleeps_until = INT64_MAX;
    pthread_mutex_init(&dog->mu, NULL);
    pthread_condattr_init(&cond);
    pthread_condattr_setclock(&cond, CLOCK_MONOTONIC);
    pthread_cond_init(&dog->cv, &cond);
    pthread_condattr_destroy(&cond);
    sm_vm_install_signal();
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int failed = pthread_create(&dog->thread, &attr, watch, dog);
    pthread_attr_destroy(&attr);
    if (failed) {
        pthread_cond_destroy(&dog->cv);
        pthread_mutex_destroy(&dog->mu);
        free(dog);
        *out = NULL;
        return sm_err_sys(err, failed, "cannot start the watchdog's thread");
    }
    *out = dog;
    return SM_OK;
}

void sm_watchdog_free(sm_watchdog *dog) {
    if (!dog)
        return;
    pthread_mutex_lock(&dog->mu);
    dog->quit = true;
    pthread_cond_signal(&dog->cv);
    pthread_mutex_unlock(&dog->mu);
    pthread_join(dog->thread, NULL);
    pthread_cond_destroy(&dog->cv);
    pthread_mutex_destroy(&dog->mu);
    free(dog->heap);
    free(dog);
}

void sm_watchdog_add(sm_watchdog *dog, sm_run *run) {
    int64_t first = run->deadline_ns;
    int64_t now = run->started_ns;
    if (run->limits.cpu_s > 0 && run->limits.cpu_s < 1e9)
        first = min64(first, now + (int64_t)(run->limits.cpu_s * (double)SM_NS_PER_S));
    if (dog->nice)
        first = min64(first, now + busy_ns);
    pthread_mutex_lock(&dog->mu);
    run->watch_ns = first;
    if (dog->n == dog->cap) {
        dog->cap = dog->cap ? 2 * dog->cap : 16;
        dog->heap = sm_realloc(dog->heap, dog->cap * sizeof *dog->heap);
    }
    sift_up(dog, dog->n++, run);
    if (first < dog->sleeps_until)
        pthread_cond_signal(&dog->cv);
    pthread_mutex_unlock(&dog->mu);
}

void sm_watchdog_remove(sm_watchdog *dog, sm_run *run) {
    pthread_mutex_lock(&dog->mu);
    size_t slot = run->watch_slot;
    sm_run *last = dog->heap[--dog->n];
    if (last != run) {
        if (slot > 0 && dog->heap[(slot - 1) / 2]->watch_ns > last->watch_ns)
            sift_up(dog, slot, last);
        else
            sift_down(dog, slot, last);
    }
    pthread_mutex_unlock(&dog->mu);
}
