/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of blxrep/1, as the programs see them. proto/PROTOCOL.md draws the conversations;
 * proto/messages.def is the table of types. Messages are encoded and decoded here and nowhere else:
 * a message from outside is validated whole (sizes, texts NUL-terminated and printable, enums in
 * range) before a caller sees any of it.
 *
 * On the wire a message is an 8-byte header (le32 body_bytes, le16 type, le16 flags = 0) and the
 * body. The agent and the dispatcher speak it over TLS; `blxrep` and the dispatcher speak the
 * CONTROL_ messages over DIR/control.sock.
 *
 * Threads: no shared state. Nothing here blocks or prints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "wire/frame.h"

/* In the data directory, or the agent's run-dir; the CONTROL_ messages go through it. */
#define BLX_CONTROL_SOCKET_NAME "control.sock"

enum {
    BLX_PROTOCOL_VERSION = 1,
    BLX_MESSAGE_HEADER_BYTES = 8,
    BLX_MESSAGE_MAX_BYTES = BLX_FRAME_MAX_BYTES + 64, /* of a body */
    BLX_MAX_VOLUMES = 64,                             /* of an agent */
    BLX_TEXT_BYTES = 256,                             /* any text in a message, with its NUL */

    BLX_HEARTBEAT_MAX_MS = 10 * 60 * 1000, /* so that a dead connection is noticed */

    BLX_TOKEN_SECRET_BYTES = 20,
    BLX_REQUEST_MAX_BYTES = 1024,     /* of a request for a certificate */
    BLX_CERTIFICATE_MAX_BYTES = 1024, /* of one certificate */
    BLX_POLICY_TEXT_BYTES = 1024,     /* of each of a POLICY's texts */
    BLX_FINGERPRINT_BYTES = 32,       /* SHA-256 of a certificate in DER form */
    BLX_MACHINE_BYTES = 32,           /* the secret of a machine that restores */
    BLX_HARDWARE_BYTES = 32,          /* by which a machine's hardware is known again */
};

/* A VOLUME's identity that begins so is of what lies on a disk without a serial number: a
 * filesystem's UUID, say. It says nothing beside one that the disk has of its own. */
#define BLX_IDENTITY_OF_CONTENT "content:"

/* Features: bits of HELLO and WELCOME. */
#define BLX_FEATURE_RENEWAL    (UINT64_C(1) << 8)  /* RENEW is understood */
#define BLX_FEATURE_ENCRYPTION (UINT64_C(1) << 9)  /* KEY is understood, and encrypted frames */
#define BLX_FEATURE_POLICY     (UINT64_C(1) << 12) /* POLICY follows WELCOME, and may come again */
#define BLX_FEATURE_CUT_AGE    (UINT64_C(1) << 13) /* CHECKPOINT ends with cut_age_ns */
#define BLX_FEATURE_CONTINUE   (UINT64_C(1) << 14) /* BEGIN with CONTINUE is understood */
#define BLX_FEATURE_LEAVE_OUT  (UINT64_C(1) << 15) /* CHECKPOINT may end with left_out */
#define BLX_FEATURE_AUTHORITY  (UINT64_C(1) << 16) /* AUTHORITY and RENEWED are understood */
#define BLX_FEATURE_CUT_FLAGS  (UINT64_C(1) << 17) /* CHECKPOINT may end with cut_flags */
#define BLX_FEATURE_DIGESTS    (UINT64_C(1) << 20) /* DIGEST_KEY comes, and frames have digests */
#define BLX_FEATURE_HARDWARE   (UINT64_C(1) << 24) /* HARDWARE comes, and HANDOVER is understood */

enum blx_message_type {
    BLX_MESSAGE_HELLO = 1,        /* agent -> dispatcher: its ID, which versions */
    BLX_MESSAGE_WELCOME = 2,      /* dispatcher -> agent: the version, the beat, the window */
    BLX_MESSAGE_VOLUME = 3,       /* agent -> dispatcher: a volume and its generation */
    BLX_MESSAGE_VOLUME_STATE = 4, /* dispatcher -> agent: what is durable of that volume */
    BLX_MESSAGE_BEGIN = 5,        /* agent -> dispatcher: frames follow; full pass or resume */
    BLX_MESSAGE_FRAME = 6,        /* agent -> dispatcher; in a restore dispatcher -> target; in a
                                     copy a piece of a file, dispatcher -> copier */
    BLX_MESSAGE_ACK = 7,          /* dispatcher -> agent: durable up to seq */
    BLX_MESSAGE_CHECKPOINT_REQUEST = 8, /* dispatcher -> agent: take one now */
    BLX_MESSAGE_CHECKPOINT = 9, /* agent -> dispatcher: all frames of the cut are sent; commit */
    BLX_MESSAGE_CHECKPOINT_DONE = 10,   /* dispatcher -> agent: committed, durable */
    BLX_MESSAGE_CHECKPOINT_FAILED = 11, /* agent -> dispatcher: there is none, and why */
    BLX_MESSAGE_STATUS = 12,            /* agent -> dispatcher: state and progress */
    BLX_MESSAGE_PING = 13,              /* both ways, when nothing else was sent */
    BLX_MESSAGE_ERROR = 14,             /* both ways: why the session ends; then close */
    BLX_MESSAGE_GOODBYE = 15,           /* both ways: an orderly end */
    BLX_MESSAGE_DIGEST_REQUEST = 16,    /* agent -> dispatcher: digests of these blocks */
    BLX_MESSAGE_DIGESTS = 17,           /* dispatcher -> agent: those of its image */
    BLX_MESSAGE_RESCAN_REQUEST = 18,    /* dispatcher -> agent: compare the disks with the images */
    BLX_MESSAGE_UNREADABLE = 19,        /* agent -> dispatcher: the next CHECKPOINT lacks these */
    BLX_MESSAGE_KEY = 20, /* agent -> dispatcher, before VOLUME: frames and digests need this key */
    BLX_MESSAGE_POLICY = 24, /* dispatcher -> agent: the settings it has from now on */

