# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS address range session token)
    blx_unit_test(page/${noun} LIBRARIES blx_page)
endforeach()
