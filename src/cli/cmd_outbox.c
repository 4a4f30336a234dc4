/* cmd_outbox: `outbox`: what waits for delivery or was refused, and why; `outbox retry` has it sent
 * now, `outbox drop` gives it up. Through the socket of the process that holds the state directory,
 * else straight on the store. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIST_DEFAULT = 20, TEXT_MAX = 200 };

static const char *const states[] = {"pending", "inflight", "held", "refused"};

/* ---- what waits ---- */

/* Accounts that a script brings with its key are known to a daemon only. */
static bool is_orphan(const sm_config *config, const char *account) {
    return !json_object_get(config->accounts, account) && strncmp(account, "script-", 7) != 0;
}

static void mark_orphans(const sm_config *config, json_t *rows) {
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) {
        json_object_set_new(row, "orphaned",
                            json_boolean(is_orphan(config, sm_json_str(row, "account", ""))));
    }
}

static void print_numbers(const json_t *row) {
    const char *sep = "";
    for (size_t i = 0; i < SM_ARRAY_LEN(states); i++) {
        int64_t n = sm_json_int(row, states[i], 0);
        if (n > 0)
            printf("%s%lld %s", sep, (long long)n, states[i]), sep = ", ";
    }
    putchar('\n');
}

static void print_summary(const json_t *told) {
    size_t i, k;
    json_t *account, *why;
    json_array_foreach(json_object_get(told, "accounts"), i, account) {
        const char *name = sm_json_str(account, "account", "");
        printf("account %s: ", name);
        print_numbers(account);
        if (sm_json_bool(account, "orphaned", false))
            printf("  this account is not in the configuration: its events wait until it is there "
                   "again\n  (`outbox drop --pending` gives them up)\n");
        json_array_foreach(json_object_get(told, "reasons"), k, why) {
            if (strcmp(sm_json_str(why, "account", ""), name) != 0)
                continue;
            char *text = sm_cli_text(sm_json_str(why, "reason", "?"), TEXT_MAX);
            printf("  %lld %s: %s\n", (long long)sm_json_int(why, "events", 0),
                   sm_json_str(why, "state", "?"), text);
            free(text);
        }
    }
}

static void print_event(const json_t *e) {
    char next[32] = "";
    int64_t ms = sm_json_int(e, "next_ms", 0);
    if (ms > 0)
        sm_time_rfc3339(ms * SM_NS_PER_MS, false, next);
    char *title = sm_cli_text(sm_json_str(e, "title", ""), 80);
    char *dimension = sm_cli_text(sm_json_str(e, "dimension", ""), 80);
    char *reason = sm_cli_text(sm_json_str(e, "reason", ""), TEXT_MAX);
    printf("%-8s  %s  %s  %s %s  %s\n", sm_json_str(e, "state", "?"),
           sm_json_str(e, "event_id", "?"), sm_json_str(e, "id", "?"), dimension,
           sm_json_str(e, "status", "?"), title);
    if (sm_json_int(e, "attempts", 0) > 0)
        printf("          %lld attempt%s%s%s%s%s\n", (long long)sm_json_int(e, "attempts", 0),
               sm_json_int(e, "attempts", 0) == 1 ? "" : "s", *next ? ", next at " : "", next,
               *reason ? ": " : "", reason);
    free(title);
    free(dimension);
    free(reason);
}

static int64_t all_of(const json_t *accounts) {
    int64_t n = 0;
    size_t i;
    json_t *row;
    json_array_foreach((json_t *)(uintptr_t)accounts, i, row) {
        for (size_t k = 0; k < SM_ARRAY_LEN(states); k++)
            n += sm_json_int(row, states[k], 0);
    }
    return n;
}

static void times_to_text(json_t *events) {
    size_t i;
    json_t *e;
    json_array_foreach(events, i, e) {
        char text[32];
        int64_t ms = sm_json_int(e, "next_ms", 0);
        if (ms > 0)
            sm_time_rfc3339(ms * SM_NS_PER_MS, true, text);
        json_object_set_new(e, "next", ms > 0 ? json_string(text) : json_null());
        json_object_del(e, "next_ms");
    }
}

