/* SPDX-License-Identifier: Apache-2.0 */
#include "store/mounts.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"

int blx_mounts_source(struct blx_agent_store agent, const char *checkpoint,
                      char source[BLX_MOUNT_SOURCE_BYTES], struct blx_error *err)
{
    char real[PATH_MAX];
    blx_timestamp timestamp;
    const char *text = checkpoint == NULL ? "all" : "one";
    if (realpath(agent.store->data_dir, real) == NULL)
        return blx_error_errno(err, -errno, "cannot find '%s'", agent.store->data_dir);
    if (checkpoint != NULL && blx_timestamp_parse(checkpoint, &timestamp, NULL) == 0)
        text = checkpoint;
    return blx_path_format(source, BLX_MOUNT_SOURCE_BYTES, err, "%s:%s:%" PRIu64 ":%d:%s", agent.id,
                           text, blx_clock_realtime_ns() / BLX_NS_PER_S, (int)getpid(), real);
}

/* The table writes blanks and backslashes as three octal digits. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0';) {
        unsigned code;
        if (from[0] == '\\' && sscanf(from + 1, "%3o", &code) == 1 && strlen(from) >= 4) {
            *to++ = (char)code;
            from += 4;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
}

/* The fields of a line: ID PARENT MAJ:MIN ROOT PATH OPTIONS [...] - TYPE SOURCE SUPER. */
static bool split(char *line, char **device, char **path, char **options, char **source)
{
    char *rest = NULL, *field = strtok_r(line, " \n", &rest);
    for (int i = 0; field != NULL && strcmp(field, "-") != 0; i++) {
        if (i == 2)
            *device = field;
        if (i == 4)
            *path = field;
        if (i == 5)
            *options = field;
        field = strtok_r(NULL, " \n", &rest);
    }
    char *type = field != NULL ? strtok_r(NULL, " \n", &rest) : NULL;
    *source = type != NULL ? strtok_r(NULL, " \n", &rest) : NULL;
    return *source != NULL && strcmp(type, "fuse." BLX_MOUNT_TYPE) == 0;
}

static bool is_alive(pid_t pid)
{
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

/* Whether the line is a mount of that data directory, and its process lives. */
static bool parse(char *line, const char *data_dir, struct blx_mount *mount)
{
    char *device, *path = NULL, *options = NULL, *source = NULL,
                  checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    int pid, at = 0;
    *mount = (struct blx_mount){0};
    if (!split(line, &device, &path, &options, &source) || path == NULL || options == NULL)
        return false;
    unescape(path);
    unescape(source);
    if (sscanf(source, "%64[^:]:%14[^:]:%" SCNd64 ":%d:%n", mount->agent_id, checkpoint,
               &mount->since_s, &pid, &at) != 4 ||
        at == 0 || strcmp(source + at, data_dir) != 0)
        return false;
    mount->all = strcmp(checkpoint, "all") == 0;
    if (!mount->all && strcmp(checkpoint, "one") != 0 &&
        blx_timestamp_parse(checkpoint, &mount->checkpoint, NULL) < 0)
        return false;
    mount->pid = pid;
    mount->writable = strncmp(options, "rw", 2) == 0;
    blx_text_set(mount->path, path);
    return is_alive(pid);
}

bool blx_mounts_find(const char *path, const char *source, char device[BLX_MOUNT_DEVICE_BYTES])
{
    BLX_CLEANUP_FILE FILE *file = fopen("/proc/self/mountinfo", "re");
    BLX_CLEANUP_FREE char *line = NULL;
    size_t room = 0;
    bool there = false;
    while (file != NULL && getline(&line, &room, file) > 0) {
        char *found_device = NULL, *found_path = NULL, *options = NULL, *found_source = NULL;
        bool ours = split(line, &found_device, &found_path, &options, &found_source);
        if (found_path == NULL)
            continue;
        unescape(found_path);
        if (found_source != NULL)
            unescape(found_source);
        if (strcmp(found_path, path) != 0)
            continue;
        there = ours && strcmp(found_source, source) == 0;
        if (there && device != NULL)
            blx_text_copy(device, BLX_MOUNT_DEVICE_BYTES, found_device);
    }
    return there;
}

void blx_mounts_each(const char *data_dir, void (*visit)(void *arg, const struct blx_mount *mount),
                     void *arg)
{
    char real[PATH_MAX];
    BLX_CLEANUP_FILE FILE *file = fopen("/proc/self/mountinfo", "re");
    BLX_CLEANUP_FREE char *line = NULL;
    size_t room = 0;
    while (file != NULL && realpath(data_dir, real) != NULL && getline(&line, &room, file) > 0) {
        struct blx_mount mount;
        if (parse(line, real, &mount))
            visit(arg, &mount);
    }
}
