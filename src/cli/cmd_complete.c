/* cmd_complete: `completion`: the completion scripts of bash and zsh, and `completion words LINE`,
 * by which these scripts ask what may follow a line that ends where the cursor is: one word a line,
 * to be narrowed by the shell; none where a file may stand. What can be known comes from the tables
 * that the program itself works with: commands, options (args.c, else the command's help), nodes,
 * the inspections that are loaded, the names of `doc`. Nothing is created, and what fails says
 * nothing.
 */
#include "cli/cli.h"
#include "base/embedded.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/market.h"
#include "platform/node.h"
#include "worker/entry.h"
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 64 };

typedef struct line {
    char *copy;
    char *words[WORDS_MAX]; /* the last one is where the cursor is, perhaps empty */
    int n;
} line;

/* What may follow an option, "" where only the user knows. */
static const struct {
    const char *option, *command, *words;
} values[] = {
    {"--status", "events", "info ok warning error critical"},
    {"--status", "runs",
     "ok failed timeout limit disabled skipped missed bad_params unregistered crashed cancelled"},
    {"--status", "outbox", "pending inflight held refused"},
    {"--fail-on", "run", "info warning error critical"},
    {"--log-format", NULL, "text json"},
    {"--brand", "nodes", "guance truewatch"},
    {"--from", "new", "http tcp exec dql host"},
    {"--format", "lint", "text json"},
    {"--trace", "run", "http"},
};

/* What stands behind a command: words, then ids of inspections (or names of `doc`). */
static const struct {
    const char *command, *words;
    int ids_from, ids_to; /* which arguments are ids, from 1; 0: none */
} arguments[] = {
    {"key", "", 1, WORDS_MAX},
    {"next", "", 1, 1},
    {"why", "", 1, 1},
    {"adopt", "", 1, 1},
    {"mute", "", 1, 1},
    {"unmute", "", 1, 1},
    {"check", "", 1, 1},
    {"local", "set unset enable disable delete show", 2, 2},
    {"outbox", "retry drop", 0, 0},
    {"market", "list install diff upgrade", 0, 0},
    {"completion", "bash zsh", 0, 0},
};

static void put_words(const char *prefix, const char *words) {
    for (size_t n; *words; words += n + (words[n] == ' ')) {
        n = strcspn(words, " ");
        printf("%s%.*s\n", prefix, (int)n, words);
    }
}

static void split(line *l, const char *text) {
    char *at;
    memset(l, 0, sizeof *l);
    l->copy = at = sm_strdup(text);
    for (;;) {
        at += strspn(at, " \t");
        if (l->n == WORDS_MAX)
            l->n--; /* what is beyond is the last word */
        l->words[l->n++] = at;
        at += strcspn(at, " \t");
        if (!*at)
            return;
        *at++ = '\0';
    }
}

/* Ids of the inspections, each with `after` behind it. Those of an unreadable project are none. */
static void put_ids(const sm_args *a, const char *prefix, const char *after) {
    sm_config *config = NULL;
    json_t *list = NULL, *one;
    size_t i;
    sm_args quiet = *a;
    quiet.quiet = true;
    if (sm_cli_load(&quiet, true, &config, NULL) == SM_OK &&
        sm_cli_list(&quiet, config, &list, NULL) == SM_OK) {
        json_array_foreach(list, i, one) {
            const char *id = sm_json_str(one, "id", NULL);
            if (id)
                printf("%s%s%s\n", prefix, id, after);
        }
    }
    json_decref(list);
    sm_config_free(config);
}

static void put_nodes(const char *prefix) {
    size_t n;
    const sm_node_row *rows = sm_node_table(&n);
    printf("%slocal\n%sdefault\n", prefix, prefix);
    for (size_t i = 0; i < n; i++)
        printf("%s%s/%s\n", prefix, rows[i].brand, rows[i].key);
}

static void put_values(const sm_args *a, const char *command, const char *option,
                       const char *prefix) {
    for (size_t i = 0; i < SM_ARRAY_LEN(values); i++) {
        if (strcmp(values[i].option, option) == 0 &&
            (!values[i].command || strcmp(values[i].command, command) == 0)) {
            put_words(prefix, values[i].words);
            return;
        }
    }
    if (strcmp(option, "--node") == 0)
        put_nodes(prefix);
    else if (strcmp(option, "--id") == 0)
        put_ids(a, prefix, "");
    else if (strcmp(option, "-p") == 0 || strcmp(option, "--param") == 0)
        put_ids(a, prefix, ":");
}

typedef struct seeking {
    const char *word; /* an option as it was typed, NULL: all are printed */
    const char *name; /* out: its long form, when it takes a value */
    bool any;
} seeking;

