/* dns: any bytes as a name server's answer.
 *
 * The first byte is the length of a name that is asked for (its text follows), the next the type's
 * place among those known; the rest is the answer, behind the header and question that a real one
 * repeats, or (odd type byte) as it stands. What must hold: it ends, within the message; what is
 * answered is JSON with every field of its type; a name that is asked for is refused or fits.
 */
#include "fuzz.h"
#include "base/mem.h"
#include "worker/dnsmsg.h"
#include <string.h>

static void check_answer(const json_t *answer) {
    size_t i;
    json_t *r;
    size_t len = 0;
    const json_t *records = json_object_get(answer, "records");
    holds(sm_json_str(answer, "rcode", NULL) != NULL, "an answer has a code");
    holds(json_array_size(records) <= SM_DNS_RECORDS_MAX, "records are bounded");
    holds(json_array_size(json_object_get(answer, "values")) <= json_array_size(records),
          "each value is a record's");
    json_array_foreach((json_t *)(uintptr_t)records, i, r) {
        holds(sm_json_str(r, "name", NULL) && sm_json_str(r, "type", NULL) &&
                  sm_json_str(r, "value", NULL),
              "a record has name, type and value, without a NUL");
        holds(sm_json_int(r, "ttl", -1) >= 0, "a record has a life");
    }
    char *text = sm_json_dump(answer, &len);
    holds(len > 0, "an answer can be written");
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    uint8_t question[SM_DNS_QUESTION_MAX];
    size_t question_n = 0, types = 0, name_n = n > 0 ? data[0] : 0;
    sm_err err = SM_ERR_INIT;
    json_t *answer = NULL;
    while (sm_dns_types[types])
        types++;
    if (n < 2 + name_n)
        return 0;
    char *name = sm_memdup(data + 1, name_n);
    uint8_t how = data[1 + name_n];
    const uint8_t *rest = data + 2 + name_n;
    size_t rest_n = n - 2 - name_n;
    int type = sm_dns_type(sm_dns_types[(how >> 1) % types]);
    if (sm_dns_question(name, type, 0x1234, question, &question_n, &err) != SM_OK) {
        holds(err.msg[0] != '\0', "a refusal says why");
        free(name);
        return 0;
    }
    holds(question_n <= SM_DNS_QUESTION_MAX && question_n >= 17, "a question has its size");
    size_t whole_n = how & 1 ? rest_n : question_n + rest_n;
    uint8_t *whole = sm_malloc(whole_n + 1);
    if (!(how & 1)) {
        memcpy(whole, question, question_n);
        whole[2] = 0x84;
        if (rest_n > 0)
            whole[7] = rest[0];
        memcpy(whole + question_n, rest, rest_n);
    } else if (rest_n > 0) {
        memcpy(whole, rest, rest_n);
    }
    uint8_t *exact = sm_malloc(whole_n ? whole_n : 1); /* so that a read beyond it is seen */
    memcpy(exact, whole, whole_n);
    sm_rc rc = sm_dns_read(exact, whole_n, question, question_n, &answer, &err);
    holds((rc == SM_OK) == (answer != NULL), "an answer or an error");
    holds(rc == SM_OK || rc == SM_NOT_FOUND || rc == SM_PROTO, "one of three outcomes");
    if (answer)
        check_answer(answer);
    json_decref(answer);
    free(exact);
    free(whole);
    free(name);
    return 0;
}
