/* openway: the body of a request that writes key events (platform-facts 3.3).
 *
 * Joins the lines of a batch and compresses what is longer than the vendor's client lets pass
 * plainly. One event that makes no valid point never spoils the others: it is named, the rest is
 * encoded. Knows nothing of addresses and tokens. Pure; called by the client of the platform; any
 * thread.
 */
#include "platform/openway.h"
#include "base/buf.h"
#include "base/mem.h"
#include "platform/keyevent.h"
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum { BODY_MAX = 64 << 20, BATCH_MAX = 100, PLAIN_MAX = 20480, GZIP = 16 + MAX_WBITS };

static sm_rc compress_body(const char *text, size_t n, sm_openway_body *out, sm_err *err) {
    z_stream z;
    memset(&z, 0, sizeof z);
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return sm_err_set(err, SM_INTERNAL, "zlib cannot be used: %s", z.msg ? z.msg : "no memory");
    size_t room = deflateBound(&z, n);
    out->data = sm_malloc(room);
    z.next_in = (unsigned char *)(uintptr_t)text; /* zlib reads only */
    z.avail_in = (uInt)n;
    z.next_out = (unsigned char *)out->data;
    z.avail_out = (uInt)room;
    int rc = deflate(&z, Z_FINISH);
    out->n = z.total_out;
    out->gzip = true;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? SM_OK
                              : sm_err_set(err, SM_INTERNAL, "zlib could not compress the events");
}

static void add_bad(sm_openway_body *out, size_t index, const char *sentence) {
    if (!out->bad)
        out->bad = json_array();
    json_t *item = json_object();
    json_object_set_new(item, "index", json_integer((json_int_t)index));
    json_object_set_new(item, "error", sm_json_text(sentence, strlen(sentence)));
    json_array_append_new(out->bad, item);
}

/* Takes back what was appended since the buffer had this length. */
static void cut(sm_buf *b, size_t len) {
    b->len = len;
    if (b->data)
        b->data[len] = '\0';
}

sm_rc sm_openway_encode(const json_t *payloads, sm_openway_body *out, sm_err *err) {
    memset(out, 0, sizeof *out);
    size_t count = json_array_size(payloads);
    if (count > BATCH_MAX)
        return sm_err_set(err, SM_LIMIT, "%zu events in one request: at most %d", count, BATCH_MAX);
    sm_buf b;
    sm_buf_init(&b, BODY_MAX);
    sm_rc rc = SM_OK;
    for (size_t i = 0; i < count && rc == SM_OK; i++) {
        sm_err why = SM_ERR_INIT;
        size_t before = b.len;
        if (b.len)
            sm_buf_addc(&b, '\n');
        rc = sm_keyevent_line(&b, json_array_get(payloads, i), &why);
        if (rc == SM_INVALID) {
            cut(&b, before);
            add_bad(out, i, why.msg);
            rc = SM_OK;
        } else if (rc != SM_OK) {
            sm_err_set(err, rc, "%s", why.msg);
        }
    }
    if (rc == SM_OK && b.len > PLAIN_MAX)
        rc = compress_body(b.data, b.len, out, err);
    else if (rc == SM_OK)
        out->data = sm_buf_take(&b, &out->n);
    sm_buf_fini(&b);
    if (rc != SM_OK)
        sm_openway_body_fini(out);
    return rc;
}

void sm_openway_body_fini(sm_openway_body *b) {
    free(b->data);
    json_decref(b->bad);
    memset(b, 0, sizeof *b);
}
