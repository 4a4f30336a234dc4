/* fsx: what leads out is refused, nothing blocks, replacing is all or nothing, secrets have their
 * modes, and a walk survives hostile names. Works in a directory of its own under TMPDIR. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>
#include "base/fsx.h"
#include "base/fsx_internal.h"
#include "base/mem.h"
#include "base/str.h"

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static int enter(void **state) {
    const char *tmp = getenv("TMPDIR");
    char *dir = sm_asprintf("%s/fsx-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(dir) || chdir(dir)) {
        return -1;
    }
    *state = dir;
    return 0;
}

static int leave(void **state) {
    if (chdir("/")) {
        return -1;
    }
    nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(*state);
    return 0;
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void expect_read(const char *path, size_t max, sm_rc want, const char *text) {
    char *data = NULL;
    size_t n = 0;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_fsx_read(path, max, &data, &n, &err);
    if (rc != want || (rc && (data || err.code != want || !err.msg[0])) ||
        (!rc && (strcmp(data, text) != 0 || n != strlen(text)))) {
        fail_msg("%s: %s %s", path, sm_rc_name(rc), err.msg);
    }
    free(data);
}

static void test_read(void **state) {
    (void)state;
    put("a", "hello");
    put("empty", "");
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_equal(mkfifo("fifo", 0600), 0);
    assert_int_equal(symlink("a", "link"), 0);
    assert_int_equal(symlink("nowhere", "dangling"), 0);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "sock"};
    assert_int_equal(bind(s, (struct sockaddr *)&at, sizeof at), 0);
    expect_read("a", 5, SM_OK, "hello");
    expect_read("a", 4, SM_LIMIT, NULL);
    expect_read("a", 0, SM_LIMIT, NULL);
    expect_read("empty", 0, SM_OK, "");
    expect_read("link", 100, SM_OK, "hello");
    expect_read("absent", 100, SM_NOT_FOUND, NULL);
    expect_read("a/b", 100, SM_NOT_FOUND, NULL);
    expect_read("dangling", 100, SM_NOT_FOUND, NULL);
    expect_read("d", 100, SM_INVALID, NULL);
    expect_read("fifo", 100, SM_INVALID, NULL); /* and does not wait for a writer */
    expect_read("sock", 100, SM_INVALID, NULL);
    expect_read("/dev/zero", 100, SM_INVALID, NULL);
    expect_read("/proc/self/cmdline", 4, SM_LIMIT, NULL); /* its size is told as 0 */
    close(s);
}

static void expect_beneath(const char *rel, sm_rc want) {
    int fd = open("root", O_RDONLY | O_DIRECTORY);
    char *data = NULL;
    size_t n;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_fsx_read_beneath(fd, rel, 100, &data, &n, &err);
    if (rc != want || (rc && err.code != want)) {
        fail_msg("%s: %s %s", rel, sm_rc_name(rc), err.msg);
    }
    free(data);
    close(fd);
}

static void test_beneath(void **state) {
    (void)state;
    put("outside", "x");
    assert_int_equal(mkdir("root", 0700), 0);
    assert_int_equal(mkdir("root/d", 0700), 0);
    put("root/in", "x");
    put("root/d/deep", "x");
    static const char *const links[][2] = {
        {"in", "root/good"},         {"../in", "root/d/up"}, {"../outside", "root/out"},
        {"/etc/passwd", "root/abs"}, {"..", "root/dir_out"}, {"loop2", "root/loop1"},
        {"loop1", "root/loop2"},     {"d", "root/dir_in"},   {"/proc/self/root", "root/magic"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(links); i++) {
        assert_int_equal(symlink(links[i][0], links[i][1]), 0);
    }
    assert_int_equal(mkfifo("root/fifo", 0600), 0);
    expect_beneath("in", SM_OK);
    expect_beneath("good", SM_OK);
    expect_beneath("d/up", SM_OK);
    expect_beneath("d/../in", SM_OK);
    expect_beneath("dir_in/deep", SM_OK);
    expect_beneath("out", SM_DENIED);
    expect_beneath("abs", SM_DENIED);
    expect_beneath("dir_out/outside", SM_DENIED);
    expect_beneath("../outside", SM_DENIED);
    expect_beneath("/etc/passwd", SM_DENIED);
    expect_beneath("loop1", SM_DENIED);
    expect_beneath("magic/etc/passwd", SM_DENIED);
    expect_beneath("absent", SM_NOT_FOUND);
    expect_beneath("d", SM_INVALID);
    expect_beneath("fifo", SM_INVALID);
}

/* Names in the working directory, hidden ones too. */
static int count_names(void) {
    int count = 0;
    DIR *d = opendir(".");
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d)) {
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    }
    closedir(d);
    return count;
}

