/* cron_internal: the parsed expression, shared by cron_parse.c, cron_next.c and cron_spread.c. */
#pragma once
#include "schedule/cron.h"

enum { CRON_SECOND, CRON_MINUTE, CRON_HOUR, CRON_DAY, CRON_MONTH, CRON_WEEKDAY, CRON_FIELDS };

struct sm_cron {
    int64_t every;          /* > 0: @every with this many seconds, and nothing else below counts */
    uint64_t seconds;       /* bit s */
    uint64_t minutes;       /* bit m */
    uint32_t hours;         /* bit h */
    uint32_t days;          /* bit d, 1..31 */
    uint32_t near_days;     /* nW: bit n */
    bool last_day;          /* L */
    uint16_t months;        /* bit m, 1..12 */
    uint8_t weekdays;       /* bit w, 0 = Sunday .. 6 */
    uint8_t nth[6];         /* n#k: nth[k] has bit n, k from 1 to 5 */
    uint8_t last;           /* nL: bit n */
    bool star[CRON_FIELDS]; /* the field begins with '*' or is '?' */
    bool spread;            /* a macro, or H in minute or second */
};

/* A value that depends only on id and tag, in [0, n). n > 0. */
uint64_t cron_stable(const char *id, const char *tag, uint64_t n);
