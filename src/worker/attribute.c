/* attribute: the `monitor<…>` spelling and what follows each `monitor` statement.
 *
 * One pass over the tokens with a stack of open brackets. `monitor` `<` NAME `=` opens an attribute
 * (no valid Lua program contains it); its `<` and the first `>` at depth 0 become `{` and `}`, one
 * byte for one, so that every line and column stays true. At the closing bracket of any `monitor`
 * statement it looks at most a few tokens ahead for the function that follows directly.
 *
 * It judges nothing else: text that Lua will not compile (a string without end, brackets that do
 * not match or nest deeper than Lua allows) is left to the compiler, whose sentence names it
 * better. Called by worker/script on its own copy of the text. Pure.
 */
#include "worker/attribute.h"
#include "worker/lualex.h"
#include "base/mem.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEPTH_MAX = 256, /* above LUAI_MAXCCALLS (200): the compiler refuses what is deeper */
    NO_FOLLOW = -1
};

typedef struct bracket {
    char open;   /* ( [ { or < for an attribute */
    long follow; /* index of the statement it belongs to, or NO_FOLLOW */
    int line;    /* where it opened */
} bracket;

typedef struct scan {
    sm_lex lx;
    char *text; /* same bytes as lx.text, writable */
    bracket stack[DEPTH_MAX];
    size_t depth;
    sm_follow *follows; /* owned until success */
    size_t n, cap;
} scan;

static long follow_new(scan *s, int line) {
    if (s->n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 4;
        s->follows = sm_realloc(s->follows, s->cap * sizeof *s->follows);
    }
    memset(&s->follows[s->n], 0, sizeof *s->follows);
    s->follows[s->n].line = line;
    return (long)s->n++;
}

static void copy_token(char *out, size_t cap, const sm_lex *lx, const sm_tok *t) {
    snprintf(out, cap, "%.*s", (int)(t->n < cap ? t->n : cap - 1), lx->text + t->at);
}

/* `function A.b:c` as text, from the token behind `function` on. */
static void describe_function(sm_follow *f, sm_lex lx, sm_tok t) {
    size_t used = (size_t)snprintf(f->found, sizeof f->found, "function ");
    while (t.type == SM_TOK_NAME || sm_lex_is(&lx, &t, ".") || sm_lex_is(&lx, &t, ":")) {
        if (used + t.n + 4 > sizeof f->found) {
            memcpy(f->found + used, "…", sizeof "…");
            return;
        }
        memcpy(f->found + used, lx.text + t.at, t.n);
        used += t.n;
        f->found[used] = '\0';
        t = sm_lex_next(&lx);
    }
    if (used == sizeof "function " - 1)
        copy_token(f->found + used, sizeof f->found - used, &lx, &t);
}

/* Fills in what stands behind the statement; lx is a copy, positioned behind its bracket. */
static void look_behind(sm_follow *f, sm_lex lx) {
    sm_tok t = sm_lex_next(&lx);
    if (t.type == SM_TOK_END) {
        snprintf(f->found, sizeof f->found, "the end of the file");
    } else if (sm_lex_is(&lx, &t, "function")) {
        sm_tok name = sm_lex_next(&lx);
        sm_lex ahead = lx;
        sm_tok paren = sm_lex_next(&ahead);
        if (name.type == SM_TOK_NAME && sm_lex_is(&ahead, &paren, "(") && name.n < sizeof f->func) {
            copy_token(f->func, sizeof f->func, &lx, &name);
            f->func_line = t.line;
        } else {
            describe_function(f, lx, name);
        }
    } else if (sm_lex_is(&lx, &t, "local")) {
        sm_tok next = sm_lex_next(&lx);
        sm_tok name = sm_lex_next(&lx);
        if (sm_lex_is(&lx, &next, "function") && name.type == SM_TOK_NAME)
            snprintf(f->found, sizeof f->found, "local function %.*s",
                     (int)(name.n < 40 ? name.n : 40), lx.text + name.at);
        else
            snprintf(f->found, sizeof f->found, "local");
    } else if (t.type == SM_TOK_STRING || t.type == SM_TOK_BROKEN) {
        snprintf(f->found, sizeof f->found, "a string");
    } else {
        copy_token(f->found, sizeof f->found, &lx, &t);
    }
}

static bool stack_push(scan *s, char open, long follow, int line) {
    if (s->depth == DEPTH_MAX)
        return false;
    s->stack[s->depth++] = (bracket){open, follow, line};
    return true;
}

static void stack_pop(scan *s, const sm_tok *closing) {
    const bracket *top = &s->stack[--s->depth];
    if (top->follow != NO_FOLLOW) {
        sm_follow *f = &s->follows[top->follow];
        f->end_line = closing->line;
        look_behind(f, s->lx);
    }
}

