/* confine: what a process that runs scripts gives away for good, so that a script that broke out of
 * Lua finds nothing to use: limits, capabilities, system calls (seccomp), files (Landlock).
 *
 * Called once on the process's only thread: seccomp and Landlock bind the threads made later, not
 * those that already run. None of it can be taken back. What the kernel, or a container around us,
 * does not have is left out and told (sm_confine_lacks); the process works all the same.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { SM_CONFINE_PINS = 16 };

typedef struct sm_confined {
    bool no_new_privs, seccomp;
    int landlock; /* ABI, 0: none */
    /* Files that may be read by what they were at the time: one that is replaced cannot be. */
    struct sm_pin {
        const char *path; /* static, or an environment variable's text */
        dev_t dev;
        ino_t ino; /* both 0: there was none */
    } pins[SM_CONFINE_PINS];
    size_t n_pins;
} sm_confined;

/* A worker: no file to write, to read only what libraries and selfmon.host need, network. bytes of
 * address space and descriptors it may have at most; 0: as inherited. */
void sm_confine_worker(uint64_t bytes, uint64_t files, sm_confined *out);
/* The process that evaluates the configuration: no network, no file to write; it reads any file,
 * since file() is there for that. */
void sm_confine_config(sm_confined *out);
/* What this machine has, without confining anybody. */
void sm_confine_probe(sm_confined *out);
/* The i-th thing that is missing as a sentence, or NULL when there is none more. */
const char *sm_confine_lacks(const sm_confined *c, size_t i);
/* Whether a file that is pinned was replaced, so that this process cannot read it any more. */
bool sm_confine_stale(const sm_confined *c);
