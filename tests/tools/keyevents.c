/* keyevents: what the program would send over OpenWay, for tests that judge it.
 *
 * usage: tool_keyevents < batches. Each line of standard input is a JSON array of outbox payloads;
 * for each comes one line {"n","gzip","bad"} and then the n bytes of the body. Exit 1 with a
 * sentence when a batch cannot be encoded. A test tool: never part of the program.
 */
#include "platform/openway.h"
#include <stdio.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = 64 << 20 };

static sm_rc encode(const char *line, size_t n, sm_err *err) {
    json_t *payloads = NULL, *head = NULL;
    sm_openway_body body = {NULL, 0, false, NULL};
    char *text = NULL;
    sm_rc rc = sm_json_parse(line, n, LINE_MAX_BYTES, &payloads, err);
    if (rc == SM_OK)
        rc = sm_openway_encode(payloads, &body, err);
    if (rc != SM_OK)
        goto out;
    head = json_pack("{s:I,s:b,s:O}", "n", (json_int_t)body.n, "gzip", body.gzip, "bad",
                     body.bad ? body.bad : json_null());
    text = sm_json_dump(head, NULL);
    if (printf("%s\n", text) < 0 || fwrite(body.data, 1, body.n, stdout) != body.n)
        rc = sm_err_set(err, SM_IO, "standard output is closed");
out:
    free(text);
    json_decref(head);
    sm_openway_body_fini(&body);
    json_decref(payloads);
    return rc;
}

int main(void) {
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    sm_err err = SM_ERR_INIT;
    while ((n = getline(&line, &room, stdin)) > 0) {
        if (encode(line, (size_t)n, &err) != SM_OK) {
            fprintf(stderr, "keyevents: %s\n", err.msg);
            break;
        }
    }
    free(line);
    return err.code != SM_OK || fflush(stdout) != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
