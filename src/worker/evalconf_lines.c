/* evalconf_lines: where in a configuration file a key stands, so that a message can name the line.
 *
 * Runs nothing: it follows braces and `key =` through the tokens. Tables made by code are not
 * understood; a table first put into a local is found under the local's name. Pure.
 */
#include "worker/evalconf.h"
#include "base/buf.h"
#include "worker/lualex.h"
#include <string.h>

enum { DEPTH_MAX = 32, PATH_MAX_BYTES = 1024 };

typedef struct scan {
    sm_lex lx;
    sm_tok before;          /* the token before the current one */
    sm_buf path;            /* dotted names of the open tables */
    size_t ends[DEPTH_MAX]; /* length of path before each open table */
    int depth;              /* open tables, may pass DEPTH_MAX */
    sm_tok key;             /* of the value that is being read; type END: none */
    json_t *lines;
} scan;

/* The bytes of a key token: a name as it is, a string without its quotes. */
static void key_bytes(const scan *s, const char **p, size_t *n) {
    *p = s->lx.text + s->key.at;
    *n = s->key.n;
    if (s->key.type == SM_TOK_STRING && s->key.n >= 2 && **p != '[') {
        (*p)++;
        *n -= 2;
    }
}

static void add_key(scan *s, sm_buf *to) {
    const char *p;
    size_t n;
    key_bytes(s, &p, &n);
    if (to->len > 0)
        sm_buf_addc(to, '.');
    sm_buf_add(to, p, n);
}

static void record(scan *s) {
    sm_buf full;
    sm_buf_init(&full, PATH_MAX_BYTES);
    sm_buf_add(&full, s->path.data, s->path.len);
    add_key(s, &full);
    if (!full.failed && !json_object_get(s->lines, full.data))
        json_object_setn_new(s->lines, full.data, full.len, json_integer(s->key.line));
    sm_buf_fini(&full);
}

static bool op(const scan *s, const sm_tok *t, const char *text) {
    return t->type == SM_TOK_OP && sm_lex_is(&s->lx, t, text);
}

/* Is `t` a key: NAME =, or [ "text" ] =, at the beginning of a field or of a statement? */
static bool is_key(scan *s, const sm_tok *t) {
    sm_lex ahead = s->lx;
    sm_tok next = sm_lex_next(&ahead);
    if (s->depth > 0 && !op(s, &s->before, "{") && !op(s, &s->before, ",") &&
        !op(s, &s->before, ";"))
        return false;
    if (t->type == SM_TOK_NAME && op(s, &next, "=")) {
        s->key = *t;
        return !op(s, &s->before, ".");
    }
    if (op(s, t, "[") && next.type == SM_TOK_STRING) {
        sm_tok close = sm_lex_next(&ahead);
        sm_tok equals = sm_lex_next(&ahead);
        if (op(s, &close, "]") && op(s, &equals, "=")) {
            s->key = next;
            s->lx = ahead;
            return true;
        }
    }
    return false;
}

static void open_table(scan *s) {
    if (s->depth < DEPTH_MAX) {
        s->ends[s->depth] = s->path.len;
        if (s->key.type != SM_TOK_END)
            add_key(s, &s->path);
        else if (s->depth > 0)
            sm_buf_adds(&s->path, ".#"); /* an item of a list: no key has this name */
    }
    s->depth++;
    s->key.type = SM_TOK_END;
}

static void close_table(scan *s) {
    if (s->depth == 0)
        return;
    s->depth--;
    if (s->depth < DEPTH_MAX && s->ends[s->depth] <= s->path.len) {
        s->path.len = s->ends[s->depth];
        s->path.failed = false;
    }
    s->key.type = SM_TOK_END;
}

json_t *sm_evalconf_lines(const char *text, size_t n) {
    scan s;
    memset(&s, 0, sizeof s);
    sm_lex_init(&s.lx, text, n);
    sm_buf_init(&s.path, PATH_MAX_BYTES);
    s.lines = json_object();
    s.before.type = s.key.type = SM_TOK_END;
    for (;;) {
        sm_tok t = sm_lex_next(&s.lx);
        if (t.type == SM_TOK_END || t.type == SM_TOK_BROKEN)
            break;
        if (op(&s, &t, "{"))
            open_table(&s);
        else if (op(&s, &t, "}"))
            close_table(&s);
        else if (op(&s, &t, ",") || op(&s, &t, ";") || sm_lex_is(&s.lx, &t, "return"))
            s.key.type = SM_TOK_END;
        else if (s.depth <= DEPTH_MAX && is_key(&s, &t))
            record(&s);
        s.before = t;
    }
    sm_buf_fini(&s.path);
    return s.lines;
}
