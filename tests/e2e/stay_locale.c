/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A freelocale() that frees nothing, preloaded into nbdkit with a sanitizer's library: there the
 * destructor of GnuTLS's libp11-kit waits in it for ever on glibc's own lock when nbdkit exits.
 * Without a sanitizer it does not.
 */
#include <locale.h>

void freelocale(locale_t locale)
{
    (void)locale;
}
