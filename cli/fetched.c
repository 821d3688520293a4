/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fetched.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/program.h"

/* How each command reads. */
static const struct {
    uint64_t commands;
    const char *word;
} readers[] = {
    {BLX_COMMAND_SHOW, "fetch-lists"},
    {BLX_COMMAND_INFO | BLX_COMMAND_MOUNT | BLX_COMMAND_FILES | BLX_COMMAND_BOOT | BLX_COMMAND_TEST,
     "fetch-tails"},
    {BLX_COMMAND_RESTORE, "fetch-ahead"},
    {BLX_COMMAND_VERIFY, "fetch-wholes"},
};

static const char *word_of(uint64_t command)
{
    for (size_t i = 0; i < sizeof(readers) / sizeof(readers[0]); i++)
        if ((readers[i].commands & command) != 0)
            return readers[i].word;
    return NULL;
}

static bool is_url(const char *where)
{
    return strncmp(where, "s3://", 5) == 0 || strncmp(where, "https://", 8) == 0 ||
           strncmp(where, "http://", 7) == 0;
}

/* A folder of copies has agents, and is no store. */
static bool is_folder_of_copies(const char *where)
{
    char path[PATH_MAX];
    struct stat st;
    return blx_path_format(path, sizeof(path), NULL, "%s/format", where) == 0 &&
           stat(path, &st) != 0 && errno == ENOENT &&
           blx_path_format(path, sizeof(path), NULL, "%s/agents", where) == 0 &&
           stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Which checkpoint has to come; NULL: all, since only the command knows which one it means. */
static const char *wanted_checkpoint(uint64_t command, const struct blx_config *config)
{
    const char *checkpoint = config->checkpoint;
    if (checkpoint == NULL)
        return (command & BLX_COMMAND_TEST) != 0 ? "latest" : NULL;
    bool is_name = strspn(checkpoint, "0123456789") == 14 && checkpoint[14] == '\0';
    return is_name || strcmp(checkpoint, "latest") == 0 ? checkpoint : NULL;
}

/* The words of blxrep-copy. */
struct words {
    char *texts[12]; /* owned; NULL ends them */
    size_t count;
};

static int add_word(struct words *words, const char *name, const char *value)
{
    if (value == NULL)
        return 0;
    int rc = name[0] == '\0' ? asprintf(&words->texts[words->count], "%s", value)
                             : asprintf(&words->texts[words->count], "--%s=%s", name, value);
    if (rc < 0) {
        words->texts[words->count] = NULL;
        return -ENOMEM;
    }
    words->count++;
    return 0;
}

static void words_done(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->texts[i]);
}

static int make_words(uint64_t command, const struct blx_config *config, const char *program,
                      struct words *words)
{
    char size[32];
    snprintf(size, sizeof(size), "%llu", (unsigned long long)config->cache_bytes);
    int rc = add_word(words, "", program);
    if (rc == 0)
        rc = add_word(words, "", word_of(command));
    if (rc == 0)
        rc = add_word(words, "data-dir", config->data_dir);
    if (rc == 0)
        rc = add_word(words, "config", config->config_path);
    if (rc == 0)
        rc = add_word(words, "agent", config->agent);
    if (rc == 0)
        rc = add_word(words, "checkpoint", wanted_checkpoint(command, config));
    if (rc == 0)
        rc = add_word(words, "cache-dir", config->cache_dir);
    return rc == 0 ? add_word(words, "cache-size", size) : rc;
}