static void test_replace(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    if (sm_fsx_replace("f", "one", 3, 0640, &err)) {
        fail_msg("%s", err.msg);
    }
    expect_read("f", 100, SM_OK, "one");
    struct stat st;
    assert_int_equal(stat("f", &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    ino_t old = st.st_ino;
    int held = open("f", O_RDONLY);
    assert_int_equal(sm_fsx_replace("f", "", 0, 0600, &err), SM_OK);
    expect_read("f", 100, SM_OK, "");
    char buf[8];
    assert_int_equal(read(held, buf, sizeof buf), 3); /* a reader keeps the whole old text */
    close(held);
    assert_int_equal(stat("f", &st), 0);
    assert_int_not_equal(st.st_ino, old);
    assert_int_equal(count_names(), 1);
    assert_int_equal(sm_fsx_replace("no/such/f", "x", 1, 0600, &err), SM_NOT_FOUND);
    assert_int_equal(mkdir("d", 0700), 0);
    assert_int_not_equal(sm_fsx_replace("d", "x", 1, 0600, &err), SM_OK);
    assert_int_equal(count_names(), 2); /* nothing is left behind */
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    assert_int_equal(sm_fsx_replace(name, "x", 1, 0600, &err), SM_OK);
    assert_int_equal(remove(name), 0);
    /* A file size limit stands for a full disk: the old text stays whole. */
    put("f", "old");
    struct rlimit was, small = {10, 10};
    getrlimit(RLIMIT_FSIZE, &was);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    sm_rc rc = sm_fsx_replace("f", "0123456789abcdef", 16, 0600, &err);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_not_equal(rc, SM_OK);
    expect_read("f", 100, SM_OK, "old");
    assert_int_equal(count_names(), 2);
}

static void test_private_dir(void **state) {
    (void)state;
    sm_err err = SM_ERR_INIT;
    struct stat st;
    assert_int_equal(sm_fsx_private_dir("p", &err), SM_OK);
    assert_int_equal(stat("p", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(sm_fsx_private_dir("p", &err), SM_OK);
    assert_int_equal(symlink("p", "link"), 0);
    assert_int_equal(sm_fsx_private_dir("link", &err), SM_DENIED);
    put("file", "");
    assert_int_not_equal(sm_fsx_private_dir("file", &err), SM_OK);
    assert_int_equal(sm_fsx_private_dir("no/such", &err), SM_NOT_FOUND);
    assert_int_equal(chmod("p", 0777), 0);
    assert_int_equal(sm_fsx_private_dir("p", &err), SM_DENIED);
}

static void expect_secret(const char *path, bool trim, sm_rc want, const char *text) {
    char *data = NULL;
    size_t n = 0;
    sm_err err = SM_ERR_INIT;
    sm_rc rc = sm_fsx_read_secret(path, 100, trim, &data, &n, &err);
    if (rc != want || (text && rc == SM_OK && strcmp(data, text) != 0) ||
        (text && rc && !strstr(err.msg, text))) {
        fail_msg("%s: %s %s", path, sm_rc_name(rc), rc ? err.msg : data);
    }
    free(data);
}

static void test_secret(void **state) {
    (void)state;
    struct statfs fs;
    assert_int_equal(statfs(".", &fs), 0);
    if (fs.f_type == 0x01021994) {
        print_message("the temporary directory is a tmpfs, where modes do not count\n");
        skip();
    }
    put("s", "value\n");
    expect_secret("s", true, SM_OK, "value");
    expect_secret("s", false, SM_OK, "value\n");
    put("crlf", "value\r\n");
    expect_secret("crlf", true, SM_OK, "value");
    put("two", "value\n\n");
    expect_secret("two", true, SM_OK, "value\n");
    put("none", "");
    expect_secret("none", true, SM_OK, "");
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0601};
    for (size_t i = 0; i < SM_ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod("s", modes[i]), 0);
        expect_secret("s", true, SM_DENIED, "run: chmod 600 s");
    }
    assert_int_equal(chmod("s", 0400), 0);
    expect_secret("s", true, SM_OK, "value");
    assert_int_equal(symlink("s", "link"), 0);
    expect_secret("link", true, SM_DENIED, "symbolic link");
    assert_int_equal(mkfifo("fifo", 0600), 0);
    expect_secret("fifo", true, SM_INVALID, "not a regular file");
    expect_secret("absent", true, SM_NOT_FOUND, NULL);
    if (geteuid() == 0) {
        assert_int_equal(chown("s", 12345, 0), 0);
        expect_secret("s", true, SM_DENIED, "belongs to another user");
    }
}

/* Kubernetes' layout on tmpfs: x -> ..data/x -> ..1/x, readable by all. */
static void test_secret_on_tmpfs(void **state) {
    (void)state;
    struct statfs fs;
    char dir[] = "/dev/shm/fsx-XXXXXX";
    if (statfs("/dev/shm", &fs) || fs.f_type != 0x01021994 || !mkdtemp(dir)) {
        skip();
    }
    assert_int_equal(chdir(dir), 0);
    assert_int_equal(mkdir("..1", 0755), 0);
    put("..1/token", "value\n");
    assert_int_equal(chmod("..1/token", 0644), 0);
    assert_int_equal(symlink("..1", "..data"), 0);
    assert_int_equal(symlink("..data/token", "token"), 0);
    assert_int_equal(symlink("/etc/hostname", "out"), 0);
    expect_secret("token", true, SM_OK, "value");
    expect_secret("out", true, SM_DENIED, "symbolic link");
    assert_int_equal(chdir(*state), 0);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_paths(void **state) {
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"/", "/"},
        {"//", "/"},
        {"/a/b", "/a/b"},
        {"/a//b/", "/a/b"},
        {"/a/./b", "/a/b"},
        {"/a/../b", "/b"},
        {"/../..", "/"},
        {"/a/b/..", "/a"},
        {"/a/..", "/"},
        {"/..a/b..", "/..a/b.."},
        {"/a/.../b", "/a/.../b"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        char *out = sm_fsx_absolute(rows[i].in);
        assert_string_equal(out, rows[i].out);
        free(out);
    }
    char *cwd = getcwd(NULL, 0);
    char *want = sm_asprintf("%s/x/z", cwd);
    char *out = sm_fsx_absolute("./x/y/../z");
    assert_string_equal(out, want);
    free(out);
    out = sm_fsx_absolute("");
    assert_string_equal(out, cwd);
    free(out);
    free(want);
    free(cwd);
    static const struct {
        const char *path, *dir, *base;
    } parts[] = {{"a", ".", "a"},     {"/a", "/", "a"},   {"a/b", "a", "b"},
                 {"/a/b", "/a", "b"}, {"a//b", "a", "b"}, {"//b", "/", "b"}};
    for (size_t i = 0; i < SM_ARRAY_LEN(parts); i++) {
        out = sm_fsx_dirname(parts[i].path);
        assert_string_equal(out, parts[i].dir);
        assert_string_equal(sm_fsx_basename(parts[i].path), parts[i].base);
        free(out);
    }
    static const struct {
        const char *a, *b, *out;
    } joins[] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"a", "/b", "/b"},
                 {"", "b", "b"},    {"a", "", "a"},     {"/", "b", "/b"}};
    for (size_t i = 0; i < SM_ARRAY_LEN(joins); i++) {
        out = sm_fsx_join(joins[i].a, joins[i].b);
        assert_string_equal(out, joins[i].out);
        free(out);
    }
    assert_true(sm_fsx_is_dir(*state));
    assert_false(sm_fsx_is_dir("absent"));
    assert_false(sm_fsx_exists("absent"));
    put("here", "");
    assert_true(sm_fsx_exists("here"));
    assert_false(sm_fsx_is_dir("here"));
}