static sm_rc list(const sm_args *a, const sm_config *config, sm_client *link, sm_err *err) {
    json_t *told = NULL, *e;
    size_t i;
    int64_t limit = a->n > 0 ? a->n : LIST_DEFAULT;
    sm_rc rc = sm_client_call(
        link, "outbox_list",
        json_pack("{s:s*, s:s*, s:I}", "id", a->id, "state", a->status, "limit", (json_int_t)limit),
        &told, err);
    if (rc != SM_OK)
        return rc;
    json_t *accounts = json_object_get(told, "accounts"), *events = json_object_get(told, "events");
    mark_orphans(config, accounts);
    if (a->json) {
        times_to_text(events);
        sm_cli_json(told);
    } else if (json_array_size(accounts) == 0) {
        printf("nothing waits\n");
    } else {
        print_summary(told);
        json_array_foreach(events, i, e) {
            print_event(e);
        }
        int64_t more = all_of(accounts) - (int64_t)json_array_size(events);
        if (more > 0 && !a->status)
            printf("and %lld more (-n shows more of them)\n", (long long)more);
    }
    json_decref(told);
    return SM_OK;
}

/* ---- by hand ---- */

typedef struct sums {
    int64_t n, waiting, inflight, unknown;
} sums;

/* Calls the operation until nothing is left to do. */
static sm_rc carry_out(const sm_args *a, sm_client *link, const char *call, bool pending, sums *s,
                       sm_err *err) {
    char by[64];
    json_t *ids = a->n_rest > 1 ? json_array() : NULL;
    json_int_t after = 0;
    sm_rc rc = SM_OK;
    snprintf(by, sizeof by, "by hand, uid %ld", (long)getuid());
    for (int i = 1; i < a->n_rest; i++)
        json_array_append_new(ids, json_string(a->rest[i]));
    for (bool more = true; rc == SM_OK && more;) {
        json_t *answer = NULL;
        rc = sm_client_call(link, call,
                            json_pack("{s:O*, s:s*, s:I, s:s, s:I, s:b}", "ids", ids, "id", a->id,
                                      "after", after, "by", by, "at_ns", (json_int_t)sm_wall_ns(),
                                      "pending", pending),
                            &answer, err);
        s->n += sm_json_int(answer, "n", 0);
        s->waiting += sm_json_int(answer, "waiting", 0);
        s->inflight += sm_json_int(answer, "inflight", 0);
        s->unknown += sm_json_int(answer, "unknown", 0);
        more = json_is_integer(json_object_get(answer, "after"));
        after = sm_json_int(answer, "after", 0);
        json_decref(answer);
    }
    json_decref(ids);
    return rc;
}

static sm_rc tell(const sm_args *a, const sums *s, const char *done, sm_err *err) {
    if (a->json) {
        json_t *o = json_pack("{s:I, s:I, s:I, s:I}", "events", (json_int_t)s->n, "waiting",
                              (json_int_t)s->waiting, "inflight", (json_int_t)s->inflight,
                              "unknown", (json_int_t)s->unknown);
        sm_cli_json(o);
        json_decref(o);
    } else {
        printf("%lld event%s %s\n", (long long)s->n, s->n == 1 ? "" : "s", done);
        if (s->waiting > 0)
            printf("%lld still wait and were kept (--pending drops them too)\n",
                   (long long)s->waiting);
        if (s->inflight > 0)
            printf("%lld are being sent at this moment and were kept\n", (long long)s->inflight);
    }
    if (s->unknown > 0)
        return sm_err_set(err, SM_NOT_FOUND,
                          "%lld of the events named are not in the outbox (`selfmon-lua outbox` "
                          "lists what is)",
                          (long long)s->unknown);
    return SM_OK;
}

