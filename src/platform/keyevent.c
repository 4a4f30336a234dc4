/* keyevent: one event of the outbox as a key event of the platform (platform.md, "Events").
 *
 * Identity and status are tags, texts and numbers are fields, dimension tags are real tags. It adds
 * nothing that the payload does not say: an event without a known fault begins one when it is a
 * problem and has no fault members when it is `ok`. Pure; called by openway and by the road through
 * the OpenAPI; any thread.
 */
#include "platform/keyevent.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "platform/event.h"
#include "platform/lineproto.h"
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sm_keyevent_ref(const char *checker, const char *dimension, char out[33]) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t n = 0;
    char *text = sm_asprintf("%s\n%s", checker, dimension);
    if (!EVP_Q_digest(NULL, "SHA256", NULL, text, strlen(text), digest, &n) || n < 16) {
        fputs("selfmon-lua: SHA-256 is not available in OpenSSL\n", stderr);
        abort();
    }
    free(text);
    sm_hex(digest, 16, out);
}

static void set_text(json_t *obj, const char *name, const char *text) {
    json_object_set_new(obj, name, sm_json_text(text, strlen(text)));
}

/* Copies a text as it is, also with a NUL inside. */
static void set_copy(json_t *obj, const char *name, const json_t *text) {
    json_object_set(obj, name, json_is_string(text) ? (json_t *)(uintptr_t)text : json_null());
}

static int64_t seconds(int64_t ns) {
    return ns / SM_NS_PER_S;
}

/* fault_id and fault_start_ns of the event say which fault it belongs to. */
static void add_fault(json_t *fields, const json_t *event, const char *event_id, bool ok,
                      int64_t at_ns) {
    const char *id = sm_json_str(event, "fault_id", ok ? NULL : event_id);
    int64_t start = sm_json_int(event, "fault_start_ns", at_ns);
    int64_t lasted = at_ns > start ? seconds(at_ns - start) : 0;
    set_text(fields, "df_fault_status", ok ? "ok" : "fault");
    if (!id)
        return;
    set_text(fields, "df_fault_id", id);
    json_object_set_new(fields, "df_fault_start_time", json_integer(seconds(start)));
    json_object_set_new(fields, "df_fault_duration", json_integer(lasted));
    json_object_set_new(fields, "df_issue_start_time", json_integer(seconds(start)));
    json_object_set_new(fields, "df_issue_duration", json_integer(lasted));
}

static json_t *fields_of(const json_t *payload, const json_t *event, const char *dimension) {
    json_t *fields = json_object();
    bool ok = strcmp(sm_json_str(event, "status", ""), "ok") == 0;
    set_copy(fields, "df_title", json_object_get(event, "title"));
    set_copy(fields, "df_message", json_object_get(event, "message"));
    set_text(fields, "df_dimension_tags", dimension);
    set_copy(fields, "df_monitor_checker_name", json_object_get(payload, "title"));
    set_text(fields, "df_monitor_checker", "self_hosted_monitor");
    set_text(fields, "df_monitor_checker_sub", "check");
    set_text(fields, "df_exec_mode", sm_json_str(payload, "exec_mode", "crontab"));
    json_object_set_new(fields, "df_date_range",
                        json_integer(sm_json_int(payload, "date_range", 0)));
    add_fault(fields, event, sm_json_str(event, "event_id", ""), ok,
              sm_json_int(event, "at_ns", 0));
    return fields;
}

static json_t *tags_of(const json_t *payload, const json_t *event, const char *dimension) {
    json_t *tags = json_object();
    const char *checker = sm_json_str(payload, "checker", ""), *name;
    json_t *value;
    /* jansson's iterators want a non-const object, but change nothing. */
    json_object_foreach(json_object_get((json_t *)(uintptr_t)event, "dimension_tags"), name, value)
        json_object_set(tags, name, value);
    set_text(tags, "df_source", "monitor");
    set_text(tags, "df_monitor_type", "bot_obs");
    set_text(tags, "df_status", sm_json_str(event, "status", ""));
    set_text(tags, "df_monitor_ref_key", sm_json_str(payload, "ref_key", ""));
    set_text(tags, "df_event_id", sm_json_str(event, "event_id", ""));
    set_text(tags, "df_monitor_checker_id", checker);
    char ref[33] = "";
    if (checker[0]) /* without a checker two inspections would share a reference */
        sm_keyevent_ref(checker, dimension, ref);
    set_text(tags, "df_monitor_checker_event_ref", ref);
    return tags;
}

static char *dimension_of(const json_t *event) {
    const char *known = sm_json_str(event, "dimension", NULL);
    return known ? sm_strdup(known) : sm_event_dimension(json_object_get(event, "dimension_tags"));
}

sm_rc sm_keyevent_line(sm_buf *out, const json_t *payload, sm_err *err) {
    static const char *const texts[] = {"event_id", "title", "message", "status"};
    const json_t *event = json_object_get(payload, "event");
    for (size_t i = 0; i < SM_ARRAY_LEN(texts); i++)
        if (!json_is_string(json_object_get(event, texts[i])))
            return sm_err_set(err, SM_INVALID, "the event has no %s", texts[i]);
    int64_t at_ns = sm_json_int(event, "at_ns", 0);
    if (at_ns <= 0)
        return sm_err_set(err, SM_INVALID, "the event has no time");
    char *dimension = dimension_of(event);
    json_t *tags = tags_of(payload, event, dimension);
    json_t *fields = fields_of(payload, event, dimension);
    sm_rc rc = sm_lineproto_add(out, "monitor", tags, fields, at_ns, err);
    json_decref(fields);
    json_decref(tags);
    free(dimension);
    return rc;
}

json_t *sm_keyevent_report(const json_t *payload) {
    static const char *const names[] = {"title", "message", "status"};
    const json_t *event = json_object_get(payload, "event");
    json_t *out = json_object();
    for (size_t i = 0; i < SM_ARRAY_LEN(names); i++)
        set_copy(out, names[i], json_object_get(event, names[i]));
    json_t *tags = json_object_get(event, "dimension_tags");
    json_object_set_new(out, "dimension_tags",
                        json_is_object(tags) ? json_deep_copy(tags) : json_object());
    return out;
}