/* Inside the attribute `top`: is this token one that cannot stand at its depth 0? */
static bool breaks_attribute(const scan *s, const sm_tok *t) {
    static const char *const values[] = {"and", "or", "not", "nil", "true", "false"};
    if (t->type == SM_TOK_OP)
        return t->n == 1 && strchr(")]}", s->lx.text[t->at]) != NULL;
    if (t->type != SM_TOK_WORD)
        return t->type == SM_TOK_END;
    for (size_t i = 0; i < SM_ARRAY_LEN(values); i++)
        if (sm_lex_is(&s->lx, t, values[i]))
            return false;
    return true;
}

static sm_rc unclosed(const scan *s, const bracket *b, const sm_tok *t, int *line, sm_err *err) {
    sm_lex ahead = s->lx;
    bool literal = sm_lex_is(&s->lx, t, "function");
    if (literal) {
        sm_tok next = sm_lex_next(&ahead);
        literal = sm_lex_is(&ahead, &next, "(");
    }
    *line = b->line;
    return sm_err_set(err, SM_INVALID, "monitor< opened in line %d is not closed by >%s", b->line,
                      literal ? "; put a function written there in parentheses" : "");
}

/* At the word `monitor`: opens the statement that begins there, if one does. False: too deep. */
static bool open_statement(scan *s, const sm_tok *word) {
    sm_lex after = s->lx;
    sm_tok open = sm_lex_next(&after);
    char c = open.type == SM_TOK_OP && open.n == 1 ? s->lx.text[open.at] : '\0';
    if (c == '<') {
        sm_lex ahead = after;
        sm_tok name = sm_lex_next(&ahead);
        if (name.type != SM_TOK_NAME)
            return true;
        sm_tok equals = sm_lex_next(&ahead);
        if (!sm_lex_is(&ahead, &equals, "="))
            return true;
        s->text[open.at] = '{';
    } else if (c != '{' && c != '(') {
        return true;
    }
    s->lx = after;
    return stack_push(s, c, follow_new(s, word->line), word->line);
}

/* One token. SM_OK to go on, SM_CLOSED when the compiler should judge what is left, SM_INVALID. */
static sm_rc step(scan *s, const sm_tok *prev, const sm_tok *t, int *line, sm_err *err) {
    const bracket *top = s->depth ? &s->stack[s->depth - 1] : NULL;
    if (top && top->open == '<') {
        if (breaks_attribute(s, t))
            return unclosed(s, top, t, line, err);
        if (sm_lex_is(&s->lx, t, ">")) {
            s->text[t->at] = '}';
            stack_pop(s, t);
            return SM_OK;
        }
    }
    if (t->type == SM_TOK_END || t->type == SM_TOK_BROKEN)
        return SM_CLOSED;
    if (t->type == SM_TOK_NAME && sm_lex_is(&s->lx, t, "monitor") &&
        !sm_lex_is(&s->lx, prev, ".") && !sm_lex_is(&s->lx, prev, ":") &&
        !sm_lex_is(&s->lx, prev, "function"))
        return open_statement(s, t) ? SM_OK : SM_CLOSED;
    if (t->type != SM_TOK_OP || t->n != 1)
        return SM_OK;
    char c = s->lx.text[t->at];
    if (strchr("([{", c))
        return stack_push(s, c, NO_FOLLOW, t->line) ? SM_OK : SM_CLOSED;
    if (strchr(")]}", c)) {
        if (!top || top->open != (c == ')' ? '(' : c == ']' ? '[' : '{'))
            return SM_CLOSED;
        stack_pop(s, t);
    }
    return SM_OK;
}

sm_rc sm_attribute_rewrite(char *text, size_t n, sm_follow **follows, size_t *n_follows, int *line,
                           sm_err *err) {
    scan s = {.text = text};
    sm_tok prev = {0};
    sm_rc rc = SM_OK;

    *follows = NULL;
    *n_follows = 0;
    *line = 0;
    sm_lex_init(&s.lx, text, n);
    while (rc == SM_OK) {
        sm_tok t = sm_lex_next(&s.lx);
        rc = step(&s, &prev, &t, line, err);
        prev = t;
    }
    /* A text that ends while a bracket inside an attribute is open has not closed the attribute. */
    if (rc == SM_CLOSED && prev.type == SM_TOK_END) {
        for (size_t i = 0; i < s.depth; i++) {
            if (s.stack[i].open == '<') {
                rc = unclosed(&s, &s.stack[i], &prev, line, err);
                goto out;
            }
        }
    }
    if (rc == SM_CLOSED)
        rc = SM_OK;
out:
    if (rc == SM_OK) {
        *follows = s.follows;
        *n_follows = s.n;
        s.follows = NULL;
    }
    free(s.follows);
    return rc;
}
