/* help: the texts of `--help`, each with examples. */
#include "cli/cli.h"
#include <string.h>

const char *const sm_commands[] = {"run",   "list",   "key",   "next",  "events", "runs", "status",
                                   "nodes", "doctor", "adopt", "local", "test",   "lua",  NULL};

static const char overview[] =
    "selfmon-lua: runs inspections written in Lua and reports their events\n"
    "\n"
    "  selfmon-lua run [PATH…]        load, register, schedule, run, report, until stopped\n"
    "  selfmon-lua run --once [PATH…] every inspection once, now\n"
    "  selfmon-lua list               inspections, schedules, last outcomes\n"
    "  selfmon-lua events             what was reported, and whether it was delivered\n"
    "  selfmon-lua runs [--log]       what ran, with outcome and log\n"
    "  selfmon-lua status             how it is doing: outbox, accounts, workers, age of what it "
    "knows\n"
    "  selfmon-lua doctor             checks configuration, files, addresses, keys and clock\n"
    "  selfmon-lua nodes              the public nodes of TrueWatch and Guance Cloud\n"
    "  selfmon-lua adopt ID REFKEY    takes over an inspection that the platform has already\n"
    "  selfmon-lua next ID|EXPR       the next due times\n"
    "  selfmon-lua key ID…            association keys\n"
    "  selfmon-lua local …            parameters, enable, disable, delete on the embedded "
    "platform\n"
    "  selfmon-lua test [PATH…]       runs *_spec.lua with busted, without a network\n"
    "  selfmon-lua lua SCRIPT …       plain Lua with the host's modules\n"
    "\n"
    "Common options: -c FILE, --state-dir DIR, --node NAME, -q, -v, --json, --log-format "
    "text|json,\n"
    "--no-color, --version, --help (after a command: its own help).\n"
    "\n"
    "First steps:\n"
    "  selfmon-lua run inspections/\n"
    "  selfmon-lua run --once --dry-run inspections/host/disk.lua\n";

