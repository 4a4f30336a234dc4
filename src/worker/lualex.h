/* lualex: the tokens of a Lua 5.4 text, as Lua's own lexer (llex.c) cuts them. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef enum sm_tok_type {
    SM_TOK_END,    /* end of the text */
    SM_TOK_NAME,   /* a name that is no keyword */
    SM_TOK_WORD,   /* a keyword */
    SM_TOK_NUMBER, /* well formed or not */
    SM_TOK_STRING, /* quoted or in long brackets */
    SM_TOK_OP,     /* operator or delimiter of one to three bytes, or any other single byte */
    SM_TOK_BROKEN  /* a string or comment that does not end: the compiler will say so */
} sm_tok_type;

typedef struct sm_tok {
    sm_tok_type type;
    size_t at, n; /* its bytes */
    int line;     /* where it begins, from 1 */
    int end_line; /* where it ends */
} sm_tok;

/* A plain value: a copy of it looks ahead without moving the original. */
typedef struct sm_lex {
    const char *text; /* borrowed */
    size_t n, at;
    int line;
} sm_lex;

/* Starts behind a UTF-8 byte order mark and a first line that begins with `#`. */
void sm_lex_init(sm_lex *lx, const char *text, size_t n);
/* The next token; white space and comments are passed over. */
sm_tok sm_lex_next(sm_lex *lx);
/* True when the token's bytes are exactly `word`. */
bool sm_lex_is(const sm_lex *lx, const sm_tok *t, const char *word);
/* Where the text begins that Lua may compile: behind the byte order mark and up to the line end of
 * a first line that begins with `#` (so that line numbers stay true). */
size_t sm_lex_skip_head(const char *text, size_t n);
