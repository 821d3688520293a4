foreach(noun IN ITEMS crash encryption flips image index manifest model pause rescan_order restore segment store unreadable verify volume)
    blx_unit_test(store/${noun} SOURCES store/fixture.c)
endforeach()
# It restores to a loop device.
set_tests_properties(unit/store/restore PROPERTIES LABELS "unit;root" RESOURCE_LOCK devices)
foreach(noun IN ITEMS info newer opening prune prune_crash prune_storm rewrite)
    blx_unit_test(store/${noun} SOURCES store/fixture.c store/history.c)
endforeach()
blx_unit_test(store/retention)
