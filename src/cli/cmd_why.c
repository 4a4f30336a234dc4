/* cmd_why: `why ID [DIMENSION]`: the chain of the last decision, from the due instant to the
 * platform's answer, and in one sentence why something was sent or was not. Only reads; works with
 * and without a daemon. */
#include "cli/cli.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "cli/client.h"
#include "cli/dimension.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_MAX = 1200 };

/* ---- the place of the rule ---- */

/* Adds file, line, schedule and events of the inspection's `monitor`, from its last good text. */
static void add_place(sm_client *link, const sm_config *config, const char *id, json_t *why) {
    json_t *texts = NULL, *row, *spec;
    size_t i, k, n = strcspn(id, "@");
    json_object_set_new(why, "file", json_null());
    if (sm_client_call(link, "texts", NULL, &texts, NULL) != SM_OK)
        return;
    json_array_foreach(texts, i, row) {
        const char *file = sm_json_str(row, "file", "");
        size_t stem = strlen(file) > 4 ? strlen(file) - 4 : 0;
        if (stem == 0 || strncmp(id, file, stem) != 0 || id[stem] != '.')
            continue;
        json_array_foreach(json_object_get(row, "specs"), k, spec) {
            const char *fn = sm_json_str(spec, "fn", "");
            if (strlen(fn) != n - stem - 1 || strncmp(fn, id + stem + 1, n - stem - 1) != 0)
                continue;
            char *path =
                sm_asprintf("%s/%s", config->display ? config->display : "inspections", file);
            json_object_set_new(why, "file", json_string(path));
            json_object_set(why, "line", json_object_get(spec, "line"));
            json_object_set(why, "schedule", json_object_get(spec, "schedule"));
            json_object_set(why, "policy", json_object_get(spec, "events"));
            free(path);
        }
    }
    json_decref(texts);
}

/* What the platform last said of it, and (with a daemon) what the list says. */
static void add_view(sm_client *link, const char *id, json_t *why) {
    json_t *rows = NULL, *list = NULL, *row;
    size_t i;
    json_object_set_new(why, "registered", json_false());
    if (sm_client_call(link, "registry", json_pack("{s:s}", "id", id), &rows, NULL) == SM_OK) {
        json_array_foreach(rows, i, row) {
            if (strcmp(sm_json_str(row, "id", ""), id) != 0)
                continue;
            json_object_set_new(why, "registered", json_true());
            json_object_set(why, "node", json_object_get(row, "node"));
            json_object_set(why, "account", json_object_get(row, "account"));
            json_object_set_new(why, "enabled", json_boolean(sm_json_int(row, "status", 0) == 0));
        }
    }
    json_decref(rows);
    if (!sm_client_remote(link) ||
        sm_client_ask(link, json_pack("{s:s}", "op", "list"), NULL, NULL, &list, NULL) != SM_OK)
        return;
    json_array_foreach(list, i, row) {
        static const char *const kept[] = {"next", "condition", "condition_why", "condition_until",
                                           "stale"};
        if (strcmp(sm_json_str(row, "id", ""), id) != 0)
            continue;
        json_object_set_new(why, "loaded", json_true());
        for (size_t k = 0; k < SM_ARRAY_LEN(kept); k++)
            if (json_object_get(row, kept[k]))
                json_object_set(why, kept[k], json_object_get(row, kept[k]));
    }
    if (!json_object_get(why, "loaded"))
        json_object_set_new(why, "loaded", json_false());
    json_decref(list);
}

/* ---- the sentence ---- */

static const char *text_of(const json_t *o, const char *key) {
    return sm_json_str(o, key, "");
}