    BLX_MESSAGE_JOIN = 32,         /* a server that joins -> dispatcher: its only message */
    BLX_MESSAGE_CERTIFICATE = 33,  /* dispatcher -> agent: the answer to JOIN and RENEW */
    BLX_MESSAGE_RENEW = 34,        /* agent -> dispatcher: asks for a newer certificate */
    BLX_MESSAGE_RENEW_FAILED = 35, /* dispatcher -> agent: why there is none; the session goes on */
    BLX_MESSAGE_AUTHORITY = 36,    /* dispatcher -> agent: the CA that it has from now on */
    BLX_MESSAGE_RENEWED = 37,      /* agent -> dispatcher: the new certificate is on its disk */

    BLX_MESSAGE_RESTORE = 40,        /* a machine that restores -> dispatcher: its token */
    BLX_MESSAGE_RESTORE_OFFER = 41,  /* dispatcher -> target: what the token lets it restore */
    BLX_MESSAGE_RESTORE_VOLUME = 42, /* dispatcher -> target: one of its volumes */
    BLX_MESSAGE_PLAN_REQUEST = 43,   /* target -> dispatcher: which frames hold what lies there? */
    BLX_MESSAGE_PLAN = 44,           /* dispatcher -> target: a window, whose pieces follow */
    BLX_MESSAGE_PLAN_PIECES = 45,    /* dispatcher -> target: some of them */
    BLX_MESSAGE_FRAMES_REQUEST = 46, /* target -> dispatcher: these frames of the window */
    BLX_MESSAGE_RESTORE_DONE = 47,   /* target -> dispatcher: all is written, the token is spent */
    BLX_MESSAGE_HANDOVER = 48, /* dispatcher -> target, agent: it takes the agent's name over */
    BLX_MESSAGE_HARDWARE = 49, /* target, agent -> dispatcher: by which it is known again */
    BLX_MESSAGE_DELTA_REQUEST = 50, /* target -> dispatcher: a volume is to be compared first */
    BLX_MESSAGE_DELTA_KEY = 51,     /* dispatcher -> target: makes the digests of its blocks */
    BLX_MESSAGE_DELTA_WANTED = 52,  /* target -> dispatcher: the next plan is of these blocks */

    BLX_MESSAGE_COPY_REQUEST = 53, /* copier -> dispatcher: list, or send a checkpoint */
    BLX_MESSAGE_COPY_ITEM = 54,    /* dispatcher -> copier: one of a list, which COPY_END ends */
    BLX_MESSAGE_COPY_FILE = 55,    /* dispatcher -> copier: a file of the checkpoint is next */
    BLX_MESSAGE_COPY_TAKE = 56,    /* copier -> dispatcher: send it from this byte on */
    BLX_MESSAGE_COPY_END = 57,     /* dispatcher -> copier: that was all of it, and its hash */
    BLX_MESSAGE_COPY_DONE = 58,    /* copier -> dispatcher: the checkpoint is durable there */

    BLX_MESSAGE_CONTROL_CHECKPOINT = 64, /* cli -> dispatcher: have `agent` take one now */
    BLX_MESSAGE_CONTROL_DONE =
        65, /* dispatcher -> cli: durable, its timestamp; also ends a status list */
    BLX_MESSAGE_CONTROL_STATUS = 66, /* cli -> dispatcher: list the agents; cli -> agent: tell of
                                        yourself */
    BLX_MESSAGE_CONTROL_AGENT = 67,  /* dispatcher, agent -> cli: one agent of the list; itself */
    BLX_MESSAGE_CONTROL_RESCAN = 68, /* cli -> dispatcher: have `agent` begin a rescan */
    BLX_MESSAGE_CONTROL_REVOKE = 72, /* cli -> dispatcher: `agent` is revoked: end its session */
    BLX_MESSAGE_CONTROL_DISPATCHER = 73, /* dispatcher -> cli: itself, before the list */
    BLX_MESSAGE_CONTROL_DAMAGE = 74,     /* cli -> dispatcher: damage of `agent` was found */
    BLX_MESSAGE_CONTROL_PAUSE =
        76, /* cli -> dispatcher: `agent` was paused, resumed, archived, or data of it removed */
    BLX_MESSAGE_CONTROL_SELF = 80,    /* agent -> cli: what no dispatcher knows of it */
    BLX_MESSAGE_CONTROL_DISK = 81,    /* agent -> cli: one of its disks, or one that is left out */
    BLX_MESSAGE_CONTROL_POLICY = 82,  /* cli -> dispatcher: tell what is in force for `agent` */
    BLX_MESSAGE_CONTROL_VERDICT = 83, /* dispatcher -> cli: one setting that is */
    BLX_MESSAGE_CONTROL_STALE = 84,   /* dispatcher -> cli: what its files say, and it does not use;
                                         before a status list, or after the settings */
    BLX_MESSAGE_DIGEST_KEY = 85,      /* dispatcher -> agent: makes the digests of this session */
    BLX_MESSAGE_CONTROL_RESTORE = 86, /* dispatcher -> cli: a machine that restores, in a list */
    BLX_MESSAGE_CONTROL_HANDOVER = 87, /* dispatcher -> cli: an agent that has another machine */
    BLX_MESSAGE_CONTROL_RENAME = 88,   /* cli -> dispatcher: `agent` is renamed: end its session */
    BLX_MESSAGE_CONTROL_HOST = 95,  /* dispatcher -> cli: one of the dispatchers of the directory */
    BLX_MESSAGE_CONTROL_PLACE = 96, /* dispatcher -> cli: an agent that another one of them has */
    BLX_MESSAGE_CONTROL_COPY = 94,  /* dispatcher -> cli: how an agent's copy elsewhere stands */
    BLX_MESSAGE_CONTROL_PIN = 89,   /* cli -> dispatcher: pin a checkpoint of `agent` */
    BLX_MESSAGE_CONTROL_PULLED = 91, /* dispatcher -> cli: an agent that is copied, in a list */
};

