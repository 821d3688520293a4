# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS block_yaml file flags)
    blx_unit_test(config/${noun} SOURCES config/fixture.c)
endforeach()
blx_unit_test(config/policy)
