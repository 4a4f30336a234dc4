/* entry: the doors of src/worker for the rest of the program: process mains that run Lua.
 * None includes lua.h for the caller. Each returns an exit code. argv[argc] is NULL. */
#pragma once
#include "base/err.h"
#include "base/json.h"
#include <stdbool.h>
#include <stddef.h>

struct json_t;

/* `selfmon-lua --worker [BYTES [FILES]]`, argv as main got it: frames on file descriptor 3
 * (docs/internals/frames.md). BYTES of address space and FILES (descriptors) it may have at most; 0
 * and absent: no limit of its own. */
int sm_worker_main(int argc, char **argv);
/* `selfmon-lua --eval-config FILE`, argv as main got it: evaluates the configuration file, writes
 * one JSON object to fd 3:
 * {"ok":true,"table":{…},"lines":{"accounts.default":12,…}} or {"ok":false,"error":"file:line: …"}.
 */
int sm_evalconf_main(int argc, char **argv);
/* `selfmon-lua lua [-e CODE]… [SCRIPT|-] args…`: plain interpreter with the host's modules; argv[0]
 * is the word `lua`. */
int sm_luacmd_main(int argc, char **argv);
/* `selfmon-lua test [PATH…]`: busted inside; root is the inspections root (absolute) for
 * specs that do not lie below one; argv holds the arguments only, without the word `test`. */
int sm_testcmd_main(const char *root, int argc, char **argv);
/* A command written in Lua: main(args) of the embedded `module` ("kit.doc"), which answers the exit
 * code. args is a JSON object, borrowed. */
int sm_kitcmd_main(const char *module, const struct json_t *args);
/* A text given to a tool: bytes of any kind. */
typedef struct sm_tool_text {
    const char *text;
    size_t n;
} sm_tool_text;
/* Calls main(facts, texts) of the embedded file lua/tools/TOOL/main.lua in a plain interpreter of
 * its own. facts: borrowed. *out: malloc'd text it returned, with a NUL behind its *out_n bytes.
 * SM_INTERNAL when it raised. */
sm_rc sm_tool_call(const char *tool, const json_t *facts, const sm_tool_text *texts, size_t n,
                   char **out, size_t *out_n, sm_err *err);
/* Versions of Lua, libcurl and OpenSSL, one a line. */
void sm_worker_versions(char *out, size_t cap);

/* What this machine has to keep worker processes in. */
typedef struct sm_worker_cage {
    int landlock; /* ABI, 0: none */
    bool seccomp, no_new_privs;
    const char *lacks[4]; /* a sentence for each that is missing, then NULL */
} sm_worker_cage;
void sm_worker_cage_probe(sm_worker_cage *out);
