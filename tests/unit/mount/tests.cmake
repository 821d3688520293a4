# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS partitions)
    blx_unit_test(mount/${noun} LIBRARIES blx_mount)
endforeach()