/* Why there was no run, or no complete one; false when there was. */
static bool no_run(const json_t *why, char *out, size_t cap) {
    const json_t *slot = json_object_get(why, "slot"), *run = json_object_get(why, "run");
    const char *outcome = text_of(run, "outcome"), *error = text_of(run, "error");
    int64_t due = sm_json_int(slot, "slot", 0);
    char at[32] = "";
    sm_time_rfc3339(due * SM_NS_PER_S, false, at);
    const char *fate = text_of(slot, "outcome");
    bool slot_last = json_is_object(slot) && due > sm_json_int(run, "slot", INT64_MIN) &&
                     (strcmp(fate, "skipped") == 0 || strcmp(fate, "missed") == 0);
    if (!json_is_object(run) && !json_is_object(slot)) {
        snprintf(out, cap, "it never ran%s",
                 json_is_array(json_object_get(why, "schedule")) ||
                         json_is_string(json_object_get(why, "schedule"))
                     ? ""
                     : ": it has no schedule");
        return true;
    }
    if (slot_last) {
        snprintf(out, cap, "the slot of %s was %s%s%s", at, fate,
                 *text_of(slot, "reason") ? ": " : "", text_of(slot, "reason"));
        return true;
    }
    if (strcmp(outcome, "disabled") == 0)
        snprintf(out, cap, "it is disabled on the platform (%s)", text_of(why, "node"));
    else if (strcmp(outcome, "") == 0)
        snprintf(out, cap, "its run goes on since %s", text_of(run, "started"));
    else if (strcmp(outcome, "ok") != 0)
        snprintf(out, cap, "its last run did not end: %s%s%s", outcome, *error ? ": " : "", error);
    else
        return false;
    return true;
}

/* What a policy's rule means. */
static void rule_text(const json_t *why, const json_t *policy, char *out, size_t cap) {
    static const struct {
        const char *rule, *text;
    } rules[] = {
        {"unchanged", "held back by events.on_change: the same status was sent already"},
        {"nothing_to_recover", "held back: an `ok` ends nothing, because no problem of this "
                               "dimension was sent"},
        {"max_dimensions", "held back by events.max_dimensions: it is in the digest"},
        {"max_events", "held back by events.max_events: it is in the digest"},
        {"withdrawn", "withdrawn: the platform refused the problem that it ends, so nobody saw it"},
        {"new", "sent: a new problem"},
        {"changed", "sent: the status changed"},
        {"recovered", "sent: the problem ended"},
        {"reminder", "sent: a reminder (events.remind)"},
        {"digest", "sent: a digest of what budgets hold back"},
        {"made_up", "sent when the mute or the maintenance window ended"},
        {"as_reported", "sent as reported"},
    };
    const char *rule = text_of(policy, "rule");
    char where[400] = "";
    if (*text_of(why, "file"))
        snprintf(where, sizeof where, " (%.300s:%lld)", text_of(why, "file"),
                 (long long)sm_json_int(why, "line", 0));
    if (strcmp(rule, "confirm") == 0)
        snprintf(out, cap, "held back by events.confirm: run %lld of %lld that say so%s",
                 (long long)sm_json_int(policy, "count", 0),
                 (long long)sm_json_int(policy, "of", 0), where);
    else if (strcmp(rule, "held") == 0)
        snprintf(out, cap, "held back: %s", text_of(policy, "why"));
    else
        snprintf(out, cap, "sent as reported (no policy)");
    for (size_t i = 0; i < SM_ARRAY_LEN(rules); i++)
        if (strcmp(rule, rules[i].rule) == 0)
            snprintf(out, cap, "%s%s", rules[i].text, where);
}

static void outbox_text(const json_t *why, char *out, size_t cap) {
    const json_t *box = json_object_get(why, "outbox"), *tries = json_object_get(why, "attempts");
    const json_t *last = json_array_get(tries, json_array_size(tries) - 1);
    const char *state = text_of(box, "state");
    char *reason = json_is_string(json_object_get(box, "reason"))
                       ? sm_cli_text(text_of(box, "reason"), 300)
                       : sm_strdup("");
    if (json_is_object(box) && sm_json_int(box, "ahead", 0) > 0)
        snprintf(out, cap, "it waits behind %lld older %s of its dimension",
                 (long long)sm_json_int(box, "ahead", 0),
                 sm_json_int(box, "ahead", 0) == 1 ? "event" : "events");
    else if (strcmp(state, "refused") == 0)
        snprintf(out, cap, "the platform refused it: %s", reason);
    else if (strcmp(state, "held") == 0)
        snprintf(out, cap, "deliveries are held: %s", reason);
    else if (json_is_object(box))
        snprintf(out, cap, "it waits for delivery%s%s", *reason ? ", after: " : "", reason);
    else if (strcmp(text_of(last, "verdict"), "delivered") == 0)
        snprintf(out, cap, "delivered at %s", text_of(last, "at"));
    else
        out[0] = '\0';
    free(reason);
}

