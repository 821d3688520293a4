# SPDX-License-Identifier: Apache-2.0
blx_fixture(unit_store_fixture store/fixture.c)
blx_fixture(unit_store_history store/history.c)
foreach(noun IN ITEMS receive/crash receive/declared receive/digests segment/coverage receive/encryption view/block_map view/image segment/index checkpoint/manifest receive/model pause rescan_order restore/restore segment/segment store receive/unreadable verify/verify receive/volume prune/brake prune/liar remove/remove rename audit member)
    blx_unit_test(store/${noun} LIBRARIES unit_store_fixture)
endforeach()
# Some tens of thousands of millions of multiplications.
blx_unit_test(store/segment/flips SOURCES store/segment/checksum_flips.c LIBRARIES unit_store_fixture PkgConfig::XXHASH)
set_source_files_properties(store/segment/checksum_flips.c PROPERTIES COMPILE_OPTIONS "-O3;-fno-sanitize=all")
# It restores to a loop device.
set_tests_properties(unit/store/restore/restore PROPERTIES LABELS "unit;root" RESOURCE_LOCK lane_a)
foreach(noun IN ITEMS view/info view/sweep view/view restore/newer receive/opening prune/prune prune/prune_crash prune/prune_storm prune/rewrite receive/tail)
    blx_unit_test(store/${noun} LIBRARIES unit_store_fixture unit_store_history)
endforeach()
# It fills a filesystem of its own.
blx_unit_test(store/full LIBRARIES unit_store_fixture LABELS root)
blx_unit_test(store/view/frame_cache)
blx_unit_test(store/view/partitions)
blx_unit_test(store/damage)
blx_unit_test(store/view/overlay LABELS root)
blx_unit_test(store/prune/retention)
blx_fixture(unit_store_gpt store/gpt_image.c)
blx_unit_test(store/restore/gpt LIBRARIES unit_store_gpt)
blx_unit_test(store/restore/pull SOURCES store/restore/supplier.c LIBRARIES unit_store_fixture unit_store_history)
