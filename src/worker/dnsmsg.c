/* dnsmsg: reads and writes DNS messages (see dnsmsg.h). Pure; called by netdns.c and the fuzzer. */
#include "worker/dnsmsg.h"
#include "base/buf.h"
#include "base/mem.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    TYPE_A = 1,
    TYPE_NS = 2,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    TYPE_PTR = 12,
    TYPE_MX = 15,
    TYPE_TXT = 16,
    TYPE_AAAA = 28,
    TYPE_SRV = 33,
    TYPE_CAA = 257,
    CLASS_IN = 1,
    HEADER = 12,
    NAME_MAX_WIRE = 255,
    JUMPS_MAX = 128,
    VALUE_MAX = 256 << 10
};

const char *const sm_dns_types[] = {"A",   "AAAA", "CNAME", "MX",  "NS", "TXT",
                                    "SOA", "SRV",  "CAA",   "PTR", NULL};
static const int numbers[] = {TYPE_A,   TYPE_AAAA, TYPE_CNAME, TYPE_MX,  TYPE_NS, TYPE_TXT,
                              TYPE_SOA, TYPE_SRV,  TYPE_CAA,   TYPE_PTR, 0};

int sm_dns_type(const char *name) {
    size_t i = 0;
    while (sm_dns_types[i] && strcasecmp(sm_dns_types[i], name) != 0)
        i++;
    return numbers[i];
}

static void type_name(int type, char out[16]) {
    for (size_t i = 0; numbers[i]; i++) {
        if (numbers[i] == type) {
            snprintf(out, 16, "%s", sm_dns_types[i]);
            return;
        }
    }
    snprintf(out, 16, "TYPE%d", type);
}

/* ---- writing ------------------------------------------------------------------------------- */

static void put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* Writes name as labels; the number of bytes, or 0 with err. */
static size_t put_name(const char *name, uint8_t *out, sm_err *err) {
    size_t at = 0;
    if (strcmp(name, ".") == 0)
        name = "";
    while (*name) {
        size_t label = strcspn(name, ".");
        if (label == 0 || label > 63) {
            sm_err_set(err, SM_INVALID,
                       label ? "a part of the name is longer than 63 bytes"
                             : "a part of the name is empty");
            return 0;
        }
        if (at + 1 + label + 1 > NAME_MAX_WIRE) {
            sm_err_set(err, SM_INVALID, "the name is longer than 253 bytes");
            return 0;
        }
        out[at++] = (uint8_t)label;
        memcpy(out + at, name, label);
        at += label;
        name += label + (name[label] == '.');
    }
    out[at++] = 0;
    return at;
}

sm_rc sm_dns_question(const char *name, int type, uint16_t id, uint8_t out[SM_DNS_QUESTION_MAX],
                      size_t *n, sm_err *err) {
    memset(out, 0, HEADER);
    put16(out, id);
    out[2] = 1; /* recursion desired */
    put16(out + 4, 1);
    size_t len = put_name(name, out + HEADER, err);
    if (len == 0)
        return SM_INVALID;
    put16(out + HEADER + len, (unsigned)type);
    put16(out + HEADER + len + 2, CLASS_IN);
    *n = HEADER + len + 4;
    return SM_OK;
}

bool sm_dns_reverse(const char *address, char out[80]) {
    uint8_t a[16];
    if (inet_pton(AF_INET, address, a) == 1) {
        snprintf(out, 80, "%d.%d.%d.%d.in-addr.arpa", a[3], a[2], a[1], a[0]);
        return true;
    }
    if (inet_pton(AF_INET6, address, a) != 1)
        return false;
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (int i = 15; i >= 0; i--) {
        out[at++] = digits[a[i] & 15];
        out[at++] = '.';
        out[at++] = digits[a[i] >> 4];
        out[at++] = '.';
    }
    snprintf(out + at, 80 - at, "ip6.arpa");
    return true;
}

/* ---- reading ------------------------------------------------------------------------------- */

typedef struct reader {
    const uint8_t *p;
    size_t n, at;
} reader;

static bool get(reader *r, size_t n, const uint8_t **out) {
    if (r->n - r->at < n)
        return false;
    *out = r->p + r->at;
    r->at += n;
    return true;
}

static bool get16(reader *r, unsigned *v) {
    const uint8_t *p;
    if (!get(r, 2, &p))
        return false;
    *v = (unsigned)p[0] << 8 | p[1];
    return true;
}

static bool get32(reader *r, uint32_t *v) {
    const uint8_t *p;
    if (!get(r, 4, &p))
        return false;
    *v = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    return true;
}

/* One byte of a name or text as zone files write it; quotes too where a dot is no separator. */
static size_t put_char(char *out, uint8_t c, bool name) {
    if (c < 0x20 || c >= 0x7f || (name && (c == ' ' || c == '"')))
        return (size_t)snprintf(out, 5, "\\%03d", c);
    if (c == '\\' || (name && c == '.'))
        return (size_t)snprintf(out, 5, "\\%c", c);
    out[0] = (char)c;
    return 1;
}

/* A name at r->at, which is left behind it. Pointers lead backwards only, so that no loop is
 * possible; a name's own length is bounded besides. */
