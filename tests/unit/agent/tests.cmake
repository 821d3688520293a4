# SPDX-License-Identifier: Apache-2.0
# Real loop and zram devices, real eBPF: these need root.
foreach(noun IN ITEMS disk/device disk/disks disk/freespace freeze/freeze disk/mounts track/tracker track/witness)
    blx_unit_test(agent/${noun} SOURCES agent/disk.c LIBRARIES blx_agent LABELS root)
endforeach()
blx_unit_test(agent/track/bad_blocks SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/send/effort LIBRARIES blx_agent)
blx_unit_test(agent/freeze/hook LIBRARIES blx_agent)
blx_unit_test(agent/send/limiter LIBRARIES blx_agent)
blx_unit_test(agent/send/reader SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/refusals LIBRARIES blx_agent)
blx_unit_test(agent/track/volume SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/session/rescan_question SOURCES agent/fake_volume.c LIBRARIES blx_agent)
blx_unit_test(agent/send/pipeline SOURCES agent/fake_volume.c LIBRARIES blx_agent)
