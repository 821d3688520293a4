/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main() for fuzz targets without libFuzzer. It gives the target every file of the corpus, then
 * mutations of them, the same ones on every run. It does not look at coverage; it keeps the targets
 * and their assertions alive in every build. Options are libFuzzer's, as far as they go:
 *
 *     fuzz_NAME [-runs=N] [-max_total_time=SECONDS] [-max_len=BYTES] [-seed=N]
 *               [-artifact_prefix=P] FILE|DIR...
 *
 * The current input lies in P"current-NAME", and stays there if the process dies.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/units.h"
#include "fuzz.h"

enum { MAX_SEEDS = 1024, FILE_LIMIT_BYTES = 4 * 1024 * 1024, MAX_MUTATIONS = 6 };

struct options {
    uint64_t runs, seed, max_total_time_s, max_len_bytes;
    const char *artifact_prefix;
};

struct seed {
    uint8_t *data;
    size_t size;
};

static struct seed seeds[MAX_SEEDS];
static size_t seed_count;
static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static size_t below(size_t limit)
{
    return (size_t)(next_random() % limit);
}

static void add_file(const char *path)
{
    void *content = NULL;
    size_t bytes = 0;
    struct blx_error err = {0};
    if (seed_count == MAX_SEEDS ||
        blx_file_read(path, FILE_LIMIT_BYTES, &content, &bytes, &err) < 0) {
        fprintf(stderr, "%s\n", seed_count == MAX_SEEDS ? "too many seeds" : err.message);
        exit(1);
    }
    seeds[seed_count].data = fuzz_copy(content, bytes);
    seeds[seed_count++].size = bytes;
    free(content);
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_path(const char *path)
{
    struct stat st;
    struct dirent **names = NULL;
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode)) {
        add_file(path);
        return;
    }
    int count = scandir(path, &names, NULL, compare_names);
    if (count < 0) {
        fprintf(stderr, "cannot read the corpus '%s': %s\n", path, strerror(errno));
        exit(1);
    }
    for (int i = 0; i < count; i++) {
        char file[PATH_MAX];
        if (names[i]->d_name[0] != '.' &&
            blx_path_format(file, sizeof(file), NULL, "%s/%s", path, names[i]->d_name) == 0)
            add_file(file);
        free(names[i]);
    }
    free(names);
}

/* A number at an edge of some type or range. */
static uint64_t edge_number(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     2,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0x1000,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     INT64_MAX,
                                     (uint64_t)INT64_MIN,
                                     UINT64_MAX};
    return edges[below(sizeof(edges) / sizeof(edges[0]))] + (below(4) == 0 ? below(5) - 2 : 0);
}

static size_t insert(uint8_t *data, size_t size, size_t limit, const uint8_t *from, size_t bytes)
{
    size_t at = below(size + 1);
    if (bytes > limit - size)
        bytes = limit - size;
    memmove(data + at + bytes, data + at, size - at);
    memcpy(data + at, from, bytes);
    return size + bytes;
}

static size_t mutate(uint8_t *data, size_t size, size_t limit)
{
    static const size_t widths[] = {1, 2, 4, 8};
    const struct seed *other = &seeds[below(seed_count)];
    uint64_t number = below(2) == 0 ? edge_number() : next_random();
    size_t width = widths[below(4)];
    size_t kind = size == 0 ? 5 : below(7);
    size_t at = size == 0 ? 0 : below(size);
    switch (kind) {
    case 0:
        data[at] ^= (uint8_t)(1U << below(8));
        return size;
    case 1: /* a number, anywhere or where numbers lie */
    case 2:
        at &= kind == 1 ? SIZE_MAX : ~(size_t)3;
        memcpy(data + at, &number, width < size - at ? width : size - at);
        return size;
    case 3: /* a piece is gone */
        width = 1 + below(size - at);
        width = below(2) == 0 && width > 8 ? 8 : width;
        memmove(data + at, data + at + width, size - at - width);
        return size - width;
    case 4: /* it ends early */
        return at;
    case 5: /* a piece of another one, or of itself, comes in */
        if (other->size == 0)
            return insert(data, size, limit, (const uint8_t *)&number, width);
        at = below(other->size);
        return insert(data, size, limit, other->data + at, 1 + below(other->size - at));
    default: /* a piece of another one lies over it */
        if (other->size > at) {
            width = 1 + below((other->size < size ? other->size : size) - at);
            memcpy(data + at, other->data + at, width);
        }
        return size;
    }
}

