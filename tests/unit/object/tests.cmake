# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS credentials place sign xml)
    blx_unit_test(object/${noun} LIBRARIES blx_object)
endforeach()
