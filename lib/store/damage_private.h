/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which errors of a read mean that what is stored is damaged, rather than that this process or this
 * machine cannot read it now. Every reader asks here: verification reports damage, a restore with
 * --force leaves it out, a rewrite leaves its segment alone.
 *
 *     error      damage?  because
 *     EBADMSG    yes      a checksum, a length or a field is wrong
 *     ENODATA    yes      the file ends before it should
 *     EFBIG      yes      the file is larger than any that blxrep writes
 *     EIO        yes      the disk does not give the bytes
 *     ELOOP      yes      a symbolic link lies in the file's place; blxrep makes none
 *     ENOENT     no       a prune may have removed it since it was named; blx_missing_is_damage()
 *                         is for a file that a manifest names while the chains are shared
 *     ENOTSUP    no       a newer blxrep wrote it
 *     ENOKEY     no       the key is missing, not the data
 *     EISDIR     no       somebody is at work in the folder by hand; the content is unknown
 *     ENOMEM, EMFILE, ENFILE, EACCES, EPERM, EINTR, EAGAIN, EBUSY, ENOSPC, ECANCELED
 *                no       this process or this machine: the same read may succeed later
 *
 * Private to lib/store.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>

/* `rc` is 0 or a negative errno. */
static inline bool blx_is_damage(int rc)
{
    return rc == -EBADMSG || rc == -ENODATA || rc == -EFBIG || rc == -EIO || rc == -ELOOP;
}

/*
 * Damage that was read, and will read the same tomorrow. Receiving goes by this alone, because it
 * acts on damage: it sets a file aside and gives up its frames. If the disk does not give a file
 * now (EIO) the session ends instead, and nothing is written to such a disk.
 */
static inline bool blx_is_bad_content(int rc)
{
    return rc == -EBADMSG;
}

/* For a file that a manifest names, so that it must be there: a missing one is damage, too. */
static inline int blx_missing_is_damage(int rc)
{
    return rc == -ENOENT ? -EBADMSG : rc;
}
