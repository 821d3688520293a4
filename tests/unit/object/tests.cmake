# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS credentials place sign xml)
    blx_unit_test(object/${noun} LIBRARIES blx_object)
endforeach()
blx_unit_test(object/copies LIBRARIES blx_object unit_store_fixture unit_store_history)
target_include_directories(unit_object_copies PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/store)