static sm_rc retry(const sm_args *a, sm_client *link, sm_err *err) {
    sums s = {0};
    sm_rc rc = carry_out(a, link, "outbox_again", false, &s, err);
    if (rc == SM_OK && sm_client_remote(link))
        rc = sm_client_ask(link, json_pack("{s:s}", "op", "deliver"), NULL, NULL, NULL, err);
    return rc == SM_OK
               ? tell(a, &s,
                      sm_client_remote(link) ? "sent again now" : "sent again by the next `run`",
                      err)
               : rc;
}

/* Asks on a terminal; elsewhere only --yes will do. */
static bool agreed(const sm_args *a, const char *what) {
    char line[16] = "";
    if (a->yes)
        return true;
    if (!isatty(STDIN_FILENO))
        return false;
    fprintf(stderr, "%s will never be delivered. Drop? [y/N] ", what);
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static sm_rc drop(const sm_args *a, sm_client *link, sm_err *err) {
    char what[160];
    sums s = {0};
    if (a->n_rest > 1)
        snprintf(what, sizeof what, "%d event%s", a->n_rest - 1, a->n_rest == 2 ? "" : "s");
    else
        snprintf(what, sizeof what, "%s of %.100s",
                 a->pending ? "Everything that waits or was refused" : "Every refused event",
                 a->id);
    if (!agreed(a, what))
        return sm_err_set(err, SM_INVALID,
                          "outbox drop: nothing was dropped (without a terminal it needs --yes)");
    sm_rc rc = carry_out(a, link, "outbox_drop", a->pending, &s, err);
    return rc == SM_OK ? tell(a, &s, "dropped", err) : rc;
}

static sm_rc check_words(const sm_args *a, sm_err *err) {
    const char *word = a->n_rest > 0 ? a->rest[0] : NULL;
    bool is_drop = word && strcmp(word, "drop") == 0;
    if (word && !is_drop && strcmp(word, "retry") != 0)
        return sm_err_set(err, SM_INVALID, "outbox: expected retry, drop or nothing, got %.60s",
                          word);
    if (is_drop && a->n_rest == 1 && !a->id)
        return sm_err_set(err, SM_INVALID, "outbox drop: expected EVENT… or --id GLOB");
    if (word && a->n_rest > 1 && a->id)
        return sm_err_set(err, SM_INVALID, "outbox %s: EVENT… or --id GLOB, not both", word);
    if (!is_drop && (a->yes || a->pending))
        return sm_err_set(err, SM_INVALID, "outbox: %s belongs to `outbox drop`",
                          a->yes ? "--yes" : "--pending");
    for (size_t i = 0; a->status && i < SM_ARRAY_LEN(states); i++)
        if (strcmp(a->status, states[i]) == 0)
            return SM_OK;
    if (a->status)
        return sm_err_set(
            err, SM_INVALID,
            "outbox: --status: expected pending, inflight, held or refused, got %.60s", a->status);
    return SM_OK;
}

int sm_cmd_outbox(const sm_args *a) {
    sm_config *config = NULL;
    sm_client *link = NULL;
    sm_err err = SM_ERR_INIT;
    if (check_words(a, &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_USAGE, err.msg);
    int code = sm_cli_config(a, false, &config);
    if (code != SM_EXIT_OK)
        return code;
    sm_rc rc = sm_client_open(config, &link, &err);
    if (rc == SM_NOT_FOUND && a->n_rest == 0) { /* no store yet */
        printf(a->json
                   ? "{\"accounts\": [], \"inspections\": [], \"reasons\": [], \"events\": []}\n"
                   : "nothing waits\n");
        rc = SM_OK;
    } else if (rc == SM_OK) {
        rc = a->n_rest == 0                     ? list(a, config, link, &err)
             : strcmp(a->rest[0], "retry") == 0 ? retry(a, link, &err)
                                                : drop(a, link, &err);
    }
    if (rc != SM_OK)
        code = sm_cli_fail(rc == SM_INVALID ? SM_EXIT_USAGE : SM_EXIT_FAIL, err.msg);
    sm_client_close(link);
    sm_config_free(config);
    return code;
}
