/* config_heartbeat: the key `heartbeat`: an address, or a table of address and pace. The path of
 * such an address is as good as a password, so it is held as a secret. Called by config.c.
 */
#include "daemon/config_parts.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>

enum { EVERY_S = 60, EVERY_MIN_S = 5, EVERY_MAX_S = 86400 };

static const char url_phrase[] = "an http:// or https:// address";

/* "https://host/…" with *** for what follows the host; NULL when it is no such address. */
static char *shown_url(const json_t *v) {
    const char *s = json_string_value(v);
    if (!s || strlen(s) != json_string_length(v) || strlen(s) > 4096 ||
        !(sm_str_starts(s, "http://") || sm_str_starts(s, "https://")))
        return NULL;
    for (const char *p = s; *p; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            return NULL;
    const char *host = strstr(s, "://") + 3;
    size_t n = strcspn(host, "/?#");
    if (n == 0 || memchr(host, '@', n))
        return NULL;
    size_t head = (size_t)(host - s) + n;
    return sm_asprintf("%.*s%s", (int)head, s, s[head] && s[head + 1] ? "/***" : "/");
}

sm_rc sm_conf_heartbeat(sm_conf *c, sm_err *err) {
    static const char *const members[] = {"url", "every"};
    json_t *v = json_object_get(c->table, "heartbeat");
    const json_t *table = NULL;
    sm_rc rc = SM_OK;
    double every = EVERY_S;
    c->made->heartbeat_s = every;
    sm_conf_put(c, "heartbeat", json_null(), "default");
    sm_conf_put(c, "heartbeat.every", json_integer(EVERY_S), "default");
    if (!v || json_is_null(v))
        return SM_OK;
    if (!json_is_string(v)) {
        if (!json_is_object(v))
            return sm_conf_expected(c, err, "heartbeat", "an address or a table with url and every",
                                    v);
        table = v;
        rc = sm_conf_known(c, "heartbeat", table, members, SM_ARRAY_LEN(members), err);
        if (rc != SM_OK)
            return rc;
    }
    const char *key = table ? "heartbeat.url" : "heartbeat";
    const json_t *url = table ? json_object_get(table, "url") : v;
    const json_t *pace = table ? json_object_get(table, "every") : NULL;
    char *shown = shown_url(url);
    if (!shown)
        return sm_conf_expected(c, err, key, url_phrase, url);
    char *origin = sm_conf_origin(c, key);
    sm_conf_put(c, "heartbeat", json_string(shown), origin);
    free(origin);
    free(shown);
    if (pace && (!sm_conf_seconds(pace, &every) || every < EVERY_MIN_S || every > EVERY_MAX_S))
        return sm_conf_expected(c, err, "heartbeat.every", "a duration from 5s to 24h", pace);
    if (pace) {
        origin = sm_conf_origin(c, "heartbeat.every");
        sm_conf_put(c, "heartbeat.every",
                    every > (double)(long)every ? json_real(every)
                                                : json_integer((json_int_t)every),
                    origin);
        free(origin);
    }
    c->made->heartbeat_s = every;
    return sm_conf_take_secret(c, table ? v : c->table, table ? "url" : "heartbeat", "heartbeat",
                               err);
}
