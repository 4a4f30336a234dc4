/* hostdisks: what is mounted, and how full the real local file systems are.
 *
 * Reads the text of /proc/self/mountinfo (proc(5)) and asks statvfs only of local disks: network
 * and FUSE file systems may answer after minutes or never, so they are listed but not asked. Images
 * that are always full (squashfs, iso9660) and pseudo file systems are no disks. A device that is
 * mounted in several places (bind mounts, containers) counts once, at its own root if that is
 * mounted. Called by hostinfo; keeps no state.
 */
#include "worker/hostinfo.h"
#include "base/mem.h"
#include "base/str.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static const char *const local_types[] = {
    "ext2",  "ext3", "ext4",  "xfs",      "btrfs",  "zfs",     "bcachefs", "f2fs",
    "jfs",   "vfat", "exfat", "reiserfs", "nilfs2", "ntfs",    "ntfs3",    "fuseblk",
    "msdos", "hfs",  "udf",   "hfsplus",  "ufs",    "reiser4", "ubifs",    "jffs2",
};
static const char *const remote_types[] = {
    "nfs",   "nfs4", "cifs", "smb3",  "smbfs",  "ceph", "glusterfs", "lustre", "afs",
    "ncpfs", "9p",   "gfs2", "ocfs2", "beegfs", "gpfs", "virtiofs",  "davfs",  "orangefs",
};

static bool among(const char *word, const char *const *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(word, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* A container's root is an overlay; elsewhere overlays repeat a disk that is listed anyway. */
static const char *kind_of(const char *fstype, const char *mount) {
    if (among(fstype, local_types, SM_ARRAY_LEN(local_types)) ||
        (strcmp(fstype, "overlay") == 0 && strcmp(mount, "/") == 0)) {
        return "disk";
    }
    if (among(fstype, remote_types, SM_ARRAY_LEN(remote_types)) || sm_str_starts(fstype, "fuse.")) {
        return "remote";
    }
    return "pseudo";
}

/* Undoes \040 and the like in place. */
static void unescape(char *s) {
    char *o = s;
    for (; *s; s++, o++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
            s[3] >= '0' && s[3] <= '7') {
            *o = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
            s += 3;
        } else {
            *o = *s;
        }
    }
    *o = 0;
}

/* One line of mountinfo; the fields point into the line. */
typedef struct mount {
    char *dev;     /* major:minor */
    char *root;    /* of the mount within its file system */
    char *where;   /* mount point */
    char *options; /* per mount */
    char *fstype;
    char *source;
    char *super; /* options of the file system */
} mount;

/* Cuts the line in place; false when it is not as proc(5) says. */
static bool split(char *line, mount *m) {
    char *field[64], *f;
    size_t n = 0, dash = 0;
    while (n < SM_ARRAY_LEN(field) && (f = strsep(&line, " ")) != NULL) {
        if (strcmp(f, "-") == 0 && n >= 6 && dash == 0) {
            dash = n;
        }
        field[n++] = f;
    }
    if (dash == 0 || n < dash + 3) {
        return false;
    }
    *m = (mount){field[2],
                 field[3],
                 field[4],
                 field[5],
                 field[dash + 1],
                 field[dash + 2],
                 n > dash + 3 ? field[dash + 3] : field[5]};
    unescape(m->where);
    unescape(m->source);
    unescape(m->root);
    return true;
}

static bool has_option(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p += n) {
        if ((p == list || p[-1] == ',') && (p[n] == 0 || p[n] == ',')) {
            return true;
        }
    }
    return false;
}

static json_t *text_of(const char *s) {
    return sm_json_text(s, strlen(s));
}

/* read_only is the file system's own: a service that is kept from writing (ProtectSystem=strict, a
 * read-only container) sees disks mounted read-only which others fill. */
static json_t *describe(const mount *m) {
    json_t *o = json_object();
    json_object_set_new(o, "mount", text_of(m->where));
    json_object_set_new(o, "device", text_of(m->source));
    json_object_set_new(o, "fstype", text_of(m->fstype));
    json_object_set_new(o, "read_only", json_boolean(has_option(m->super, "ro")));
    return o;
}

typedef void mount_fn(void *ctx, const mount *m);

