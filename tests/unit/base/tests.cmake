blx_unit_test(base/notify)
