/* SPDX-License-Identifier: Apache-2.0 */
#include "files/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* Texts, each with its NUL: the task, the number of disks, the device or "", the disks' devices and
 * names, the paths. */
int files_request_encode(const struct files_request *request, void **bytes, size_t *count)
{
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    if (file == NULL)
        return -ENOMEM;
    fprintf(file, "%d%c%zu%c%s%c", (int)request->task, 0, request->volume_count, 0,
            request->device != NULL ? request->device : "", 0);
    for (size_t i = 0; i < request->volume_count; i++)
        fprintf(file, "%s%c%s%c", request->volumes[i].device, 0, request->volumes[i].name, 0);
    for (size_t i = 0; i < request->path_count; i++)
        fprintf(file, "%s%c", request->paths[i], 0);
    int rc = ferror(file) != 0 ? -ENOMEM : 0;
    if (fclose(file) != 0)
        rc = -ENOMEM;
    if (rc == 0 && length > FILES_REQUEST_MAX_BYTES)
        rc = -E2BIG;
    if (rc < 0) {
        free(text);
        return rc;
    }
    *bytes = text;
    *count = length;
    return 0;
}

/* The next text; NULL: there is none. */
static char *cut(char **at, const char *end)
{
    char *text = *at;
    if (text == end)
        return NULL;
    *at += strlen(text) + 1;
    return text;
}

static int cut_volumes(char **at, const char *end, struct files_request *request)
{
    struct files_volume *volumes = calloc(request->volume_count + 1, sizeof(*volumes));
    request->volumes = volumes;
    if (volumes == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < request->volume_count; i++) {
        volumes[i].device = cut(at, end);
        volumes[i].name = cut(at, end);
        if (volumes[i].name == NULL)
            return -EBADMSG;
    }
    return 0;
}

static int cut_paths(char **at, const char *end, struct files_request *request)
{
    char **paths = calloc((size_t)(end - *at) + 1, sizeof(*paths));
    request->paths = paths;
    if (paths == NULL)
        return -ENOMEM;
    while ((paths[request->path_count] = cut(at, end)) != NULL)
        request->path_count++;
    return 0;
}

int files_request_decode(char *bytes, size_t count, struct files_request *request)
{
    *request = (struct files_request){0};
    if (count == 0 || bytes[count - 1] != '\0')
        return -EBADMSG;
    char *at = bytes;
    const char *end = bytes + count;
    const char *task = cut(&at, end), *volumes = cut(&at, end), *device = cut(&at, end);
    if (device == NULL)
        return -EBADMSG;
    request->task = (enum files_task)strtoul(task, NULL, 10);
    request->volume_count = strtoul(volumes, NULL, 10);
    request->device = device[0] != '\0' ? device : NULL;
    int rc = request->task <= FILES_COPY_PATHS && request->volume_count <= FILES_MAX_DISKS
                 ? cut_volumes(&at, end, request)
                 : -EBADMSG;
    if (rc == 0)
        rc = cut_paths(&at, end, request);
    if (rc < 0)
        files_request_done(request);
    return rc;
}

void files_request_done(struct files_request *request)
{
    free((void *)(uintptr_t)request->volumes);
    free((void *)(uintptr_t)request->paths);
    *request = (struct files_request){0};
}
