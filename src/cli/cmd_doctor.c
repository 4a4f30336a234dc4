/* cmd_doctor: `doctor`: tells line by line what is well and what is not; 1 when something is bad.
 * The checks of this machine are in doctor_host.c, those of a workspace in daemon/remote.h. */
#include "cli/doctor.h"
#include "base/mem.h"
#include "cli/online.h"
#include <stdlib.h>
#include <string.h>

static const char *const words[] = {"ok", "warn", "bad"};

void sm_doctor_say(sm_doctor *d, sm_health health, const char *subject, const char *fmt, ...) {
    static const char *const paints[] = {"ok", "warning", "error"};
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    d->sick = d->sick || health == SM_BAD;
    char *shown = sm_cli_text(text, sizeof text);
    if (d->said) {
        json_array_append_new(d->said, json_pack("{s:s, s:s, s:s}", "subject", subject, "health",
                                                 words[health], "text", shown));
    } else if (!d->args->quiet || health != SM_WELL) {
        printf("%s%-4s%s  %-24s  %s\n", sm_cli_paint(d->color, paints[health]), words[health],
               sm_cli_plain(d->color), subject, shown);
        fflush(stdout);
    }
    free(shown);
}

/* ---- accounts ---- */

typedef struct visit { /* the checks of one remote account under way */
    sm_doctor *doctor;
    const char *account;
    bool done;
} visit;

static void told(void *ctx, const json_t *line) {
    visit *v = ctx;
    sm_health health = !sm_json_bool(line, "ok", false)    ? SM_BAD
                       : sm_json_bool(line, "warn", false) ? SM_WARN
                                                           : SM_WELL;
    char *subject = sm_asprintf("%s: %s", v->account, sm_json_str(line, "check", "?"));
    sm_doctor_say(v->doctor, health, subject, "%s", sm_json_str(line, "text", ""));
    free(subject);
}

static void finished(void *ctx) {
    visit *v = ctx;
    v->done = true;
}

void sm_doctor_accounts(sm_doctor *d, const sm_config *config) {
    sm_online *online = NULL;
    sm_err err = SM_ERR_INIT;
    bool fits = sm_online_open(config, &online, &err) == SM_OK;
    if (!fits)
        sm_doctor_say(d, SM_BAD, "accounts", "%s", err.msg);
    size_t n = online->accounts ? sm_accounts_count(online->accounts) : 0;
    for (size_t i = 0; i < n; i++) {
        visit v = {.doctor = d, .account = sm_accounts_name(online->accounts, i)};
        sm_remote *remote = sm_accounts_remote(online->accounts, v.account);
        if (!remote) {
            char *subject = sm_asprintf("%s: node", v.account);
            sm_doctor_say(d, SM_WELL, subject,
                          "local, the embedded platform in the state directory");
            free(subject);
            continue;
        }
        sm_remote_doctor(remote, d->args->send_event, told, finished, &v);
        if (sm_online_run(online, &v.done, &err) != SM_OK) {
            sm_doctor_say(d, SM_BAD, v.account, "%s", err.msg);
            break; /* a check that never answers may still hold `v` */
        }
    }
    sm_online_close(online);
}

/* ---- the command ---- */

static void value_line(void *ctx, const char *key, const char *value, const char *origin) {
    (void)ctx;
    printf("%-32s  %s  (%s)\n", key, value, origin);
}

int sm_cmd_doctor(const sm_args *a) {
    sm_config *config = NULL;
    sm_err err = SM_ERR_INIT;
    if (a->n_rest > 0)
        return sm_cli_fail(SM_EXIT_USAGE, "doctor: it takes no argument");
    sm_doctor d = {
        .args = a, .color = sm_cli_color(a, stdout), .said = a->json ? json_array() : NULL};
    if (sm_cli_load(a, false, &config, &err) != SM_OK) {
        sm_doctor_say(&d, SM_BAD, "configuration", "%s", err.msg);
    } else {
        if (a->show_config && !a->json)
            sm_cli_explain(config, value_line, NULL);
        sm_doctor_host(&d, config);
        sm_doctor_accounts(&d, config);
    }
    if (a->json) {
        json_t *out = json_pack("{s:b, s:O}", "healthy", !d.sick, "checks", d.said);
        if (a->show_config && config)
            json_object_set_new(out, "config", sm_config_explain(config));
        sm_cli_json(out);
        json_decref(out);
    }
    json_decref(d.said);
    sm_config_free(config);
    return d.sick ? SM_EXIT_FAIL : SM_EXIT_OK;
}
