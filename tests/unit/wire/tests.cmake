blx_unit_test(wire/frame)
blx_unit_test(wire/message)
blx_unit_test(wire/conn)
target_compile_definitions(unit_wire_message PRIVATE BLX_PROTO_DIR="${CMAKE_SOURCE_DIR}/proto")
