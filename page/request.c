/* SPDX-License-Identifier: Apache-2.0 */
#include "page/request.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "page/gate.h"

const char *page_request_header(const struct page_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *page_request_word(const struct page_request *request, const char *name)
{
    const char *value = NULL;
    size_t bytes = 0;
    if (MHD_lookup_connection_value_n(request->connection, MHD_GET_ARGUMENT_KIND, name,
                                      strlen(name), &value, &bytes) != MHD_YES ||
        value == NULL || strlen(value) != bytes)
        return NULL;
    return value;
}

const char *page_request_cookie(const struct page_request *request)
{
    return MHD_lookup_connection_value(request->connection, MHD_COOKIE_KIND, PAGE_COOKIE);
}

void page_request_find_address(struct page_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info != NULL ? info->client_addr : NULL;
    const void *bytes = NULL;
    if (peer != NULL && peer->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)peer)->sin_addr;
    else if (peer != NULL && peer->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
    if (bytes == NULL ||
        inet_ntop(peer->sa_family, bytes, request->address, sizeof(request->address)) == NULL)
        blx_text_set(request->address, "?");
}

int page_request_agent(const struct page_request *request, const char *word,
                       char agent[BLX_NAME_BYTES], struct blx_error *err)
{
    const char *value = page_request_word(request, word);
    if (value == NULL)
        return blx_error_set(err, -EINVAL, "no agent is named: %s=ID", word);
    int rc = blx_name_check("agent ID", value, err);
    if (rc == 0)
        blx_text_copy(agent, BLX_NAME_BYTES, value);
    return rc;
}

int page_request_checkpoint(const struct page_request *request,
                            char checkpoint[BLX_TIMESTAMP_TEXT_BYTES], struct blx_error *err)
{
    const char *value = page_request_word(request, "checkpoint");
    blx_timestamp timestamp;
    if (value == NULL)
        return blx_error_set(err, -EINVAL,
                             "no checkpoint is named: checkpoint=YYYYMMDDHHMMSS, or latest");
    if (strcmp(value, "latest") == 0) {
        blx_text_copy(checkpoint, BLX_TIMESTAMP_TEXT_BYTES, value);
        return 0;
    }
    int rc = blx_timestamp_parse(value, &timestamp, err);
    if (rc == 0)
        blx_timestamp_format(timestamp, checkpoint);
    return rc;
}

static bool is_printable(const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        size_t bytes = blx_text_character_bytes(text, left);
        if (bytes == 0)
            return false;
        text += bytes;
        left -= bytes;
    }
    return true;
}

int page_request_device(const struct page_request *request, char device[PAGE_DEVICE_BYTES],
                        struct blx_error *err)
{
    const char *value = page_request_word(request, "device");
    device[0] = '\0';
    if (value == NULL || value[0] == '\0')
        return 0;
    if (strncmp(value, "/dev/", 5) != 0 || strlen(value) >= PAGE_DEVICE_BYTES ||
        !is_printable(value))
        return blx_error_set(err, -EINVAL, "'%.80s' is no device: device=/dev/X", value);
    blx_text_copy(device, PAGE_DEVICE_BYTES, value);
    return 0;
}

int page_request_path(const struct page_request *request, char path[PAGE_PATH_BYTES],
                      struct blx_error *err)
{
    const char *value = page_request_word(request, "path");
    if (value == NULL || value[0] == '\0')
        value = "/";
    if (value[0] != '/' || strlen(value) >= PAGE_PATH_BYTES || !is_printable(value))
        return blx_error_set(err, -EINVAL, "the path must begin with '/', and be printable");
    blx_text_copy(path, PAGE_PATH_BYTES, value);
    return 0;
}
