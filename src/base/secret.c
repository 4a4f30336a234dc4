/* secret: bytes that nothing can format, and the mask that keeps them out of texts.
 *
 * A secret is copied in, lent out and zeroed when freed. While it lives, its spellings (as it is,
 * URL-encoded, JSON-escaped, hex, base64 at three offsets) are in the process's mask, through which
 * log lines and answers pass. The mask is the last net, not the way secrets are kept apart. It is
 * one of the places that own process-wide state; a read-write lock guards it, so any thread may
 * call.
 */
#include "base/secret.h"
#include "base/buf.h"
#include "base/mem.h"
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MASK_MIN = 6,    /* shorter values would mask half of every text */
    MASK_CUT_MIN = 8 /* what is left of a secret that was shortened is masked from here on */
};

struct sm_secret {
    size_t n;     /* bytes without the NUL */
    char bytes[]; /* NUL-terminated */
};

/* One spelling of one or more secrets. */
typedef struct pattern {
    char *text;    /* owned, zeroed when freed */
    size_t n;      /* > 0 */
    size_t owners; /* how many spellings of living secrets are this one */
} pattern;

static struct {
    pthread_rwlock_t lock; /* guards all below */
    pattern *items;        /* sorted by first byte, then by length, longest first */
    size_t n, cap;
    size_t start[257]; /* items whose first byte is c: start[c] to start[c + 1] */
} mask = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static void wipe_free(char *p, size_t n) {
    explicit_bzero(p, n);
    free(p);
}

static int pattern_compare(const pattern *a, const char *text, size_t n) {
    unsigned char x = (unsigned char)a->text[0];
    unsigned char y = (unsigned char)text[0];
    if (x != y) {
        return x < y ? -1 : 1;
    }
    if (a->n != n) {
        return a->n > n ? -1 : 1;
    }
    return memcmp(a->text, text, n);
}

static void mask_index(void) {
    size_t at = 0;
    for (size_t c = 0; c < 256; c++) {
        mask.start[c] = at;
        while (at < mask.n && (unsigned char)mask.items[at].text[0] == c) {
            at++;
        }
    }
    mask.start[256] = at;
}

/* Index of the spelling, or of where it belongs. */
static size_t mask_place(const char *text, size_t n, bool *found) {
    size_t low = 0;
    size_t high = mask.n;
    *found = false;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = pattern_compare(&mask.items[mid], text, n);
        if (c == 0) {
            *found = true;
            return mid;
        }
        if (c < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

/* Both with the lock held for writing. */
static void mask_join(const char *text, size_t n) {
    bool found;
    size_t at = mask_place(text, n, &found);
    if (found) {
        mask.items[at].owners++;
        return;
    }
    if (mask.n == mask.cap) {
        mask.cap = mask.cap ? mask.cap * 2 : 64;
        mask.items = sm_realloc(mask.items, mask.cap * sizeof *mask.items);
    }
    memmove(&mask.items[at + 1], &mask.items[at], (mask.n - at) * sizeof *mask.items);
    mask.items[at] = (pattern){sm_memdup(text, n), n, 1};
    mask.n++;
    mask_index();
}

static void mask_leave(const char *text, size_t n) {
    bool found;
    size_t at = mask_place(text, n, &found);
    if (!found || --mask.items[at].owners > 0) {
        return;
    }
    wipe_free(mask.items[at].text, n);
    mask.n--;
    memmove(&mask.items[at], &mask.items[at + 1], (mask.n - at) * sizeof *mask.items);
    mask_index();
}

/* RFC 3986 unreserved characters stay; `plus` writes a blank as forms do. */
static size_t spell_url(const char *p, size_t n, const char *format, bool plus, char *out) {
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            out[o++] = (char)c;
        } else if (c == ' ' && plus) {
            out[o++] = '+';
        } else {
            static const char upper[] = "0123456789ABCDEF";
            static const char lower[] = "0123456789abcdef";
            const char *digits = format[0] == 'X' ? upper : lower;
            out[o++] = '%';
            out[o++] = digits[c >> 4];
            out[o++] = digits[c & 15];
        }
    }
    return o;
}

/* As jansson writes it, or as lua-cjson does (which also escapes '/' and DEL). */
static size_t spell_json(const char *p, size_t n, bool cjson, char *out) {
    static const char named[] = "\b\f\n\r\t\"\\";
    static const char letters[] = "bfnrt\"\\";
    size_t o = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        const char *hit = c ? strchr(named, c) : NULL;
        if (hit) {
            out[o++] = '\\';
            out[o++] = letters[hit - named];
        } else if (cjson && c == '/') {
            out[o++] = '\\';
            out[o++] = '/';
        } else if (c < 0x20 || (cjson && c == 0x7F)) {
            int m = snprintf(out + o, 7, cjson ? "\\u%04x" : "\\u%04X", c);
            o += m > 0 ? (size_t)m : 0;
        } else {
            out[o++] = (char)c;
        }
    }
    return o;
}

/* The base64 characters that p fixes alone when `offset` unknown bytes stand before it (and any
 * may follow): character i covers bits 6i to 6i + 5. */
static size_t spell_base64(const char *p, size_t n, size_t offset, bool url, char *out) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t first = (8 * offset + 5) / 6;
    size_t end = 8 * (offset + n) / 6;
    size_t o = 0;
    for (size_t i = first; i < end; i++) {
        unsigned v = 0;
        for (size_t bit = 6 * i; bit < 6 * i + 6; bit++) {
            unsigned char c = (unsigned char)p[bit / 8 - offset];
            v = v << 1 | ((unsigned)c >> (7 - bit % 8) & 1u);
        }
        char c = plain[v];
        if (url && c == '+') {
            c = '-';
        } else if (url && c == '/') {
            c = '_';
        }
        out[o++] = c;
    }
    return o;
}