static void conclude(json_t *why, bool of_dimension) {
    char text[SENTENCE_MAX], part[600];
    const json_t *event = json_object_get(why, "event"), *run = json_object_get(why, "run");
    const json_t *policy = json_object_get(event, "policy");
    bool spoke = json_is_object(event) && strcmp(text_of(event, "run"), text_of(run, "run")) == 0;
    if (!of_dimension && no_run(why, text, sizeof text) && !spoke) {
        json_object_set_new(why, "because", json_string(text));
        return;
    }
    if (!json_is_object(event)) {
        snprintf(text, sizeof text,
                 of_dimension ? "no event of this dimension is kept"
                              : "its last run ended ok and reported nothing");
    } else if (!of_dimension && !spoke) {
        snprintf(text, sizeof text,
                 "its last run ended ok and reported nothing; the last event is of %s",
                 text_of(event, "at"));
    } else {
        rule_text(why, policy, part, sizeof part);
        snprintf(text, sizeof text, "%s", part);
        outbox_text(why, part, sizeof part);
        bool sent = !json_is_object(policy) || sm_json_bool(policy, "send", true);
        if (sent && part[0])
            snprintf(text + strlen(text), sizeof text - strlen(text), "; %s", part);
    }
    json_object_set_new(why, "because", sm_json_text(text, strlen(text)));
}

/* ---- for people ---- */

static void line(const char *what, const char *text) {
    char *shown = sm_cli_text(text, 600);
    printf("  %-10s %s\n", what, shown);
    free(shown);
}

static void print_slot(const json_t *why) {
    const json_t *slot = json_object_get(why, "slot");
    char text[700], at[32];
    if (!json_is_object(slot))
        return;
    sm_time_rfc3339(sm_json_int(slot, "slot", 0) * SM_NS_PER_S, false, at);
    snprintf(text, sizeof text, "due %s: %s%s%.400s", at, text_of(slot, "outcome"),
             *text_of(slot, "reason") ? ": " : "", text_of(slot, "reason"));
    line("slot", text);
}

static void print_run(const json_t *why) {
    const json_t *run = json_object_get(why, "run");
    char text[900];
    int64_t n = sm_json_int(run, "events", 0);
    if (!json_is_object(run))
        return;
    snprintf(text, sizeof text, "%s, %s: %s in %.3f s, %lld %s%s%.500s", text_of(run, "started"),
             text_of(run, "trigger"),
             *text_of(run, "outcome") ? text_of(run, "outcome") : "running",
             sm_json_num(run, "seconds", 0), (long long)n, n == 1 ? "event" : "events",
             *text_of(run, "error") ? ": " : "", text_of(run, "error"));
    line("run", text);
}

static void print_event(const json_t *why) {
    const json_t *event = json_object_get(why, "event"), *state = json_object_get(why, "state");
    const json_t *policy = json_object_get(event, "policy");
    char text[900], rule[600];
    if (!json_is_object(event))
        return;
    snprintf(text, sizeof text, "%s at %s: %.300s  %.300s", text_of(event, "status"),
             text_of(event, "at"), text_of(event, "title"), text_of(event, "dimension"));
    line("reported", text);
    rule_text(why, policy, rule, sizeof rule);
    line("policy", rule);
    if (json_is_object(state)) {
        snprintf(text, sizeof text, "%s; sent last: %s; delivered last: %s%s",
                 text_of(state, "status"),
                 *text_of(state, "sent") ? text_of(state, "sent") : "nothing",
                 *text_of(state, "delivered") ? text_of(state, "delivered") : "nothing",
                 sm_json_bool(state, "muted", false) ? "; something is held back" : "");
        line("state", text);
    }
}