/* What an agent is doing. */
enum blx_agent_state {
    BLX_AGENT_OFFLINE = 0,    /* only in CONTROL_AGENT: no session */
    BLX_AGENT_FULL_SYNC = 1,  /* sending a full pass */
    BLX_AGENT_LIVE = 2,       /* following changes */
    BLX_AGENT_CHECKPOINT = 3, /* taking a checkpoint */
    BLX_AGENT_RESCAN = 4,     /* comparing with the dispatcher's image, or sending what differed */
};

/* How consistent a checkpoint is (I7). */
enum blx_consistency {
    BLX_CONSISTENCY_NONE = 0,
    BLX_CONSISTENCY_CRASH = 1,
    BLX_CONSISTENCY_FILESYSTEM = 2,
};

struct blx_hello {
    uint32_t version_min;
    uint32_t version_max;
    uint64_t features;     /* bits of what this side can do; plain blxrep/1 has none */
    uint32_t volume_count; /* 1 to BLX_MAX_VOLUMES */
    char agent_id[BLX_NAME_BYTES];
    char software[BLX_TEXT_BYTES];  /* "blxrep-agent 0.1.0" */
    struct blx_generation instance; /* random, one for each agent process; zero: not known */
};

struct blx_welcome {
    uint32_t version;  /* the highest that both know */
    uint64_t features; /* those of HELLO that this side can do too; in use from here on */
    uint64_t sync_freq_ms;
    uint64_t
        heartbeat_ms; /* each side sends something at least this often; 1 to BLX_HEARTBEAT_MAX_MS */
    uint64_t
        window_bytes; /* of unacknowledged frames, at most, though one is always allowed; not 0 */
    blx_timestamp last_checkpoint; /* 0: none yet */
};

struct blx_key_message {
    struct blx_key_id key_id; /* not none */
};

/* A secret: whoever has it can make two blocks with one digest. To be wiped. */
struct blx_digest_key_message {
    uint8_t secret[BLX_KEY_BYTES];
};

struct blx_volume_info {
    uint32_t volume; /* index within the session, from 0, in order */
    uint32_t block_shift;
    uint64_t size_bytes;
    struct blx_generation generation;
    char name[BLX_NAME_BYTES];     /* the volume's folder in the store */
    char device[BLX_TEXT_BYTES];   /* the device as the user named it */
    char identity[BLX_TEXT_BYTES]; /* serial, WWN or UUID of the disk; may be empty */
};

struct blx_volume_state {
    uint32_t volume;
    struct blx_generation generation; /* of the stored frames; none: nothing is stored */
    uint64_t durable_seq;             /* last durable frame of that generation */
    uint64_t image_bytes; /* size of the image that a rescan can compare with; 0: there is none */
    char reason[BLX_TEXT_BYTES]; /* why frames cannot just continue, for people; may be empty */
};

enum blx_pass {
    BLX_PASS_RESUME = 1,   /* same generation: each block not marked on the agent is durable here */
    BLX_PASS_FULL = 2,     /* each block in use will be sent; the rest counts as zero */
    BLX_PASS_RESCAN = 3,   /* another generation: blocks that differ from the image will be sent */
    BLX_PASS_CONTINUE = 4, /* another generation, and otherwise as RESUME */
};

struct blx_begin {
    uint32_t volume;
    enum blx_pass pass;
    uint64_t full_bytes; /* what a full pass will send, before compression; 0 on resume */
};

struct blx_frame_message {
    uint32_t volume;
    const uint8_t *bytes; /* borrowed */
    size_t frame_bytes;   /* with BLX_FEATURE_DIGESTS those of the digests after the frame, too */
};

struct blx_ack {
    uint32_t volume;
    uint64_t durable_seq;
};

/*
 * A rescan compares sequences of blocks, cut into pieces of `blocks_per_digest` blocks (the last
 * may be shorter), each with a digest of its own (wire/digest.h). The sequence is that of the
 * extents, without the gaps between them.
 */
enum {
    BLX_DIGEST_MAX_EXTENTS = 512,
    BLX_DIGEST_MAX_PIECE_BLOCKS = 1024,
    BLX_DIGEST_MAX_BLOCKS = 16384, /* of a request */
    BLX_DIGESTS_MAX_BYTES = 2048,  /* of an answer's digests */
};

struct blx_digest_extent {
    uint16_t gap_blocks;  /* after the end of the extent before; 0 for the first one */
    uint16_t block_count; /* not 0 */
};

struct blx_digest_request {
    uint32_t volume;
    uint64_t request; /* repeated in the answer */
    bool fresh;       /* the image must hold everything sent so far; else it may be an older one */
    uint32_t blocks_per_digest; /* 1 to BLX_DIGEST_MAX_PIECE_BLOCKS */
    uint64_t first_block;
    uint32_t extent_count;
    struct blx_digest_extent extents[BLX_DIGEST_MAX_EXTENTS];
};

struct blx_digests {
    uint32_t volume;
    uint64_t request;
    uint32_t digest_bytes;
    uint32_t count;
    uint8_t bytes[BLX_DIGESTS_MAX_BYTES];
};

/* PKCS#10 in DER form. tls/request_private.h says what is taken from it. */
struct blx_request_message {
    uint32_t request_bytes; /* 1 to BLX_REQUEST_MAX_BYTES */
    uint8_t bytes[BLX_REQUEST_MAX_BYTES];
};

struct blx_join_message {
    uint8_t secret[BLX_TOKEN_SECRET_BYTES]; /* of the token */
    struct blx_request_message request;
};