/* What is opened, or why not, must not depend on who walks the path. */
static void test_steps(void **state) {
    (void)state;
    put("outside", "x");
    assert_int_equal(mkdir("root", 0700), 0);
    assert_int_equal(mkdir("root/d", 0700), 0);
    assert_int_equal(mkdir("root/d/e", 0700), 0);
    put("root/in", "x");
    put("root/d/deep", "x");
    static const char *const links[][2] = {
        {"in", "root/good"},
        {"../in", "root/d/up"},
        {"../outside", "root/out"},
        {"/etc", "root/abs"},
        {"..", "root/dir_out"},
        {"loop2", "root/loop1"},
        {"loop1", "root/loop2"},
        {"d", "root/dir_in"},
        {"nowhere", "root/dangling"},
        {"d/../d/./e", "root/far"},
        {"good", "root/twice"},
        {"../../d/../in", "root/d/e/back"},
        {"in/x", "root/notdir"},
        {"dir_in/e", "root/chain"},
        {"../../../outside", "root/d/e/over"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(links); i++)
        assert_int_equal(symlink(links[i][0], links[i][1]), 0);
    static const char *const paths[] = {
        ".",           "",          "in",           "good",     "twice",     "d/up",    "d/../in",
        "dir_in/deep", "far/back",  "chain/back",   "d/e/back", "d/e/over",  "out",     "abs",
        "abs/passwd",  "/in",       "dir_out/root", "..",       "d/../..",   "loop1",   "dangling",
        "absent",      "absent/in", "in/x",         "notdir",   "far/../up", "./d/./e", "d//e",
        "dir_in/.."};
    static const int flags[] = {O_RDONLY | O_NONBLOCK, O_PATH, O_PATH | O_NOFOLLOW,
                                O_RDONLY | O_DIRECTORY};
    int root = open("root", O_RDONLY | O_DIRECTORY);
    for (size_t i = 0; i < SM_ARRAY_LEN(paths); i++)
        for (size_t k = 0; k < SM_ARRAY_LEN(flags); k++) {
            struct stat a = {0}, b = {0};
            int one =
                sm_fsx_openat2(root, paths[i], flags[k], RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
            int why_one = one < 0 ? errno : 0;
            int two = sm_fsx_open_steps(root, paths[i], flags[k]);
            int why_two = two < 0 ? errno : 0;
            if (one >= 0 && two >= 0 && (fstat(one, &a) || fstat(two, &b)))
                fail();
            if (why_one != why_two || a.st_ino != b.st_ino || a.st_dev != b.st_dev)
                fail_msg("%s (flags %zu): %s, by steps %s", paths[i], k, strerror(why_one),
                         strerror(why_two));
            if (one >= 0)
                close(one);
            if (two >= 0)
                close(two);
        }
    close(root);
    int next = open("root", O_PATH);
    assert_int_equal(next, root); /* the lowest that is free: none was left open */
    close(next);
}

static void test_look(void **state) {
    (void)state;
    put("outside", "x");
    assert_int_equal(mkdir("root", 0700), 0);
    assert_int_equal(mkdir("root/d", 0700), 0);
    put("root/d/a.lua", "123");
    assert_int_equal(symlink("d/a.lua", "root/l.lua"), 0);
    assert_int_equal(symlink("d", "root/ld"), 0);
    assert_int_equal(symlink("../outside", "root/out.lua"), 0);
    assert_int_equal(mkfifo("root/fifo.lua", 0600), 0);
    static const struct {
        const char *rel;
        sm_rc rc;
        bool linked;
    } rows[] = {{"d/a.lua", SM_OK, false},          {"l.lua", SM_OK, true},
                {"ld/a.lua", SM_OK, false},         {"gone.lua", SM_NOT_FOUND, false},
                {"d/a.lua/x", SM_NOT_FOUND, false}, {"out.lua", SM_DENIED, false},
                {"fifo.lua", SM_INVALID, false},    {"d", SM_INVALID, false}};
    int root = open("root", O_PATH | O_DIRECTORY);
    for (size_t i = 0; i < SM_ARRAY_LEN(rows); i++) {
        sm_fsx_entry e = {0};
        if (sm_fsx_look(root, rows[i].rel, &e) != rows[i].rc || e.linked != rows[i].linked)
            fail_msg("%s", rows[i].rel);
        if (rows[i].rc == SM_OK)
            assert_int_equal(e.size, 3);
        free(e.rel);
    }
    close(root);
}

static char warnings[8192];

static void collect(void *ctx, const char *sentence) {
    (*(int *)ctx)++;
    size_t n = strlen(warnings);
    snprintf(warnings + n, sizeof warnings - n, "%s\n", sentence);
    assert_true(sm_utf8_valid(sentence, strlen(sentence)) && !strchr(sentence, '\n'));
}

static void test_walk(void **state) {
    (void)state;
    put("outside.lua", "x");
    assert_int_equal(mkdir("root", 0700), 0);
    assert_int_equal(mkdir("root/b", 0700), 0);
    assert_int_equal(mkdir("root/.hidden", 0700), 0);
    assert_int_equal(mkdir("root/dir.lua", 0700), 0);
    put("root/z.lua", "12345");
    put("root/a.lua", "x");
    put("root/b/c.lua", "x");
    put("root/dir.lua/in.lua", "x");
    put("root/gr\xC3\xBC\xC3\x9F.lua", "x");
    put("root/with blank.lua", "x");
    put("root/new\nline.lua", "x");
    put("root/r\xE2\x80\xAEtl.lua", "x");
    put("root/zero\xE2\x80\x8Bwidth.lua", "x");
    put("root/bom\xEF\xBB\xBF.lua", "x");
    put("root/next\xC2\x85.lua", "x");
    assert_int_equal(mkdir("root/tab\tfolder", 0700), 0);
    put("root/tab\tfolder/x.lua", "x");
    put("root/bad\xFFname.lua", "x");
    put("root/bad\xFFname.txt", "x");
    put("root/note.txt", "x");
    put("root/.h.lua", "x");
    put("root/.hidden/x.lua", "x");
    assert_int_equal(mkfifo("root/fifo.lua", 0600), 0);
    static const char *const links[][2] = {
        {"a.lua", "root/link.lua"},
        {"../outside.lua", "root/out.lua"},
        {"/etc/passwd", "root/abs.lua"},
        {"nowhere", "root/dangling.lua"},
        {"loop.lua", "root/loop.lua"},
        {".", "root/self"},
        {"..", "root/b/up"},
        {"/", "root/world"},
        {"/dev/zero", "root/dev.lua"},
    };
    for (size_t i = 0; i < SM_ARRAY_LEN(links); i++) {
        assert_int_equal(symlink(links[i][0], links[i][1]), 0);
    }
    sm_fsx_entry *e = NULL;
    size_t n = 0;
    int warned = 0;
    const sm_fsx_told told = {.warn = collect, .ctx = &warned};
    sm_err err = SM_ERR_INIT;
    warnings[0] = '\0';
    if (sm_fsx_walk("root", ".lua", 100, &e, &n, &told, &err)) {
        fail_msg("%s", err.msg);
    }
    static const char *const want[] = {
        "a.lua",    "b/c.lua",        "dir.lua/in.lua", "gr\xC3\xBC\xC3\x9F.lua",
        "link.lua", "with blank.lua", "z.lua"};
    for (size_t i = 0; i < n; i++) {
        if (i >= SM_ARRAY_LEN(want) || strcmp(e[i].rel, want[i]) != 0) {
            fail_msg("%s", e[i].rel);
        }
        assert_true(e[i].regular);
    }
    assert_int_equal(n, SM_ARRAY_LEN(want));
    struct stat st;
    assert_int_equal(stat("root/z.lua", &st), 0);
    assert_int_equal(e[6].size, 5);
    assert_true(e[6].ino == st.st_ino && e[6].dev == st.st_dev);
    assert_true(e[6].mtime_ns / 1000000000 == st.st_mtim.tv_sec);
    assert_true(e[4].ino == e[0].ino && e[4].linked && !e[0].linked);
    static const char *const say[] = {"bad\xEF\xBF\xBDname.lua has a name that is not UTF-8",
                                      "new\\nline.lua has a name with control",
                                      "r\\u202etl.lua has a name with control",
                                      "zero\xEF\xBF\xBDwidth.lua has a name with",
                                      "bom\xEF\xBF\xBD.lua has a name with",
                                      "next\\x85.lua has a name with control",
                                      "tab\\tfolder has a name with control",
                                      "fifo.lua is not a regular file",
                                      "out.lua is a link that leads out",
                                      "abs.lua is a link that leads out",
                                      "dangling.lua is a link that leads nowhere",
                                      "loop.lua is a link that leads nowhere",
                                      "self is a link to a folder above it",
                                      "b/up is a link to a folder above it",
                                      "world is a link that leads out",
                                      "dev.lua is a link that leads out"};
    for (size_t i = 0; i < SM_ARRAY_LEN(say); i++) {
        if (!strstr(warnings, say[i])) {
            fail_msg("not told: %s\n%s", say[i], warnings);
        }
    }
    assert_int_equal(warned, SM_ARRAY_LEN(say));
    sm_fsx_entries_free(e, n);
    assert_int_equal(sm_fsx_walk("root", ".lua", 7, &e, &n, NULL, &err), SM_OK);
    sm_fsx_entries_free(e, n);
    assert_int_equal(sm_fsx_walk("root", ".lua", 6, &e, &n, NULL, &err), SM_LIMIT);
    assert_null(e);
    assert_int_equal(sm_fsx_walk("absent", ".lua", 7, &e, &n, NULL, &err), SM_NOT_FOUND);
    assert_int_equal(sm_fsx_walk("outside.lua", ".lua", 7, &e, &n, NULL, &err), SM_NOT_FOUND);
}

/* Root reads everything, so this is for the ordinary user of a build. */
static void test_denied(void **state) {
    (void)state;
    if (geteuid() == 0) {
        skip();
    }
    put("closed", "x");
    assert_int_equal(mkdir("root", 0700), 0);
    assert_int_equal(mkdir("root/d", 0700), 0);
    put("root/d/x.lua", "x");
    assert_int_equal(chmod("closed", 0), 0);
    assert_int_equal(chmod("root/d", 0), 0);
    expect_read("closed", 100, SM_DENIED, NULL);
    sm_fsx_entry *e;
    size_t n;
    int warned = 0;
    const sm_fsx_told told = {.warn = collect, .ctx = &warned};
    warnings[0] = '\0';
    assert_int_equal(sm_fsx_walk("root", ".lua", 100, &e, &n, &told, NULL), SM_OK);
    assert_int_equal(n, 0);
    assert_non_null(strstr(warnings, "d is a folder that cannot be read"));
    sm_fsx_entries_free(e, n);
    assert_int_equal(chmod("root/d", 0700), 0);
}

static void test_walk_deep(void **state) {
    assert_int_equal(mkdir("root", 0700), 0);
    assert_int_equal(chdir("root"), 0);
    for (int i = 0; i < 40; i++) {
        char name[2] = {'d', '\0'};
        assert_int_equal(mkdir(name, 0700), 0);
        assert_int_equal(chdir(name), 0);
        put("x.lua", "");
    }
    assert_int_equal(chdir(*state), 0);
    sm_fsx_entry *e;
    size_t n;
    int warned = 0;
    const sm_fsx_told told = {.warn = collect, .ctx = &warned};
    warnings[0] = '\0';
    assert_int_equal(sm_fsx_walk("root", ".lua", 100, &e, &n, &told, NULL), SM_OK);
    assert_int_equal(n, 32);
    assert_int_equal(warned, 1);
    assert_non_null(strstr(warnings, "deeper than 32 folders"));
    sm_fsx_entries_free(e, n);
}

int main(void) {
#define IN_DIR(f) cmocka_unit_test_setup_teardown(f, enter, leave)
    const struct CMUnitTest tests[] = {
        IN_DIR(test_read),        IN_DIR(test_beneath), IN_DIR(test_replace),
        IN_DIR(test_private_dir), IN_DIR(test_secret),  IN_DIR(test_secret_on_tmpfs),
        IN_DIR(test_paths),       IN_DIR(test_walk),    IN_DIR(test_walk_deep),
        IN_DIR(test_steps),       IN_DIR(test_look),    IN_DIR(test_denied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
