/* confine: what a process may still do after it confined itself exactly as a worker does. Each test
 * forks, confines the child and tries things there; what went other than expected comes back as
 * text. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include "worker/confine.h"
#include "fetch_help.h"
#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <netdb.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>

static struct {
    char dir[64];
    char secret[96]; /* a file of ours below /tmp, 0600 */
    char *ca;
    int tls_port;
    pid_t tls_server;
    sm_confined has;
} world;

typedef void body_fn(int out);

static void say(int out, const char *fmt, ...) {
    char text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (write(out, text, strlen(text)) < 0)
        _exit(3);
}

/* The call must fail with `want`. */
#define REFUSED(out, want, call)                                                                   \
    do {                                                                                           \
        errno = 0;                                                                                 \
        long got_ = (long)(call);                                                                  \
        if (got_ != -1 || errno != (want))                                                         \
            say(out, "%s: gave %ld (%s), expected %s\n", #call, got_, strerrorname_np(errno),      \
                strerrorname_np(want));                                                            \
    } while (0)
#define WORKS(out, condition)                                                                      \
    do {                                                                                           \
        errno = 0;                                                                                 \
        if (!(condition))                                                                          \
            say(out, "%s: does not work (%s)\n", #condition, strerror(errno));                     \
    } while (0)

static void tried(pid_t pid, int from) {
    char text[4000] = "";
    size_t n = 0;
    ssize_t got;
    int status;
    while (n < sizeof text - 1 && (got = read(from, text + n, sizeof text - 1 - n)) > 0)
        n += (size_t)got;
    close(from);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (n > 0)
        fail_msg("\n%s", text);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the confined process ended with status %#x", (unsigned)status);
}

/* Runs body in a confined child; fails with what it said. */
static void confined(body_fn *body, bool worker) {
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        sm_confined c;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(60);
        close(pair[0]);
        if (worker)
            sm_confine_worker(UINT64_C(64) << 30, 512, &c);
        else
            sm_confine_config(&c);
        body(pair[1]);
        _exit(0);
    }
    assert_true(pid > 0);
    close(pair[1]);
    tried(pid, pair[0]);
}

static void need(bool there) {
    if (!there)
        skip(); /* this kernel does not have it */
}

/* ---- what must fail ---- */

static void files_refused(int out) {
    REFUSED(out, EACCES, open("/etc/shadow", O_RDONLY));
    REFUSED(out, EACCES, open("/etc/passwd", O_RDONLY));
    REFUSED(out, EACCES, open(world.secret, O_RDONLY));
    REFUSED(out, EACCES, open("/root", O_RDONLY | O_DIRECTORY));
    REFUSED(out, EACCES, open("/", O_RDONLY | O_DIRECTORY));
    REFUSED(out, EACCES, open("/proc/self/../../etc/passwd", O_RDONLY));
    REFUSED(out, EACCES, open("/proc/self/root/etc/passwd", O_RDONLY));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/environ", (int)getppid());
    REFUSED(out, EACCES, open(path, O_RDONLY));
    snprintf(path, sizeof path, "/proc/%d/mem", (int)getppid());
    REFUSED(out, EACCES, open(path, O_RDONLY));
}

static void test_files(void **state) {
    (void)state;
    need(world.has.landlock > 0);
    confined(files_refused, true);
}

static void writing_refused(int out) {
    char made[128];
    snprintf(made, sizeof made, "%s/made", world.dir);
    REFUSED(out, EACCES, open(made, O_WRONLY | O_CREAT, 0600));
    REFUSED(out, EACCES, open(world.dir, O_TMPFILE | O_RDWR, 0600));
    REFUSED(out, EACCES, open(world.secret, O_WRONLY));
    REFUSED(out, EACCES, open(world.secret, O_RDWR | O_TRUNC));
    REFUSED(out, EACCES, open("/dev/null", O_WRONLY));
    REFUSED(out, EACCES, open("/proc/self/oom_score_adj", O_WRONLY));
    REFUSED(out, EACCES, syscall(SYS_open, made, O_CREAT, 0600));
    REFUSED(out, EACCES, creat(made, 0600));
    REFUSED(out, EACCES, unlink(world.secret));
    REFUSED(out, EACCES, rename(world.secret, made));
    REFUSED(out, EACCES, mkdir(made, 0700));
    REFUSED(out, EACCES, symlink("/etc/shadow", made));
    REFUSED(out, EACCES, link(world.secret, made));
    REFUSED(out, EACCES, mknod(made, S_IFIFO | 0600, 0));
    REFUSED(out, EACCES, truncate(world.secret, 0));
    REFUSED(out, EACCES, chmod(world.secret, 0666));
    REFUSED(out, EACCES, chown(world.secret, 0, 0));
    struct open_how {
        uint64_t flags, mode, resolve;
    } how = {O_WRONLY | O_CREAT, 0600, 0};
    REFUSED(out, ENOSYS, syscall(SYS_openat2, AT_FDCWD, made, &how, sizeof how));
}

