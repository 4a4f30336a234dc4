/* scheduler_ledger: what the scheduler writes into the ledger of slots (store.h, SM_OP_SLOT_*).
 *
 * Nothing waits for these rows but sm_ledger_ask; the store keeps the order of what it is given.
 * Owned by the loop's thread.
 */
#include "base/clock.h"
#include "daemon/scheduler_parts.h"
#include <string.h>

static json_t *plan_args(const sm_plan *p, int64_t slot) {
    return json_pack("{s:s, s:I, s:s, s:I, s:I}", "id", p->id, "slot", (json_int_t)slot, "trigger",
                     "schedule", "planned_ns", (json_int_t)sm_plan_wall_ns(p), "rule",
                     (json_int_t)p->rule);
}

void sm_ledger_plan(const sm_plan *p, int64_t slot) {
    sm_store_call(p->scheduler->store, SM_OP_SLOT_PLAN, plan_args(p, slot), NULL, NULL);
}

void sm_ledger_ask(sm_plan *p, int64_t slot, sm_store_done done) {
    sm_store_call(p->scheduler->store, SM_OP_SLOT_PLAN, plan_args(p, slot), done, p);
}

void sm_ledger_gap(const sm_plan *p, int64_t from, int64_t to, int64_t count, bool about,
                   const char *outcome, const char *reason, bool grows) {
    json_t *args = json_pack("{s:s, s:I, s:I, s:I, s:b, s:s, s:s, s:b, s:I}", "id", p->id, "from",
                             (json_int_t)from, "to", (json_int_t)to, "count", (json_int_t)count,
                             "about", (int)about, "outcome", outcome, "reason", reason, "grows",
                             (int)grows, "at_ns", (json_int_t)sm_plan_wall_ns(p));
    sm_scheduler *s = p->scheduler;
    sm_store_call(s->store, SM_OP_SLOT_GAP, args, NULL, NULL);
    if (s->passed)
        s->passed(s->passed_ctx, outcome, grows ? 1 : count);
}

void sm_ledger_unplan(const sm_plan *p, int64_t from, int64_t keep) {
    json_t *args = json_pack("{s:s, s:I}", "id", p->id, "from", (json_int_t)from);
    if (keep != SM_NO_SLOT)
        json_object_set_new(args, "keep", json_integer(keep));
    sm_store_call(p->scheduler->store, SM_OP_SLOT_UNPLAN, args, NULL, NULL);
}

void sm_ledger_unrule(const sm_plan *p) {
    json_t *args = json_pack("{s:s}", "id", p->id);
    if (p->inspection)
        json_object_set_new(args, "rule", json_integer(p->rule));
    sm_store_call(p->scheduler->store, SM_OP_SLOT_UNPLAN, args, NULL, NULL);
}

void sm_ledger_reopen(sm_scheduler *s, int64_t now) {
    sm_store_call(s->store, SM_OP_SLOT_REOPEN, json_pack("{s:I}", "now", (json_int_t)now), NULL,
                  NULL);
}
