/* inspection: makes the inspections of one script from its specs and the configuration. */
#pragma once
#include "daemon/catalog.h"

typedef struct sm_inspections {
    sm_inspection **list; /* each with one reference */
    size_t n;
    json_t *refused; /* array of sentences: what the configuration says of one does not fit */
    int line;        /* of the script's fault when sm_inspection_make failed */
} sm_inspections;

/* specs: array, checked by sm_spec_check. SM_INVALID: the script's fault; the sentence has neither
 * file nor line (out->line has). A fault of the configuration refuses only the inspection it
 * belongs to. cfg_changed: the script is what it was, so an account that is no longer there refuses
 * only those that name it. assoc NULL: the keys stay empty. sm_inspections_fini in either case. */
sm_rc sm_inspection_make(const sm_config *cfg, const sm_secret *assoc, sm_source *source,
                         const json_t *specs, bool cfg_changed, sm_inspections *out, sm_err *err);
void sm_inspections_fini(sm_inspections *s);
/* Whether a run of either would be the same but for the text: same configuration and registration.
 * (Both are made of one text.) */
bool sm_inspection_same(const sm_inspection *a, const sm_inspection *b);
