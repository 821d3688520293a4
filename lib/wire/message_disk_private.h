/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of messages, byte for byte as proto/PROTOCOL.md has them, and the functions that fill
 * and read them. Private to lib/wire.
 *
 * put_NAME writes the body of a message and returns its size. get_NAME reads and validates a body
 * whose size lies within the limits of messages.def: 0, or -EBADMSG with the reason in `err`.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/le.h"
#include "wire/message.h"

enum {
    BLX_NAME_FIELD_BYTES = 72, /* BLX_NAME_BYTES and padding, so that what follows is aligned */
    BLX_MESSAGE_MAX_BODY_BYTES = 2200, /* of every type but FRAME */
};

struct blx_message_header_disk {
    blx_le32 body_bytes;
    blx_le16 type;
    blx_le16 flags; /* 0 */
} __attribute__((packed));

struct blx_hello_disk {
    blx_le32 version_min;
    blx_le32 version_max;
    blx_le64 features;
    blx_le32 volume_count;
    blx_le32 reserved;
    char agent_id[BLX_NAME_FIELD_BYTES];
    char software[BLX_TEXT_BYTES];
    uint8_t instance[BLX_GENERATION_BYTES];
} __attribute__((packed));

struct blx_welcome_disk {
    blx_le32 version;
    blx_le32 reserved;
    blx_le64 features;
    blx_le64 sync_freq_ms;
    blx_le64 heartbeat_ms;
    blx_le64 window_bytes;
    blx_le64 last_checkpoint;
} __attribute__((packed));

struct blx_key_disk {
    uint8_t key_id[BLX_KEY_ID_BYTES];
} __attribute__((packed));

struct blx_digest_key_disk {
    uint8_t secret[BLX_KEY_BYTES];
} __attribute__((packed));

