/* The control socket with clients that behave, hang up, flood and lie. The client side is in this
 * thread: it writes what fits into the socket's buffer and reads between turns of the loop. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "room_help.h"
#include "base/frame.h"
#include "daemon/control.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

typedef struct bench {
    room room;
    int dir;
    sm_control *c;
    int asked;
    sm_control_peer *waiting; /* of a request that `later` answers */
} bench;

static void handler(void *ctx, sm_control_peer *peer, const json_t *request) {
    bench *b = ctx;
    b->asked++;
    const char *op = sm_json_str(request, "op", "");
    if (strcmp(op, "later") == 0) {
        b->waiting = peer;
        sm_control_send(peer, json_pack("{s:i}", "progress", 1));
    } else if (strcmp(op, "long") == 0) {
        char *text = sm_calloc(1, (20 << 20) + 1);
        memset(text, 'x', 20 << 20);
        sm_control_reply(peer, json_pack("{s:b, s:o}", "ok", 1, "result", json_string(text)));
        free(text);
    } else if (strcmp(op, "some") == 0) {
        char *text = sm_calloc(1, (8 << 20) + 1);
        memset(text, 'x', 8 << 20);
        sm_control_reply(peer, json_pack("{s:b, s:o}", "ok", 1, "result", json_string(text)));
        free(text);
    } else {
        sm_control_reply(peer, json_pack("{s:b, s:i}", "ok", 1, "result", b->asked));
    }
}

static void begin(bench *b) {
    memset(b, 0, sizeof *b);
    room_open(&b->room);
    sm_err err = SM_ERR_INIT;
    b->dir = open(b->room.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (sm_control_open(&b->room.loop, b->dir, b->room.store, handler, b, &b->c, &err) != SM_OK)
        fail_msg("%s", err.msg);
}

static void end(bench *b) {
    room_settle(&b->room);
    sm_control_close(b->c);
    sm_control_close(b->c);
    room_close_store(&b->room);
    room_turn_out(&b->room);
    sm_control_free(b->c);
    close(b->dir);
    room_remove(&b->room);
}

static int dial(bench *b) {
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s/control.sock", b->room.dir);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    uv_run(&b->room.loop, UV_RUN_NOWAIT);
    return fd;
}

static void put(int fd, const char *request) {
    json_error_t e;
    json_t *head = json_loads(request, 0, &e);
    assert_non_null(head);
    sm_rc rc = sm_frame_send(fd, head, NULL, 0, NULL);
    assert_true(rc == SM_OK || rc == SM_CLOSED); /* an early answer may wait all the same */
    json_decref(head);
}

/* The next frame of fd, or NULL at its end. */
static json_t *get(bench *b, int fd, sm_frame_reader *r) {
    for (int i = 0; i < 20000; i++) {
        sm_frame f = {0};
        static char chunk[65536];
        sm_rc rc = sm_frame_reader_next(r, &f, NULL);
        if (rc == SM_OK) {
            json_t *head = json_incref(f.head);
            sm_frame_fini(&f);
            return head;
        }
        assert_int_equal(rc, SM_NOT_FOUND);
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            return NULL;
        if (n > 0)
            assert_int_equal(sm_frame_reader_feed(r, chunk, (size_t)n, NULL), SM_OK);
        else if (!uv_run(&b->room.loop, UV_RUN_NOWAIT) || i % 10 == 9)
            usleep(500);
    }
    fail_msg("no answer");
    return NULL;
}

/* One request, one answer: "ok", the error's sentence, or "closed". */
static const char *ask(bench *b, const char *request) {
    static char text[SM_ERR_MAX];
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    int fd = dial(b);
    put(fd, request);
    json_t *head = get(b, fd, &r);
    snprintf(text, sizeof text, "%s",
             !head                             ? "closed"
             : sm_json_bool(head, "ok", false) ? "ok"
                                               : sm_json_str(head, "error", "?"));
    json_decref(head);
    sm_frame_reader_fini(&r);
    close(fd);
    return text;
}

static void test_requests(void **state) {
    static const struct {
        const char *name, *request, *answer;
    } rows[] = {
        {"handler's", "{\"op\":\"x\"}", "ok"},
        {"no op", "{}", "ok"},
        {"store", "{\"op\":\"store\",\"call\":\"events\",\"args\":{}}", "ok"},
        {"store without args", "{\"op\":\"store\",\"call\":\"ping\"}", "ok"},
        {"unknown", "{\"op\":\"store\",\"call\":\"drop\"}", "unknown store call drop"},
        {"not offered", "{\"op\":\"store\",\"call\":\"events_accept\"}",
         "unknown store call events_accept"},
        {"no call", "{\"op\":\"store\"}", "unknown store call "},
        {"args of a wrong type", "{\"op\":\"store\",\"call\":\"local_status\",\"args\":[]}",
         "ref_key: expected a text"},
        {"too long an answer", "{\"op\":\"long\"}",
         "the answer is too long for the socket; ask for less, with --since or --id"},
    };
    (void)state;
    bench b;
    begin(&b);
    struct stat st;
    assert_int_equal(fstatat(b.dir, "control.sock", &st, 0), 0);
    assert_int_equal(st.st_mode & 0777, 0700 & st.st_mode & 0777);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        print_message("  %s\n", rows[i].name);
        const char *got = ask(&b, rows[i].request);
        if (!strstr(got, rows[i].answer))
            fail_msg("got %s", got);
    }
    end(&b);
}

