# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS archive fstab records request unpack)
    blx_unit_test(files/${noun} LIBRARIES blx_files)
endforeach()
