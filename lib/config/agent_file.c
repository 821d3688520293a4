/* SPDX-License-Identifier: Apache-2.0 */
#include "config/agent_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/json.h"

enum { FILE_MAX_BYTES = 1 << 20 };

/* JSON, libconfig and YAML all read such a text in the same way. */
static void print_text(FILE *out, const char *text)
{
    struct blx_json json = {.out = out};
    blx_json_string(&json, NULL, text);
}

static void print_key(FILE *out, const char *key, const char *value)
{
    if (value == NULL)
        return;
    fprintf(out, "%s: ", key);
    print_text(out, value);
    fputs("\n", out);
}

static void print(FILE *out, const struct blx_agent_settings *settings)
{
    fputs("# Written by `blxrep agent join`; blxrep-config(5) lists the other keys.\n", out);
    print_key(out, "id", settings->id);
    print_key(out, "dispatcher-addr", settings->dispatcher_addr);
    print_key(out, "credentials", settings->credentials);
    if (settings->device_count == 0)
        return;
    fputs("device: [ ", out);
    for (size_t i = 0; i < settings->device_count; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_text(out, settings->devices[i]);
    }
    fputs(" ]\n", out);
}

/* `before` is the text that stays in front of the settings. */
static int replace(const char *path, const char *before, mode_t mode,
                   const struct blx_agent_settings *settings, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *content = NULL;
    size_t bytes = 0, length = strlen(before);
    FILE *out = open_memstream(&content, &bytes);
    if (out == NULL)
        return blx_error_errno(err, -errno, "cannot write '%s'", path);
    fputs(before, out);
    if (length > 0 && before[length - 1] != '\n')
        fputs("\n", out);
    print(out, settings);
    int failed = ferror(out);
    if (fclose(out) != 0 || failed)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s'", path);
    return blx_file_replace(path, content, bytes, mode, err);
}

int blx_agent_file_write(const char *path, const struct blx_agent_settings *settings,
                         struct blx_error *err)
{
    return replace(path, "", 0644, settings, err);
}

int blx_agent_file_complete(const char *path, const struct blx_agent_settings *settings,
                            struct blx_error *err)
{
    BLX_CLEANUP_FREE void *before = NULL;
    size_t bytes = 0;
    struct stat st;
    if (stat(path, &st) < 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    int rc = blx_file_read(path, FILE_MAX_BYTES, &before, &bytes, err);
    return rc < 0 ? rc : replace(path, before, st.st_mode & 07777, settings, err);
}
