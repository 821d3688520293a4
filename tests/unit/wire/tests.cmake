# SPDX-License-Identifier: Apache-2.0
blx_unit_test(wire/digest)
blx_unit_test(wire/frame)
blx_unit_test(wire/frame_encryption)
blx_unit_test(wire/message)
blx_unit_test(wire/conn)
blx_unit_test(wire/protection)
target_compile_definitions(unit_wire_protection PRIVATE BLX_RECOVERY_PAGE="${CMAKE_SOURCE_DIR}/cli/blxrep-recovery.7")
target_compile_definitions(unit_wire_message PRIVATE BLX_PROTO_DIR="${CMAKE_SOURCE_DIR}/proto")
