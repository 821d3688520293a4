/* SPDX-License-Identifier: Apache-2.0 */
/* By what a machine is known again: which numbers count, and which are everybody's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "tls/hardware.h"

static char sysfs[64];

/* The path below the made-up sysfs; valid until the next call. */
static const char *below(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", sysfs, name);
    return path;
}

static int make_sysfs(void **state)
{
    (void)state;
    strcpy(sysfs, "/tmp/blxrep-hardware-XXXXXX");
    assert_non_null(mkdtemp(sysfs));
    assert_int_equal(blx_mkdir_parents(below("class/dmi/id"), 0755, NULL), 0);
    return blx_mkdir_parents(below("firmware/devicetree/base"), 0755, NULL);
}

static int remove_sysfs(void **state)
{
    static const char *const names[] = {"class/dmi/id/product_uuid",
                                        "class/dmi/id",
                                        "class/dmi",
                                        "class",
                                        "firmware/devicetree/base/serial-number",
                                        "firmware/devicetree/base",
                                        "firmware/devicetree",
                                        "firmware",
                                        ""};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        remove(below(names[i]));
    return 0;
}

static void has(const char *name, const char *content, size_t bytes)
{
    assert_int_equal(blx_file_replace(below(name), content, bytes, 0600, NULL), 0);
}

static void has_uuid(const char *text)
{
    has("class/dmi/id/product_uuid", text, strlen(text));
}

static void a_number_is_the_same_however_it_is_written(void **state)
{
    uint8_t first[BLX_HARDWARE_BYTES], second[BLX_HARDWARE_BYTES], third[BLX_HARDWARE_BYTES];
    (void)state;
    has_uuid("9C1F3A52-0001-4C0E-8000-000000000001\n");
    assert_int_equal(blx_hardware_identify(sysfs, first, NULL), 0);
    has_uuid("9c1f3a52-0001-4c0e-8000-000000000001");
    assert_int_equal(blx_hardware_identify(sysfs, second, NULL), 0);
    assert_memory_equal(first, second, sizeof(first));
    has_uuid("9c1f3a52-0001-4c0e-8000-000000000002");
    assert_int_equal(blx_hardware_identify(sysfs, third, NULL), 0);
    assert_memory_not_equal(first, third, sizeof(first));
}

static void a_number_that_many_have_does_not_count(void **state)
{
    static const uint8_t none[BLX_HARDWARE_BYTES];
    static const char *const shared[] = {"",
                                         "\n",
                                         "none\n",
                                         "00000000-0000-0000-0000-000000000000",
                                         "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
                                         "03000200-0400-0500-0006-000700080009\n"};
    uint8_t identity[BLX_HARDWARE_BYTES];
    (void)state;
    remove(below("firmware/devicetree/base/serial-number"));
    for (size_t i = 0; i < sizeof(shared) / sizeof(shared[0]); i++) {
        has_uuid(shared[i]);
        memset(identity, 7, sizeof(identity));
        struct blx_error err = {0};
        assert_int_equal(blx_hardware_identify(sysfs, identity, &err), -ENODEV);
        assert_non_null(strstr(err.message, "product_uuid"));
        assert_memory_equal(identity, none, sizeof(none));
    }
}

static void a_board_without_dmi_has_its_serial_number(void **state)
{
    uint8_t first[BLX_HARDWARE_BYTES], second[BLX_HARDWARE_BYTES];
    (void)state;
    remove(below("class/dmi/id/product_uuid"));
    has("firmware/devicetree/base/serial-number", "10000000abcdef01", 17);
    assert_int_equal(blx_hardware_identify(sysfs, first, NULL), 0);
    /* The same text in DMI is another machine's. */
    has_uuid("10000000abcdef01");
    assert_int_equal(blx_hardware_identify(sysfs, second, NULL), 0);
    assert_memory_not_equal(first, second, sizeof(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_is_the_same_however_it_is_written),
        cmocka_unit_test(a_number_that_many_have_does_not_count),
        cmocka_unit_test(a_board_without_dmi_has_its_serial_number),
    };
    return cmocka_run_group_tests(tests, make_sysfs, remove_sysfs);
}
