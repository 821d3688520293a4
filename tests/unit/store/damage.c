/* SPDX-License-Identifier: Apache-2.0 */
/* Which errors of a read are damage: each one that a read of the store may give, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/damage_private.h"

static const struct {
    int rc;
    bool damage;
    const char *why;
} errors[] = {
    {0, false, "nothing failed"},
    {-EBADMSG, true, "a checksum, a length or a field is wrong"},
    {-ENODATA, true, "the file ends before it should"},
    {-EFBIG, true, "the file is larger than any that blxrep writes"},
    {-EIO, true, "the disk does not give the bytes"},
    {-ELOOP, true, "a symbolic link lies in the file's place"},
    {-ENOENT, false, "a prune may have removed it"},
    {-EISDIR, false, "somebody is at work in the folder by hand"},
    {-ENOTDIR, false, "somebody is at work in the folder by hand"},
    {-ENOTSUP, false, "a newer blxrep wrote it"},
    {-ENOKEY, false, "the key is missing, not the data"},
    {-ENOMEM, false, "this process is short of memory"},
    {-EMFILE, false, "this process has too many files open"},
    {-ENFILE, false, "the machine has too many files open"},
    {-EACCES, false, "this user may not read it"},
    {-EPERM, false, "this user may not do it"},
    {-EINTR, false, "a signal came"},
    {-EAGAIN, false, "try again"},
    {-EBUSY, false, "somebody else has it"},
    {-ENOSPC, false, "the target is full, not the source"},
    {-ECANCELED, false, "it was stopped"},
    {-EINVAL, false, "it was asked for wrongly"},
};

static void damage_is_what_the_disk_or_the_file_is_guilty_of(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        if (blx_is_damage(errors[i].rc) != errors[i].damage)
            fail_msg("%d is %sdamage: %s", errors[i].rc, errors[i].damage ? "" : "no ",
                     errors[i].why);
}

/* What receiving sets aside must read the same tomorrow. */
static void only_content_that_was_read_is_acted_upon(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        assert_int_equal(blx_is_bad_content(errors[i].rc), errors[i].rc == -EBADMSG);
        if (blx_is_bad_content(errors[i].rc))
            assert_true(blx_is_damage(errors[i].rc));
    }
}

static void a_file_that_a_manifest_names_must_be_there(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        int rc = errors[i].rc;
        assert_int_equal(blx_missing_is_damage(rc), rc == -ENOENT ? -EBADMSG : rc);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damage_is_what_the_disk_or_the_file_is_guilty_of),
        cmocka_unit_test(only_content_that_was_read_is_acted_upon),
        cmocka_unit_test(a_file_that_a_manifest_names_must_be_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