/* X.509 in DER form, each 1 to BLX_CERTIFICATE_MAX_BYTES. */
struct blx_certificate_message {
    uint32_t cert_bytes;
    uint32_t ca_bytes;
    uint8_t cert[BLX_CERTIFICATE_MAX_BYTES];
    uint8_t ca[BLX_CERTIFICATE_MAX_BYTES];
};

/*
 * The CA that the agent shall trust and have its certificate from. With a proof, which is a
 * certificate of this CA's key and name by the one before it, the agent goes on to trust those that
 * it has; without one it trusts this CA alone. X.509 in DER form.
 */
struct blx_authority_message {
    uint32_t ca_bytes;    /* 1 to BLX_CERTIFICATE_MAX_BYTES; 0: there is none to tell */
    uint32_t proof_bytes; /* 0 to BLX_CERTIFICATE_MAX_BYTES */
    uint8_t ca[BLX_CERTIFICATE_MAX_BYTES];
    uint8_t proof[BLX_CERTIFICATE_MAX_BYTES];
};

struct blx_renewed_message {
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* of the CA that has signed the certificate */
};

/* The first message of a machine that restores. */
struct blx_restore_message {
    uint8_t secret[BLX_TOKEN_SECRET_BYTES]; /* of the token */
    uint8_t machine[BLX_MACHINE_BYTES];     /* random, and the same each time: the token is bound
                                               to the first machine that shows it */
    char software[BLX_TEXT_BYTES];          /* "blxrep 0.1.0" */
};

/* What the token lets the machine restore. volume_count RESTORE_VOLUMEs follow. */
struct blx_restore_offer {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint; /* not 0 */
    enum blx_consistency consistency;
    uint32_t volume_count; /* 1 to BLX_MAX_VOLUMES */
    uint64_t heartbeat_ms; /* 1 to BLX_HEARTBEAT_MAX_MS */
    uint64_t window_bytes; /* of frames that were asked for and have not come; at least a frame */
};

/* All zero: this machine has nothing by which it could be known again. */
struct blx_hardware_message {
    uint8_t identity[BLX_HARDWARE_BYTES];
};

struct blx_restore_volume {
    uint32_t volume; /* index within the restore, from 0, in order */
    uint32_t block_shift;
    uint64_t size_bytes;
    struct blx_key_id key_id;    /* of all its frames; none: they are not encrypted */
    char name[BLX_NAME_BYTES];   /* the volume's folder in the store */
    char device[BLX_TEXT_BYTES]; /* as the agent named it */
};

/*
 * A volume is restored window by window. A window is a run of blocks; its plan says which frames
 * hold them: pieces, in the order of the frames. A block of the window that no piece has is zero.
 */
enum {
    BLX_PLAN_MAX_PIECES = 1 << 18, /* of a window */
    BLX_PLAN_PIECES_OF_A_MESSAGE = 108,
};

struct blx_plan_request {
    uint32_t volume;
    uint64_t start_block; /* where the window begins */
};

struct blx_plan_message {
    uint32_t volume;
    uint32_t frame_count; /* at most piece_count */
    uint64_t start_block; /* the request's */
    uint64_t end_block;   /* above start_block; the next window begins there */
    uint32_t piece_count; /* that follow in PLAN_PIECES; at most BLX_PLAN_MAX_PIECES */
};

struct blx_plan_piece {
    uint64_t start_block;
    uint32_t block_count; /* not 0 */
    uint32_t data_block;  /* where its data begins in the frame's, in blocks */
    uint32_t frame_bytes; /* of the frame that begins with this piece; 0: of the same frame */
};

struct blx_plan_pieces {
    uint32_t volume;
    uint32_t count; /* 1 to BLX_PLAN_PIECES_OF_A_MESSAGE */
    struct blx_plan_piece pieces[BLX_PLAN_PIECES_OF_A_MESSAGE];
};

/* The window's frames [first, first + count), in this order. */
struct blx_frames_request {
    uint32_t volume;
    uint32_t first;
    uint32_t count; /* not 0 */
};

/*
 * A target that holds something already is compared with the volume by digests of its blocks, in
 * DIGEST_REQUEST and DIGESTS as in a rescan. Those that differ are wanted: the next PLAN is of them
 * alone.
 */
enum {
    BLX_DELTA_MAX_WANTED = 1 << 18, /* extents, before a PLAN_REQUEST */
    BLX_DELTA_WANTED_OF_A_MESSAGE = 128,
    BLX_DELTA_KEY_BYTES = 2 * BLX_KEY_BYTES,
};

struct blx_delta_request {
    uint32_t volume;
};

struct blx_delta_key {
    uint32_t volume;
    struct blx_key_id key_id; /* whose holder can make the digests; none: `key` makes them */
    uint8_t key[BLX_DELTA_KEY_BYTES]; /* of blx_volume_key's digests; zero with a key_id */
};

/* Ascending and disjoint, also from one message to the next. */
struct blx_delta_wanted {
    uint32_t volume;
    uint32_t count; /* 1 to BLX_DELTA_WANTED_OF_A_MESSAGE */
    struct blx_extent extents[BLX_DELTA_WANTED_OF_A_MESSAGE];
};

struct blx_restore_done {
    uint64_t written_bytes; /* all volumes together; for the log */
};

/* A file that is copied has at most so many bytes. */
#define BLX_COPY_FILE_BYTES (UINT64_C(1) << 40)

enum blx_copy_kind {
    BLX_COPY_AGENTS = 1,      /* list the agents, each with its newest checkpoint */
    BLX_COPY_CHECKPOINTS = 2, /* list the agent's checkpoints after `have` */
    BLX_COPY_CHECKPOINT = 3,  /* send what a copy that has `have` lacks of `checkpoint` */
};