static void test_half_frames_and_garbage(void **state) {
    (void)state;
    bench b;
    begin(&b);
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    sm_buf raw;
    sm_buf_init(&raw, 1000);
    json_t *head = json_pack("{s:s}", "op", "x");
    sm_frame_encode(&raw, head, NULL, 0, NULL);
    int fd = dial(&b);
    for (size_t i = 0; i < raw.len; i++) { /* a byte at a time */
        assert_int_equal(write(fd, raw.data + i, 1), 1);
        for (int k = 0; k < 3; k++)
            uv_run(&b.room.loop, UV_RUN_NOWAIT);
    }
    json_t *answer = get(&b, fd, &r);
    assert_int_equal(sm_json_int(answer, "result", 0), 1);
    json_decref(answer);
    assert_int_equal(write(fd, raw.data, 7), 7); /* half, then gone */
    uv_run(&b.room.loop, UV_RUN_NOWAIT);
    close(fd);
    fd = dial(&b);
    assert_int_equal(write(fd, "GET / HTTP/1.0\r\n\r\n", 18), 18);
    assert_null(get(&b, fd, &r)); /* hung up */
    close(fd);
    fd = dial(&b);
    assert_int_equal(write(fd, "SMF1\xff\xff\xff\x7f\0\0\0\0", 12), 12);
    assert_null(get(&b, fd, &r));
    close(fd);
    assert_string_equal(ask(&b, "{\"op\":\"x\"}"), "ok");
    json_decref(head);
    sm_buf_fini(&raw);
    sm_frame_reader_fini(&r);
    end(&b);
}

