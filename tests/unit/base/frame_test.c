/* frame: any cut of a stream gives the same frames, no length is trusted, a broken stream stays
 * broken, and both blocking calls work over a socket and a pipe. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/frame.h"
#include "base/mem.h"

static void encode(sm_buf *b, int n, const char *body) {
    json_t *head = json_pack("{s:i,s:s}", "n", n, "text", "gr\xC3\xBC\xC3\x9F");
    sm_err err = SM_ERR_INIT;
    if (sm_frame_encode(b, head, body, body ? strlen(body) : 0, &err)) {
        fail_msg("%s", err.msg);
    }
    json_decref(head);
}

/* Takes every frame that is there; they are numbered from *seen on. */
static void drain(sm_frame_reader *r, int *seen) {
    static const char *const bodies[] = {"body one", NULL, "x"};
    sm_frame f;
    sm_rc rc;
    sm_err err = SM_ERR_INIT;
    while ((rc = sm_frame_reader_next(r, &f, &err)) == SM_OK) {
        assert_int_equal(sm_json_int(f.head, "n", -1), *seen);
        const char *body = bodies[*seen];
        assert_int_equal(f.body_len, body ? strlen(body) : 0);
        if (body) {
            assert_string_equal(f.body, body);
        } else {
            assert_null(f.body);
        }
        (*seen)++;
        sm_frame_fini(&f);
    }
    assert_int_equal(rc, SM_NOT_FOUND);
}

static void test_every_cut(void **state) {
    (void)state;
    sm_buf b;
    sm_buf_init(&b, 10000);
    encode(&b, 0, "body one");
    encode(&b, 1, NULL);
    encode(&b, 2, "x");
    for (size_t cut = 0; cut <= b.len; cut++) {
        sm_frame_reader r;
        sm_frame_reader_init(&r);
        int seen = 0;
        assert_int_equal(sm_frame_reader_feed(&r, b.data, cut, NULL), SM_OK);
        if (cut % 2) {
            drain(&r, &seen);
        }
        assert_int_equal(sm_frame_reader_feed(&r, b.data + cut, b.len - cut, NULL), SM_OK);
        drain(&r, &seen);
        assert_int_equal(seen, 3);
        sm_frame_reader_fini(&r);
    }
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    int seen = 0;
    for (size_t i = 0; i < b.len; i++) {
        assert_int_equal(sm_frame_reader_feed(&r, b.data + i, 1, NULL), SM_OK);
        drain(&r, &seen);
    }
    assert_int_equal(seen, 3);
    sm_frame_reader_fini(&r);
    sm_buf_fini(&b);
}

#define BAD(name, bytes)                                                                           \
    { name, bytes, sizeof bytes - 1 }

static void test_garbage(void **state) {
    (void)state;
    static const struct {
        const char *name, *bytes;
        size_t n;
    } rows[] = {
        BAD("wrong first byte", "X"),
        BAD("wrong magic", "SMF2"),
        BAD("http", "GET / HTTP/1.1\r\n"),
        BAD("header too long", "SMF1\x01\0\0\x01"),
        BAD("header of 4 GB", "SMF1\xFF\xFF\xFF\xFF\0\0\0\0"),
        BAD("body too long", "SMF1\x02\0\0\0\x01\0\0\x01{}"),
        BAD("empty header", "SMF1\0\0\0\0\0\0\0\0"),
        BAD("header is no object", "SMF1\x02\0\0\0\0\0\0\0[]"),
        BAD("header is no JSON", "SMF1\x02\0\0\0\0\0\0\0{x"),
        BAD("header with a duplicate key", "SMF1\x0D\0\0\0\0\0\0\0{\"a\":1,\"a\":2}"),
        BAD("garbage behind a frame", "SMF1\x02\0\0\0\0\0\0\0{}Y"),
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        for (int single = 0; single < 2; single++) {
            sm_frame_reader r;
            sm_frame_reader_init(&r);
            sm_frame f;
            sm_rc rc = SM_NOT_FOUND;
            sm_err err = SM_ERR_INIT;
            for (size_t at = 0; at < rows[i].n && rc != SM_PROTO;) {
                size_t n = single ? 1 : rows[i].n;
                rc = sm_frame_reader_feed(&r, rows[i].bytes + at, n, &err);
                at += n;
                while (rc == SM_OK) {
                    rc = sm_frame_reader_next(&r, &f, &err);
                    sm_frame_fini(&f);
                }
            }
            if (rc != SM_PROTO || err.code != SM_PROTO || !err.msg[0]) {
                fail_msg("%s: %s", rows[i].name, sm_rc_name(rc));
            }
            assert_int_equal(sm_frame_reader_feed(&r, "SMF1", 4, NULL), SM_PROTO);
            assert_int_equal(sm_frame_reader_next(&r, &f, NULL), SM_PROTO);
            sm_frame_reader_fini(&r);
        }
    }
}

