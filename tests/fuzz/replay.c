/* replay: runs a fuzz target over the files of a directory, one TAP test a file. A file that breaks
 * something ends the process, so the plan on the first line is what shows that some are missing. */
#include "fuzz.h"
#include <dirent.h>
#include <string.h>

enum { FILE_MAX = 1 << 20 };

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Copies of exactly the file's length, so that a read behind its end is seen. */
static uint8_t *read_whole(const char *dir, const char *name, size_t *n) {
    char path[4096];
    static uint8_t room[FILE_MAX];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        exit(1);
    }
    *n = fread(room, 1, sizeof room, f);
    fclose(f);
    uint8_t *copy = malloc(*n ? *n : 1);
    if (copy)
        memcpy(copy, room, *n);
    return copy;
}

int main(int argc, char **argv) {
    char *names[4096];
    size_t count = 0;
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    if (!dir) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 64;
    }
    for (struct dirent *e = readdir(dir); e && count < 4096; e = readdir(dir))
        if (e->d_name[0] != '.')
            names[count++] = strdup(e->d_name);
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        size_t n;
        uint8_t *data = read_whole(argv[1], names[i], &n);
        fprintf(stderr, "# %s\n", names[i]);
        LLVMFuzzerTestOneInput(data, n);
        printf("ok %zu - %s\n", i + 1, names[i]);
        fflush(stdout);
        free(data);
        free(names[i]);
    }
    return count ? 0 : 1;
}
