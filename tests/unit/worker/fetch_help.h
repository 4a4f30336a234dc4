/* fetch_help: what the tests of fetch stand on: a temporary directory with certificates of our own,
 * an nginx and the misbehaving server on random ports, each stopped by its pid. Include after
 * cmocka.h. */
#pragma once
#include "base/mem.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef struct identity {
    X509 *cert;
    EVP_PKEY *key;
} identity;

/* A certificate for cn, signed by ca (NULL: by itself), valid from and to so many days from now;
 * written as dir/name.crt and dir/name.key. */
static inline identity make_cert(const char *dir, const char *name, const identity *ca,
                                 const char *cn, const char *san, int from_days, int to_days) {
    identity id = {X509_new(), EVP_EC_gen("P-256")};
    X509_NAME *subject = X509_get_subject_name(id.cert);
    char path[512];
    assert_non_null(id.key);
    X509_set_version(id.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), (long)(random() & 0xffffff) + 1);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), (long)from_days * 86400);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), (long)to_days * 86400);
    X509_set_pubkey(id.cert, id.key);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_UTF8, (const unsigned char *)"Tests", -1, -1,
                               0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(id.cert, ca ? X509_get_subject_name(ca->cert) : subject);
    const struct {
        int nid;
        const char *value;
    } ext[] = {{NID_basic_constraints, ca ? "CA:FALSE" : "critical,CA:TRUE"},
               {NID_subject_alt_name, san}};
    for (size_t i = 0; i < 2; i++) {
        if (!ext[i].value)
            continue;
        X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, ext[i].nid, ext[i].value);
        assert_non_null(e);
        X509_add_ext(id.cert, e, -1);
        X509_EXTENSION_free(e);
    }
    assert_true(X509_sign(id.cert, ca ? ca->key : id.key, EVP_sha256()) > 0);
    snprintf(path, sizeof(path), "%s/%s.crt", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    PEM_write_X509(f, id.cert);
    fclose(f);
    snprintf(path, sizeof(path), "%s/%s.key", dir, name);
    f = fopen(path, "w");
    assert_non_null(f);
    PEM_write_PrivateKey(f, id.key, NULL, NULL, 0, NULL, NULL);
    fclose(f);
    return id;
}

static inline void free_identity(identity *id) {
    X509_free(id->cert);
    EVP_PKEY_free(id->key);
}

/* n free loopback ports, distinct from each other. */
static inline void free_ports(int *ports, size_t n) {
    int fds[32];
    assert_true(n <= 32);
    for (size_t i = 0; i < n; i++) {
        struct sockaddr_in sa = {.sin_family = AF_INET};
        socklen_t len = sizeof(sa);
        sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
        getsockname(fds[i], (struct sockaddr *)&sa, &len);
        ports[i] = ntohs(sa.sin_port);
    }
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

static inline void wait_port(int port, pid_t pid) {
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 1000; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
        close(fd);
        if (rc == 0)
            return;
        if (waitpid(pid, NULL, WNOHANG) == pid)
            fail_msg("the server on port %d ended", port);
        nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    fail_msg("nothing listens on port %d", port);
}

static inline void stop_child(pid_t pid) {
    if (pid > 0) {
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
}

/* Starts nginx on conf (a whole file's text) in dir. */
static inline pid_t start_nginx(const char *dir, const char *conf, int port) {
    char path[512], prefix[512];
    snprintf(path, sizeof(path), "%s/nginx.conf", dir);
    snprintf(prefix, sizeof(prefix), "%s/", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(conf, f);
    fclose(f);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* a test that dies leaves nothing behind */
        execlp("nginx", "nginx", "-p", prefix, "-c", path, "-e", "stderr", (char *)NULL);
        execl("/usr/sbin/nginx", "nginx", "-p", prefix, "-c", path, "-e", "stderr", (char *)NULL);
        _exit(127);
    }
    wait_port(port, pid);
    return pid;
}

/* Starts tests/fakes/http_server.py; *port is what it printed. */
static inline pid_t start_fake(int *port) {
    int pipe_fd[2];
    char line[32] = "";
    assert_int_equal(pipe(pipe_fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(pipe_fd[1], 1);
        close(pipe_fd[0]);
        close(pipe_fd[1]);
        execl("/usr/bin/python3", "python3", SM_TEST_SOURCE "/tests/fakes/http_server.py",
              (char *)NULL);
        _exit(127);
    }
    close(pipe_fd[1]);
    FILE *f = fdopen(pipe_fd[0], "r");
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    *port = (int)strtol(line, NULL, 10);
    assert_true(*port > 0);
    return pid;
}

static inline char *read_text(const char *dir, const char *name) {
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char *text = sm_calloc(1, 65536);
    text[fread(text, 1, 65535, f)] = '\0';
    fclose(f);
    return text;
}

static inline void remove_dir(const char *dir) {
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", "--", dir, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
}