static void test_encode_limits(void **state) {
    (void)state;
    sm_buf b;
    sm_buf_init(&b, 40);
    json_t *head = json_pack("{s:i}", "a", 1);
    sm_err err = SM_ERR_INIT;
    assert_int_equal(sm_frame_encode(&b, head, "12345", 5, &err), SM_OK);
    size_t len = b.len;
    assert_int_equal(sm_frame_encode(&b, head, "12345", 5, &err), SM_LIMIT);
    assert_int_equal(b.len, len); /* no half frame */
    sm_buf_fini(&b);
    sm_buf_init(&b, (size_t)100 << 20);
    char *big = sm_calloc(SM_FRAME_BODY_MAX + 1, 1);
    assert_int_equal(sm_frame_encode(&b, head, big, SM_FRAME_BODY_MAX + 1, &err), SM_LIMIT);
    assert_int_equal(sm_frame_encode(&b, head, big, SM_FRAME_BODY_MAX, &err), SM_OK);
    json_t *list = json_array();
    assert_int_not_equal(sm_frame_encode(&b, list, NULL, 0, &err), SM_OK);
    json_decref(list);
    /* The largest frame and a small one behind it go through, and the memory is given back. */
    assert_int_equal(sm_frame_encode(&b, head, NULL, 0, &err), SM_OK);
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    assert_int_equal(sm_frame_reader_feed(&r, b.data, b.len, &err), SM_OK);
    sm_frame f;
    assert_int_equal(sm_frame_reader_next(&r, &f, &err), SM_OK);
    assert_int_equal(f.body_len, SM_FRAME_BODY_MAX);
    sm_frame_fini(&f);
    assert_int_equal(sm_frame_reader_next(&r, &f, &err), SM_OK);
    sm_frame_fini(&f);
    assert_true(r.buf.cap < (2 << 20));
    sm_frame_reader_fini(&r);
    sm_buf_fini(&b);
    free(big);
    json_decref(head);
}

typedef struct sender {
    int fd, count;
    size_t body;
} sender;

static void *send_many(void *arg) {
    sender *s = arg;
    char *body = sm_calloc(s->body, 1);
    for (int i = 0; i < s->count; i++) {
        json_t *head = json_pack("{s:i}", "n", i);
        body[0] = (char)i;
        if (sm_frame_send(s->fd, head, body, s->body, NULL)) {
            s->count = -1;
        }
        json_decref(head);
    }
    free(body);
    close(s->fd);
    return NULL;
}

static void check_transport(int in, int out) {
    sender s = {out, 20, 300000};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, send_many, &s), 0);
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    sm_frame f;
    sm_err err = SM_ERR_INIT;
    for (int i = 0; i < 20; i++) {
        if (sm_frame_recv(in, &r, &f, &err)) {
            fail_msg("%s", err.msg);
        }
        assert_int_equal(sm_json_int(f.head, "n", -1), i);
        assert_int_equal(f.body_len, 300000);
        assert_int_equal(f.body[0], i);
        sm_frame_fini(&f);
    }
    assert_int_equal(sm_frame_recv(in, &r, &f, &err), SM_CLOSED);
    pthread_join(t, NULL);
    assert_int_equal(s.count, 20);
    sm_frame_reader_fini(&r);
    close(in);
}

static void test_transport(void **state) {
    (void)state;
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    check_transport(fd[0], fd[1]);
    assert_int_equal(pipe(fd), 0);
    check_transport(fd[0], fd[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    check_transport(fd[0], fd[1]);
}

static void test_closed(void **state) {
    (void)state;
    int fd[2];
    sm_err err = SM_ERR_INIT;
    json_t *head = json_object();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
    close(fd[0]);
    assert_int_equal(sm_frame_send(fd[1], head, NULL, 0, &err), SM_CLOSED); /* and no SIGPIPE */
    close(fd[1]);
    json_decref(head);
    assert_int_equal(pipe(fd), 0);
    assert_int_equal(write(fd[1], "SMF1\x02", 5), 5);
    close(fd[1]);
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    sm_frame f;
    assert_int_equal(sm_frame_recv(fd[0], &r, &f, &err), SM_CLOSED);
    assert_non_null(strstr(err.msg, "in the middle"));
    sm_frame_reader_fini(&r);
    close(fd[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut),     cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_encode_limits), cmocka_unit_test(test_transport),
        cmocka_unit_test(test_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
