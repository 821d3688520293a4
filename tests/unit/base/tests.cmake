# SPDX-License-Identifier: Apache-2.0
blx_unit_test(base/assert SOURCES base/assert_off.c)
blx_unit_test(base/notify)
blx_unit_test(base/watchdog)
blx_unit_test(base/bandwidth)
blx_unit_test(base/bitmap)
blx_unit_test(base/text)
blx_unit_test(base/io)
blx_unit_test(base/log)
