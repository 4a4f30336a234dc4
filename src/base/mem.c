/* mem: allocation that does not return NULL.
 *
 * When the system has no memory left, one sentence goes to standard error and the process aborts;
 * the store keeps the truth. A request of zero bytes gives a valid pointer. Thread-safe as malloc.
 */
#include "base/mem.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Must not allocate: formats on the stack and writes once. */
static void __attribute__((noreturn)) out_of_memory(size_t n) {
    char text[96];
    int len =
        snprintf(text, sizeof text, "error: out of memory (%zu bytes more were asked for)\n", n);
    if (len > 0) {
        ssize_t ignored = write(STDERR_FILENO, text, (size_t)len);
        (void)ignored;
    }
    abort();
}

void *sm_malloc(size_t n) {
    void *p = malloc(n ? n : 1);
    if (!p) {
        out_of_memory(n);
    }
    return p;
}

void *sm_calloc(size_t n, size_t size) {
    void *p = n && size ? calloc(n, size) : calloc(1, 1);
    if (!p) {
        out_of_memory(size && n > SIZE_MAX / size ? SIZE_MAX : n * size);
    }
    return p;
}

void *sm_realloc(void *p, size_t n) {
    void *q = realloc(p, n ? n : 1);
    if (!q) {
        out_of_memory(n);
    }
    return q;
}

char *sm_strdup(const char *s) {
    return sm_memdup(s, strlen(s));
}

char *sm_memdup(const void *p, size_t n) {
    if (n == SIZE_MAX) {
        out_of_memory(n);
    }
    char *s = sm_malloc(n + 1);
    if (n) {
        memcpy(s, p, n);
    }
    s[n] = '\0';
    return s;
}

char *sm_asprintf(const char *fmt, ...) {
    char *s = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&s, fmt, ap);
    va_end(ap);
    if (n < 0 || !s) {
        out_of_memory(0);
    }
    return s;
}