static void each_mount(const char *mountinfo, mount_fn *fn, void *ctx) {
    char *text = sm_strdup(mountinfo), *rest = text, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        mount m;
        if (split(line, &m)) {
            fn(ctx, &m);
        }
    }
    free(text);
}

static void add_mount(void *ctx, const mount *m) {
    json_t *o = describe(m);
    json_object_set_new(o, "read_only",
                        json_boolean(has_option(m->options, "ro") || has_option(m->super, "ro")));
    json_object_set_new(o, "options", text_of(m->options));
    json_object_set_new(o, "kind", json_string(kind_of(m->fstype, m->where)));
    json_array_append_new(ctx, o);
}

json_t *sm_hostdisks_mounts(const char *mountinfo) {
    json_t *list = json_array();
    each_mount(mountinfo, add_mount, list);
    return list;
}

/* Keeps the best mount of each device: {dev: {rank, index}} beside the list. */
typedef struct picker {
    json_t *chosen; /* object: major:minor -> description with "rank" and "path" */
} picker;

/* Lower is better: the file system's own root first, then the shorter mount point. */
static int64_t rank_of(const mount *m) {
    return (strcmp(m->root, "/") == 0 ? 0 : 1 << 20) + (int64_t)strlen(m->where);
}

static void pick_mount(void *ctx, const mount *m) {
    picker *p = ctx;
    if (strcmp(kind_of(m->fstype, m->where), "disk") != 0) {
        return;
    }
    const json_t *other = json_object_get(p->chosen, m->dev);
    if (other && sm_json_int(other, "rank", 0) <= rank_of(m)) {
        return;
    }
    struct stat st; /* a file of the host bound into a container is no disk of its own */
    if (stat(m->where, &st) != 0 || !S_ISDIR(st.st_mode)) {
        return;
    }
    json_t *o = describe(m);
    json_object_set_new(o, "rank", json_integer(rank_of(m)));
    json_object_set_new(p->chosen, m->dev, o);
}

/* Fills in how full it is; false when the file system does not say. */
static bool measure(json_t *o) {
    struct statvfs v;
    if (statvfs(sm_json_str(o, "mount", ""), &v) != 0 || v.f_blocks == 0) {
        return false;
    }
    int64_t unit = (int64_t)(v.f_frsize ? v.f_frsize : v.f_bsize);
    int64_t size = (int64_t)v.f_blocks * unit, free_all = (int64_t)v.f_bfree * unit;
    int64_t avail = (int64_t)v.f_bavail * unit, used = size - free_all;
    /* As df does: the part of what users may fill, so a full disk says 100 although root has more.
     */
    double whole = (double)used + (double)avail;
    json_object_set_new(o, "size", json_integer(size));
    json_object_set_new(o, "used", json_integer(used));
    json_object_set_new(o, "available", json_integer(avail));
    json_object_set_new(o, "percent", json_real(whole > 0 ? 100 * (double)used / whole : 0));
    if (v.f_files > 0) { /* btrfs and vfat count none */
        int64_t inodes = (int64_t)v.f_files, taken = inodes - (int64_t)v.f_ffree;
        json_object_set_new(o, "inodes", json_integer(inodes));
        json_object_set_new(o, "inodes_used", json_integer(taken));
        json_object_set_new(o, "inodes_percent", json_real(100 * (double)taken / (double)inodes));
    }
    return true;
}

static int by_mount(const void *a, const void *b) {
    return strcmp(sm_json_str(*(json_t *const *)a, "mount", ""),
                  sm_json_str(*(json_t *const *)b, "mount", ""));
}

json_t *sm_hostdisks_list(const char *mountinfo) {
    picker p = {json_object()};
    each_mount(mountinfo, pick_mount, &p);
    size_t n = 0;
    json_t **sorted = sm_calloc(json_object_size(p.chosen) + 1, sizeof(json_t *));
    const char *dev;
    json_t *o;
    json_object_foreach(p.chosen, dev, o) {
        json_object_del(o, "rank");
        if (measure(o)) {
            sorted[n++] = o;
        }
    }
    qsort(sorted, n, sizeof *sorted, by_mount);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append(list, sorted[i]);
    }
    free(sorted);
    json_decref(p.chosen);
    return list;
}