enum {
    BLX_COPY_HASH_BYTES = 32,             /* SHA-256 */
    BLX_COPY_PIECE_BYTES = 256 * 1024,    /* of a file, in a FRAME; the last piece may be longer */
    BLX_COPY_PIECE_LEAST_BYTES = 88 - 8,  /* what a FRAME has at least */
    BLX_COPY_MANIFEST_BYTES = 512 * 1024, /* of a checkpoint's manifest, at most */
};

struct blx_copy_request {
    enum blx_copy_kind kind;
    char agent_id[BLX_NAME_BYTES];     /* its ID; "" for AGENTS */
    blx_timestamp checkpoint;          /* 0 except for CHECKPOINT */
    blx_timestamp have;                /* before `checkpoint`; 0: nothing */
    uint8_t hash[BLX_COPY_HASH_BYTES]; /* of what the copier knows of `have` (store/copy/offer.h) */
};

struct blx_copy_item {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint; /* 0: the agent has none yet */
};

struct blx_copy_file {
    uint32_t volume; /* by its place in the checkpoint's manifest */
    uint32_t number; /* of the segment; 0: it is the manifest */
    uint64_t bytes;
};

struct blx_copy_take {
    uint64_t offset_bytes; /* at most the file's bytes: then it is there already */
};

struct blx_copy_hash {
    uint8_t hash[BLX_COPY_HASH_BYTES]; /* of the whole file; zero: the end of a list */
};

/* What the dispatcher has decided for the agent. All zero: only WELCOME's sync-freq. */
struct blx_policy_message {
    uint64_t sync_freq_ms; /* not 0 */
    bool paused;           /* no data and no checkpoints, until a further POLICY */
    char bandwidth_limit[BLX_POLICY_TEXT_BYTES]; /* base/bandwidth.h; "": none */
    uint32_t exclude_bytes;
    char exclude[BLX_POLICY_TEXT_BYTES]; /* patterns of devices, each with its NUL */
};

struct blx_checkpoint_request {
    uint64_t request; /* echoed in the answer */
};

#define BLX_CUT_AGE_UNKNOWN UINT64_MAX

/* What a program has to know of a cut, which a person reads in its note. 0: the agent did not tell,
 * and the note alone says it. */
enum blx_cut_flags {
    BLX_CUT_FLAGS_TOLD = 1,
    BLX_CUT_LACKS_FIRST_PASS = 2, /* of a disk that is left out, and was in no checkpoint yet */
    BLX_CUT_PRE_FREEZE_FAILED = 4,
    BLX_CUT_POST_THAW_FAILED = 8,
};
enum { BLX_CUT_FLAGS_ALL = 15 };

/* Whether the flags are some that this program knows, and told. */
static inline bool blx_cut_flags_are_valid(uint32_t flags)
{
    return (flags & ~(uint32_t)BLX_CUT_FLAGS_ALL) == 0 &&
           (flags == 0 || (flags & BLX_CUT_FLAGS_TOLD) != 0);
}

struct blx_checkpoint_message {
    uint64_t request;
    uint64_t cut_realtime_ns; /* by the agent's clock: information */
    uint64_t cut_age_ns; /* from the cut to the sending of this message, by a clock that does not
                            leap; BLX_CUT_AGE_UNKNOWN: the peer has no BLX_FEATURE_CUT_AGE */
    enum blx_consistency consistency;
    uint32_t volume_count;
    uint64_t
        freeze_ns; /* from the first filesystem frozen to the last thawed; 0 without a freeze */
    char note[BLX_TEXT_BYTES]; /* for people: why it is less than "filesystem", and what it lacks;
                                  may be empty */
    /* For each volume, by index: the last frame that belongs to the checkpoint (0: none was ever
     * sent, or it is left out). */
    uint64_t last_seq[BLX_MAX_VOLUMES];
    /* A bit, 1 << index, for each volume that the checkpoint does not have: its pass is under way.
     * Never all of them. Not 0 with BLX_FEATURE_LEAVE_OUT and a known cut_age_ns only. */
    uint64_t left_out;
    /* Of enum blx_cut_flags. Not 0 with BLX_FEATURE_CUT_FLAGS and a known cut_age_ns only. */
    uint32_t cut_flags;
};

/*
 * Blocks of a volume that could not be read, and so are not in the frames of the checkpoint that
 * follows. Extents ascend and do not overlap. If there are more than fit, near ones are joined.
 */
enum { BLX_UNREADABLE_MAX_EXTENTS = 128 };

struct blx_unreadable {
    uint32_t volume;
    uint32_t extent_count; /* 1 to BLX_UNREADABLE_MAX_EXTENTS */
    struct blx_extent extents[BLX_UNREADABLE_MAX_EXTENTS];
};

struct blx_checkpoint_done {
    uint64_t request;
    blx_timestamp timestamp;
};

struct blx_checkpoint_failed {
    uint64_t request;
    char reason[BLX_TEXT_BYTES];
};

struct blx_status {
    enum blx_agent_state state;
    uint64_t dirty_bytes;          /* marked, not yet durable at the dispatcher, and readable */
    uint64_t unreadable_bytes;     /* the last try to read them failed; a disk that cannot be
                                      protected now counts whole */
    uint64_t done_bytes;           /* of the running pass, which is a full one or a rescan */
    uint64_t total_bytes;          /* of the running pass; 0: none runs */
    uint64_t missed_events;        /* counted by the kernel since the start of tracking */
    uint64_t tracked_events;       /* completed writes that the tracker has seen */
    uint64_t passthrough_commands; /* commands that may have written, but name no sector */
    uint64_t unseen_sectors;       /* written without a run of the tracker, as the witness counts */
    uint32_t eta_seconds;          /* until the running pass is done; 0: not known */
    char reason[BLX_TEXT_BYTES];   /* why a full pass or a rescan runs, which disk cannot be
                                      protected; may be empty */
};

