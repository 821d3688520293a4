# SPDX-License-Identifier: Apache-2.0
# Real loop and zram devices, real eBPF: these need root.
foreach(noun IN ITEMS device disks freespace freeze mounts tracker witness)
    blx_unit_test(agent/${noun} SOURCES agent/disk.c LIBRARIES blx_agent LABELS root)
endforeach()
blx_unit_test(agent/bad_blocks SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/effort LIBRARIES blx_agent)
blx_unit_test(agent/hook LIBRARIES blx_agent)
blx_unit_test(agent/limiter LIBRARIES blx_agent)
blx_unit_test(agent/reader SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/refusals LIBRARIES blx_agent)
blx_unit_test(agent/volume SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/rescan_question SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/pipeline SOURCES agent/fake_volume.c LIBRARIES blx_agent)
