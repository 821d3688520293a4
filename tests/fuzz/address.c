/* SPDX-License-Identifier: Apache-2.0 */
/* An address: its parts are a host and a port. Put together again, they split the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tls/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char host[256], port[8], host_again[256], port_again[8], joined[300];
    struct blx_error err = {0};
    char *text = fuzz_text(data, size);
    int rc = blx_address_split(text, host, port, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EINVAL);
    } else {
        FUZZ_ASSERT(strlen(host) < sizeof(host) && strspn(port, "0123456789") == strlen(port));
        FUZZ_ASSERT(port[0] != '\0' && strtol(port, NULL, 10) <= 65535);
        FUZZ_ASSERT(strpbrk(host, " \t\n/") == NULL);
        bool brackets = host[0] != '\0' && strchr(text, '[') == text;
        snprintf(joined, sizeof(joined), brackets ? "[%s]:%s" : "%s:%s", host, port);
        FUZZ_ASSERT(blx_address_split(joined, host_again, port_again, NULL) == 0);
        FUZZ_ASSERT(strcmp(host, host_again) == 0 && strcmp(port, port_again) == 0);
    }
    free(text);
    return 0;
}
