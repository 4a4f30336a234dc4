/* mem: allocation that does not return NULL.
 *
 * The core does not limp on without memory: these print one sentence and abort(), so that the
 * supervisor restarts a process whose only truth is the store. Lua's heap does not come from here:
 * a script that wants too much meets its own limit (worker/vm).
 */
#pragma once
#include <stddef.h>

void *sm_malloc(size_t n) __attribute__((malloc, returns_nonnull));
void *sm_calloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *sm_realloc(void *p, size_t n) __attribute__((returns_nonnull));
char *sm_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* Copies n bytes and adds a NUL. */
char *sm_memdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
/* sprintf into a new string; the caller frees it with free(). */
char *sm_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
