/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/hardware.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "wire/ssl_error.h"

enum {
    TEXT_BYTES = 128,
    LEAST_LETTERS = 8, /* less is no serial number */
};

static const char *const sources[] = {"class/dmi/id/product_uuid",
                                      "firmware/devicetree/base/serial-number"};

/* Boards whose maker never gave them a number of their own. */
static const char *const shared[] = {"03000200-0400-0500-0006-000700080009",
                                     "12345678-1234-5678-90ab-cddeefaabbcc",
                                     "fefefefe-fefe-fefe-fefe-fefefefefefe"};

/* In small letters, and without what a file of sysfs or of the device tree ends with. */
static void normalize(const char *content, size_t bytes, char text[TEXT_BYTES])
{
    size_t used = 0;
    for (size_t i = 0; i < bytes && used < TEXT_BYTES - 1; i++)
        if (isgraph((unsigned char)content[i]))
            text[used++] = (char)tolower((unsigned char)content[i]);
    text[used] = '\0';
}

/* Whether other machines have it too: a number of one repeated letter, or one of those. */
static bool is_shared(const char *text)
{
    size_t letters = strlen(text);
    if (letters < LEAST_LETTERS)
        return true;
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++)
        if (strcmp(text, shared[i]) == 0)
            return true;
    const char once[] = {text[0], '-', '\0'};
    return strspn(text, once) == letters;
}

static int digest(const char *source, const char *text, uint8_t identity[BLX_HARDWARE_BYTES],
                  struct blx_error *err)
{
    char whole[2 * TEXT_BYTES];
    size_t bytes = 0;
    int length = snprintf(whole, sizeof(whole), "blxrep hardware 1\n%s\n%s\n", source, text);
    if (EVP_Q_digest(NULL, "SHA256", NULL, whole, (size_t)length, identity, &bytes) != 1)
        return blx_error_set(err, -EIO, "cannot make a digest: %s", blx_ssl_reason());
    return 0;
}

/* The source's text; "" if it has none, or one that others have. -ENOMEM. */
static int read_source(const char *sysfs, const char *source, char text[TEXT_BYTES],
                       struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    text[0] = '\0';
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", sysfs, source);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, TEXT_BYTES, &content, &bytes, &why);
    if (rc == -ENOMEM)
        return blx_error_copy(err, rc, &why);
    if (rc == 0)
        normalize(content, bytes, text);
    if (is_shared(text))
        text[0] = '\0';
    return 0;
}

int blx_hardware_identify(const char *sysfs, uint8_t identity[BLX_HARDWARE_BYTES],
                          struct blx_error *err)
{
    memset(identity, 0, BLX_HARDWARE_BYTES);
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        char text[TEXT_BYTES];
        int rc = read_source(sysfs, sources[i], text, err);
        if (rc < 0)
            return rc;
        if (text[0] != '\0')
            return digest(sources[i], text, identity, err);
    }
    return blx_error_set(err, -ENODEV,
                         "this machine has nothing by which it could be known again: neither "
                         "'%s/%s' nor '%s/%s' has a number of its own",
                         sysfs, sources[0], sysfs, sources[1]);
}