static bool get_name(reader *r, char out[SM_DNS_NAME_TEXT]) {
    size_t at = r->at, limit = r->at, text = 0, wire = 1;
    bool jumped = false;
    for (int steps = 0; steps < NAME_MAX_WIRE + JUMPS_MAX; steps++) {
        if (at >= r->n)
            return false;
        uint8_t len = r->p[at];
        if ((len & 0xc0) == 0xc0) {
            if (at + 1 >= r->n)
                return false;
            size_t to = (size_t)(len & 0x3f) << 8 | r->p[at + 1];
            if (!jumped)
                r->at = at + 2;
            if (to >= limit)
                return false;
            jumped = true;
            limit = at = to;
            continue;
        }
        if (len & 0xc0)
            return false;
        if (len == 0) {
            if (!jumped)
                r->at = at + 1;
            if (text == 0)
                out[text++] = '.';
            out[text] = '\0';
            return true;
        }
        wire += (size_t)len + 1;
        if (wire > NAME_MAX_WIRE || at + 1 + len > r->n)
            return false;
        if (text > 0)
            out[text++] = '.';
        for (size_t i = 0; i < len; i++)
            text += put_char(out + text, r->p[at + 1 + i], true);
        at += (size_t)len + 1;
    }
    return false;
}

static void set_text(json_t *o, const char *key, const char *s) {
    json_object_set_new(o, key, json_string(s));
}

static void set_int(json_t *o, const char *key, uint32_t v) {
    json_object_set_new(o, key, json_integer((json_int_t)v));
}

static bool read_address(reader *r, int family, json_t *o) {
    char text[INET6_ADDRSTRLEN];
    const uint8_t *p;
    if (!get(r, family == AF_INET ? 4 : 16, &p) || !inet_ntop(family, p, text, sizeof text))
        return false;
    set_text(o, "value", text);
    return true;
}

static bool read_texts(reader *r, json_t *o) {
    sm_buf b;
    sm_buf_init(&b, VALUE_MAX);
    bool ok = r->at < r->n;
    while (ok && r->at < r->n) {
        const uint8_t *p;
        char c[8];
        size_t len = r->p[r->at++];
        ok = get(r, len, &p);
        for (size_t i = 0; ok && i < len; i++)
            ok = sm_buf_add(&b, c, put_char(c, p[i], false)) == SM_OK;
    }
    if (ok)
        set_text(o, "value", b.data ? b.data : "");
    sm_buf_fini(&b);
    return ok;
}

static bool read_soa(reader *r, json_t *o) {
    static const char *const keys[] = {"serial", "refresh", "retry", "expire", "minimum"};
    char mname[SM_DNS_NAME_TEXT], rname[SM_DNS_NAME_TEXT], value[2 * SM_DNS_NAME_TEXT + 80];
    uint32_t v[5];
    if (!get_name(r, mname) || !get_name(r, rname))
        return false;
    for (size_t i = 0; i < 5; i++) {
        if (!get32(r, &v[i]))
            return false;
        set_int(o, keys[i], v[i]);
    }
    snprintf(value, sizeof value, "%s %s %u %u %u %u %u", mname, rname, v[0], v[1], v[2], v[3],
             v[4]);
    set_text(o, "mname", mname);
    set_text(o, "rname", rname);
    set_text(o, "value", value);
    return true;
}

static bool read_mx(reader *r, json_t *o) {
    char name[SM_DNS_NAME_TEXT], value[SM_DNS_NAME_TEXT + 8];
    unsigned preference;
    if (!get16(r, &preference) || !get_name(r, name))
        return false;
    snprintf(value, sizeof value, "%u %s", preference, name);
    set_int(o, "preference", preference);
    set_text(o, "exchange", name);
    set_text(o, "value", value);
    return true;
}

static bool read_srv(reader *r, json_t *o) {
    char name[SM_DNS_NAME_TEXT], value[SM_DNS_NAME_TEXT + 24];
    unsigned priority, weight, port;
    if (!get16(r, &priority) || !get16(r, &weight) || !get16(r, &port) || !get_name(r, name))
        return false;
    snprintf(value, sizeof value, "%u %u %u %s", priority, weight, port, name);
    set_int(o, "priority", priority);
    set_int(o, "weight", weight);
    set_int(o, "port", port);
    set_text(o, "target", name);
    set_text(o, "value", value);
    return true;
}

static bool read_caa(reader *r, json_t *o) {
    const uint8_t *p, *tag;
    sm_buf b;
    char c[8], name[256 * 4 + 1];
    size_t len = 0;
    if (!get(r, 2, &p) || !get(r, p[1], &tag))
        return false;
    for (size_t i = 0; i < p[1]; i++)
        len += put_char(name + len, tag[i], true);
    name[len] = '\0';
    sm_buf_init(&b, VALUE_MAX);
    sm_buf_addf(&b, "%d %s \"", p[0], name);
    while (r->at < r->n)
        sm_buf_add(&b, c, put_char(c, r->p[r->at++], false));
    sm_buf_addc(&b, '"');
    set_int(o, "flags", p[0]);
    set_text(o, "tag", name);
    set_text(o, "value", b.data);
    sm_buf_fini(&b);
    return true;
}

