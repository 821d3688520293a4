# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS cage report filesystems plan)
    blx_unit_test(proof/${noun} LIBRARIES blx_proof blx_boot blx_files)
endforeach()