static void print_delivery(const json_t *why) {
    const json_t *box = json_object_get(why, "outbox");
    char text[900];
    size_t i;
    json_t *try;
    if (json_is_object(box)) {
        snprintf(text, sizeof text, "%s after %lld %s%s%s", text_of(box, "state"),
                 (long long)sm_json_int(box, "tries", 0),
                 sm_json_int(box, "tries", 0) == 1 ? "answer" : "answers",
                 *text_of(box, "next") ? "; next at " : "", text_of(box, "next"));
        line("outbox", text);
    }
    json_array_foreach(json_object_get(why, "attempts"), i, try) {
        const json_t *answer = json_object_get(try, "answer");
        snprintf(text, sizeof text, "%s %s%s%.500s", text_of(try, "at"), text_of(try, "verdict"),
                 json_is_string(answer) && json_string_length(answer) > 0 ? ": " : "",
                 json_is_string(answer) ? json_string_value(answer) : "");
        line(i == 0 ? "attempts" : "", text);
    }
}

static void print_all(const json_t *why) {
    const char *id = text_of(why, "id"), *file = text_of(why, "file");
    printf("%s", id);
    if (*file)
        printf("  (%s:%lld)", file, (long long)sm_json_int(why, "line", 0));
    putchar('\n');
    print_slot(why);
    print_run(why);
    print_event(why);
    print_delivery(why);
    if (json_is_string(json_object_get(why, "mute")))
        line("muted", text_of(why, "mute"));
    if (json_is_string(json_object_get(why, "condition")))
        line(text_of(why, "condition"), text_of(why, "condition_why"));
    char *because = sm_cli_text(text_of(why, "because"), SENTENCE_MAX);
    printf("=> %s\n", because);
    free(because);
}

int sm_cmd_why(const sm_args *a) {
    sm_config *config = NULL;
    sm_client *link = NULL;
    sm_err err = SM_ERR_INIT;
    json_t *why = NULL;
    char *dimension = NULL;
    if (a->n_rest < 1 || a->n_rest > 2)
        return sm_cli_fail(SM_EXIT_USAGE, "why: expected ID [DIMENSION] (see `selfmon-lua why "
                                          "--help`)");
    if (a->n_rest == 2 && sm_cli_dimension(a->rest[1], &dimension, &err) != SM_OK)
        return sm_cli_fail(SM_EXIT_USAGE, err.msg);
    int code = sm_client_config(a, &config);
    sm_rc rc = code == SM_EXIT_OK ? sm_client_open(config, &link, &err) : SM_OK;
    if (code == SM_EXIT_OK && rc == SM_OK)
        rc = sm_client_call(link, "why",
                            json_pack("{s:s, s:s*, s:I}", "id", a->rest[0], "dimension", dimension,
                                      "now_ns", (json_int_t)sm_wall_ns()),
                            &why, &err);
    if (rc == SM_NOT_FOUND)
        sm_err_set(&err, SM_NOT_FOUND, "nothing is known of %s: there is no store yet", a->rest[0]);
    if (why) {
        json_t *mine = json_deep_copy(why);
        json_decref(why);
        why = mine;
        add_place(link, config, a->rest[0], why);
        add_view(link, a->rest[0], why);
        bool unknown = json_is_null(json_object_get(why, "file")) &&
                       json_is_null(json_object_get(why, "run")) &&
                       !sm_json_bool(why, "registered", false) &&
                       json_is_null(json_object_get(why, "slot"));
        if (unknown)
            rc = sm_cli_unknown_id(link, a->rest[0], &err);
        else
            conclude(why, dimension != NULL);
    }
    if (code == SM_EXIT_OK && rc != SM_OK)
        code = sm_cli_fail(SM_EXIT_FAIL, err.msg);
    else if (why && a->json)
        sm_cli_json(why);
    else if (why)
        print_all(why);
    json_decref(why);
    free(dimension);
    sm_client_close(link);
    sm_config_free(config);
    return code;
}