static size_t spell_hex(const char *p, size_t n, const char *digits, char *out) {
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[(unsigned char)p[i] >> 4];
        out[2 * i + 1] = digits[(unsigned char)p[i] & 15];
    }
    return 2 * n;
}

/* Gives every spelling of the secret to `visit`; a spelling may come twice. */
static void spell_all(const sm_secret *s, void (*visit)(const char *text, size_t n)) {
    if (s->n < MASK_MIN) {
        return;
    }
    size_t cap = s->n * 6 + 8;
    char *out = sm_malloc(cap);
    visit(s->bytes, s->n);
    visit(out, spell_url(s->bytes, s->n, "X", false, out));
    visit(out, spell_url(s->bytes, s->n, "x", false, out));
    visit(out, spell_url(s->bytes, s->n, "X", true, out));
    visit(out, spell_json(s->bytes, s->n, false, out));
    visit(out, spell_json(s->bytes, s->n, true, out));
    visit(out, spell_hex(s->bytes, s->n, "0123456789abcdef", out));
    visit(out, spell_hex(s->bytes, s->n, "0123456789ABCDEF", out));
    for (size_t offset = 0; offset < 3; offset++) {
        visit(out, spell_base64(s->bytes, s->n, offset, false, out));
        visit(out, spell_base64(s->bytes, s->n, offset, true, out));
    }
    wipe_free(out, cap);
}

sm_secret *sm_secret_new(const void *p, size_t n) {
    sm_secret *s = sm_malloc(sizeof *s + n + 1);
    s->n = n;
    if (n) {
        memcpy(s->bytes, p, n);
    }
    s->bytes[n] = '\0';
    pthread_rwlock_wrlock(&mask.lock);
    spell_all(s, mask_join);
    pthread_rwlock_unlock(&mask.lock);
    return s;
}

void sm_secret_free(sm_secret *s) {
    if (!s) {
        return;
    }
    pthread_rwlock_wrlock(&mask.lock);
    spell_all(s, mask_leave);
    pthread_rwlock_unlock(&mask.lock);
    wipe_free((char *)s, sizeof *s + s->n + 1);
}

const char *sm_secret_bytes(const sm_secret *s, size_t *n) {
    if (n) {
        *n = s->n;
    }
    return s->bytes;
}

/* The sign that a text was shortened, as our sentences and Lua's write it, at p + *len or within
 * the last three bytes before, which may be its own as well. */
static bool is_cut(const char *p, size_t n, size_t *len) {
    for (size_t back = 0; back <= 3 && back < *len; back++) {
        size_t at = *len - back, dots = at;
        if (at + 3 <= n && memcmp(p + at, "\xef\xbf\xbd", 3) == 0) {
            dots += 3; /* half a character */
        }
        while (dots < n && dots < at + 6 && p[dots] == '.') {
            dots++;
        }
        /* A sentence within a sentence may be shortened within the dots. */
        if ((dots >= at + 3 && p[dots - 1] == '.' && p[dots - 3] == '.') ||
            (dots + 3 <= n && memcmp(p + dots, "\xe2\x80\xa6", 3) == 0)) {
            *len = at;
            return true;
        }
    }
    return false;
}

/* Length of the longest spelling that stands at p, or of the beginning of one that was shortened
 * there; or 0. With the lock held. */
static size_t mask_at(const char *p, size_t n) {
    unsigned char c = (unsigned char)p[0];
    size_t longest = 0;
    for (size_t i = mask.start[c]; i < mask.start[c + 1]; i++) {
        const pattern *it = &mask.items[i];
        size_t same = 1, max = it->n < n ? it->n : n;
        while (same < max && it->text[same] == p[same]) {
            same++;
        }
        bool whole = same == it->n;
        if (same > longest && (whole || (same >= MASK_CUT_MIN && is_cut(p, n, &same)))) {
            longest = same;
        }
    }
    return longest;
}

char *sm_mask(const char *p, size_t n, size_t *out_n) {
    sm_buf out;
    sm_buf_init(&out, SIZE_MAX);
    size_t covered = 0; /* up to here the text belongs to a secret */
    size_t kept = 0;    /* up to here the text is in out, or covered */
    pthread_rwlock_rdlock(&mask.lock);
    for (size_t i = 0; mask.n > 0 && i < n; i++) {
        size_t len = mask_at(p + i, n - i);
        if (len == 0) {
            continue;
        }
        /* Overlapping secrets are covered as one: no tail of the second one stays. */
        if (covered == 0 || i >= covered) {
            sm_buf_add(&out, p + kept, i - kept);
            sm_buf_adds(&out, "***");
        }
        if (i + len > covered) {
            covered = i + len;
            kept = covered;
        }
    }
    pthread_rwlock_unlock(&mask.lock);
    sm_buf_add(&out, p + kept, n - kept);
    return sm_buf_take(&out, out_n);
}

bool sm_mask_needed(const char *p, size_t n) {
    bool hit = false;
    pthread_rwlock_rdlock(&mask.lock);
    for (size_t i = 0; mask.n > 0 && i < n && !hit; i++) {
        hit = mask_at(p + i, n - i) > 0;
    }
    pthread_rwlock_unlock(&mask.lock);
    return hit;
}

char *sm_mask_borrowed(const char **p, size_t *n) {
    if (!sm_mask_needed(*p, *n)) {
        return NULL;
    }
    char *masked = sm_mask(*p, *n, n);
    *p = masked;
    return masked;
}
