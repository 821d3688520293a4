/* SPDX-License-Identifier: Apache-2.0 */
#include "base/name.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char letters_and_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
static const char others[] = "._-";

static bool is_allowed(char c)
{
    return c != '\0' && (strchr(letters_and_digits, c) != NULL || strchr(others, c) != NULL);
}

int blx_name_check(const char *what, const char *name, struct blx_error *err)
{
    size_t length = strlen(name);
    if (length == 0)
        return blx_error_set(
            err, -EINVAL, "the %s is empty: give 1 to 64 letters, digits, '.', '_' or '-'", what);
    if (length >= BLX_NAME_BYTES)
        return blx_error_set(err, -EINVAL,
                             "the %s '%.32s...' has %zu characters: at most 64 are allowed", what,
                             name, length);
    if (strchr(letters_and_digits, name[0]) == NULL)
        return blx_error_set(err, -EINVAL, "the %s '%s' does not begin with a letter or a digit",
                             what, name);
    for (const char *at = name; *at != '\0'; at++) {
        if (!is_allowed(*at))
            return blx_error_set(err, -EINVAL,
                                 "the %s '%s' has a character that is not allowed: "
                                 "use letters, digits, '.', '_' and '-'",
                                 what, name);
    }
    return 0;
}

void blx_name_from_device(const char *device_path, char name[BLX_NAME_BYTES])
{
    if (strncmp(device_path, "/dev/", 5) == 0)
        device_path += 5;
    while (*device_path != '\0' && strchr(letters_and_digits, *device_path) == NULL)
        device_path++;
    size_t length = strlen(device_path);
    if (length >= BLX_NAME_BYTES) {
        device_path += length - (BLX_NAME_BYTES - 1);
        length = BLX_NAME_BYTES - 1;
    }
    for (size_t i = 0; i < length; i++)
        name[i] = is_allowed(device_path[i]) ? device_path[i] : '-';
    name[length] = '\0';
    if (length > 0 && strchr(letters_and_digits, name[0]) == NULL)
        name[0] = 'x';
    if (length == 0)
        strcpy(name, "device");
}

void blx_name_of_host(char name[BLX_NAME_BYTES])
{
    enum { LONGEST = 60 };
    char host[256] = "";
    if (gethostname(host, sizeof(host) - 1) < 0)
        host[0] = '\0';
    host[LONGEST] = '\0';
    blx_name_from_device(host[0] != '\0' ? host : "host", name);
}
