# SPDX-License-Identifier: Apache-2.0
blx_fixture(unit_config_fixture config/fixture.c)
foreach(noun IN ITEMS block_yaml file flags)
    blx_unit_test(config/${noun} LIBRARIES unit_config_fixture)
endforeach()
blx_unit_test(config/policy)
