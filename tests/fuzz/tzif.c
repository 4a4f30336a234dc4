/* tzif: any bytes as a file of a time zone.
 *
 * What must hold of a zone that was read: changes lie later than the question and are changes, the
 * offset between two of them is one, and names are text within bounds.
 */
#include "fuzz.h"
#include "base/mem.h"
#include "schedule/tz.h"
#include <string.h>

static const int64_t instants[] = {
    INT64_MIN,
    INT64_C(-62135596800),
    INT64_C(-2147483649),
    -1,
    0,
    951782400,
    1790000000,
    2147483647,
    INT64_C(253402300800),
    INT64_MAX,
};

static void walk(const sm_tz *tz, int64_t from) {
    int64_t at = from, next;
    for (int i = 0; i < 40 && sm_tz_next_change(tz, at, &next); i++) {
        int dst;
        const char *name;
        int32_t before = sm_tz_offset(tz, next - 1, NULL, NULL);
        holds(next > at, "a change is later than the question");
        holds(sm_tz_offset(tz, next, &dst, &name) != before, "a change changes the offset");
        holds(dst == 0 || dst == 1, "summer time is a yes or a no");
        holds(strlen(name) < 4096, "a name ends");
        holds(sm_tz_offset(tz, at, NULL, NULL) == before, "one offset up to the next change");
        holds(sm_tz_offset(tz, at + (int64_t)(((uint64_t)next - (uint64_t)at) / 2), NULL, NULL) ==
                  before,
              "one offset between two changes");
        at = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    sm_err err = SM_ERR_INIT;
    sm_tz *tz = NULL;
    sm_rc rc = sm_tz_parse(data, n, "Test/Zone", &tz, &err);
    if (rc != SM_OK) {
        holds(rc == SM_INVALID && err.msg[0] && !tz, "a refusal says why");
        return 0;
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(instants); i++) {
        int32_t offset = sm_tz_offset(tz, instants[i], NULL, NULL);
        holds(offset >= -93600 - 90000 && offset <= 93600 + 90000, "an offset of some hours");
        walk(tz, instants[i]);
    }
    sm_tz_free(tz);
    return 0;
}
