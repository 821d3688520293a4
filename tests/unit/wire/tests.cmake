blx_unit_test(wire/frame)
