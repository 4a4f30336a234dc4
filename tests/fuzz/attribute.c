/* attribute: any text as a script.
 *
 * What must hold: only `<` and `>` of attributes change, to `{` and `}`, so that every token keeps
 * its place, length and line; a text that Lua compiles is left as it is; rewriting twice is
 * rewriting once; and our lexer counts lines as Lua's own does.
 */
#include "fuzz.h"
#include "base/mem.h"
#include "worker/attribute.h"
#include "worker/lualex.h"
#include <lauxlib.h>
#include <string.h>

static bool compiles(lua_State *L, const char *text, size_t n) {
    size_t skip = sm_lex_skip_head(text, n);
    bool good = luaL_loadbufferx(L, text + skip, n - skip, "=t", "t") == LUA_OK;
    lua_settop(L, 0);
    return good;
}

/* Lua's number of the last line: from its complaint about a byte that no program has. */
static void check_lines(lua_State *L, const char *text, size_t n) {
    size_t skip = sm_lex_skip_head(text, n);
    char *with = sm_malloc(n + 4);
    memcpy(with, text, n);
    memcpy(with + n, " \n@", 4);
    holds(luaL_loadbufferx(L, with + skip, n + 3 - skip, "=t", "t") == LUA_ERRSYNTAX,
          "no program has an @");
    const char *said = lua_tostring(L, -1);
    int line = said && strncmp(said, "t:", 2) == 0 ? atoi(said + 2) : 0;
    sm_lex lx;
    sm_tok t, last = {0};
    sm_lex_init(&lx, with, n + 3);
    while ((t = sm_lex_next(&lx)).type != SM_TOK_END && t.type != SM_TOK_BROKEN)
        last = t;
    holds(t.type == SM_TOK_END, "a text that Lua compiles has whole tokens");
    if (last.line != line)
        fprintf(stderr, "ours %d, Lua: %s\n", last.line, said ? said : "?");
    holds(last.line == line, "lines are counted as Lua counts them");
    lua_settop(L, 0);
    free(with);
}

static void same_tokens(const char *before, const char *after, size_t n) {
    sm_lex a, b;
    sm_lex_init(&a, before, n);
    sm_lex_init(&b, after, n);
    size_t at = 0;
    for (;;) {
        sm_tok x = sm_lex_next(&a), y = sm_lex_next(&b);
        holds(x.type == y.type && x.at == y.at && x.n == y.n && x.line == y.line &&
                  x.end_line == y.end_line,
              "every token keeps its place");
        holds(x.at >= at && (x.type == SM_TOK_END || x.type == SM_TOK_BROKEN || x.n > 0) &&
                  x.at + x.n <= n && x.end_line >= x.line,
              "tokens follow each other within the text");
        at = x.at + x.n;
        if (x.type == SM_TOK_END || x.type == SM_TOK_BROKEN)
            return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    char *text = sm_memdup(data, n);
    sm_err err = SM_ERR_INIT;
    sm_follow *follows = NULL, *again = NULL;
    size_t n_follows, n_again;
    int line;
    lua_State *L = luaL_newstate();
    holds(L != NULL, "a Lua state");
    bool good = compiles(L, text, n);
    sm_rc rc = sm_attribute_rewrite(text, n, &follows, &n_follows, &line, &err);
    if (rc != SM_OK) {
        holds(rc == SM_INVALID && err.msg[0] && line >= 1 && !follows, "a refusal says why, where");
        holds(!good, "a text that Lua compiles is not refused");
        goto out;
    }
    for (size_t i = 0; i < n; i++)
        holds(text[i] == (char)data[i] || (data[i] == '<' && text[i] == '{') ||
                  (data[i] == '>' && text[i] == '}'),
              "only attributes change");
    holds(!good || n == 0 || memcmp(text, data, n) == 0, "valid Lua is left as it is");
    if (n) {
        char *before = sm_memdup(data, n);
        same_tokens(before, text, n);
        free(before);
    }
    if (compiles(L, text, n))
        check_lines(L, text, n);
    for (size_t i = 0; i < n_follows; i++)
        holds(follows[i].line >= 1 && memchr(follows[i].func, 0, sizeof follows[i].func) &&
                  memchr(follows[i].found, 0, sizeof follows[i].found) &&
                  (!follows[i].func[0] || follows[i].func_line >= follows[i].end_line),
              "what follows is named");
    char *once = sm_memdup(text, n);
    holds(sm_attribute_rewrite(text, n, &again, &n_again, &line, &err) == SM_OK &&
              memcmp(once, text, n) == 0 && n_again == n_follows,
          "rewriting twice is rewriting once");
    free(once);
out:
    free(follows);
    free(again);
    free(text);
    lua_close(L);
    return 0;
}
