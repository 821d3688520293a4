blx_unit_test(base/notify)
blx_unit_test(base/bitmap)
blx_unit_test(base/text)
blx_unit_test(base/io)
