/* SPDX-License-Identifier: Apache-2.0 */
#include "config/agent_file.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/json.h"

/* JSON, libconfig and YAML all read such a text in the same way. */
static void print_text(FILE *out, const char *text)
{
    struct blx_json json = {.out = out};
    blx_json_string(&json, NULL, text);
}

static void print(FILE *out, const char *agent_id, const char *dispatcher_addr,
                  char *const *devices, size_t device_count)
{
    fputs("# Written by `blxrep agent join`; blxrep-config(5) lists the other keys.\nid: ", out);
    print_text(out, agent_id);
    fputs("\ndispatcher-addr: ", out);
    print_text(out, dispatcher_addr);
    fputs("\ndevice: [ ", out);
    for (size_t i = 0; i < device_count; i++) {
        fputs(i > 0 ? ", " : "", out);
        print_text(out, devices[i]);
    }
    fputs(" ]\n", out);
}

int blx_agent_file_write(const char *path, const char *agent_id, const char *dispatcher_addr,
                         char *const *devices, size_t device_count, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *content = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&content, &bytes);
    if (out == NULL)
        return blx_error_errno(err, -errno, "cannot write '%s'", path);
    print(out, agent_id, dispatcher_addr, devices, device_count);
    int failed = ferror(out);
    if (fclose(out) != 0 || failed)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s'", path);
    return blx_file_replace(path, content, bytes, 0644, err);
}
