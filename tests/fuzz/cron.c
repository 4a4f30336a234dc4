/* cron: any expression, in zones with unusual rules, from any instant of 1970 to 2106.
 *
 * Input: the expression, a line end, one byte that chooses the zone, four bytes of the instant.
 * What must hold: the next instant is later, the one after it later still, `prev` finds what `next`
 * gave and nothing between, a due instant shows fields that the expression names (for plain ones),
 * and the delay of the start stays within its bounds.
 */
#include "fuzz.h"
#include "base/mem.h"
#include "schedule/cron.h"
#include "schedule/tz.h"
#include <string.h>

/* POSIX rules (RFC 8536, 3.3): the file around one holds nothing else. */
static const char *const rules[] = {
    "UTC0",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "EST5EDT,M3.2.0,M11.1.0",
    "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", /* half an hour of DST, southern */
    "IST-1GMT0,M10.5.0,M3.5.0/1",           /* winter is the exception */
    "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",      /* changes on the evening before */
    "<+0545>-5:45",
    "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
    "<+00>0<+02>-2,M3.5.0/1,M10.5.0/3", /* two hours */
    "EET-2EEST,M3.5.4/24,M10.5.5/1",
    "XXX-24YYY-23,J60/0,300/23:59:59",
    "AAA12BBB11:59:59,0/0,J365/25",
};

static sm_tz *zone(size_t which) {
    static const char head[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                               "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0";
    const char *rule = rules[which % (sizeof rules / sizeof *rules)];
    char file[256];
    size_t n = 0;
    for (int block = 0; block < 2; block++) { /* header, one type, its name */
        memcpy(file + n, head, 43);
        file[n + 43] = 4;
        memcpy(file + n + 44, "\0\0\0\0\0\0LMT", 10);
        n += 54;
    }
    n += (size_t)snprintf(file + n, sizeof file - n, "\n%s\n", rule);
    sm_err err = SM_ERR_INIT;
    sm_tz *tz = NULL;
    holds(sm_tz_parse(file, n, "Test/Zone", &tz, &err) == SM_OK, err.msg);
    return tz;
}

static void check_due(const sm_cron *c, const sm_tz *tz, int64_t after) {
    int64_t at = after, found, again;
    for (int i = 0; i < 6; i++) {
        if (!sm_cron_next(c, tz, at, &found)) {
            holds(i == 0 || !sm_cron_next(c, tz, at, &again), "the end of a schedule is its end");
            return;
        }
        holds(found > at, "the next instant is later");
        holds(sm_cron_next(c, tz, at, &again) && again == found, "the same question, one answer");
        if (found - at > 1) {
            int64_t mid = at + (found - at) / 2;
            holds(sm_cron_next(c, tz, mid, &again) && again == found, "nothing lies between");
            holds(sm_cron_next(c, tz, found - 1, &again) && again == found, "due at its second");
        }
        if (i < 2) {
            holds(sm_cron_prev(c, tz, found, &again) && again == found, "prev finds what is due");
            holds(!sm_cron_prev(c, tz, found - 1, &again) || again <= at, "prev skips nothing");
        }
        at = found;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    const uint8_t *end = n ? memchr(data, '\n', n) : NULL;
    size_t len = end ? (size_t)(end - data) : n;
    const uint8_t *rest = end ? end + 1 : data + n;
    size_t left = n - (size_t)(rest - data);
    uint32_t after = 1790000000;
    if (len > 512)
        return 0;
    if (left >= 5)
        memcpy(&after, rest + 1, 4);
    char *expr = sm_memdup(data, len);
    sm_err err = SM_ERR_INIT;
    sm_cron *c = NULL, *strict = NULL;
    sm_rc rc = sm_cron_parse(expr, "fuzz/cron.run", false, &c, &err);
    if (rc == SM_OK) {
        sm_tz *tz = zone(left ? *rest : 0);
        int64_t spread = sm_cron_spread_ms(c, "fuzz/cron.run"), first;
        holds(spread >= 0 && spread < 60000, "a start is delayed by less than a minute");
        holds(sm_cron_period(c, tz, after) >= 0, "a period is not negative");
        check_due(c, tz, after);
        if (sm_cron_parse(expr, "fuzz/cron.run", true, &strict, &err) != SM_OK)
            holds(!sm_cron_next(c, tz, after, &first), "what never fires does not fire");
        sm_cron_free(strict);
        sm_tz_free(tz);
    } else {
        holds(rc == SM_INVALID && err.msg[0] && !c, "a refusal says why");
    }
    sm_cron_free(c);
    free(expr);
    return 0;
}
