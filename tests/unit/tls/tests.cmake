# SPDX-License-Identifier: Apache-2.0
blx_unit_test(tls/address)
# Needs root: it checks who owns the files after root has enrolled.
blx_unit_test(tls/pki SOURCES tls/fixture.c LABELS root)
blx_unit_test(tls/tls SOURCES tls/fixture.c)
blx_unit_test(tls/conn SOURCES tls/fixture.c)
blx_unit_test(tls/token)
blx_unit_test(tls/grant SOURCES tls/fixture.c)
