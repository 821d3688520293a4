# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS arguments cell checkpoint console loader qmp terminal trial)
    blx_unit_test(boot/${noun} LIBRARIES blx_boot)
endforeach()
