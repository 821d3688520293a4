# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS crash encryption image index manifest model pause rescan_order restore segment store unreadable verify volume)
    blx_unit_test(store/${noun} SOURCES store/fixture.c)
endforeach()
# Some tens of thousands of millions of multiplications.
blx_unit_test(store/flips SOURCES store/fixture.c store/checksum_flips.c LIBRARIES PkgConfig::XXHASH)
set_source_files_properties(store/checksum_flips.c PROPERTIES COMPILE_OPTIONS "-O3;-fno-sanitize=all")
# It restores to a loop device.
set_tests_properties(unit/store/restore PROPERTIES LABELS "unit;root" RESOURCE_LOCK lane_a)
foreach(noun IN ITEMS info newer opening prune prune_crash prune_storm rewrite tail)
    blx_unit_test(store/${noun} SOURCES store/fixture.c store/history.c)
endforeach()
blx_unit_test(store/retention)
