/* rand: random bytes (getrandom), UUIDv7 ids, full jitter. */
#pragma once
#include <stddef.h>
#include <stdint.h>

void sm_rand_bytes(void *p, size_t n);
/* Uniform in [0, n); 0 when n == 0. */
uint64_t sm_rand_below(uint64_t n);
/* 32 lower-case hex digits of a UUIDv7 (RFC 9562) for wall time `wall_ns`; strictly increasing
 * within a process even inside one millisecond or when the clock goes back. Thread-safe. */
void sm_id_new(int64_t wall_ns, char out[33]);
/* Full jitter: uniform in [0, min(cap, base * 2^attempt)]. `r` is a random 64-bit value, so that a
 * test can inject it. Units are the caller's. */
int64_t sm_jitter(int64_t base, int64_t cap, unsigned attempt, uint64_t r);
