/* runlog: the log of one run in bounded memory: its first and its last 20 KiB, whole lines, and how
 * many lines fell out between them.
 *
 * Refuses nothing: a long line is cut, control bytes are escaped, so that no text can forge a line.
 * Whoever asks for the text gets it masked. Written by the run's own thread only; the limit on
 * `total` is the run's affair (sm_run_log).
 */
#include "worker/runlog.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/secret.h"
#include "base/str.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sm_runlog_init(sm_runlog *l, int64_t started_ns) {
    memset(l, 0, sizeof *l);
    sm_buf_init(&l->head, SM_RUNLOG_KEEP);
    sm_buf_init(&l->tail, SM_RUNLOG_KEEP);
    l->started_ns = started_ns;
}

void sm_runlog_fini(sm_runlog *l) {
    sm_buf_fini(&l->head);
    sm_buf_fini(&l->tail);
}

enum { SPLIT_MAX = 200 }; /* lines of one text that become records of their own */

/* Drops whole lines from the front of the tail until n more bytes fit. */
static void make_room(sm_runlog *l, size_t n) {
    size_t cut = 0;
    while (l->tail.len - cut + n > l->tail.max) {
        const char *from = l->tail.data + cut;
        const char *nl = memchr(from, '\n', l->tail.len - cut);
        if (!nl)
            break;
        cut += (size_t)(nl - from) + 1;
        l->dropped++;
    }
    sm_buf_consume(&l->tail, cut);
}

/* The text of a line: control bytes escaped but tabs, which print puts between its arguments.
 * malloc'd. */
static char *clean_text(const char *p, size_t n) {
    sm_buf out;
    sm_buf_init(&out, 2 * SM_RUNLOG_LINE);
    while (!out.failed && out.len < SM_RUNLOG_LINE) {
        const char *tab = memchr(p, '\t', n);
        size_t len = tab ? (size_t)(tab - p) : n;
        char *part = sm_str_printable(p, len, SM_RUNLOG_LINE - out.len);
        sm_buf_adds(&out, part);
        free(part);
        if (!tab)
            break;
        sm_buf_addc(&out, '\t');
        p += len + 1;
        n -= len + 1;
    }
    return sm_buf_take(&out, NULL);
}

static void add_line(sm_runlog *l, const char *level, const char *text, size_t n) {
    char *clean = clean_text(text, n);
    int64_t ms = (sm_mono_ns() - l->started_ns) / SM_NS_PER_MS;
    char *line = sm_asprintf("%lld\t%s\t%s\n", (long long)(ms < 0 ? 0 : ms), level, clean);
    size_t len = strlen(line);
    /* What was offered counts, not only what is kept: an endless line is not free. */
    l->total += len > n ? len : n;
    if (l->tail.len == 0 && l->dropped == 0 && l->head.len + len <= l->head.max) {
        sm_buf_add(&l->head, line, len);
    } else {
        make_room(l, len);
        sm_buf_add(&l->tail, line, len);
    }
    free(line);
    free(clean);
}

void sm_runlog_add(sm_runlog *l, const char *level, const char *text, size_t n) {
    char *masked = sm_mask_borrowed(&text, &n);
    const char *end = text + n, *eol;
    /* A text of several lines is several records, so that none can pass for another's; past a few
     * hundred lines the rest stays one. */
    for (int lines = 0; lines < SPLIT_MAX && (eol = memchr(text, '\n', (size_t)(end - text)));
         lines++) {
        add_line(l, level, text, (size_t)(eol - text));
        text = eol + 1;
        if (text == end)
            goto out;
    }
    add_line(l, level, text, (size_t)(end - text));
out:
    free(masked);
}

char *sm_runlog_text(const sm_runlog *l, size_t *n) {
    sm_buf all;
    sm_buf_init(&all, 2 * SM_RUNLOG_KEEP + 128);
    sm_buf_add(&all, l->head.data, l->head.len);
    if (l->dropped > 0)
        sm_buf_addf(&all, "… %zu lines left out …\n", l->dropped);
    sm_buf_add(&all, l->tail.data, l->tail.len);
    size_t len = 0;
    char *text = sm_buf_take(&all, &len);
    if (sm_mask_needed(text, len)) {
        char *masked = sm_mask(text, len, &len);
        free(text);
        text = masked;
    }
    if (n)
        *n = len;
    return text;
}
