/* str: UTF-8, nearest names, globs, hex and terminal-safe text for every layer.
 *
 * Pure and thread-safe; no locale is ever consulted. Durations and instants are in
 * str_time.c. Functions that take n bytes accept NUL inside them.
 */
#include "base/str.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Examines the sequence at p. Returns its length when valid; otherwise 0, and *bad is the length of
 * the maximal subpart (Unicode 15, 3.9) to replace by one U+FFFD. */
static size_t utf8_examine(const unsigned char *p, size_t n, size_t *bad) {
    *bad = 1;
    unsigned char c = p[0];
    if (c < 0x80) {
        return 1;
    }
    size_t len;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (c >= 0xC2 && c <= 0xDF) {
        len = 2;
    } else if (c >= 0xE0 && c <= 0xEF) {
        len = 3;
        low = c == 0xE0 ? 0xA0 : 0x80;
        high = c == 0xED ? 0x9F : 0xBF;
    } else if (c >= 0xF0 && c <= 0xF4) {
        len = 4;
        low = c == 0xF0 ? 0x90 : 0x80;
        high = c == 0xF4 ? 0x8F : 0xBF;
    } else {
        return 0;
    }
    for (size_t i = 1; i < len; i++) {
        if (i >= n || p[i] < low || p[i] > high) {
            *bad = i;
            return 0;
        }
        low = 0x80;
        high = 0xBF;
    }
    return len;
}

size_t sm_utf8_len(const char *p, size_t n) {
    size_t bad;
    return utf8_examine((const unsigned char *)p, n, &bad);
}

bool sm_utf8_valid(const char *p, size_t n) {
    for (size_t i = 0; i < n;) {
        size_t len = sm_utf8_len(p + i, n - i);
        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

size_t sm_utf8_count(const char *p, size_t n) {
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        count += ((unsigned char)p[i] & 0xC0u) != 0x80u;
    }
    return count;
}

char *sm_utf8_repair(const char *p, size_t n, size_t *out_n, bool *changed) {
    size_t bad;
    size_t need = 0;
    for (size_t i = 0; i < n;) {
        size_t len = utf8_examine((const unsigned char *)p + i, n - i, &bad);
        need += len ? len : 3;
        i += len ? len : bad;
    }
    char *out = sm_malloc(need + 1);
    size_t o = 0;
    bool repaired = false;
    for (size_t i = 0; i < n;) {
        size_t len = utf8_examine((const unsigned char *)p + i, n - i, &bad);
        if (len) {
            memcpy(out + o, p + i, len);
            o += len;
            i += len;
        } else {
            memcpy(out + o, "\xEF\xBF\xBD", 3);
            o += 3;
            i += bad;
            repaired = true;
        }
    }
    out[o] = '\0';
    if (out_n) {
        *out_n = o;
    }
    if (changed) {
        *changed = repaired;
    }
    return out;
}

size_t sm_utf8_cut(const char *p, size_t n, size_t max) {
    if (n <= max) {
        return n;
    }
    size_t m = max;
    while (m > 0 && ((unsigned char)p[m] & 0xC0u) == 0x80u) {
        m--;
    }
    return m;
}

static char fold(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

enum { NEAREST_MAX = 64 };

static size_t min3(size_t a, size_t b, size_t c) {
    size_t m = a < b ? a : b;
    return m < c ? m : c;
}

/* Damerau-Levenshtein distance (adjacent transpositions, ASCII case ignored) of two short texts. */
static size_t distance(const char *a, size_t na, const char *b, size_t nb) {
    size_t rows[3][NEAREST_MAX + 1];
    size_t *before = rows[0];
    size_t *prev = rows[1];
    size_t *cur = rows[2];
    for (size_t j = 0; j <= nb; j++) {
        prev[j] = j;
        before[j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        cur[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            char x = fold(a[i - 1]);
            char y = fold(b[j - 1]);
            size_t d = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == fold(b[j - 2]) && fold(a[i - 2]) == y &&
                before[j - 2] + 1 < d) {
                d = before[j - 2] + 1;
            }
            cur[j] = d;
        }
        size_t *spare = before;
        before = prev;
        prev = cur;
        cur = spare;
    }
    return prev[nb];
}

const char *sm_str_nearest(const char *word, const char *const *names, size_t n) {
    size_t len = strlen(word);
    if (len == 0 || len > NEAREST_MAX) {
        return NULL;
    }
    size_t limit = len / 3 > 3 ? 3 : len / 3;
    if (limit < 1) {
        limit = 1;
    }
    const char *best = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t other = names[i] ? strlen(names[i]) : 0;
        if (other == 0 || other > NEAREST_MAX) {
            continue;
        }
        size_t d = distance(word, len, names[i], other);
        /* A name of which nothing is left is not a slip of it. */
        if (d <= limit && d < other && d < len) {
            best = names[i];
            if (d == 0) {
                break;
            }
            limit = d - 1; /* only a nearer one may follow: the first of equals wins */
        }
    }
    return best;
}

const char *sm_str_hint(const char *word, const char *const *names, size_t n, char *out,
                        size_t cap) {
    const char *near = sm_str_nearest(word, names, n);
    if (cap > 0) {
        out[0] = '\0';
        if (near) {
            snprintf(out, cap, "; did you mean \"%s\"?", near);
        }
    }
    return out;
}

void sm_hex(const void *p, size_t n, char *out) {
    static const char digits[] = "0123456789abcdef";
    const unsigned char *b = p;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * n] = '\0';
}

