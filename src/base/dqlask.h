/* dqlask: the ceilings of selfmon.dql's questions, which worker and daemon share. A question is
 * {queries: [{q, type (dql, promql), from_ms?, to_ms?, interval? (s), tz?, limit?, offset?,
 * slimit?, soffset?, max_points?}]}; its answer a JSON array, in the same order, of {series (as the
 * platform has it, or null), complete, cost, interval (ms)} or {error, code}. */
#pragma once

enum {
    SM_DQL_QUERIES_MAX = 100,    /* in one question */
    SM_DQL_QUERY_MAX = 32 << 10, /* bytes of a query */
    SM_DQL_NAME_MAX = 64,        /* bytes of a zone or a type */
    SM_DQL_WHOLE_MAX = 1000000,  /* limit, offset and the like */
    SM_DQL_ANSWER_MAX = 8 << 20  /* bytes of JSON of an answer */
};