/* Its path, which ends with a newline. */
static int read_path(int fd, char path[PATH_MAX])
{
    size_t got = 0;
    for (;;) {
        ssize_t more = read(fd, path + got, PATH_MAX - 1 - got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            return -EIO;
        got += (size_t)more;
        path[got] = '\0';
        char *end = strchr(path, '\n');
        if (end != NULL) {
            *end = '\0';
            return 0;
        }
        if (got == PATH_MAX - 1)
            return -EIO;
    }
}

/* Starts it; it has said on stderr why it fails. */
static int run_program(const struct words *words, int *life_fd, char path[PATH_MAX],
                       struct blx_error *err)
{
    int life[2] = {-1, -1}, out[2] = {-1, -1};
    pid_t pid;
    if (pipe2(life, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) {
        if (life[0] >= 0) {
            close(life[0]);
            close(life[1]);
        }
        return blx_error_errno(err, -errno, "cannot start 'blxrep-copy'");
    }
    const int fds[] = {life[0], out[1], STDERR_FILENO};
    const struct blx_program copy = {.words = (const char *const *)words->texts,
                                     .fds = fds,
                                     .fd_count = 3,
                                     .package = "blxrep-dispatcher"};
    int rc = blx_program_start(&copy, &pid, err);
    close(life[0]);
    close(out[1]);
    if (rc == 0) {
        bool told = read_path(out[0], path) == 0;
        rc = blx_program_wait(pid) == 0 && told ? 0 : -EIO;
        if (rc < 0)
            blx_error_set(err, rc, "the copies cannot be read");
    }
    close(out[0]);
    /* Whatever this process becomes keeps it. */
    if (rc == 0 && fcntl(life[1], F_SETFD, 0) < 0)
        rc = blx_error_errno(err, -errno, "cannot keep the copies");
    if (rc < 0)
        close(life[1]);
    else
        *life_fd = life[1];
    return rc;
}

/* The words without any --data-dir, and with the new one as the first. */
static int replace_words(int argc, char **argv, const char *path, struct cli_fetched *fetched)
{
    static const char name[] = "--data-dir";
    fetched->argv = calloc((size_t)argc + 2, sizeof(fetched->argv[0]));
    if (fetched->argv == NULL || asprintf(&fetched->word, "%s=%s", name, path) < 0) {
        fetched->word = NULL;
        return -ENOMEM;
    }
    fetched->argv[fetched->argc++] = argv[0];
    fetched->argv[fetched->argc++] = fetched->word;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0 && i + 1 < argc)
            i++;
        else if (strncmp(argv[i], name, strlen(name)) != 0 || argv[i][strlen(name)] != '=')
            fetched->argv[fetched->argc++] = argv[i];
    }
    return 0;
}

static int use_path(struct blx_config *config, const char *path, struct blx_error *err)
{
    char *copy = strdup(path);
    if (copy == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot use the copies");
    free(config->data_dir);
    config->data_dir = copy;
    return 0;
}

static int fetch(uint64_t command, struct blx_config *config, int argc, char **argv,
                 struct cli_fetched *fetched, struct blx_error *err)
{
    BLX_CLEANUP(words_done) struct words words = {0};
    char folder[PATH_MAX], program[PATH_MAX], path[PATH_MAX];
    int rc = blx_own_folder(folder, err);
    if (rc == 0)
        rc = blx_path_format(program, sizeof(program), err, "%s/blxrep-copy", folder);
    if (rc == 0 && make_words(command, config, program, &words) < 0)
        rc = blx_error_errno(err, -ENOMEM, "cannot start 'blxrep-copy'");
    if (rc == 0)
        rc = run_program(&words, &fetched->life_fd, path, err);
    if (rc == 0 && replace_words(argc, argv, path, fetched) < 0)
        rc = blx_error_errno(err, -ENOMEM, "cannot use the copies");
    return rc == 0 ? use_path(config, path, err) : rc;
}

int cli_fetch_copies(uint64_t command, struct blx_config *config, int argc, char **argv,
                     struct cli_fetched *fetched, struct blx_error *err)
{
    const char *where = config->data_dir;
    *fetched = (struct cli_fetched){.life_fd = -1};
    if (where == NULL ||
        (!is_url(where) && (word_of(command) == NULL || !is_folder_of_copies(where))))
        return 0;
    if (word_of(command) == NULL)
        return blx_error_set(err, -EINVAL,
                             "'%.200s' is a copy, which this command cannot use: show, info, "
                             "restore, verify, mount, files, boot and test can",
                             where);
    if ((command & BLX_COMMAND_RESTORE) != 0 && config->output == NULL)
        return blx_error_set(err, -EINVAL,
                             "a restore from copies needs a place: give --output=FILE");
    return fetch(command, config, argc, argv, fetched, err);
}

void cli_fetched_done(struct cli_fetched *fetched)
{
    free(fetched->argv);
    free(fetched->word);
    if (fetched->life_fd >= 0)
        close(fetched->life_fd);
}