struct blx_text_message {
    char text[BLX_TEXT_BYTES];
};

struct blx_control_checkpoint {
    char agent_id[BLX_NAME_BYTES];
};

struct blx_control_rescan {
    char agent_id[BLX_NAME_BYTES];
};

struct blx_control_revoke {
    char agent_id[BLX_NAME_BYTES];
};

struct blx_control_pause {
    char agent_id[BLX_NAME_BYTES];
};

struct blx_control_rename {
    char agent_id[BLX_NAME_BYTES];
    char to[BLX_NAME_BYTES]; /* its name from then on */
};

struct blx_control_pin {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp timestamp; /* of the checkpoint */
};

/* An agent that is copied from another dispatcher, and has no CONTROL_AGENT. */
struct blx_control_pulled {
    char agent_id[BLX_NAME_BYTES];
    blx_timestamp checkpoint;    /* the newest that is here; 0: none */
    uint64_t looked_s;           /* when the copier looked last, since 1970; 0: not yet */
    char source[BLX_TEXT_BYTES]; /* the address of the other dispatcher */
};

struct blx_control_done {
    bool ok;
    blx_timestamp timestamp;
    char text[BLX_TEXT_BYTES]; /* why not ok; or a remark about the checkpoint */
};

enum { BLX_CONSISTENCIES = BLX_CONSISTENCY_FILESYSTEM + 1 };

#define BLX_AWAY_UNKNOWN UINT64_MAX

/* What keeps the dispatcher from storing anything, or from reading what it has stored. */
enum blx_trouble_kind {
    BLX_TROUBLE_NONE = 0,
    BLX_TROUBLE_FULL = 1,      /* no room, or no inode */
    BLX_TROUBLE_READ_ONLY = 2, /* its filesystem cannot be written to */
    BLX_TROUBLE_DENIED = 3,    /* its files belong to somebody else */
    BLX_TROUBLE_GONE = 4,      /* unmounted, removed or replaced */
    BLX_TROUBLE_FAILED = 5,    /* its disk reports another error */
    BLX_TROUBLE_DAMAGED = 6,   /* a file of an agent's last checkpoint is damaged */
};

/* All zero: there is none. */
struct blx_trouble {
    enum blx_trouble_kind kind;
    blx_timestamp since;       /* when it was noticed; 0: not known */
    char text[BLX_TEXT_BYTES]; /* the rest of a sentence, with the object's name */
};

struct blx_control_agent {
    char agent_id[BLX_NAME_BYTES];
    char peer[BLX_TEXT_BYTES]; /* address; empty when offline */
    struct blx_status status;
    blx_timestamp last_checkpoint;
    blx_timestamp last_time; /* when it was cut, by the dispatcher's clock; mostly its name */
    int64_t clock_offset_ms; /* the agent's clock less the dispatcher's, at the last cut */
    char prune_hold
        [BLX_TEXT_BYTES]; /* what keeps retention from removing checkpoints; "": nothing */
    enum blx_consistency last_consistency;
    uint64_t last_unreadable_bytes; /* of the last checkpoint; not 0: it is damaged */
    uint64_t connected_ms;          /* how long the session has lasted; 0 offline */
    uint64_t received_bytes;        /* frames in this session */
    uint32_t volume_count;
    uint64_t sync_freq_ms;     /* how often a checkpoint is due; 0: not known */
    uint64_t away_ms;          /* since its session ended, or since the dispatcher started; 0 while
                         connected; BLX_AWAY_UNKNOWN: no dispatcher runs */
    uint64_t rate_bytes_per_s; /* frames, over the last seconds */
    uint64_t volume_bytes;     /* size of all volumes */
    uint64_t freeze_ns;        /* of the last checkpoint */
    char note[BLX_TEXT_BYTES]; /* of the last checkpoint: why it is less than "filesystem" */
    uint32_t cut_flags;        /* of the last checkpoint: of enum blx_cut_flags */
    char failure[BLX_TEXT_BYTES]; /* why the last try for a checkpoint failed; "": it did not */

    /* Since the dispatcher started. */
    uint64_t checkpoints[BLX_CONSISTENCIES]; /* committed */
    uint64_t failed_checkpoints;
    uint64_t sessions;
    uint64_t rescans;
    uint64_t total_received_bytes;
    uint64_t total_freeze_ns;

    blx_timestamp paused_since;   /* 0: it is not paused */
    uint32_t rescan_place;        /* in the queue of rescans: 1 is next; 0: it does not wait */
    uint32_t quota_state;         /* 0: free; 1: a limit of its quota is near; 2: one is reached */
    char quota[BLX_TEXT_BYTES];   /* which, and how much is used; "": it is free */
    blx_timestamp archived_since; /* 0: it is not archived */
    bool revoked;                 /* and no certificate has been signed for it since */
    bool unencrypted; /* it is refused: its policy demands encryption, and it sends none */

    /* Of the last checkpoint. */
    uint64_t changed_bytes; /* distinct blocks */
    uint64_t stored_bytes;  /* their frames */
    uint64_t saved_bytes;   /* by compression */

    struct blx_trouble trouble;   /* the store's, as far as it concerns this agent */
    blx_timestamp enrolled_since; /* it has credentials and never connected; 0: it did */
    uint64_t stalled_ms;  /* how long the running first sync has made no progress; 0: it does, or
                            none runs */
    uint64_t cert_ends_s; /* when its certificate expires, since 1970; 0: not known */
};

struct blx_control_dispatcher {
    uint64_t uptime_ms;
    uint64_t data_bytes; /* size of the data directory's filesystem; 0: not known */
    uint64_t data_free_bytes;
    uint64_t data_inodes; /* of that filesystem; 0: it makes them as needed, or not known */
    uint64_t data_free_inodes;
    uint64_t cert_ends_s;          /* when its certificate expires, since 1970; 0: not known */
    uint64_t ca_ends_s;            /* and its CA; 0: it is not blxrep's */
    bool ca_rolls;                 /* its CA has a successor */
    uint32_t ca_stayed;            /* then: agents that still need the old one */
    char software[BLX_TEXT_BYTES]; /* "blxrep-dispatcher 0.1.0" */
    struct blx_trouble trouble;    /* the store's */
};

