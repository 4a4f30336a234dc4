/* doctor: lines that tell what is well and what is not; one check after the other. */
#pragma once
#include "cli/cli.h"

typedef enum sm_health { SM_WELL, SM_WARN, SM_BAD } sm_health;

typedef struct sm_doctor {
    const sm_args *args;
    bool color;
    bool sick;    /* a line was bad */
    json_t *said; /* with --json: [{subject, health, text}] */
} sm_doctor;

/* Tells one line at once (text) or keeps it (--json). */
void sm_doctor_say(sm_doctor *d, sm_health health, const char *subject, const char *fmt, ...)
    SM_PRINTF(4, 5);
/* This machine: files and their modes, association secret, store, system limits. */
void sm_doctor_host(sm_doctor *d, sm_config *config);
/* The accounts: the checks of daemon/remote.h for each. */
void sm_doctor_accounts(sm_doctor *d, const sm_config *config);