static bool read_data(reader *r, int type, json_t *o) {
    char name[SM_DNS_NAME_TEXT];
    switch (type) {
    case TYPE_A:
        return read_address(r, AF_INET, o);
    case TYPE_AAAA:
        return read_address(r, AF_INET6, o);
    case TYPE_NS:
    case TYPE_CNAME:
    case TYPE_PTR:
        if (!get_name(r, name))
            return false;
        set_text(o, "value", name);
        return true;
    case TYPE_MX:
        return read_mx(r, o);
    case TYPE_TXT:
        return read_texts(r, o);
    case TYPE_SOA:
        return read_soa(r, o);
    case TYPE_SRV:
        return read_srv(r, o);
    case TYPE_CAA:
        return read_caa(r, o);
    default:
        r->at = r->n;
        set_text(o, "value", "");
        return true;
    }
}

/* One record of the answer section into records and values. */
static bool read_record(reader *r, int asked, json_t *records, json_t *values, uint32_t *ttl_min,
                        size_t *text) {
    char name[SM_DNS_NAME_TEXT], type_text[16];
    unsigned type, class, len;
    uint32_t ttl;
    if (!get_name(r, name) || !get16(r, &type) || !get16(r, &class) || !get32(r, &ttl) ||
        !get16(r, &len) || r->n - r->at < len)
        return false;
    size_t end = r->at + len;
    reader data = {r->p, end, r->at}; /* names may point back before it, never beyond its end */
    r->at = end;
    if (class != CLASS_IN)
        return true;
    if (ttl > INT32_MAX) /* RFC 2181: such a one counts as 0 */
        ttl = 0;
    json_t *o = json_object();
    type_name((int)type, type_text);
    set_text(o, "name", name);
    set_text(o, "type", type_text);
    set_int(o, "ttl", ttl);
    bool ok = read_data(&data, (int)type, o) && data.at == end;
    *text += strlen(name) + 2 * json_string_length(json_object_get(o, "value"));
    if (ok && *text <= SM_DNS_TEXT_MAX) {
        json_array_append(records, o);
        if ((int)type == asked)
            json_array_append(values, json_object_get(o, "value"));
        if (ttl < *ttl_min)
            *ttl_min = ttl;
    }
    json_decref(o);
    return ok && *text <= SM_DNS_TEXT_MAX;
}

static json_t *rcode_text(int rcode) {
    static const char *const names[] = {"NOERROR",  "FORMERR", "SERVFAIL",
                                        "NXDOMAIN", "NOTIMP",  "REFUSED"};
    char other[16];
    if ((size_t)rcode < SM_ARRAY_LEN(names))
        return json_string(names[rcode]);
    snprintf(other, sizeof other, "RCODE%d", rcode);
    return json_string(other);
}

static bool same_question(const uint8_t *a, const uint8_t *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint8_t x = a[i], y = b[i];
        x = (uint8_t)(x >= 'A' && x <= 'Z' ? x + 32 : x);
        y = (uint8_t)(y >= 'A' && y <= 'Z' ? y + 32 : y);
        if (x != y)
            return false;
    }
    return true;
}

sm_rc sm_dns_read(const uint8_t *p, size_t n, const uint8_t *question, size_t question_n,
                  json_t **out, sm_err *err) {
    *out = NULL;
    if (n < HEADER || question_n < HEADER + 5 || memcmp(p, question, 2) != 0 || !(p[2] & 0x80))
        return sm_err_set(err, SM_NOT_FOUND, "is no answer to the question");
    int rcode = p[3] & 15;
    unsigned questions = (unsigned)p[4] << 8 | p[5], answers = (unsigned)p[6] << 8 | p[7];
    /* A server that could not read the question may leave it out of its refusal. */
    bool bare = questions == 0 && answers == 0 && rcode != 0;
    if (!bare && (questions != 1 || n < question_n ||
                  !same_question(p + HEADER, question + HEADER, question_n - HEADER)))
        return sm_err_set(err, SM_NOT_FOUND, "is an answer to another question");
    json_t *records = json_array(), *values = json_array();
    reader r = {p, n, bare ? HEADER : question_n};
    int asked = question[question_n - 4] << 8 | question[question_n - 3];
    bool truncated = (p[2] & 2) != 0, ok = answers <= SM_DNS_RECORDS_MAX;
    uint32_t ttl = UINT32_MAX;
    size_t text = 0;
    for (unsigned i = 0; i < answers && ok; i++)
        ok = read_record(&r, asked, records, values, &ttl, &text);
    if (!ok && !truncated) {
        json_decref(records);
        json_decref(values);
        return sm_err_set(err, SM_PROTO, "its answer is malformed");
    }
    *out = json_pack("{s:o, s:b, s:b, s:o, s:o}", "rcode", rcode_text(rcode), "authoritative",
                     (p[2] & 4) != 0, "truncated", truncated, "records", records, "values", values);
    if (ttl != UINT32_MAX)
        json_object_set_new(*out, "ttl", json_integer((json_int_t)ttl));
    return SM_OK;
}
