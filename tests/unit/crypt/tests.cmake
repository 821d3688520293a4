# SPDX-License-Identifier: Apache-2.0
foreach(noun IN ITEMS block_digest key keyring volume_key xaes)
    blx_unit_test(crypt/${noun})
endforeach()
