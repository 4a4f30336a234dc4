/* text: cleans the texts an author writes in a script (doc, message), see script-api 1.4.
 *
 * Works on bytes: white space is ASCII blank, tab, CR, vertical tab and form feed, so any encoding
 * passes through unchanged. It never fails and never touches the inside of a line. Called by the
 * event check and by the loader of `monitor`; owns nothing, any thread.
 */
#include "platform/text.h"
#include "base/mem.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static bool is_white(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Length of the line at p without its trailing white space; *next is where the following begins. */
static size_t line_at(const char *p, size_t n, size_t *next) {
    const char *nl = memchr(p, '\n', n);
    size_t len = nl ? (size_t)(nl - p) : n;
    *next = nl ? len + 1 : len;
    while (len > 0 && is_white(p[len - 1]))
        len--;
    return len;
}

static size_t indent_of(const char *p, size_t len) {
    size_t i = 0;
    while (i < len && (p[i] == ' ' || p[i] == '\t'))
        i++;
    return i;
}

/* The smallest indentation of the non-blank lines; the first line counts only when it is indented
 * (one that follows `[[` or a quote directly is not). */
static size_t margin_of(const char *p, size_t n) {
    size_t margin = SIZE_MAX, at = 0, next;
    for (bool first = true; at < n; at += next, first = false) {
        size_t len = line_at(p + at, n - at, &next);
        size_t in = indent_of(p + at, len);
        if (len == 0 || (first && in == 0))
            continue;
        if (in < margin)
            margin = in;
    }
    return margin == SIZE_MAX ? 0 : margin;
}

char *sm_text_clean(const char *p, size_t n, size_t *out_n) {
    size_t next;
    while (n > 0 && line_at(p, n, &next) == 0) {
        p += next;
        n -= next;
    }
    char *out = sm_malloc(n + 1);
    size_t margin = margin_of(p, n), used = 0, end = 0;
    for (size_t at = 0; at < n; at += next) {
        size_t len = line_at(p + at, n - at, &next);
        size_t cut = indent_of(p + at, len);
        if (cut > margin)
            cut = margin;
        memcpy(out + used, p + at + cut, len - cut);
        used += len - cut;
        if (len > 0)
            end = used; /* blank lines after the last text are not kept */
        out[used++] = '\n';
    }
    out[end] = '\0';
    *out_n = end;
    return out;
}