/* Memory that outlives the process: a file. */
static uint8_t *map_current(const struct options *options, const char *program, int *fd,
                            char path[PATH_MAX])
{
    const char *name = strrchr(program, '/') != NULL ? strrchr(program, '/') + 1 : program;
    FUZZ_ASSERT(
        blx_path_format(path, PATH_MAX, NULL, "%scurrent-%s", options->artifact_prefix, name) == 0);
    *fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *memory = MAP_FAILED;
    if (*fd >= 0 && ftruncate(*fd, FILE_LIMIT_BYTES) == 0)
        memory = mmap(NULL, FILE_LIMIT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
    if (memory == MAP_FAILED) {
        fprintf(stderr, "cannot use '%s': %s\n", path, strerror(errno));
        exit(1);
    }
    return memory;
}

/* The file gets the input's size first, so that nothing follows the input if the process dies. */
static void run_one(const uint8_t *data, size_t size, uint8_t *current, int fd)
{
    FUZZ_ASSERT(ftruncate(fd, (off_t)size) == 0);
    if (size > 0)
        memcpy(current, data, size);
    uint8_t *copy = fuzz_copy(data, size);
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

static uint64_t run_mutations(const struct options *options, uint8_t *current, int fd)
{
    uint64_t end_ns = blx_clock_ns() + options->max_total_time_s * UINT64_C(1000000000);
    BLX_CLEANUP_FREE uint8_t *data = malloc(options->max_len_bytes);
    uint64_t run = 0;
    FUZZ_ASSERT(data != NULL);
    for (; run < options->runs && blx_clock_ns() < end_ns; run++) {
        const struct seed *seed = &seeds[run % seed_count];
        size_t size = seed->size < options->max_len_bytes ? seed->size : options->max_len_bytes;
        if (size > 0)
            memcpy(data, seed->data, size);
        for (size_t left = 1 + below(MAX_MUTATIONS); left > 0; left--)
            size = mutate(data, size, options->max_len_bytes);
        run_one(data, size, current, fd);
    }
    return run;
}

static bool take_number(const char *word, const char *name, uint64_t *value)
{
    size_t length = strlen(name);
    if (strncmp(word, name, length) != 0)
        return false;
    *value = strtoull(word + length, NULL, 10);
    return true;
}

static void take_word(const char *word, struct options *options)
{
    static const char prefix[] = "-artifact_prefix=";
    if (word[0] != '-')
        add_path(word);
    else if (strncmp(word, prefix, sizeof(prefix) - 1) == 0)
        options->artifact_prefix = word + sizeof(prefix) - 1;
    else if (!take_number(word, "-runs=", &options->runs) &&
             !take_number(word, "-seed=", &options->seed) &&
             !take_number(word, "-max_len=", &options->max_len_bytes) &&
             !take_number(word, "-max_total_time=", &options->max_total_time_s)) {
        fprintf(stderr, "unknown option '%s'\n", word);
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct options options = {
        .seed = 1, .max_total_time_s = 60, .max_len_bytes = 65536, .artifact_prefix = ""};
    char path[PATH_MAX];
    int fd = -1;
    for (int i = 1; i < argc; i++)
        take_word(argv[i], &options);
    if (seed_count == 0 || options.max_len_bytes == 0 || options.max_len_bytes > FILE_LIMIT_BYTES) {
        fprintf(stderr,
                "usage: %s [-runs=N] [-max_total_time=S] [-max_len=BYTES] [-seed=N] "
                "[-artifact_prefix=P] CORPUS...\n",
                argv[0]);
        return 2;
    }
    uint8_t *current = map_current(&options, argv[0], &fd, path);
    random_state = options.seed;
    for (size_t i = 0; i < seed_count; i++)
        run_one(seeds[i].data, seeds[i].size, current, fd);
    uint64_t runs = run_mutations(&options, current, fd);
    printf("%zu files of the corpus, %" PRIu64 " mutations\n", seed_count, runs);
    munmap(current, FILE_LIMIT_BYTES);
    close(fd);
    unlink(path);
    for (size_t i = 0; i < seed_count; i++)
        free(seeds[i].data);
    return 0;
}
