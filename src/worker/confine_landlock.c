/* confine_landlock: the files that a worker may read; it writes none, and runs none.
 *
 * By raw system calls, since the C library has none for it, with constants of our own, since older
 * headers lack the newer ones; the kernel's ABI decides which rights it is told to watch. Scripts
 * open no files themselves: PEM files of `selfmon.http` come from the daemon (daemon/lend.c). A
 * place that does not exist is left out. Called by confine.c.
 */
#include "worker/confine_parts.h"
#include "base/str.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <limits.h>

/* linux/landlock.h as of ABI 6. */
enum { VERSION = 1, PATH_BENEATH = 1 };
enum {
    READ_FILE = 1 << 2,
    READ_DIR = 1 << 3,
    FS_ABI_1 = (1 << 13) - 1,
    FS_ABI_2 = 1 << 13, /* refer */
    FS_ABI_3 = 1 << 14, /* truncate */
    FS_ABI_5 = 1 << 15, /* ioctl on devices */
    NET_ABI_4 = 1,      /* bind TCP */
    SCOPE_ABI_6 = 3     /* abstract sockets, signals */
};

typedef struct ruleset_attr {
    uint64_t fs, net, scoped;
} ruleset_attr;

typedef struct beneath_attr {
    uint64_t access;
    int32_t fd;
} __attribute__((packed)) beneath_attr;

/* Whole folders: files in them may be replaced while the worker lives. */
static const char *const folders[] = {
    "/usr/share/zoneinfo",
    /* certificates */
    "/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates",
    "/etc/pki/tls/certs", "/etc/pki/ca-trust/extracted", "/etc/ca-certificates/extracted",
    "/var/lib/ca-certificates", "/etc/crypto-policies",
    /* what libraries load: name service modules, OpenSSL's providers, libgcc at a thread's end */
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64",
    /* selfmon.host; of other processes what every user may see, Landlock forbids looking into them
     */
    "/proc", "/sys"};

/* Files in folders that hold other things as well. */
static const char *const files[] = {
    "/etc/resolv.conf",  "/etc/hosts",           "/etc/nsswitch.conf",      "/etc/gai.conf",
    "/etc/host.conf",    "/etc/services",        "/etc/protocols",          "/etc/ld.so.cache",
    "/etc/ssl/cert.pem", "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf"};

static const char *const devices[] = {"/dev/null", "/dev/urandom", "/dev/random"};

int sm_confine_landlock_abi(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
    return abi > 0 ? (int)abi : 0;
}

static void allow(int ruleset, const char *path) {
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0) {
        const beneath_attr rule = {S_ISDIR(st.st_mode) ? READ_FILE | READ_DIR : READ_FILE, fd};
        syscall(SYS_landlock_add_rule, ruleset, PATH_BENEATH, &rule, 0);
    }
    close(fd);
}

/* A file that another may take the place of: confine's caller looks for that. */
static void allow_pinned(int ruleset, const char *path, sm_confined *out) {
    struct stat st = {0};
    if (out->n_pins == SM_CONFINE_PINS)
        return;
    if (stat(path, &st) != 0)
        st = (struct stat){0};
    out->pins[out->n_pins++] = (struct sm_pin){path, st.st_dev, st.st_ino};
    allow(ruleset, path);
}

/* SSL_CERT_DIR may name several, separated by colons. */
static void allow_list(int ruleset, const char *paths) {
    for (const char *p = paths; p && *p;) {
        char one[PATH_MAX];
        size_t n = strcspn(p, ":");
        if (n > 0 && n < sizeof one && *p == '/') {
            memcpy(one, p, n);
            one[n] = '\0';
            allow(ruleset, one);
        }
        p += n + (p[n] == ':');
    }
}

static int make_ruleset(int abi) {
    ruleset_attr attr = {.fs = FS_ABI_1};
    size_t size = sizeof attr.fs;
    if (abi >= 2)
        attr.fs |= FS_ABI_2;
    if (abi >= 3)
        attr.fs |= FS_ABI_3;
    if (abi >= 5)
        attr.fs |= FS_ABI_5;
    if (abi >= 4) {
        attr.net = NET_ABI_4;
        size = offsetof(ruleset_attr, scoped);
    }
    if (abi >= 6) {
        attr.scoped = SCOPE_ABI_6;
        size = sizeof attr;
    }
    return (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
}

int sm_confine_landlock(sm_confined *out) {
    int abi = sm_confine_landlock_abi();
    int ruleset = abi > 0 ? make_ruleset(abi) : -1;
    if (ruleset < 0)
        return 0;
    const char *cert_file = getenv("SSL_CERT_FILE");
    for (size_t i = 0; i < SM_ARRAY_LEN(folders); i++)
        allow(ruleset, folders[i]);
    for (size_t i = 0; i < SM_ARRAY_LEN(devices); i++)
        allow(ruleset, devices[i]);
    for (size_t i = 0; i < SM_ARRAY_LEN(files); i++)
        allow_pinned(ruleset, files[i], out);
    if (cert_file)
        allow_pinned(ruleset, cert_file, out);
    allow_list(ruleset, getenv("TZDIR"));
    allow_list(ruleset, getenv("SSL_CERT_DIR"));
    bool ok = syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    if (!ok)
        out->n_pins = 0;
    return ok ? abi : 0;
}