static void processes_refused(int out) {
    char *argv[] = {"true", NULL}, *envp[] = {NULL};
    REFUSED(out, EPERM, execve("/bin/true", argv, envp));
    REFUSED(out, EPERM, execveat(AT_FDCWD, "/bin/true", argv, envp, 0));
    REFUSED(out, EPERM, syscall(SYS_fork));
    REFUSED(out, EPERM, syscall(SYS_vfork));
    REFUSED(out, EPERM, fork());
    REFUSED(out, EPERM, syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    REFUSED(out, EPERM, syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0));
    struct clone_args args = {.exit_signal = SIGCHLD};
    REFUSED(out, ENOSYS, syscall(SYS_clone3, &args, sizeof args));
    REFUSED(out, EPERM, ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
    REFUSED(out, EPERM, ptrace(PTRACE_TRACEME, 0, NULL, NULL));
    REFUSED(out, EPERM, kill(getppid(), 0));
    REFUSED(out, EPERM, kill(getppid(), SIGTERM));
    REFUSED(out, EPERM, kill(-1, SIGTERM));
    REFUSED(out, EPERM, syscall(SYS_tkill, getppid(), SIGTERM));
    REFUSED(out, EPERM, syscall(SYS_tgkill, getppid(), getppid(), SIGTERM));
    REFUSED(out, EPERM, syscall(SYS_pidfd_open, getppid(), 0));
    char here[8];
    struct iovec mine = {here, sizeof here}, theirs = {&world, sizeof here};
    REFUSED(out, EPERM, process_vm_readv(getppid(), &mine, 1, &theirs, 1, 0));
    REFUSED(out, EPERM, process_vm_writev(getppid(), &mine, 1, &theirs, 1, 0));
    REFUSED(out, EPERM, memfd_create("x", 0));
}

static void system_refused(int out) {
    REFUSED(out, EPERM, mount("none", "/mnt", "tmpfs", 0, NULL));
    REFUSED(out, EPERM, umount2("/mnt", MNT_DETACH));
    REFUSED(out, EPERM, unshare(CLONE_NEWUSER));
    REFUSED(out, EPERM, unshare(CLONE_NEWNS));
    REFUSED(out, EPERM, setns(0, 0));
    REFUSED(out, EPERM, chroot("/"));
    REFUSED(out, EPERM, syscall(SYS_keyctl, 0, 0, 0, 0, 0));
    REFUSED(out, EPERM, syscall(SYS_bpf, 0, NULL, 0));
    REFUSED(out, EPERM, syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    REFUSED(out, EPERM, syscall(SYS_io_uring_setup, 1, NULL));
    REFUSED(out, EPERM, syscall(SYS_userfaultfd, 0));
    REFUSED(out, EPERM, syscall(SYS_kexec_load, 0, 0, NULL, 0));
    REFUSED(out, EPERM, syscall(SYS_finit_module, -1, "", 0));
    REFUSED(out, EPERM, syscall(SYS_init_module, NULL, 0, ""));
    REFUSED(out, EPERM, syscall(SYS_setuid, 0));
    REFUSED(out, EPERM, syscall(SYS_setresgid, 0, 0, 0));
    REFUSED(out, EPERM, prctl(PR_SET_DUMPABLE, 1));
    REFUSED(out, EPERM, prctl(PR_SET_PDEATHSIG, 0));
    REFUSED(out, EPERM, syscall(SYS_personality, 0x0400000));
    const struct rlimit more = {100000, 100000};
    REFUSED(out, EPERM, setrlimit(RLIMIT_NOFILE, &more));
    REFUSED(out, EPERM, syscall(SYS_prlimit64, getppid(), RLIMIT_NOFILE, &more, NULL));
    REFUSED(out, EPERM, syscall(SYS_sched_setaffinity, 0, 0, NULL));
    REFUSED(out, ENOSYS, syscall(100000)); /* one of a kernel to come */
#ifndef SM_SANITIZED
    REFUSED(out, EPERM,
            mprotect((void *)((uintptr_t)&world & ~(uintptr_t)4095), 4096,
                     PROT_READ | PROT_WRITE | PROT_EXEC));
    WORKS(out, mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED);
#endif
}

static void sockets_refused(int out) {
    REFUSED(out, EAFNOSUPPORT, socket(AF_PACKET, SOCK_RAW, 0));
    REFUSED(out, EAFNOSUPPORT, socket(AF_UNIX, SOCK_STREAM, 0));
    REFUSED(out, EPERM, socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    REFUSED(out, EPERM, socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6));
    WORKS(out, socket(AF_NETLINK, SOCK_RAW, 9 /* audit */) == -1);
    int pair[2];
    WORKS(out, socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == -1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    WORKS(out, fd >= 0);
    REFUSED(out, EPERM, listen(fd, 1));
    char byte = 'x';
    WORKS(out, ioctl(2, TIOCSTI, &byte) == -1);
}

static void test_writing(void **state) {
    (void)state;
    need(world.has.seccomp);
    confined(writing_refused, true);
}

static void test_processes(void **state) {
    (void)state;
    need(world.has.seccomp);
    confined(processes_refused, true);
}

static void test_system(void **state) {
    (void)state;
    need(world.has.seccomp);
    confined(system_refused, true);
}

static void test_sockets(void **state) {
    (void)state;
    need(world.has.seccomp);
    confined(sockets_refused, true);
}

static void *refused_in_thread(void *arg) {
    int out = *(int *)arg;
    char *argv[] = {"true", NULL}, *envp[] = {NULL};
    REFUSED(out, EPERM, execve("/bin/true", argv, envp));
    if (world.has.landlock > 0)
        REFUSED(out, EACCES, open("/etc/passwd", O_RDONLY));
    return arg;
}

static void thread_bound(int out) {
    pthread_t thread;
    void *back = NULL;
    WORKS(out, pthread_create(&thread, NULL, refused_in_thread, &out) == 0);
    WORKS(out, pthread_join(thread, &back) == 0 && back == &out);
}

static void test_threads_are_bound(void **state) {
    (void)state;
    need(world.has.seccomp);
    confined(thread_bound, true);
}

/* ---- what must hold ---- */

static unsigned long long status_of(const char *key, int base) {
    char line[256];
    unsigned long long value = ~0ULL;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoull(line + strlen(key), NULL, base);
    if (f)
        fclose(f);
    return value;
}

static void standing(int out) {
    struct rlimit now;
    char score[16] = "";
    WORKS(out, status_of("NoNewPrivs:", 10) == 1);
    WORKS(out, !world.has.seccomp || status_of("Seccomp:", 10) == 2);
    WORKS(out, status_of("CapEff:", 16) == 0);
    WORKS(out, status_of("CapPrm:", 16) == 0);
    WORKS(out, status_of("CapInh:", 16) == 0);
    WORKS(out, getuid() != 0 || status_of("CapBnd:", 16) == 0);
    WORKS(out, prctl(PR_GET_DUMPABLE) == 0);
    WORKS(out, getrlimit(RLIMIT_CORE, &now) == 0 && now.rlim_max == 0);
    WORKS(out, getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_max <= 512);
    FILE *f = fopen("/proc/self/oom_score_adj", "r");
    WORKS(out, f && fgets(score, sizeof score, f) && atoi(score) == 1000);
#ifndef SM_SANITIZED
    WORKS(out, getrlimit(RLIMIT_FSIZE, &now) == 0 && now.rlim_max == 0);
    WORKS(out, getrlimit(RLIMIT_AS, &now) == 0 && now.rlim_max == UINT64_C(64) << 30);
    WORKS(out, mmap(NULL, (size_t)65 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                   MAP_FAILED);
#endif
}

static void test_standing(void **state) {
    (void)state;
    confined(standing, true);
}

/* A file that was open before stays as long as it is. */
static void test_no_file_grows(void **state) {
    (void)state;
#ifdef SM_SANITIZED
    skip();
#else
    int fd = open(world.secret, O_WRONLY | O_APPEND | O_CLOEXEC), status;
    pid_t pid = fork();
    if (pid == 0) {
        sm_confined c;
        sm_confine_worker(0, 0, &c);
        _exit(write(fd, "more", 4) == -1 && errno == EFBIG ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    close(fd);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
#endif
}

static size_t discard(char *p, size_t size, size_t n, void *ctx) {
    (void)p;
    (void)ctx;
    return size * n;
}

static CURLcode handshake(void) {
    char url[64];
    struct curl_blob ca = {world.ca, strlen(world.ca), CURL_BLOB_COPY};
    snprintf(url, sizeof url, "https://localhost:%d/", world.tls_port);
    CURL *easy = curl_easy_init();
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &ca);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, discard);
    CURLcode rc = curl_easy_perform(easy);
    curl_easy_cleanup(easy);
    return rc;
}

static bool reads(const char *path) {
    char byte;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, &byte, 1);
    if (fd >= 0)
        close(fd);
    return n == 1;
}

static void *in_thread(void *arg) {
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), 19);
    return getpriority(PRIO_PROCESS, 0) == 19 ? arg : NULL;
}

static volatile sig_atomic_t signalled;

static void on_usr2(int number) {
    signalled = number;
}

static void needs(int out) {
    pthread_t thread;
    void *back = NULL;
    WORKS(out, pthread_create(&thread, NULL, in_thread, out ? &out : NULL) == 0);
    WORKS(out, pthread_join(thread, &back) == 0 && back == &out);
    signal(SIGUSR2, on_usr2);
    WORKS(out, pthread_kill(pthread_self(), SIGUSR2) == 0 && signalled == SIGUSR2);
    struct addrinfo hint = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *found = NULL;
    WORKS(out, getaddrinfo("localhost", "443", &hint, &found) == 0 && found);
    WORKS(out, getaddrinfo("localhost", "https", &hint, &found) == 0 && found);
    CURLcode rc = handshake();
    if (rc != CURLE_OK)
        say(out, "a TLS handshake with a server here: %s\n", curl_easy_strerror(rc));
    WORKS(out, reads("/usr/share/zoneinfo/Europe/Berlin"));
    WORKS(out, reads("/proc/meminfo"));
    WORKS(out, reads("/proc/self/mountinfo"));
    WORKS(out, reads("/proc/stat"));
    WORKS(out, reads("/proc/net/dev"));
    WORKS(out, reads("/proc/net/tcp"));
    WORKS(out, reads("/proc/sys/fs/file-nr"));
    WORKS(out, reads("/etc/hosts"));
    WORKS(out, reads("/etc/resolv.conf") || errno == ENOENT);
    WORKS(out, reads("/etc/ssl/certs/ca-certificates.crt"));
    WORKS(out, reads("/sys/devices/system/cpu/online"));
    struct statvfs fs;
    WORKS(out, statvfs("/", &fs) == 0);
    DIR *dir = opendir("/proc");
    WORKS(out, dir && readdir(dir));
    WORKS(out, malloc(1 << 20) && calloc(1, 40 << 20));
}

static void test_needs(void **state) {
    (void)state;
    confined(needs, true);
}

static void config_alone(int out) {
    int fd = open(world.secret, O_RDONLY);
    WORKS(out, fd >= 0);
    REFUSED(out, EPERM, socket(AF_INET, SOCK_STREAM, 0));
    REFUSED(out, EACCES, open(world.secret, O_WRONLY));
    char *argv[] = {"true", NULL}, *envp[] = {NULL};
    REFUSED(out, EPERM, execve("/bin/true", argv, envp));
    REFUSED(out, EPERM, kill(getppid(), 0));
}

static void test_config(void **state) {
    (void)state;
    need(world.has.seccomp);
    confined(config_alone, false);
}

/* ---- replaced files ---- */

static void test_stale(void **state) {
    (void)state;
    need(world.has.landlock > 0);
    char path[96], other[96], byte = 0;
    int status, go[2], done[2];
    snprintf(path, sizeof path, "%s/bundle.pem", world.dir);
    snprintf(other, sizeof other, "%s/bundle.new", world.dir);
    close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    close(open(other, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(pipe(go) | pipe(done), 0);
    pid_t pid = fork();
    if (pid == 0) {
        sm_confined c;
        setenv("SSL_CERT_FILE", path, 1);
        alarm(60);
        sm_confine_worker(0, 0, &c);
        int fd = open(path, O_RDONLY);
        bool ok = fd >= 0 && !sm_confine_stale(&c);
        (void)!write(done[1], ok ? "y" : "n", 1);
        (void)!read(go[0], &byte, 1);
        _exit(sm_confine_stale(&c) && open(path, O_RDONLY) == -1 ? 0 : 1);
    }
    assert_int_equal(read(done[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(rename(other, path), 0);
    assert_int_equal(write(go[1], "g", 1), 1);
    waitpid(pid, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_lacks(void **state) {
    (void)state;
    const sm_confined all = {.no_new_privs = true, .seccomp = true, .landlock = 2};
    const sm_confined none = {0};
    sm_confined no_landlock = all;
    no_landlock.landlock = 0;
    assert_null(sm_confine_lacks(&all, 0));
    assert_string_equal(sm_confine_lacks(&no_landlock, 0),
                        "this kernel has no Landlock: scripts' processes can read files that they "
                        "should not need");
    assert_null(sm_confine_lacks(&no_landlock, 1));
    assert_non_null(sm_confine_lacks(&none, 2));
    assert_null(sm_confine_lacks(&none, 3));
}

/* ---- setting up ---- */

/* A TLS server that answers 200 to whatever comes. */
static pid_t start_tls(const char *dir, int *port) {
    char cert[128], key[128];
    struct sockaddr_in sa = {.sin_family = AF_INET};
    socklen_t len = sizeof sa;
    snprintf(cert, sizeof cert, "%s/good.crt", dir);
    snprintf(key, sizeof key, "%s/good.key", dir);
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    assert_int_equal(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&sa, &len);
    *port = ntohs(sa.sin_port);
    pid_t pid = fork();
    if (pid == 0) {
        static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        char request[4096];
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        SSL_CTX_use_certificate_file(ctx, cert, SSL_FILETYPE_PEM);
        SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM);
        for (;;) {
            int one = accept(fd, NULL, NULL);
            SSL *ssl = SSL_new(ctx);
            SSL_set_fd(ssl, one);
            if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0)
                SSL_write(ssl, reply, sizeof reply - 1);
            SSL_shutdown(ssl);
            SSL_free(ssl);
            close(one);
        }
    }
    close(fd);
    return pid;
}

static int group_setup(void **state) {
    (void)state;
    snprintf(world.dir, sizeof world.dir, "/tmp/selfmon-confine-XXXXXX");
    assert_non_null(mkdtemp(world.dir));
    identity ca = make_cert(world.dir, "ca", NULL, "Test CA", NULL, -10, 3650);
    identity good = make_cert(world.dir, "good", &ca, "localhost", "DNS:localhost", -1, 40);
    free_identity(&good);
    free_identity(&ca);
    world.ca = read_text(world.dir, "ca.crt");
    snprintf(world.secret, sizeof world.secret, "%s/good.key", world.dir);
    world.tls_server = start_tls(world.dir, &world.tls_port);
    sm_confine_probe(&world.has);
    return 0;
}

static int group_teardown(void **state) {
    (void)state;
    stop_child(world.tls_server);
    remove_dir(world.dir);
    free(world.ca);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),     cmocka_unit_test(test_writing),
        cmocka_unit_test(test_processes), cmocka_unit_test(test_system),
        cmocka_unit_test(test_sockets),   cmocka_unit_test(test_threads_are_bound),
        cmocka_unit_test(test_standing),  cmocka_unit_test(test_no_file_grows),
        cmocka_unit_test(test_needs),     cmocka_unit_test(test_config),
        cmocka_unit_test(test_stale),     cmocka_unit_test(test_lacks),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
