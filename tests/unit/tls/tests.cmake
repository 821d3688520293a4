# SPDX-License-Identifier: Apache-2.0
blx_fixture(unit_tls_fixture tls/fixture.c)
blx_unit_test(tls/address)
# Needs root: it checks who owns the files after root has enrolled.
blx_unit_test(tls/pki LIBRARIES unit_tls_fixture LABELS root)
blx_unit_test(tls/tls LIBRARIES unit_tls_fixture)
blx_unit_test(tls/conn LIBRARIES unit_tls_fixture)
blx_unit_test(tls/token)
blx_unit_test(tls/grant LIBRARIES unit_tls_fixture)
blx_unit_test(tls/pki_roll LIBRARIES unit_tls_fixture)
blx_unit_test(tls/restore_token LIBRARIES unit_tls_fixture)
blx_unit_test(tls/handover LIBRARIES unit_tls_fixture)
blx_unit_test(tls/hardware)