static void on_option(void *ctx, const char *name, const char *brief, bool value) {
    seeking *s = ctx;
    s->any = true;
    if (!s->word)
        printf("%s\n", name);
    else if (value && (strcmp(s->word, name) == 0 || (brief && strcmp(s->word, brief) == 0)))
        s->name = name;
}

/* Options that stand in the help of a command which reads its arguments itself. */
static void put_help_options(const char *command) {
    char *text = NULL;
    size_t n = 0;
    FILE *to = open_memstream(&text, &n);
    if (!to)
        return;
    sm_help_print(to, command);
    fclose(to);
    char *end = strstr(text, "\n\n"); /* the lines of usage */
    if (end)
        *end = '\0';
    for (char *at = text; (at = strchr(at, '-'));) {
        size_t len = strspn(at, "-abcdefghijklmnopqrstuvwxyz");
        if (at > text && strchr(" [|", at[-1]) && len > 1)
            printf("%.*s\n", (int)len, at);
        at += len;
    }
    puts("--help");
    free(text);
}

static void put_options(const char *command) {
    seeking s = {0};
    sm_args_options(command, on_option, &s);
    if (!s.any)
        put_help_options(command);
}

/* How many arguments, options and their values left out, stand before the cursor. */
static int position(const line *l, const char *command) {
    int n = 1;
    for (int i = 2; i < l->n - 1; i++) {
        seeking s = {.word = l->words[i]};
        if (l->words[i][0] != '-') {
            n++;
            continue;
        }
        sm_args_options(command, on_option, &s);
        if (s.name)
            i++;
    }
    return n;
}

/* What `market install` knows by name. */
static void put_market(void) {
    sm_market_set shipped;
    sm_market_shipped(&shipped);
    for (size_t i = 0; i < shipped.n; i++) {
        const char *name = shipped.files[i].name;
        if (!sm_str_ends(name, "_spec.lua") && !sm_str_starts(name, "lib/"))
            printf("%.*s\n", (int)(strlen(name) - strlen(".lua")), name);
    }
    sm_market_fini(&shipped);
}

static void put_arguments(const sm_args *a, const line *l, const char *command) {
    int at = position(l, command);
    if (strcmp(command, "doc") == 0 && at == 1) {
        json_t *args = json_pack("{s:[], s:b, s:b, s:b}", "rest", "names", true, "json", false,
                                 "color", false);
        sm_kitcmd_main("kit.doc", args);
        json_decref(args);
    }
    if (strcmp(command, "market") == 0 && at >= 2)
        put_market();
    for (size_t i = 0; i < SM_ARRAY_LEN(arguments); i++) {
        if (strcmp(arguments[i].command, command) != 0)
            continue;
        if (at == 1)
            put_words("", arguments[i].words);
        if (arguments[i].ids_from > 0 && at >= arguments[i].ids_from && at <= arguments[i].ids_to)
            put_ids(a, "", "");
    }
}

static void complete(const sm_args *a, const line *l) {
    const char *word = l->words[l->n - 1];
    if (l->n <= 2) {
        for (size_t i = 0; sm_commands[i]; i++)
            puts(sm_commands[i]);
        puts("--help\n--version");
        return;
    }
    const char *command = l->words[1], *equal = strchr(word, '=');
    seeking s = {.word = l->words[l->n - 2]};
    if (l->n > 3)
        sm_args_options(command, on_option, &s);
    if (s.name) {
        put_values(a, command, s.name, "");
    } else if (strncmp(word, "--", 2) == 0 && equal) {
        char *option = sm_memdup(word, (size_t)(equal - word));
        char *prefix = sm_memdup(word, (size_t)(equal - word) + 1);
        put_values(a, command, option, prefix);
        free(option);
        free(prefix);
    } else if (word[0] == '-') {
        put_options(command);
    } else {
        put_arguments(a, l, command);
    }
}

int sm_cmd_complete(const sm_args *a) {
    char name[64];
    const char *what = a->n_rest > 0 ? a->rest[0] : "";
    if (strcmp(what, "words") == 0 && a->n_rest == 2) {
        line l;
        split(&l, a->rest[1]);
        complete(a, &l);
        free(l.copy);
        return SM_EXIT_OK;
    }
    snprintf(name, sizeof name, "templates/completion.%.20s", what);
    for (const sm_embedded *e = sm_embedded_lua; e->name && a->n_rest == 1; e++) {
        if (strcmp(e->name, name) == 0) {
            fwrite(e->begin, 1, (size_t)(e->end - e->begin), stdout);
            return SM_EXIT_OK;
        }
    }
    return sm_cli_fail(SM_EXIT_USAGE,
                       "completion: expected bash or zsh, as in `selfmon-lua completion bash`");
}