static void test_pipelined(void **state) {
    (void)state;
    enum { N = 3000 };
    bench b;
    begin(&b);
    sm_frame_reader r;
    sm_frame_reader_init(&r);
    int fd = dial(&b);
    put(fd, "{\"op\":\"later\"}");
    for (int i = 0; i < 50 && !b.waiting; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    assert_non_null(b.waiting);
    json_t *part = get(&b, fd, &r);
    assert_int_equal(sm_json_int(part, "progress", 0), 1);
    json_decref(part);
    for (int i = 0; i < N; i++) {
        put(fd, i % 100 == 50 ? "{\"op\":\"store\",\"call\":\"ping\"}" : "{\"op\":\"x\"}");
        if (i % 100 == 0)
            for (int k = 0; k < 5; k++)
                uv_run(&b.room.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(b.asked, 1); /* one at a time: they wait */
    sm_control_reply(b.waiting, json_pack("{s:b, s:i}", "ok", 1, "result", -1));
    int last = 0;
    for (int i = 0; i <= N; i++) {
        json_t *answer = get(&b, fd, &r);
        int n = (int)sm_json_int(answer, "result", 0);
        assert_true(sm_json_bool(answer, "ok", false));
        if (i > 0 && n) { /* in order */
            assert_true(n > last);
            last = n;
        }
        json_decref(answer);
    }
    close(fd);
    sm_frame_reader_fini(&r);
    end(&b);
}

static void test_hangs_up(void **state) {
    (void)state;
    bench b;
    begin(&b);
    int fd = dial(&b);
    put(fd, "{\"op\":\"later\"}");
    for (int i = 0; i < 50 && !b.waiting; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    close(fd); /* in the middle of its request */
    for (int i = 0; i < 10; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    sm_control_send(b.waiting, json_pack("{s:i}", "progress", 2));
    sm_control_reply(b.waiting, json_pack("{s:b}", "ok", 1));

    b.waiting = NULL; /* answered before the loop notices */
    fd = dial(&b);
    put(fd, "{\"op\":\"later\"}");
    for (int i = 0; i < 50 && !b.waiting; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    close(fd);
    sm_control_reply(b.waiting, json_pack("{s:b}", "ok", 1));

    for (int i = 0; i < 20; i++) { /* while the store works for it */
        fd = dial(&b);
        put(fd, "{\"op\":\"store\",\"call\":\"events\"}");
        if (i % 2)
            uv_run(&b.room.loop, UV_RUN_NOWAIT);
        close(fd);
    }
    assert_string_equal(ask(&b, "{\"op\":\"x\"}"), "ok");
    end(&b);
}

static void test_many_peers(void **state) {
    (void)state;
    bench b;
    begin(&b);
    int fds[64];
    for (int i = 0; i < 64; i++)
        fds[i] = dial(&b);
    for (int i = 0; i < 10; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    assert_string_equal(ask(&b, "{\"op\":\"x\"}"), "too many commands ask it at once");
    close(fds[0]);
    for (int i = 0; i < 10; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    assert_string_equal(ask(&b, "{\"op\":\"x\"}"), "ok");
    for (int i = 1; i < 64; i++)
        close(fds[i]);
    end(&b);
}

static void test_does_not_read(void **state) {
    (void)state;
    bench b;
    begin(&b);
    int fd = dial(&b);
    for (int i = 0; i < 20; i++) /* 160 MB of answers */
        put(fd, "{\"op\":\"some\"}");
    for (int i = 0; i < 50; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    assert_in_range(b.asked, 8, 11); /* let go at 64 MB */
    close(fd);
    assert_string_equal(ask(&b, "{\"op\":\"x\"}"), "ok");
    end(&b);
}

static void test_closed_with_requests(void **state) {
    (void)state;
    bench b;
    begin(&b);
    int one = dial(&b), two = dial(&b), three = dial(&b);
    put(one, "{\"op\":\"later\"}");
    for (int i = 0; i < 50 && !b.waiting; i++)
        uv_run(&b.room.loop, UV_RUN_NOWAIT);
    put(two, "{\"op\":\"store\",\"call\":\"events\"}");
    uv_run(&b.room.loop, UV_RUN_NOWAIT);
    sm_control_close(b.c);
    sm_control_close(b.c);
    sm_control_send(b.waiting, json_pack("{s:i}", "progress", 2));
    struct stat st;
    assert_int_equal(fstatat(b.dir, "control.sock", &st, 0), -1);
    room_close_store(&b.room); /* its answer never comes */
    room_turn_out(&b.room);
    sm_control_free(b.c);
    close(one);
    close(two);
    close(three);
    close(b.dir);
    room_remove(&b.room);
}

static void test_leftover_socket_and_deep_path(void **state) {
    (void)state;
    bench b;
    begin(&b);
    sm_control *second = NULL; /* as after a kill: the old socket is replaced */
    assert_int_equal(sm_control_open(&b.room.loop, b.dir, b.room.store, handler, &b, &second, NULL),
                     SM_OK);
    assert_string_equal(ask(&b, "{\"op\":\"x\"}"), "ok");
    sm_control_close(second);
    uv_run(&b.room.loop, UV_RUN_NOWAIT);
    sm_control_free(second);
    char deep[300];
    snprintf(deep, sizeof deep, "%s/%0200d", b.room.dir, 7); /* longer than sockaddr_un */
    assert_int_equal(mkdir(deep, 0700), 0);
    int dir = open(deep, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(sm_control_open(&b.room.loop, dir, b.room.store, handler, &b, &second, NULL),
                     SM_OK);
    struct stat st;
    assert_int_equal(fstatat(dir, "control.sock", &st, 0), 0);
    sm_control_close(second);
    uv_run(&b.room.loop, UV_RUN_NOWAIT);
    sm_control_free(second);
    close(dir);
    end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_half_frames_and_garbage),
        cmocka_unit_test(test_pipelined),
        cmocka_unit_test(test_hangs_up),
        cmocka_unit_test(test_many_peers),
        cmocka_unit_test(test_does_not_read),
        cmocka_unit_test(test_closed_with_requests),
        cmocka_unit_test(test_leftover_socket_and_deep_path),
    };
    signal(SIGPIPE, SIG_IGN); /* as the program does */
    sm_log_setup(SM_LOG_ERROR, false, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
