/* lineproto: any point as a line, read back by a reader of its own.
 *
 * Input: parts that end with the byte 0xFF (never in UTF-8): the measurement, then for each tag `t`
 * and its name, and its value; for each field `f` and its name, and its value, whose first byte is
 * its type: s text, i integer, r eight bytes of a double, b boolean, l list of texts. What must
 * hold of a line that was written: one line; a reader that splits at unescaped commas, blanks and
 * equal signs finds names that occur once, and every field with the value that was given; and what
 * is refused leaves nothing behind.
 */
#include "fuzz.h"
#include "base/mem.h"
#include "platform/lineproto.h"
#include <inttypes.h>
#include <string.h>

static const int64_t time_ns = INT64_C(1790000000123456789);

typedef struct input {
    const uint8_t *p;
    size_t n;
} input;

static bool part(input *in, const uint8_t **p, size_t *n) {
    if (in->n == 0)
        return false;
    const uint8_t *end = memchr(in->p, 0xFF, in->n);
    *p = in->p;
    *n = end ? (size_t)(end - in->p) : in->n;
    size_t used = end ? *n + 1 : in->n;
    in->p += used;
    in->n -= used;
    return true;
}

static json_t *value_of(const uint8_t *p, size_t n) {
    char kind = n ? (char)p[0] : 's';
    const char *rest = (const char *)p + (n ? 1 : 0);
    size_t len = n ? n - 1 : 0;
    char text[32] = "";
    double d = 0;
    json_t *list;
    switch (kind) {
    case 'i':
        memcpy(text, rest, len < 31 ? len : 31);
        return json_integer(strtoll(text, NULL, 10));
    case 'r':
        memcpy(&d, rest, len < 8 ? len : 8);
        /* jansson has no NaN and no infinity either. */
        list = json_real(d);
        return list ? list : json_real(0.5);
    case 'b':
        return json_boolean(len & 1);
    case 'n':
        return json_null();
    case 'l':
        list = json_array();
        for (size_t at = 0; at < len; at += 8)
            json_array_append_new(list, sm_json_text(rest + at, len - at < 8 ? len - at : 8));
        return list;
    default:
        return sm_json_text(rest, len);
    }
}

static void add(json_t *obj, const uint8_t *name, size_t n, json_t *value) {
    json_t *key = sm_json_text((const char *)name, n);
    const char *text = json_string_value(key);
    /* json_object_set stops at a NUL: an empty rest is as good a name as any. */
    json_object_set_new(obj, text, value);
    json_decref(key);
}

/* Reads up to an unescaped byte of `stops`; the backslash before one of `special` goes. */
static char *unescape(const char **at, const char *end, const char *stops, const char *special,
                      size_t *n) {
    sm_buf out;
    sm_buf_init(&out, 1 << 20);
    while (*at < end) {
        char c = **at;
        if (c == '\\' && *at + 1 < end && strchr(special, (*at)[1]) && (*at)[1]) {
            sm_buf_addc(&out, (*at)[1]);
            *at += 2;
            continue;
        }
        if (c && strchr(stops, c))
            break;
        holds(c != '\n' && c != '\r', "no line end in a name or tag");
        sm_buf_addc(&out, c);
        ++*at;
    }
    return sm_buf_take(&out, n);
}

static char *read_text(const char **at, const char *end, size_t *n) {
    sm_buf out;
    sm_buf_init(&out, 1 << 20);
    holds(*at < end && **at == '"', "a text is quoted");
    for (++*at; *at < end && **at != '"'; ++*at) {
        if (**at == '\\' && *at + 1 < end && ((*at)[1] == '"' || (*at)[1] == '\\'))
            ++*at;
        sm_buf_addc(&out, **at);
    }
    holds(*at < end, "a text ends");
    ++*at;
    return sm_buf_take(&out, n);
}

/* The value at the position must be `v`. */
static void check_value(const char **at, const char *end, const json_t *v) {
    size_t n;
    char *text, *stop;
    switch (json_typeof(v)) {
    case JSON_STRING:
        text = read_text(at, end, &n);
        holds(n == json_string_length(v) && memcmp(text, json_string_value(v), n) == 0,
              "a text is what was given");
        free(text);
        break;
    case JSON_INTEGER:
        holds(strtoll(*at, &stop, 10) == json_integer_value(v) && *stop == 'i',
              "an integer is what was given");
        *at = stop + 1;
        break;
    case JSON_REAL: {
        double d = strtod(*at, &stop), given = json_real_value(v);
        holds(memcmp(&d, &given, sizeof d) == 0 && strcspn(*at, ".e") < (size_t)(stop - *at),
              "a number is what was given, and no integer");
        *at = stop;
        break;
    }
    case JSON_TRUE:
    case JSON_FALSE:
        n = json_is_true(v) ? 4 : 5;
        holds(strncmp(*at, json_is_true(v) ? "true" : "false", n) == 0, "a boolean is itself");
        *at += n;
        break;
    default:
        holds(json_is_array(v) && *(*at)++ == '[', "a list is a list");
        for (size_t i = 0; i < json_array_size(v); i++) {
            holds(i == 0 || *(*at)++ == ',', "items are separated");
            check_value(at, end, json_array_get(v, i));
        }
        holds(*(*at)++ == ']', "a list ends");
    }
}