struct blx_volume_disk {
    blx_le32 volume;
    blx_le32 block_shift;
    blx_le64 size_bytes;
    uint8_t generation[BLX_GENERATION_BYTES];
    char name[BLX_NAME_FIELD_BYTES];
    char device[BLX_TEXT_BYTES];
    char identity[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_volume_state_disk {
    blx_le32 volume;
    blx_le32 reserved;
    uint8_t generation[BLX_GENERATION_BYTES];
    blx_le64 durable_seq;
    blx_le64 image_bytes;
    char reason[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_begin_disk {
    blx_le32 volume;
    blx_le32 pass;
    blx_le64 full_bytes;
} __attribute__((packed));

struct blx_frame_prefix_disk {
    blx_le32 volume;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_ack_disk {
    blx_le32 volume;
    blx_le32 reserved;
    blx_le64 durable_seq;
} __attribute__((packed));

struct blx_digest_extent_disk {
    blx_le16 gap_blocks;
    blx_le16 block_count;
} __attribute__((packed));

/* Followed by extent_count x struct blx_digest_extent_disk. */
struct blx_digest_request_disk {
    blx_le32 volume;
    blx_le32 flags;
    blx_le64 request;
    blx_le64 first_block;
    blx_le32 blocks_per_digest;
    blx_le32 extent_count;
} __attribute__((packed));

enum { BLX_DIGEST_REQUEST_FRESH = 1 }; /* its flag */

/* Followed by count x digest_bytes. */
struct blx_digests_disk {
    blx_le32 volume;
    blx_le32 digest_bytes;
    blx_le64 request;
    blx_le32 count;
    blx_le32 reserved;
} __attribute__((packed));

/* Followed by request_bytes of the request. */
struct blx_join_disk {
    uint8_t secret[BLX_TOKEN_SECRET_BYTES];
    blx_le32 request_bytes;
} __attribute__((packed));

/* Followed by the certificate and the CA's. */
struct blx_certificate_disk {
    blx_le32 cert_bytes;
    blx_le32 ca_bytes;
} __attribute__((packed));

/* Followed by request_bytes of the request. */
struct blx_renew_disk {
    blx_le32 request_bytes;
    blx_le32 reserved;
} __attribute__((packed));

/* Followed by the CA's certificate and the proof. */
struct blx_authority_disk {
    blx_le32 ca_bytes;
    blx_le32 proof_bytes;
} __attribute__((packed));

struct blx_renewed_disk {
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES];
} __attribute__((packed));

struct blx_restore_disk {
    uint8_t secret[BLX_TOKEN_SECRET_BYTES];
    blx_le32 reserved;
    uint8_t machine[BLX_MACHINE_BYTES];
    char software[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_restore_offer_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le64 checkpoint;
    blx_le32 consistency;
    blx_le32 volume_count;
    blx_le64 heartbeat_ms;
    blx_le64 window_bytes;
} __attribute__((packed));

struct blx_restore_volume_disk {
    blx_le32 volume;
    blx_le32 block_shift;
    blx_le64 size_bytes;
    uint8_t key_id[BLX_KEY_ID_BYTES];
    char name[BLX_NAME_FIELD_BYTES];
    char device[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_plan_request_disk {
    blx_le32 volume;
    blx_le32 reserved;
    blx_le64 start_block;
} __attribute__((packed));

/* Followed by piece_count pieces in PLAN_PIECES. */
struct blx_plan_disk {
    blx_le32 volume;
    blx_le32 frame_count;
    blx_le64 start_block;
    blx_le64 end_block;
    blx_le32 piece_count;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_plan_piece_disk {
    blx_le64 start_block;
    blx_le32 block_count;
    blx_le32 data_block;
    blx_le32 frame_bytes;
} __attribute__((packed));

/* Followed by count x struct blx_plan_piece_disk. */
struct blx_plan_pieces_disk {
    blx_le32 volume;
    blx_le32 count;
} __attribute__((packed));

struct blx_frames_request_disk {
    blx_le32 volume;
    blx_le32 first;
    blx_le32 count;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_restore_done_disk {
    blx_le64 written_bytes;
} __attribute__((packed));

struct blx_copy_request_disk {
    blx_le32 kind;
    blx_le32 reserved;
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le64 checkpoint;
    blx_le64 have;
    uint8_t hash[BLX_COPY_HASH_BYTES];
} __attribute__((packed));

struct blx_copy_item_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le64 checkpoint;
} __attribute__((packed));

struct blx_copy_file_disk {
    blx_le32 volume;
    blx_le32 number;
    blx_le64 bytes;
} __attribute__((packed));

struct blx_copy_take_disk {
    blx_le64 offset_bytes;
} __attribute__((packed));

struct blx_copy_hash_disk {
    uint8_t hash[BLX_COPY_HASH_BYTES];
} __attribute__((packed));

struct blx_control_pulled_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le64 checkpoint;
    blx_le64 looked_s;
    char source[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_field_extent_disk {
    blx_le64 start_block;
    blx_le64 block_count;
} __attribute__((packed));

struct blx_delta_request_disk {
    blx_le32 volume;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_delta_key_disk {
    blx_le32 volume;
    blx_le32 reserved;
    uint8_t key_id[BLX_KEY_ID_BYTES];
    uint8_t key[BLX_DELTA_KEY_BYTES];
} __attribute__((packed));

/* Followed by count x struct blx_field_extent_disk. */
struct blx_delta_wanted_disk {
    blx_le32 volume;
    blx_le32 count;
} __attribute__((packed));

struct blx_hardware_disk {
    uint8_t identity[BLX_HARDWARE_BYTES];
} __attribute__((packed));

struct blx_checkpoint_request_disk {
    blx_le64 request;
} __attribute__((packed));

/* Followed by volume_count x le64 last_seq. */
struct blx_checkpoint_disk {
    blx_le64 request;
    blx_le64 cut_realtime_ns;
    blx_le64 freeze_ns;
    blx_le32 consistency;
    blx_le32 volume_count;
    char note[BLX_TEXT_BYTES];
} __attribute__((packed));

/* Followed by extent_count x struct blx_field_extent_disk. */
struct blx_unreadable_disk {
    blx_le32 volume;
    blx_le32 extent_count;
} __attribute__((packed));

struct blx_checkpoint_done_disk {
    blx_le64 request;
    blx_le64 timestamp;
} __attribute__((packed));

struct blx_checkpoint_failed_disk {
    blx_le64 request;
    char reason[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_status_disk {
    blx_le32 state;
    blx_le32 eta_seconds;
    blx_le64 dirty_bytes;
    blx_le64 unreadable_bytes;
    blx_le64 done_bytes;
    blx_le64 total_bytes;
    blx_le64 missed_events;
    blx_le64 tracked_events;
    blx_le64 passthrough_commands;
    blx_le64 unseen_sectors;
    char reason[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_error_disk {
    char text[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_control_checkpoint_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));

struct blx_control_rescan_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));

struct blx_control_revoke_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));

struct blx_control_done_disk {
    blx_le32 ok;
    blx_le32 reserved;
    blx_le64 timestamp;
    char text[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_trouble_disk {
    blx_le32 kind;
    blx_le32 reserved;
    blx_le64 since;
    char text[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_control_agent_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    char peer[BLX_TEXT_BYTES];
    struct blx_status_disk status;
    blx_le64 last_checkpoint;
    blx_le32 last_consistency;
    blx_le32 volume_count;
    blx_le64 connected_ms;
    blx_le64 received_bytes;
    blx_le64 last_unreadable_bytes;
    blx_le64 sync_freq_ms;
    blx_le64 away_ms;
    blx_le64 rate_bytes_per_s;
    blx_le64 volume_bytes;
    blx_le64 freeze_ns;
    blx_le64 checkpoints[BLX_CONSISTENCIES];
    blx_le64 failed_checkpoints;
    blx_le64 sessions;
    blx_le64 rescans;
    blx_le64 total_received_bytes;
    blx_le64 total_freeze_ns;
    char note[BLX_TEXT_BYTES];
    char failure[BLX_TEXT_BYTES];
    blx_le64 paused_since;
    blx_le32 revoked;
    blx_le32 cut_flags;
    blx_le64 changed_bytes;
    blx_le64 stored_bytes;
    blx_le64 saved_bytes;
    blx_le64 last_time;
    blx_le64 clock_offset_ms;
    char prune_hold[BLX_TEXT_BYTES];
    struct blx_trouble_disk trouble;
    blx_le64 enrolled_since;
    blx_le64 stalled_ms;
    blx_le64 archived_since;
    blx_le32 quota_state;
    blx_le32 unencrypted;
    char quota[BLX_TEXT_BYTES];
    blx_le64 cert_ends_s;
    blx_le32 rescan_place;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_control_dispatcher_disk {
    blx_le64 uptime_ms;
    blx_le64 data_bytes;
    blx_le64 data_free_bytes;
    blx_le64 data_inodes;
    blx_le64 data_free_inodes;
    char software[BLX_TEXT_BYTES];
    struct blx_trouble_disk trouble;
    blx_le64 cert_ends_s;
    blx_le64 ca_ends_s;
    blx_le32 ca_rolls;
    blx_le32 ca_stayed;
} __attribute__((packed));

struct blx_policy_disk {
    blx_le64 sync_freq_ms;
    blx_le32 flags;
    blx_le32 bandwidth_bytes;
    blx_le32 exclude_bytes;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_control_pause_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));

struct blx_control_rename_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    char to[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));

struct blx_control_pin_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le64 timestamp;
} __attribute__((packed));

struct blx_control_policy_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));

/* texts_bytes bytes of texts follow. */
struct blx_control_verdict_disk {
    blx_le32 key;
    blx_le32 source;
    char file[BLX_TEXT_BYTES];
    char pattern[BLX_TEXT_BYTES];
    blx_le64 numbers[BLX_VERDICT_NUMBERS];
    blx_le32 texts_bytes;
    blx_le32 reserved;
} __attribute__((packed));

struct blx_control_self_disk {
    char dispatcher_addr[BLX_TEXT_BYTES];
    char software[BLX_TEXT_BYTES];
    blx_le64 uptime_ms;
    blx_le64 cert_ends_s;
    blx_le64 refusal_ms;
    char refusal[BLX_TEXT_BYTES];
    blx_le32 flags;
    blx_le32 left_over;
} __attribute__((packed));

struct blx_control_disk_disk {
    blx_le32 state;
    blx_le32 reserved;
    blx_le64 size_bytes;
    blx_le64 dirty_bytes;
    blx_le64 unreadable_bytes;
    blx_le64 done_bytes;
    blx_le64 total_bytes;
    blx_le64 tracked_events;
    blx_le64 missed_events;
    char path[BLX_TEXT_BYTES];
    char text[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_control_damage_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    char text[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_control_restore_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    char peer[BLX_TEXT_BYTES];
    blx_le64 checkpoint;
    char volume[BLX_NAME_FIELD_BYTES];
    blx_le32 number;
    blx_le32 volume_count;
    blx_le64 volume_bytes;
    blx_le64 done_bytes;
    blx_le64 sent_bytes;
    blx_le64 rate_bytes_per_s;
    blx_le64 connected_ms;
    blx_le32 eta_seconds;
    blx_le32 flags;
} __attribute__((packed));

enum { BLX_CONTROL_RESTORE_TAKES_OVER = 1 }; /* its flag */

struct blx_control_handover_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le32 state;
    blx_le32 reserved;
    blx_le64 since;
    blx_le64 checkpoint;
    char peer[BLX_TEXT_BYTES];
    blx_le64 refused;
    blx_le64 refused_ms;
    char refused_peer[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_control_host_disk {
    char name[BLX_NAME_FIELD_BYTES];
    blx_le32 role;
    blx_le32 reserved;
    blx_le64 since;
    blx_le64 told;
    char listen[BLX_TEXT_BYTES];
    char software[BLX_TEXT_BYTES];
} __attribute__((packed));

struct blx_control_place_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    char host[BLX_NAME_FIELD_BYTES];
} __attribute__((packed));
struct blx_control_copy_disk {
    char agent_id[BLX_NAME_FIELD_BYTES];
    blx_le32 flags;
    blx_le32 reserved;
    blx_le64 newest;
    blx_le64 copied_s;
    blx_le64 locked_until_s;
    blx_le64 tried_s;
    blx_le64 waiting_s;
    blx_le64 strange;
    char place[BLX_TEXT_BYTES];
    char not_locked[BLX_TEXT_BYTES];
    char failure[BLX_TEXT_BYTES];
} __attribute__((packed));
/* Its flags. */
enum {
    BLX_CONTROL_COPY_LATE = 1,
    BLX_CONTROL_COPY_LOCKED = 2,
    BLX_CONTROL_COPY_WANTS_LOCK = 4,
    BLX_CONTROL_COPY_SOME_MAY = 8,
    BLX_CONTROL_COPY_FLAGS = 15,
};

_Static_assert(sizeof(struct blx_message_header_disk) == BLX_MESSAGE_HEADER_BYTES, "header");
_Static_assert(sizeof(struct blx_hello_disk) == 368, "HELLO");
_Static_assert(offsetof(struct blx_hello_disk, agent_id) == 24, "HELLO");
_Static_assert(sizeof(struct blx_welcome_disk) == 48, "WELCOME");
_Static_assert(sizeof(struct blx_key_disk) == 8, "KEY");
_Static_assert(sizeof(struct blx_digest_key_disk) == 32, "DIGEST_KEY");
_Static_assert(sizeof(struct blx_volume_disk) == 616, "VOLUME");
_Static_assert(offsetof(struct blx_volume_disk, name) == 32, "VOLUME");
_Static_assert(sizeof(struct blx_volume_state_disk) == 296, "VOLUME_STATE");
_Static_assert(offsetof(struct blx_volume_state_disk, image_bytes) == 32, "VOLUME_STATE");
_Static_assert(sizeof(struct blx_begin_disk) == 16, "BEGIN");
_Static_assert(sizeof(struct blx_frame_prefix_disk) + BLX_MESSAGE_HEADER_BYTES ==
                   BLX_FRAME_MESSAGE_PREFIX_BYTES,
               "FRAME");
_Static_assert(sizeof(struct blx_ack_disk) == 16, "ACK");
_Static_assert(sizeof(struct blx_digest_extent_disk) == 4, "DIGEST_REQUEST");
_Static_assert(sizeof(struct blx_digest_request_disk) == 32, "DIGEST_REQUEST");
_Static_assert(offsetof(struct blx_digest_request_disk, first_block) == 16, "DIGEST_REQUEST");
_Static_assert(sizeof(struct blx_digests_disk) == 24, "DIGESTS");
_Static_assert(offsetof(struct blx_digests_disk, count) == 16, "DIGESTS");
_Static_assert(sizeof(struct blx_join_disk) == 24, "JOIN");
_Static_assert(sizeof(struct blx_certificate_disk) == 8, "CERTIFICATE");
_Static_assert(sizeof(struct blx_renew_disk) == 8, "RENEW");
_Static_assert(sizeof(struct blx_authority_disk) == 8, "AUTHORITY");
_Static_assert(sizeof(struct blx_renewed_disk) == 32, "RENEWED");
_Static_assert(sizeof(struct blx_restore_disk) == 312, "RESTORE");
_Static_assert(sizeof(struct blx_restore_offer_disk) == 104, "RESTORE_OFFER");
_Static_assert(offsetof(struct blx_restore_offer_disk, consistency) == 80, "RESTORE_OFFER");
_Static_assert(sizeof(struct blx_restore_volume_disk) == 352, "RESTORE_VOLUME");
_Static_assert(offsetof(struct blx_restore_volume_disk, name) == 24, "RESTORE_VOLUME");
_Static_assert(sizeof(struct blx_plan_request_disk) == 16, "PLAN_REQUEST");
_Static_assert(sizeof(struct blx_plan_disk) == 32, "PLAN");
_Static_assert(offsetof(struct blx_plan_disk, piece_count) == 24, "PLAN");
_Static_assert(sizeof(struct blx_plan_piece_disk) == 20, "PLAN_PIECES");
_Static_assert(sizeof(struct blx_plan_pieces_disk) == 8, "PLAN_PIECES");
_Static_assert(sizeof(struct blx_frames_request_disk) == 16, "FRAMES_REQUEST");
_Static_assert(sizeof(struct blx_restore_done_disk) == 8, "RESTORE_DONE");
_Static_assert(sizeof(struct blx_copy_request_disk) == 128, "COPY_REQUEST");
_Static_assert(offsetof(struct blx_copy_request_disk, checkpoint) == 80, "COPY_REQUEST");
_Static_assert(sizeof(struct blx_control_pulled_disk) == 344, "CONTROL_PULLED");
_Static_assert(sizeof(struct blx_copy_item_disk) == 80, "COPY_ITEM");
_Static_assert(sizeof(struct blx_copy_file_disk) == 16, "COPY_FILE");
_Static_assert(sizeof(struct blx_copy_take_disk) == 8, "COPY_TAKE");
_Static_assert(sizeof(struct blx_copy_hash_disk) == 32, "COPY_END and COPY_DONE");
_Static_assert(sizeof(struct blx_delta_request_disk) == 8, "DELTA_REQUEST");
_Static_assert(sizeof(struct blx_delta_key_disk) == 80, "DELTA_KEY");
_Static_assert(offsetof(struct blx_delta_key_disk, key_id) == 8, "DELTA_KEY");
_Static_assert(sizeof(struct blx_delta_wanted_disk) == 8, "DELTA_WANTED");
_Static_assert(sizeof(struct blx_hardware_disk) == 32, "HARDWARE");
_Static_assert(sizeof(struct blx_control_restore_disk) == 464, "CONTROL_RESTORE");
_Static_assert(sizeof(struct blx_control_handover_disk) == 624, "CONTROL_HANDOVER");
_Static_assert(sizeof(struct blx_control_host_disk) == 608, "CONTROL_HOST");
_Static_assert(sizeof(struct blx_control_place_disk) == 144, "CONTROL_PLACE");
_Static_assert(sizeof(struct blx_control_copy_disk) == 896, "CONTROL_COPY");
_Static_assert(sizeof(struct blx_checkpoint_request_disk) == 8, "CHECKPOINT_REQUEST");
_Static_assert(sizeof(struct blx_checkpoint_disk) == 288, "CHECKPOINT");
_Static_assert(offsetof(struct blx_checkpoint_disk, note) == 32, "CHECKPOINT");
_Static_assert(sizeof(struct blx_field_extent_disk) == 16, "UNREADABLE");
_Static_assert(sizeof(struct blx_unreadable_disk) == 8, "UNREADABLE");
_Static_assert(sizeof(struct blx_checkpoint_done_disk) == 16, "CHECKPOINT_DONE");
_Static_assert(sizeof(struct blx_checkpoint_failed_disk) == 264, "CHECKPOINT_FAILED");
_Static_assert(sizeof(struct blx_status_disk) == 328, "STATUS");
_Static_assert(sizeof(struct blx_error_disk) == BLX_TEXT_BYTES, "ERROR");
_Static_assert(sizeof(struct blx_control_checkpoint_disk) == 72, "CONTROL_CHECKPOINT");
_Static_assert(sizeof(struct blx_control_rescan_disk) == 72, "CONTROL_RESCAN");
_Static_assert(sizeof(struct blx_control_revoke_disk) == 72, "CONTROL_REVOKE");
_Static_assert(sizeof(struct blx_control_done_disk) == 272, "CONTROL_DONE");
_Static_assert(sizeof(struct blx_control_agent_disk) == 2200, "CONTROL_AGENT");
_Static_assert(offsetof(struct blx_control_agent_disk, status) == 328, "CONTROL_AGENT");
_Static_assert(offsetof(struct blx_control_agent_disk, checkpoints) == 736, "CONTROL_AGENT");
_Static_assert(offsetof(struct blx_control_agent_disk, note) == 800, "CONTROL_AGENT");
_Static_assert(sizeof(struct blx_control_dispatcher_disk) == 592, "CONTROL_DISPATCHER");
_Static_assert(sizeof(struct blx_control_damage_disk) == 328, "CONTROL_DAMAGE");
_Static_assert(offsetof(struct blx_control_agent_disk, paused_since) == 1312, "CONTROL_AGENT");
_Static_assert(offsetof(struct blx_control_agent_disk, changed_bytes) == 1328, "CONTROL_AGENT");
_Static_assert(sizeof(struct blx_control_pause_disk) == 72, "CONTROL_PAUSE");
_Static_assert(sizeof(struct blx_control_rename_disk) == 144, "CONTROL_RENAME");
_Static_assert(sizeof(struct blx_control_pin_disk) == 80, "CONTROL_PIN");
_Static_assert(sizeof(struct blx_control_policy_disk) == 72, "CONTROL_POLICY");
_Static_assert(sizeof(struct blx_control_verdict_disk) == 656, "CONTROL_VERDICT");
_Static_assert(offsetof(struct blx_control_verdict_disk, numbers) == 520, "CONTROL_VERDICT");
_Static_assert(sizeof(struct blx_control_self_disk) == 800, "CONTROL_SELF");
_Static_assert(offsetof(struct blx_control_self_disk, refusal) == 536, "CONTROL_SELF");
_Static_assert(sizeof(struct blx_control_disk_disk) == 576, "CONTROL_DISK");
_Static_assert(offsetof(struct blx_control_disk_disk, path) == 64, "CONTROL_DISK");
_Static_assert(sizeof(struct blx_policy_disk) == 24, "POLICY");

#define BLX_MESSAGE(NAME, name, number, direction, least, most)                                    \
    size_t blx_message_put_##name(const struct blx_message *message, uint8_t *body);               \
    int blx_message_get_##name(const uint8_t *body, size_t body_bytes,                             \
                               struct blx_message *message, struct blx_error *err);
#include "proto/messages.def"
#undef BLX_MESSAGE

/* The checks that several bodies share. Each returns 0 or -EBADMSG with "<what> ..." as the reason.
 */
int blx_field_get_text(const char *field, char text[BLX_TEXT_BYTES], const char *what,
                       struct blx_error *err);
int blx_field_get_name(const char *field, char name[BLX_NAME_BYTES], const char *what,
                       struct blx_error *err);
int blx_field_get_volume(blx_le32 field, uint32_t *volume, struct blx_error *err);
int blx_field_check_size(uint32_t block_shift, uint64_t size_bytes, struct blx_error *err);
int blx_field_get_timestamp(blx_le64 field, blx_timestamp *timestamp, struct blx_error *err);
int blx_field_get_consistency(blx_le32 field, enum blx_consistency *consistency,
                              struct blx_error *err);
int blx_field_check_reserved(blx_le32 field, struct blx_error *err);
/* Whether these are texts, none of them empty, each with its NUL. */
bool blx_field_are_texts(const char *texts, size_t bytes);
void blx_field_put_name(char *field, const char *name);

/* Ascending, disjoint and not empty; the body has room for `count`. */
size_t blx_field_put_extents(uint8_t *body, const struct blx_extent *extents, uint32_t count);
int blx_field_get_extents(const uint8_t *body, struct blx_extent *extents, uint32_t count,
                          struct blx_error *err);

/* STATUS's body is also part of CONTROL_AGENT. `least` is the lowest state that is valid there. */
struct blx_status_disk blx_status_put(const struct blx_status *status);
int blx_status_get(const struct blx_status_disk *disk, enum blx_agent_state least,
                   struct blx_status *status, struct blx_error *err);
