# SPDX-License-Identifier: Apache-2.0
"""Each function of lib that tells errors in a struct blx_error has a loop of its own in tests/fault, or stands here."""

import os
import pathlib
import re
import sys

SOURCE = pathlib.Path(os.environ["BLXREP_SOURCE"])

# They ask for no memory and reach neither the disk nor the network: their arguments alone decide, or what lstat() or statvfs() says.
# One that comes to do so gets a loop, and leaves this list.
PURE = """
blx_become_program blx_nbdkit_plugin_check blx_nbdkit_plugin_find blx_own_folder blx_error_copy blx_error_errno blx_error_set
blx_bandwidth_parse blx_duration_parse blx_name_check blx_path_format blx_size_parse
blx_timestamp_parse blx_timestamp_parse_range blx_when_parse
blx_config_missing blx_config_require blx_digest_key_path blx_digest_log_init blx_encryption_mark_check blx_encryption_mark_path blx_place_wrong_type blx_policy_verdict_take blx_source_check
blx_key_set blx_keyring_choose
blx_agent_store_path blx_directory_hidden blx_removal_hurt blx_agent_store_volume_path blx_agent_writer_check blx_manifest_dir blx_manifest_path blx_owner_become blx_owner_leave blx_owner_step_back blx_owner_step_out blx_owner_visit blx_pin_read blx_beside_check blx_beside_path blx_tested_decode blx_suspicion_decode blx_image_format_check_size blx_image_format_parse blx_restore_image_path blx_restore_output_failed blx_reserve_check blx_reserve_look blx_rewrite_path blx_copy_source_keep
blx_mounts_source blx_segment_path blx_stored_frame_lacks
blx_address_split blx_certificate_put blx_handover_prove blx_renew_consider blx_pki_file_exists blx_pki_need_key blx_pki_copier_subject blx_pki_path blx_pki_roll_check blx_pki_roll_look blx_ssl_error
blx_codec_parse blx_field_check_reserved blx_field_check_size blx_field_get_consistency blx_field_get_extents blx_field_get_name blx_field_get_text
blx_field_get_timestamp blx_field_get_volume blx_frame_check_bounds blx_frame_encryption_parse blx_frame_peek
blx_message_decode blx_message_decode_header blx_status_get
""".split()

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
FALLIBLE = re.compile(r"^int (blx_\w+)\([^;]*struct blx_error \*[^;]*;", re.MULTILINE)
# A call that is given the loop's own `err`: with NULL or &err it only prepares or looks at something.
LOOPED = re.compile(r"\b(?=(blx_\w+)\([^;{}]*?(?<!&)\berr\))")


def found(pattern, paths):
    return {match[1]: path for path in paths for match in pattern.finditer(COMMENT.sub("", path.read_text()))}


def main():
    declared = found(FALLIBLE, sorted((SOURCE / "lib").rglob("*.h")))
    looped = found(LOOPED, sorted((SOURCE / "tests" / "fault").glob("*.c")))
    wrong = [
        f"{path.relative_to(SOURCE)}: {name}() has no loop in tests/fault"
        for name, path in declared.items()
        if name not in looped and name not in PURE
    ]
    wrong += [
        f"{name}() is on the list, but is gone or has a loop"
        for name in PURE
        if name not in declared or name in looped
    ]
    print("\n".join([*wrong, f"{len(declared)} functions, {len(wrong)} wrong"]))
    return 1 if wrong or not declared else 0


if __name__ == "__main__":
    sys.exit(main())
