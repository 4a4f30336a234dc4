/* lualex: cuts a Lua 5.4 text into tokens exactly as llex.c of Lua 5.4.4 does, which is what makes
 * a rewrite on tokens safe: strings with escapes, long brackets of every level, comments, numerals
 * that swallow what follows them, operators of two and three bytes, and \r\n or \n\r as one line
 * end. It checks no grammar and reports no error: what does not end is SM_TOK_BROKEN, and the
 * compiler, which sees the same bytes, tells the author. Called by worker/attribute and
 * worker/script. Pure. */
#include "worker/lualex.h"
#include "base/err.h"
#include <string.h>

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_xdigit(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_alpha(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_eol(char c) {
    return c == '\n' || c == '\r';
}

/* The byte k behind the position, or NUL past the end (no rule looks for NUL). */
static char peek(const sm_lex *lx, size_t k) {
    return lx->n - lx->at > k ? lx->text[lx->at + k] : '\0';
}

static bool more(const sm_lex *lx) {
    return lx->at < lx->n;
}

/* Passes one line end, of which \r\n and \n\r are one. */
static void pass_eol(sm_lex *lx) {
    char first = peek(lx, 0), second = peek(lx, 1);
    lx->at += is_eol(second) && second != first ? 2 : 1;
    lx->line++;
}

size_t sm_lex_skip_head(const char *text, size_t n) {
    size_t at = n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    if (at < n && text[at] == '#') {
        const char *end = memchr(text + at, '\n', n - at);
        at = end ? (size_t)(end - text) : n;
    }
    return at;
}

void sm_lex_init(sm_lex *lx, const char *text, size_t n) {
    lx->text = text;
    lx->n = n;
    lx->at = sm_lex_skip_head(text, n);
    lx->line = 1;
}

/* Level of the long bracket that opens at the position, -1 when none does. */
static int long_level(const sm_lex *lx) {
    size_t level = 0;
    if (peek(lx, 0) != '[')
        return -1;
    while (peek(lx, level + 1) == '=')
        level++;
    return peek(lx, level + 1) == '[' ? (int)level : -1;
}

/* Passes a long string or comment of that level; false when it does not end. */
static bool pass_long(sm_lex *lx, int level) {
    lx->at += (size_t)level + 2;
    while (more(lx)) {
        if (is_eol(peek(lx, 0))) {
            pass_eol(lx);
        } else if (peek(lx, 0) == ']') {
            size_t k = 1;
            while (peek(lx, k) == '=')
                k++;
            /* The second `]` may itself begin the closing bracket, so it is not passed here. */
            if (peek(lx, k) == ']' && k == (size_t)level + 1) {
                lx->at += k + 1;
                return true;
            }
            lx->at += k;
        } else {
            lx->at++;
        }
    }
    return false;
}

/* Passes a quoted string; false when its line or the text ends first. */
static bool pass_quoted(sm_lex *lx) {
    char quote = peek(lx, 0);
    lx->at++;
    while (more(lx)) {
        char c = peek(lx, 0);
        if (c == quote) {
            lx->at++;
            return true;
        }
        if (is_eol(c))
            return false;
        lx->at++;
        if (c != '\\' || !more(lx))
            continue;
        c = peek(lx, 0);
        if (is_eol(c)) {
            pass_eol(lx);
        } else if (c == 'z') {
            lx->at++;
            while (more(lx) && peek(lx, 0) && strchr(" \t\v\f\r\n", peek(lx, 0))) {
                if (is_eol(peek(lx, 0)))
                    pass_eol(lx);
                else
                    lx->at++;
            }
        } else {
            lx->at++;
        }
    }
    return false;
}

/* llex.c read_numeral: takes everything that could belong to a numeral, so that `3..2` is one
 * (malformed) number and not a concatenation. */
static void pass_number(sm_lex *lx) {
    const char *expo = "Ee";
    if (peek(lx, 0) == '0' && (peek(lx, 1) == 'x' || peek(lx, 1) == 'X')) {
        expo = "Pp";
        lx->at += 2;
    }
    while (more(lx)) {
        char c = peek(lx, 0);
        if (c == expo[0] || c == expo[1]) {
            lx->at++;
            if (peek(lx, 0) == '-' || peek(lx, 0) == '+')
                lx->at++;
        } else if (is_xdigit(c) || c == '.') {
            lx->at++;
        } else {
            break;
        }
    }
    if (is_alpha(peek(lx, 0)))
        lx->at++;
}

/* Passes white space and comments; false when a long comment does not end. */
static bool pass_blank(sm_lex *lx) {
    while (more(lx)) {
        char c = peek(lx, 0);
        if (is_eol(c)) {
            pass_eol(lx);
        } else if (c == ' ' || c == '\t' || c == '\v' || c == '\f') {
            lx->at++;
        } else if (c == '-' && peek(lx, 1) == '-') {
            lx->at += 2;
            int level = long_level(lx);
            if (level >= 0) {
                if (!pass_long(lx, level))
                    return false;
            } else {
                while (more(lx) && !is_eol(peek(lx, 0)))
                    lx->at++;
            }
        } else {
            break;
        }
    }
    return true;
}

static bool is_keyword(const char *p, size_t n) {
    static const char *const words[] = {
        "and",      "break",  "do",   "else", "elseif", "end",   "false", "for",
        "function", "goto",   "if",   "in",   "local",  "nil",   "not",   "or",
        "repeat",   "return", "then", "true", "until",  "while",
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(words); i++)
        if (strlen(words[i]) == n && memcmp(words[i], p, n) == 0)
            return true;
    return false;
}

static size_t op_len(const sm_lex *lx) {
    static const char *const ops[] = {"...", "..", "==", "<=", ">=", "~=", "<<", ">>", "//", "::"};
    for (size_t i = 0; i < SM_ARRAY_LEN(ops); i++) {
        size_t n = strlen(ops[i]);
        if (lx->n - lx->at >= n && memcmp(lx->text + lx->at, ops[i], n) == 0)
            return n;
    }
    return 1;
}

sm_tok sm_lex_next(sm_lex *lx) {
    bool whole = pass_blank(lx);
    sm_tok t = {.type = SM_TOK_BROKEN, .at = lx->at, .line = lx->line};
    if (whole && !more(lx)) {
        t.type = SM_TOK_END;
    } else if (whole) {
        char c = peek(lx, 0);
        int level = long_level(lx);
        if (is_alpha(c)) {
            while (is_alpha(peek(lx, 0)) || is_digit(peek(lx, 0)))
                lx->at++;
            t.type = is_keyword(lx->text + t.at, lx->at - t.at) ? SM_TOK_WORD : SM_TOK_NAME;
        } else if (is_digit(c) || (c == '.' && is_digit(peek(lx, 1)))) {
            pass_number(lx);
            t.type = SM_TOK_NUMBER;
        } else if (c == '"' || c == '\'') {
            if (pass_quoted(lx))
                t.type = SM_TOK_STRING;
        } else if (level >= 0) {
            if (pass_long(lx, level))
                t.type = SM_TOK_STRING;
        } else {
            lx->at += op_len(lx);
            t.type = SM_TOK_OP;
        }
    }
    t.n = lx->at - t.at;
    t.end_line = lx->line;
    return t;
}

bool sm_lex_is(const sm_lex *lx, const sm_tok *t, const char *word) {
    return t->n == strlen(word) && memcmp(lx->text + t->at, word, t->n) == 0;
}
