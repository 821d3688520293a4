# SPDX-License-Identifier: Apache-2.0
blx_unit_test(mount/partitions LIBRARIES blx_mount)
