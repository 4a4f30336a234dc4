/* rand: random bytes from the kernel, UUIDv7 ids, full jitter.
 *
 * Used for ids of events and runs, temporary names and retry delays. There is no seed and no
 * generator of our own: every byte is getrandom's. The one state is the last id given, which the
 * promise "strictly increasing in this process" needs; a mutex guards it.
 */
#include "base/rand.h"
#include "base/str.h"
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

void sm_rand_bytes(void *p, size_t n) {
    char *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            static const char text[] = "error: the kernel gives no random bytes (getrandom)\n";
            ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
            (void)ignored;
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

uint64_t sm_rand_below(uint64_t n) {
    if (n == 0) {
        return 0;
    }
    /* The lowest (2^64 mod n) values would be drawn too often; they are drawn again. */
    uint64_t skip = (0 - n) % n;
    uint64_t r;
    do {
        sm_rand_bytes(&r, sizeof r);
    } while (r < skip);
    return r % n;
}

/* RFC 9562, 6.2 method 2: within one millisecond the 74 random bits are a counter that starts at
 * random and grows by a random step. Method text: "the random data is ... incremented". */
typedef struct id_state {
    pthread_mutex_t lock; /* guards the rest */
    uint64_t ms;          /* of the last id; never goes back */
    uint64_t high;        /* rand_a: 12 bits */
    uint64_t low;         /* rand_b: 62 bits */
} id_state;

#define LOW_MASK ((UINT64_C(1) << 62) - 1)
#define MS_MASK ((UINT64_C(1) << 48) - 1)

/* Moves the state to the next id for time ms. r is 128 fresh random bits. */
static void id_advance(id_state *s, uint64_t ms, const uint64_t r[2]) {
    if (ms > s->ms) {
        s->ms = ms;
        /* The top bit starts at 0 so that the counter has room to grow. */
        s->high = r[0] & 0x7FF;
        s->low = r[1] & LOW_MASK;
        return;
    }
    s->low += 1 + (r[0] & 0xFFFFFFFF);
    if (s->low > LOW_MASK) {
        s->low &= LOW_MASK;
        s->high++;
        if (s->high > 0xFFF) {
            s->high = r[1] & 0x7FF;
            s->ms++;
        }
    }
}

void sm_id_new(int64_t wall_ns, char out[33]) {
    static id_state state = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint64_t ms = wall_ns > 0 ? ((uint64_t)wall_ns / 1000000) & MS_MASK : 0;
    uint64_t r[2];
    sm_rand_bytes(r, sizeof r);
    pthread_mutex_lock(&state.lock);
    id_advance(&state, ms, r);
    uint64_t words[2] = {(state.ms << 16) | 0x7000 | state.high, (UINT64_C(2) << 62) | state.low};
    pthread_mutex_unlock(&state.lock);
    unsigned char bytes[16];
    for (size_t i = 0; i < 16; i++) {
        bytes[i] = (unsigned char)(words[i / 8] >> (56 - 8 * (i % 8)));
    }
    sm_hex(bytes, sizeof bytes, out);
}

int64_t sm_jitter(int64_t base, int64_t cap, unsigned attempt, uint64_t r) {
    if (base <= 0 || cap <= 0) {
        return 0;
    }
    int64_t top = base < cap ? base : cap;
    for (unsigned i = 0; i < attempt && top < cap; i++) {
        top = top > cap / 2 ? cap : top * 2;
    }
    /* Multiply-shift maps r evenly on [0, top] without the bias of a remainder. */
    return (int64_t)(((unsigned __int128)r * ((uint64_t)top + 1)) >> 64);
}
