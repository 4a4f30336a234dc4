/* confine_parts: the two kernel mechanisms of confine (only confine*.c include it). */
#pragma once
#include "worker/confine.h"

/* confine_seccomp.c. False when the kernel did not take the filter. */
bool sm_confine_seccomp(bool network);
bool sm_confine_seccomp_there(void);

/* confine_landlock.c. The ABI, 0 when there is none. */
int sm_confine_landlock_abi(void);
/* Only reading, and only what a worker needs; fills pins. Returns the ABI that is in force, or 0.
 */
int sm_confine_landlock(sm_confined *out);
