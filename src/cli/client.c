/* client: see client.h. It tries the socket, then the lock, a few times: between the two a daemon
 * may start or end. */
#include "cli/client.h"
#include "base/clock.h"
#include "base/frame.h"
#include "base/fsx.h"
#include "base/mem.h"
#include "daemon/control.h"
#include "daemon/statedir.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TRIES = 100, TRY_MS = 50 };

struct sm_client {
    int fd; /* of the socket, -1 when direct */
    sm_frame_reader reader;
    sm_statedir dir;
    sm_store *store; /* direct */
};

static int dial(const char *state_dir) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int dir = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = -1;
    if (dir < 0)
        return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock", dir);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        fd = -1;
    }
    close(dir);
    return fd;
}

/* Direct: lock and open. */
static sm_rc open_direct(sm_client *l, const sm_config *config, bool reader, sm_err *err) {
    sm_rc rc = sm_statedir_take_existing(config->state_dir, "reader", &l->dir, err);
    if (rc != SM_OK)
        return rc;
    char *path = sm_statedir_file(config->state_dir, "selfmon.db");
    if (!sm_fsx_exists(path))
        rc = sm_err_set(err, SM_NOT_FOUND, "no store in %s", config->state_dir);
    sm_store_options options = {.path = path,
                                .read_only = reader,
                                .outbox_bytes = config->outbox_bytes,
                                .min_free_bytes = config->min_free_bytes};
    if (rc == SM_OK)
        rc = sm_store_open(&options, &l->store, err);
    free(path);
    if (rc != SM_OK)
        sm_statedir_release(&l->dir);
    return rc;
}

static sm_rc open_client(const sm_config *config, bool reader, sm_client **out, sm_err *err) {
    sm_client *l = sm_calloc(1, sizeof *l);
    sm_rc rc = SM_BUSY;
    l->fd = -1;
    l->dir = (sm_statedir){.dir_fd = -1, .lock_fd = -1};
    sm_frame_reader_init(&l->reader);
    for (int i = 0; i < TRIES && rc == SM_BUSY; i++) {
        if (i > 0)
            poll(NULL, 0, TRY_MS);
        l->fd = dial(config->state_dir);
        rc = l->fd >= 0 ? SM_OK : open_direct(l, config, reader, err);
    }
    if (rc != SM_OK) {
        sm_client_close(l);
        return rc;
    }
    *out = l;
    return SM_OK;
}

sm_rc sm_client_open(const sm_config *config, sm_client **out, sm_err *err) {
    return open_client(config, false, out, err);
}

sm_rc sm_client_open_reader(const sm_config *config, sm_client **out, sm_err *err) {
    return open_client(config, true, out, err);
}

void sm_client_close(sm_client *l) {
    if (!l)
        return;
    if (l->fd >= 0)
        close(l->fd);
    if (l->store)
        sm_store_close(l->store);
    sm_statedir_release(&l->dir);
    sm_frame_reader_fini(&l->reader);
    free(l);
}

bool sm_client_remote(const sm_client *l) {
    return l->fd >= 0;
}

sm_rc sm_client_ask(sm_client *l, json_t *request,
                    void (*progress)(void *ctx, const json_t *report), void *ctx, json_t **result,
                    sm_err *err) {
    sm_rc rc = sm_frame_send(l->fd, request, NULL, 0, err);
    json_decref(request);
    if (rc == SM_CLOSED)
        rc = SM_OK; /* it may have said why before it hung up */
    while (rc == SM_OK) {
        sm_frame frame = {0};
        rc = sm_frame_recv(l->fd, &l->reader, &frame, err);
        if (rc == SM_CLOSED)
            return sm_err_set(err, SM_CLOSED,
                              "the process that holds the state directory ended "
                              "before it answered");
        if (rc != SM_OK)
            break;
        const json_t *part = json_object_get(frame.head, "progress");
        if (part && progress)
            progress(ctx, part);
        bool last = !part, ok = sm_json_bool(frame.head, "ok", false);
        if (last && ok && result)
            *result = json_incref(json_object_get(frame.head, "result"));
        if (last && !ok)
            rc = sm_err_set(err, (sm_rc)sm_json_int(frame.head, "code", SM_INTERNAL), "%s",
                            sm_json_str(frame.head, "error", "?"));
        sm_frame_fini(&frame);
        if (last)
            return rc;
    }
    return rc;
}

sm_rc sm_client_call(sm_client *l, const char *name, json_t *args, json_t **result, sm_err *err) {
    if (l->fd < 0)
        return sm_store_call_sync(l->store, sm_control_op(name), args, result, err);
    json_t *request = json_pack("{s:s, s:s, s:o}", "op", "store", "call", name, "args",
                                args ? args : json_object());
    return sm_client_ask(l, request, NULL, NULL, result, err);
}

int sm_client_config(const sm_args *a, sm_config **out) {
    sm_err err = SM_ERR_INIT, no = SM_ERR_INIT;
    sm_client *link = NULL;
    sm_rc rc = sm_cli_load(a, false, out, &err);
    if (rc == SM_OK)
        return SM_EXIT_OK;
    if (rc == SM_INVALID && sm_config_load_bare(&a->flags, out, &no) == SM_OK) {
        bool daemon = sm_client_open_reader(*out, &link, &no) == SM_OK && sm_client_remote(link);
        sm_client_close(link);
        if (daemon) {
            char *sentence = sm_asprintf("%s; the daemon works on with the former one", err.msg);
            sm_cli_fail(SM_EXIT_OK, sentence);
            free(sentence);
            return SM_EXIT_OK;
        }
        sm_config_free(*out);
        *out = NULL;
    }
    return sm_cli_fail(rc == SM_NOT_FOUND ? SM_EXIT_USAGE : SM_EXIT_CONFIG, err.msg);
}