struct blx_control_damage {
    char agent_id[BLX_NAME_BYTES];
    char text[BLX_TEXT_BYTES]; /* what was found */
};

/* What an agent tells of itself beside its CONTROL_AGENT. */
struct blx_control_self {
    char dispatcher_addr[BLX_TEXT_BYTES]; /* as configured: one, or several with commas between */
    char software[BLX_TEXT_BYTES];        /* "blxrep-agent 0.1.0" */
    uint64_t uptime_ms;
    uint64_t cert_ends_s;         /* when its certificate expires, since 1970; 0: not known */
    char refusal[BLX_TEXT_BYTES]; /* why its last session ended, or none began; "": none ended */
    uint64_t refusal_ms;          /* how long ago that was */
    bool encrypts;
    bool knows_checkpoint; /* false: the last checkpoint was taken before this process began, and
                              only its name is known */
    uint32_t left_over;    /* disks beyond the number that one agent can have */
};

enum blx_disk_state {
    BLX_DISK_PROTECTED = 1,
    BLX_DISK_REFUSED = 2,  /* wanted, and cannot be protected now */
    BLX_DISK_EXCLUDED = 3, /* an `exclude` leaves it out */
};

struct blx_control_disk {
    enum blx_disk_state state;
    char path[BLX_TEXT_BYTES];
    char text[BLX_TEXT_BYTES]; /* why it is refused, or why a pass runs; may be empty */
    uint64_t size_bytes;       /* 0: not known */
    uint64_t dirty_bytes; /* the rest is 0 unless it is protected; as in STATUS, of this disk */
    uint64_t unreadable_bytes;
    uint64_t done_bytes;
    uint64_t total_bytes;
    uint64_t tracked_events;
    uint64_t missed_events;
};

struct blx_control_policy {
    char agent_id[BLX_NAME_BYTES];
};

/* A machine that restores now. */
struct blx_control_restore {
    char agent_id[BLX_NAME_BYTES];
    char peer[BLX_TEXT_BYTES]; /* its address */
    blx_timestamp checkpoint;
    char volume[BLX_NAME_BYTES]; /* that it is at */
    uint32_t number;             /* of this volume, from 1; 0: it has not begun */
    uint32_t volume_count;
    uint64_t volume_bytes;     /* its size */
    uint64_t done_bytes;       /* how far the restore is in it */
    uint64_t sent_bytes;       /* of frames, over this connection */
    uint64_t rate_bytes_per_s; /* of frames, over the last seconds */
    uint64_t connected_ms;     /* how long this connection has lasted */
    uint32_t eta_seconds;      /* until this volume is done; 0: not known */
    bool takes_over;           /* the machine will be the agent */
};

enum blx_handover_state {
    BLX_HANDOVER_NONE = 0,
    BLX_HANDOVER_WAITING = 1, /* for the machine that has restored, with the old certificate */
    BLX_HANDOVER_SETTLED = 2, /* it has a certificate of its own; older ones are refused */
    BLX_HANDOVER_UNDONE = 3,  /* that machine is refused, and the old certificates hold */
};
enum { BLX_HANDOVER_STATES = BLX_HANDOVER_UNDONE + 1 };

/* An agent whose name went to another machine. */
struct blx_control_handover {
    char agent_id[BLX_NAME_BYTES];
    enum blx_handover_state state;     /* not NONE */
    blx_timestamp since;               /* when the restore was complete */
    blx_timestamp checkpoint;          /* that was restored */
    char peer[BLX_TEXT_BYTES];         /* where it came from */
    uint64_t refused;                  /* machines' tries that were refused since the start */
    uint64_t refused_ms;               /* how long ago the last one was */
    char refused_peer[BLX_TEXT_BYTES]; /* where it came from; "": there was none */
};

enum blx_host_role {
    BLX_HOST_ALONE = 1,   /* it has the data directory for itself */
    BLX_HOST_SHARES = 2,  /* others may serve agents of the same directory */
    BLX_HOST_STANDBY = 3, /* it waits until nobody has the directory */
};
enum { BLX_HOST_ROLES = BLX_HOST_STANDBY + 1 };

/* A dispatcher of a data directory (store/member.h). */
struct blx_control_host {
    char name[BLX_NAME_BYTES]; /* of its host */
    enum blx_host_role role;
    blx_timestamp since; /* when it took this role */
    blx_timestamp told;  /* when it last told, by its own clock */
    char listen[BLX_TEXT_BYTES];
    char software[BLX_TEXT_BYTES]; /* "blxrep-dispatcher 0.1.0" */
};

/* An agent that is connected to another dispatcher of the directory. */
struct blx_control_place {
    char agent_id[BLX_NAME_BYTES];
    char host[BLX_NAME_BYTES]; /* that one's name */
};

/* How an agent's copy elsewhere stands. Times are seconds since 1970, 0: not known. */
struct blx_control_copy {
    char agent_id[BLX_NAME_BYTES];
    bool late;            /* a checkpoint has been waiting for it for too long */
    bool locked;          /* what the newest one needs cannot be deleted now, as far as was tried */
    bool wants_lock;      /* the configuration asks for it */
    bool some_may;        /* whoever has a special right may lift the lock */
    blx_timestamp newest; /* of this store's checkpoints there; 0: none */
    uint64_t copied_s;
    uint64_t locked_until_s;
    uint64_t tried_s;
    uint64_t waiting_s; /* for how long a checkpoint has been due; 0: there is none */
    uint64_t strange;   /* newer checkpoints there that this store did not copy */
    char place[BLX_TEXT_BYTES];
    char not_locked[BLX_TEXT_BYTES]; /* why; "": it is locked */
    char failure[BLX_TEXT_BYTES];    /* of the last try; "": it did not fail */
};