bool sm_str_starts(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool sm_str_ends(const char *s, const char *suffix) {
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

/* One pattern step over the set of reachable offsets: from[i] says that the pattern so far matches
 * s[0..i). Time is pattern length times text length whatever the pattern. */
static void glob_star(bool *set, const char *s, size_t n, bool cross) {
    for (size_t i = 0; i < n; i++) {
        if (set[i] && (cross || s[i] != '/')) {
            set[i + 1] = true;
        }
    }
}

/* A part of the pattern that is `**` and a slash: any number of whole parts, also none. */
static void glob_parts(bool *set, const char *s, size_t n) {
    bool open = false; /* some reachable offset lies before */
    for (size_t i = 0; i <= n; i++) {
        if (open && i > 0 && s[i - 1] == '/') {
            set[i] = true;
        }
        open = open || set[i];
    }
}

static void glob_char(bool *set, const char *s, size_t n, char c) {
    for (size_t i = n; i > 0; i--) {
        set[i] = set[i - 1] && s[i - 1] == c;
    }
    set[0] = false;
}

static void glob_any(bool *set, const char *s, size_t n) {
    bool *next = sm_calloc(n + 1, sizeof *next);
    for (size_t i = 0; i < n; i++) {
        if (set[i] && s[i] != '/') {
            size_t len = sm_utf8_len(s + i, n - i);
            next[i + (len ? len : 1)] = true;
        }
    }
    memcpy(set, next, (n + 1) * sizeof *set);
    free(next);
}

bool sm_str_glob(const char *pattern, const char *s) {
    size_t n = strlen(s);
    bool *set = sm_calloc(n + 1, sizeof *set);
    set[0] = true;
    const char *p = pattern;
    while (*p) {
        if (p[0] == '*' && p[1] == '*') {
            bool part = p == pattern || p[-1] == '/';
            while (*p == '*') {
                p++;
            }
            if (part && *p == '/') {
                glob_parts(set, s, n);
                p++;
            } else {
                glob_star(set, s, n, true);
            }
        } else if (*p == '*') {
            glob_star(set, s, n, false);
            p++;
        } else if (*p == '?') {
            glob_any(set, s, n);
            p++;
        } else {
            glob_char(set, s, n, *p);
            p++;
        }
    }
    bool hit = set[n];
    free(set);
    return hit;
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

bool sm_str_is_id_part(const char *s, size_t n) {
    if (n == 0 || !is_word(s[0])) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        if (!is_word(s[i]) && s[i] != '.') {
            return false;
        }
    }
    return true;
}

static uint32_t code_point(const char *p, size_t len) {
    const unsigned char *b = (const unsigned char *)p;
    switch (len) {
    case 1:
        return b[0];
    case 2:
        return ((uint32_t)(b[0] & 0x1Fu) << 6) | (b[1] & 0x3Fu);
    case 3:
        return ((uint32_t)(b[0] & 0x0Fu) << 12) | ((uint32_t)(b[1] & 0x3Fu) << 6) | (b[2] & 0x3Fu);
    default:
        return ((uint32_t)(b[0] & 0x07u) << 18) | ((uint32_t)(b[1] & 0x3Fu) << 12) |
               ((uint32_t)(b[2] & 0x3Fu) << 6) | (b[3] & 0x3Fu);
    }
}

/* How one character is shown: itself, or an escape. Returns the length in out. */
static size_t show_char(const char *p, size_t len, char out[12]) {
    uint32_t c = code_point(p, len);
    int n = 0;
    if (c == '\n') {
        n = snprintf(out, 12, "\\n");
    } else if (c == '\t') {
        n = snprintf(out, 12, "\\t");
    } else if (c == '\r') {
        n = snprintf(out, 12, "\\r");
    } else if (c < 0x20 || (c >= 0x7F && c <= 0x9F)) {
        n = snprintf(out, 12, "\\x%02x", (unsigned)c);
    } else if (c == 0x200E || c == 0x200F || (c >= 0x2028 && c <= 0x202E) ||
               (c >= 0x2066 && c <= 0x2069)) {
        /* Line separators and direction marks can make a line look like another one. */
        n = snprintf(out, 12, "\\u%04x", (unsigned)c);
    } else {
        memcpy(out, p, len);
        return len;
    }
    return (size_t)n;
}

char *sm_str_printable(const char *p, size_t n, size_t max) {
    static const char dots[] = "\xE2\x80\xA6";
    size_t cap = n < SIZE_MAX / 8 ? n * 6 + 8 : SIZE_MAX;
    if (cap > max + 1) {
        cap = max + 1;
    }
    char *out = sm_malloc(cap + 16);
    size_t o = 0;
    size_t safe = 0; /* largest end at which the dots still fit */
    for (size_t i = 0; i < n;) {
        char shown[12];
        size_t bad;
        size_t len = utf8_examine((const unsigned char *)p + i, n - i, &bad);
        size_t m = 3;
        if (len) {
            m = show_char(p + i, len, shown);
            i += len;
        } else {
            memcpy(shown, "\xEF\xBF\xBD", 3);
            i += bad;
        }
        if (o + m > max) {
            o = safe;
            if (o + 3 <= max) {
                memcpy(out + o, dots, 3);
                o += 3;
            }
            break;
        }
        memcpy(out + o, shown, m);
        o += m;
        if (o + 3 <= max) {
            safe = o;
        }
    }
    out[o] = '\0';
    return out;
}
