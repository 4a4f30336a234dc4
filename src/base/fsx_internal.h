/* fsx_internal: what the files of the fsx room share; nobody else includes it. */
#pragma once
#include "base/fsx.h"

/* "cannot <what> <path>: <strerror>", with the code that errnum means for files. Returns it. */
sm_rc sm_fsx_fail(sm_err *err, int errnum, const char *what, const char *path);
/* openat2(2); -1 with errno. `resolve` holds RESOLVE_ flags. Where the kernel does not know the
 * call, or a filter refuses it, sm_fsx_open_steps answers, whatever `resolve` says. */
int sm_fsx_openat2(int dirfd, const char *path, int flags, unsigned resolve);
/* The same as RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, without openat2: EXDEV for what leads out.
 */
int sm_fsx_open_steps(int dirfd, const char *path, int flags);