enum blx_verdict_source {
    BLX_VERDICT_DEFAULT = 0,
    BLX_VERDICT_CONFIG = 1, /* the dispatcher's configuration, or its command line */
    BLX_VERDICT_POLICY = 2,
};

enum { BLX_VERDICT_NUMBERS = 16 };

/* A setting that is in force for an agent; config/policy.h knows the keys and what the value means.
 */
struct blx_control_verdict {
    uint32_t key;
    enum blx_verdict_source source;
    char file[BLX_TEXT_BYTES];    /* of the source; "": the command line, or no file */
    char pattern[BLX_TEXT_BYTES]; /* of a policy: the one that matches the agent */
    uint64_t numbers[BLX_VERDICT_NUMBERS];
    char texts[BLX_POLICY_TEXT_BYTES]; /* each with its NUL */
    size_t texts_bytes;
};

struct blx_message {
    enum blx_message_type type;
    union {
        struct blx_hello hello;
        struct blx_welcome welcome;
        struct blx_key_message key;
        struct blx_digest_key_message digest_key;
        struct blx_volume_info volume;
        struct blx_volume_state volume_state;
        struct blx_begin begin;
        struct blx_frame_message frame;
        struct blx_ack ack;
        struct blx_digest_request digest_request;
        struct blx_digests digests;
        struct blx_text_message rescan_request; /* the reason */
        struct blx_checkpoint_request checkpoint_request;
        struct blx_checkpoint_message checkpoint;
        struct blx_unreadable unreadable;
        struct blx_policy_message policy;
        struct blx_checkpoint_done checkpoint_done;
        struct blx_checkpoint_failed checkpoint_failed;
        struct blx_status status;
        struct blx_text_message error; /* ERROR; PING, GOODBYE and CONTROL_STATUS have no body */
        struct blx_join_message join;
        struct blx_certificate_message certificate;
        struct blx_request_message renew;
        struct blx_text_message renew_failed; /* the reason */
        struct blx_authority_message authority;
        struct blx_renewed_message renewed;
        struct blx_restore_message restore;
        struct blx_restore_offer restore_offer;
        struct blx_restore_volume restore_volume;
        struct blx_plan_request plan_request;
        struct blx_plan_message plan;
        struct blx_plan_pieces plan_pieces;
        struct blx_frames_request frames_request;
        struct blx_copy_request copy_request;
        struct blx_copy_item copy_item;
        struct blx_copy_file copy_file;
        struct blx_copy_take copy_take;
        struct blx_copy_hash copy_end;
        struct blx_copy_hash copy_done; /* of the checkpoint (store/copy/offer.h) */
        struct blx_restore_done restore_done;
        struct blx_hardware_message hardware; /* HANDOVER has no body */
        struct blx_delta_request delta_request;
        struct blx_delta_key delta_key;
        struct blx_delta_wanted delta_wanted;
        struct blx_control_checkpoint control_checkpoint;
        struct blx_control_rescan control_rescan;
        struct blx_control_revoke control_revoke;
        struct blx_control_done control_done;
        struct blx_control_agent control_agent;
        struct blx_control_dispatcher control_dispatcher;
        struct blx_control_damage control_damage;
        struct blx_control_pause control_pause;
        struct blx_control_pulled control_pulled;
        struct blx_control_rename control_rename;
        struct blx_control_pin control_pin;
        struct blx_control_self control_self;
        struct blx_control_disk control_disk;
        struct blx_control_policy control_policy;
        struct blx_control_verdict control_verdict;
        struct blx_text_message control_stale;
        struct blx_control_restore control_restore;
        struct blx_control_handover control_handover;
        struct blx_control_host control_host;
        struct blx_control_place control_place;
        struct blx_control_copy control_copy;
    };
};

/* "HELLO" and so on, for logs; "unknown" if there is no such type. */
const char *blx_message_name(enum blx_message_type type);

/*
 * Encodes header and body into `buffer` of `capacity` bytes. For FRAME only header and volume index
 * are encoded (16 bytes in all); the caller sends the frame's bytes right after them, so that they
 * are never copied. -EMSGSIZE if it does not fit, -EINVAL for a message that blx_message_decode()
 * would refuse. Texts that are too long are cut; their unprintable characters become '?'.
 */
enum { BLX_MESSAGE_ENCODED_BYTES = 4096, BLX_FRAME_MESSAGE_PREFIX_BYTES = 16 };
int blx_message_encode(const struct blx_message *message, uint8_t *buffer, size_t capacity,
                       size_t *length);

/*
 * Decodes the 8-byte header: type and body size. -EBADMSG for an unknown type or a size above that
 * type's limit.
 */
int blx_message_decode_header(const uint8_t header[BLX_MESSAGE_HEADER_BYTES],
                              enum blx_message_type *type, size_t *body_bytes,
                              struct blx_error *err);

/*
 * Decodes and validates a body. A FRAME's `bytes` borrow `body`; the frame itself is checked by
 * blx_frame_parse_with_digests(). -EBADMSG with the reason.
 */
int blx_message_decode(enum blx_message_type type, const uint8_t *body, size_t body_bytes,
                       struct blx_message *message, struct blx_error *err);

const char *blx_consistency_name(
    enum blx_consistency consistency); /* "none", "crash", "filesystem" */
const char *blx_agent_state_name(
    enum blx_agent_state state); /* "OFFLINE", "FULL SYNC", "LIVE", "CHECKPOINT", "RESCAN" */
const char *blx_disk_state_name(enum blx_disk_state state); /* "protected", "refused", "excluded" */