static const struct {
    const char *command, *text;
} pages[] = {
    {"run",
     "usage: selfmon-lua run [--once [--dry-run]] [options] [PATH…]\n"
     "\n"
     "Loads the inspections below PATH (default: ./inspections), registers them on the platform, "
     "takes\n"
     "back parameters and the enabled state set there, and runs them on their schedules until "
     "SIGINT or\n"
     "SIGTERM. A changed script takes effect without a restart. Without an API key the platform is "
     "the\n"
     "embedded one, in the state directory.\n"
     "\n"
     "  --once               every selected inspection once, now; then deliver, sum up, end\n"
     "  --dry-run            with --once: nothing is registered, stored or sent; events go to "
     "standard\n"
     "                       output as JSON\n"
     "  -p ID:NAME=VALUE     with --once: a parameter for this run only\n"
     "  -k PATTERN           only ids that contain PATTERN (or match it, with * or ?)\n"
     "  --tags a,b           only inspections with one of these tags\n"
     "  --fail-on LEVEL      with --once: exit 2 when an event of LEVEL or worse was reported\n"
     "                       (info, warning, error, critical)\n"
     "  --drain SECONDS      with --once: how long to deliver before giving up (30s)\n"
     "  --json               with --once: one object per inspection on standard output\n"
     "\n"
     "Exit codes of --once: 0 all ran; 1 some did not run to an end, or events still wait; 2 "
     "--fail-on;\n"
     "64 usage; 78 configuration. Of the daemon: 0 stopped cleanly; 1 it could not run; 64; 78.\n"
     "\n"
     "Examples:\n"
     "  selfmon-lua run inspections/\n"
     "  selfmon-lua run --once -k disk inspections/\n"
     "  selfmon-lua run --once --dry-run -p host/disk.run:warning=1 inspections/host/disk.lua\n"},
    {"list", "usage: selfmon-lua list [--json] [-k PATTERN] [--tags a,b] [PATH]\n"
             "\n"
             "Inspections with title, schedule, next run, whether registered and enabled, last "
             "outcome; then the\n"
             "files that do not load. Works with and without a running daemon.\n"
             "\n"
             "Example:\n"
             "  selfmon-lua list inspections/\n"},
    {"key", "usage: selfmon-lua key ID…\n"
            "\n"
            "Function id and association key of inspections. Needs neither script nor root, only "
            "the secret\n"
            "(SELFMON_SECRET, the configuration, or the one in the state directory).\n"
            "\n"
            "Example:\n"
            "  selfmon-lua key host/disk.run demo/example.run\n"},
    {"next", "usage: selfmon-lua next ID|EXPR [-n N] [--tz ZONE] [--from TIME] [--json]\n"
             "\n"
             "The next due times of an inspection, or of a cron expression (an argument with a "
             "blank, or one that\n"
             "begins with @). TIME is RFC 3339, exclusive. An expression needs no project.\n"
             "\n"
             "Examples:\n"
             "  selfmon-lua next '30 9 * * mon-fri' --tz Europe/Berlin -n 3\n"
             "  selfmon-lua next '@every 90s'\n"
             "  selfmon-lua next host/disk.run\n"},
    {"events", "usage: selfmon-lua events [--since TIME|DURATION] [--id ID] [--status STATUS] [-n "
               "N] [--json]\n"
               "\n"
               "Events that inspections reported, oldest first, and whether they were delivered. "
               "ID may have * and ?.\n"
               "\n"
               "Examples:\n"
               "  selfmon-lua events\n"
               "  selfmon-lua events --since 1h --status critical\n"
               "  selfmon-lua events --id 'host/*' --json\n"},
    {"runs", "usage: selfmon-lua runs [--log] [--gaps] [--since TIME|DURATION] [--id ID] [--status "
             "OUTCOME] [-n N]"
             " [--json]\n"
             "\n"
             "Runs, oldest first, with outcome and error; --log with what each printed; --gaps "
             "only slots that\n"
             "were missed.\n"
             "\n"
             "Examples:\n"
             "  selfmon-lua runs --log --id demo/example.run -n 1\n"
             "  selfmon-lua runs --status failed --since 24h\n"},
    {"status", "usage: selfmon-lua status [--json]\n"
               "\n"
               "How the running process is doing: each inspection's last outcome, next run and the "
               "age of the\n"
               "platform's view of it; the outbox; the accounts with what is left of their calls a "
               "minute, and how\n"
               "long it takes to register what is not registered yet; the workers; what is in the "
               "way. Without a\n"
               "daemon: what the store last knew. Exit 0.\n"
               "\n"
               "Examples:\n"
               "  selfmon-lua status\n"
               "  selfmon-lua status --json\n"},
    {"nodes", "usage: selfmon-lua nodes [--brand guance|truewatch] [--json]\n"
              "\n"
              "The public nodes, as they are written in `accounts.NAME.node` or SELFMON_NODE, with "
              "their\n"
              "addresses. `local` is the embedded platform; a private deployment is given by both "
              "its addresses\n"
              "(SELFMON_OPENAPI_URL and SELFMON_OPENWAY_URL). Needs neither configuration nor "
              "store.\n"
              "\n"
              "Example:\n"
              "  selfmon-lua nodes --brand truewatch\n"},
    {"doctor", "usage: selfmon-lua doctor [--config] [--send-event] [--json]\n"
               "\n"
               "Checks configuration, file modes, secret, store and limits of the system, then for "
               "each account its\n"
               "addresses, key, role and clock. One line a check: ok, warn or bad. Changes "
               "nothing.\n"
               "\n"
               "  --config       first every value of the configuration and where it comes from; "
               "secrets as ***\n"
               "                 (the file is named by -c)\n"
               "  --send-event   also sends one marked event by each road, to be seen in the "
               "workspace\n"
               "\n"
               "Exit 0 healthy, 1 not.\n"
               "\n"
               "Examples:\n"
               "  selfmon-lua doctor\n"
               "  SELFMON_NODE=truewatch/us1 selfmon-lua doctor --send-event\n"},
    {"adopt", "usage: selfmon-lua adopt ID REFKEY [--json]\n"
              "\n"
              "Looks on the platform for an inspection with the association key REFKEY, such as "
              "one that the\n"
              "Python original registered, and prints the line of selfmon.conf.lua that makes it "
              "the inspection\n"
              "ID: it keeps its settings there and its history. Changes nothing. Exit 1 when the "
              "platform has no\n"
              "such key.\n"
              "\n"
              "Example:\n"
              "  selfmon-lua adopt tls/certificate.run d519e0bd69d1e0d17de7c536fc58babe\n"},
    {"local",
     "usage: selfmon-lua local set ID NAME=VALUE…   parameters as the platform would set them\n"
     "       selfmon-lua local unset ID NAME…       back to the script's value\n"
     "       selfmon-lua local enable|disable ID…\n"
     "       selfmon-lua local delete ID            (it is registered anew at its next run)\n"
     "       selfmon-lua local show [ID]            what the embedded platform holds\n"
     "\n"
     "The embedded platform's side of an inspection. Takes effect at the next run.\n"
     "\n"
     "Examples:\n"
     "  selfmon-lua local set host/disk.run warning=70\n"
     "  selfmon-lua local disable demo/example.run\n"},
    {"test", "usage: selfmon-lua test [-k PATTERN] [--junit FILE] [PATH…]\n"
             "\n"
             "Runs the *_spec.lua files below PATH (default: ./inspections) with busted inside the "
             "program; no\n"
             "network call leaves it. Exit 0 passed, 1 failures, 5 no specs, 64 usage.\n"
             "\n"
             "Example:\n"
             "  selfmon-lua test inspections/\n"},
    {"lua", "usage: selfmon-lua lua SCRIPT [ARG…]\n"
            "       selfmon-lua lua -e CODE\n"
            "\n"
            "A plain Lua 5.4 interpreter that also has the host's modules (selfmon.http, cjson, "
            "…), without the\n"
            "sandbox of inspections.\n"
            "\n"
            "Example:\n"
            "  selfmon-lua lua -e 'print(require \"selfmon.crypto\".sha256 \"x\")'\n"},
};

bool sm_help_print(FILE *to, const char *command) {
    if (!command) {
        fputs(overview, to);
        return true;
    }
    for (size_t i = 0; i < SM_ARRAY_LEN(pages); i++) {
        if (strcmp(pages[i].command, command) == 0) {
            fputs(pages[i].text, to);
            return true;
        }
    }
    return false;
}