/* A field's raw name for the name in the line: the first in byte order that is written so. The
 * writer's normalisation is not repeated here: dropping blanks and backslashes from both must make
 * them equal. */
static bool alike(const char *raw, const char *written) {
    static const char *const blanks[] = {
        "\t",     "\n",     "\v",     "\f",       "\r",     "\x1c",   "\x1d",   "\x1e",
        "\x1f",   " ",      "\\",     "\xc2\x85", "\u00a0", "\u1680", "\u2000", "\u2001",
        "\u2002", "\u2003", "\u2004", "\u2005",   "\u2006", "\u2007", "\u2008", "\u2009",
        "\u200a", "\u2028", "\u2029", "\u202f",   "\u205f", "\u3000",
    };
    const char *sides[2] = {raw, written};
    for (;;) {
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < SM_ARRAY_LEN(blanks); i++) {
                size_t n = strlen(blanks[i]);
                if (strncmp(sides[side], blanks[i], n) == 0) {
                    sides[side] += n;
                    i = (size_t)-1;
                }
            }
        }
        if (*sides[0] != *sides[1])
            return false;
        if (!*sides[0])
            return true;
        sides[0]++;
        sides[1]++;
    }
}

static const json_t *given_value(const json_t *fields, const char *written, const char *at,
                                 const char *end) {
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)fields, key, v) {
        if (json_is_null(v) || !alike(key, written))
            continue;
        /* Several raw names may become this one; take the one whose value stands here. */
        sm_buf line;
        sm_err err = SM_ERR_INIT;
        json_t *one = json_pack("{s:O}", "f", v);
        sm_buf_init(&line, 1 << 20);
        sm_rc rc = sm_lineproto_add(&line, "m", NULL, one, 0, &err);
        size_t n = rc == SM_OK ? line.len - strlen("m f= 0") : 0;
        bool here = rc == SM_OK && (size_t)(end - at) > n && memcmp(line.data + 4, at, n) == 0 &&
                    strchr(", ", at[n]);
        sm_buf_fini(&line);
        json_decref(one);
        if (here)
            return v;
    }
    return NULL;
}

static void once(json_t *names, const char *name) {
    holds(name[0] != '\0', "names are not empty");
    holds(!json_object_get(names, name), "a name occurs once");
    json_object_set_new(names, name, json_true());
}

static void check_line(const char *line, size_t n, const json_t *tags, const json_t *fields) {
    const char *at = line, *end = line + n;
    json_t *names = json_object();
    size_t len;
    char *text = unescape(&at, end, ", ", ", ", &len);
    holds(len > 0, "a measurement is not empty");
    free(text);
    size_t tag_count = 0, field_count = 0;
    while (at < end && *at == ',') {
        at++;
        text = unescape(&at, end, "=, ", ",= ", NULL);
        once(names, text);
        free(text);
        holds(at < end && *at == '=', "a tag has a value");
        at++;
        text = unescape(&at, end, ", ", ",= ", &len);
        holds(len > 0, "a tag's value is not empty");
        free(text);
        tag_count++;
    }
    holds(tag_count <= json_object_size(tags), "no tag is invented");
    holds(at < end && *at == ' ', "a blank, then the fields");
    do {
        at++;
        text = unescape(&at, end, "=, ", ",= ", NULL);
        once(names, text);
        holds(at < end && *at == '=', "a field has a value");
        at++;
        const json_t *v = given_value(fields, text, at, end);
        holds(v != NULL, "no field is invented");
        check_value(&at, end, v);
        free(text);
        field_count++;
    } while (at < end && *at == ',');
    holds(field_count > 0 && field_count <= json_object_size(fields), "as many fields");
    char stamp[32];
    snprintf(stamp, sizeof stamp, " %" PRId64, time_ns);
    holds((size_t)(end - at) == strlen(stamp) && memcmp(at, stamp, strlen(stamp)) == 0,
          "the time, and nothing behind it");
    json_decref(names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    input in = {data, n};
    const uint8_t *p, *value;
    size_t len, value_len;
    json_t *tags = json_object(), *fields = json_object(), *name = NULL;
    while (part(&in, &p, &len)) {
        if (!name) {
            name = sm_json_text((const char *)p, len);
        } else if (len && part(&in, &value, &value_len)) {
            json_t *v = value_of(value, value_len);
            if (p[0] == 't' && !json_is_array(v))
                add(tags, p + 1, len - 1, v);
            else
                add(fields, p + 1, len - 1, v);
        }
    }
    sm_buf line;
    sm_err err = SM_ERR_INIT;
    sm_buf_init(&line, 4 << 20);
    sm_buf_adds(&line, "before\n");
    sm_rc rc =
        sm_lineproto_add(&line, name ? json_string_value(name) : "m", tags, fields, time_ns, &err);
    holds(line.len >= 7 && memcmp(line.data, "before\n", 7) == 0, "what stood there stays");
    if (rc == SM_OK)
        check_line(line.data + 7, line.len - 7, tags, fields);
    else
        holds(rc == SM_INVALID && err.msg[0] && line.len == 7, "a refusal says why");
    sm_buf_fini(&line);
    json_decref(name);
    json_decref(tags);
    json_decref(fields);
    return 0;
}
