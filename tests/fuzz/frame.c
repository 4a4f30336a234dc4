/* frame: any bytes as a stream of messages, cut anywhere.
 *
 * Input: one byte that says how the stream is cut, then the stream. What must hold: the cuts change
 * nothing, a broken stream stays broken, and a message written again is the same message.
 */
#include "fuzz.h"
#include "base/frame.h"
#include "base/mem.h"
#include <string.h>

typedef struct seen {
    sm_buf text; /* every message, written again */
    size_t n;
    bool broken;
} seen;

static void keep(seen *s, const sm_frame *f) {
    sm_err err = SM_ERR_INIT;
    sm_buf out;
    sm_buf_init(&out, 64 << 20);
    holds(json_is_object(f->head), "a header is an object");
    holds(sm_frame_encode(&out, f->head, f->body, f->body_len, &err) == SM_OK,
          "what was read can be written");
    sm_frame_reader r;
    sm_frame again;
    sm_frame_reader_init(&r);
    holds(sm_frame_reader_feed(&r, out.data, out.len, &err) == SM_OK &&
              sm_frame_reader_next(&r, &again, &err) == SM_OK,
          "what was written can be read");
    holds(json_equal(again.head, f->head) && again.body_len == f->body_len &&
              (f->body_len == 0 || memcmp(again.body, f->body, f->body_len) == 0),
          "and is the same");
    sm_buf_add(&s->text, out.data, out.len);
    s->n++;
    sm_frame_fini(&again);
    sm_frame_reader_fini(&r);
    sm_buf_fini(&out);
}

static void feed(seen *s, const uint8_t *data, size_t n, size_t chunk) {
    sm_frame_reader r;
    sm_err err = SM_ERR_INIT;
    sm_frame f;
    sm_frame_reader_init(&r);
    for (size_t at = 0; at < n && !s->broken; at += chunk) {
        size_t now = n - at < chunk ? n - at : chunk;
        sm_rc rc = sm_frame_reader_feed(&r, data + at, now, &err);
        while (rc == SM_OK && (rc = sm_frame_reader_next(&r, &f, &err)) == SM_OK) {
            keep(s, &f);
            sm_frame_fini(&f);
        }
        holds(rc != SM_PROTO || r.broken, "a protocol error breaks the reader");
        s->broken = rc == SM_PROTO;
    }
    if (s->broken) {
        holds(sm_frame_reader_next(&r, &f, &err) == SM_PROTO, "what is broken stays broken");
        holds(sm_frame_reader_feed(&r, "SMF1", 4, &err) == SM_PROTO, "and takes nothing more");
    }
    sm_frame_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 1)
        return 0;
    seen whole = {.n = 0}, cut = {.n = 0};
    sm_buf_init(&whole.text, 256 << 20);
    sm_buf_init(&cut.text, 256 << 20);
    feed(&whole, data + 1, n - 1, 1);
    feed(&cut, data + 1, n - 1, (size_t)data[0] + 1);
    holds(whole.broken == cut.broken, "cuts do not break a stream");
    /* A broken stream gives what was whole before the break, whatever the cuts. */
    holds(whole.n == cut.n && whole.text.len == cut.text.len &&
              (whole.n == 0 || memcmp(whole.text.data, cut.text.data, cut.text.len) == 0),
          "cuts change nothing");
    sm_buf_fini(&whole.text);
    sm_buf_fini(&cut.text);
    return 0;
}
