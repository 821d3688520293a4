/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot/save.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/bitmap.h"
#include "base/le.h"
#include "base/text.h"

static const uint64_t save_magic = UINT64_C(0x31455641534c5842);    /* "BXLSAVE1" */
static const uint64_t history_magic = UINT64_C(0x54534948584c5842); /* "BXLXHIST" */

enum {
    VERSION = 1,
    STATE_VALID = 1,
    STATE_USED = 2,
    FLAG_STREAM_USED = 1,
    FLAG_CHECKPOINT_UNCONFIRMED = 2,
    FLAG_PASS_IS_RESCAN = 4,
    FLAG_RESCAN_ACTIVE = 8,
    FLAGS = 15,
    NUMBER_BYTES_MAX = 10, /* of 7 bits each: 64 bits */
    GAP_SHIFT_STEP = 3,
};

struct head_disk {
    blx_le64 magic;
    blx_le32 version;
    blx_le32 state;
    uint8_t id[BLX_GENERATION_BYTES];
    char boot_id[40];
    blx_le32 verb;
    blx_le32 volume_count;
    blx_le64 saved_s;
    blx_le64 body_bytes;
    blx_le64 write_commands[BLX_MAX_VOLUMES];
    uint8_t digest[AGENT_SAVE_DIGEST_BYTES]; /* of the head before it, and the body */
};
_Static_assert(sizeof(struct head_disk) <= AGENT_SAVE_HEAD_BYTES, "a block");

struct volume_disk {
    char kernel_name[AGENT_SAVE_KERNEL_NAME_BYTES];
    char identity[BLX_TEXT_BYTES];
    char refusal[BLX_TEXT_BYTES];
    char volume[BLX_NAME_BYTES];
    uint8_t reserved[3];
    blx_le32 block_shift;
    blx_le64 start_bytes;
    blx_le64 size_bytes;
    blx_le64 blocks;
    uint8_t stream[BLX_GENERATION_BYTES];
    uint8_t base[BLX_GENERATION_BYTES];
    blx_le64 acked_seq;
    blx_le64 sent_seq;
    blx_le64 base_seq;
    blx_le64 last_checkpoint;
    blx_le64 pass_total_blocks;
    blx_le64 rescan_cursor_block;
    blx_le64 rescan_end_block;
    blx_le32 flags;
    blx_le32 above_count;
    char pass_reason[BLX_TEXT_BYTES];
    char rescan_reason[BLX_TEXT_BYTES];
    uint8_t superblocks[AGENT_SAVE_DIGEST_BYTES];
    struct agent_save_above above[AGENT_SAVE_ABOVE];
    blx_le64 packed_bytes; /* which follow */
};
_Static_assert(sizeof(struct volume_disk) % 8 == 0 && sizeof(struct agent_save_above) == 64,
               "no hole");

struct history_disk {
    blx_le64 magic;
    blx_le32 version;
    blx_le32 count;
    blx_le32 seconds[AGENT_SAVE_REBOOTS];
    uint8_t digest[AGENT_SAVE_DIGEST_BYTES]; /* of all before */
};
_Static_assert(sizeof(struct history_disk) <= AGENT_SAVE_HISTORY_BYTES, "a block");

static const char *const verbs[AGENT_SAVE_VERBS] = {
    [AGENT_SAVE_UNKNOWN] = "unknown",   [AGENT_SAVE_REBOOT] = "reboot",
    [AGENT_SAVE_POWEROFF] = "poweroff", [AGENT_SAVE_HALT] = "halt",
    [AGENT_SAVE_KEXEC] = "kexec",
};

enum agent_save_verb agent_save_find_verb(const char *word)
{
    for (int verb = 1; word != NULL && verb < AGENT_SAVE_VERBS; verb++)
        if (strcmp(word, verbs[verb]) == 0)
            return (enum agent_save_verb)verb;
    return AGENT_SAVE_UNKNOWN;
}

const char *agent_save_name_verb(enum agent_save_verb verb)
{
    return verbs[verb];
}

/* SHA-256 of two pieces, the second of which may be empty. It fails for want of memory only: then
 * the digest is all zero, which no content has. */
static void digest_of(const void *one, size_t one_bytes, const void *two, size_t two_bytes,
                      uint8_t digest[AGENT_SAVE_DIGEST_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    memset(digest, 0, AGENT_SAVE_DIGEST_BYTES);
    if (context == NULL || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1 ||
        EVP_DigestUpdate(context, one, one_bytes) != 1 ||
        EVP_DigestUpdate(context, two, two_bytes) != 1 ||
        EVP_DigestFinal_ex(context, digest, NULL) != 1)
        memset(digest, 0, AGENT_SAVE_DIGEST_BYTES);
    EVP_MD_CTX_free(context);
}

static bool digest_fits(const void *one, size_t one_bytes, const void *two, size_t two_bytes,
                        const uint8_t digest[AGENT_SAVE_DIGEST_BYTES])
{
    static const uint8_t none[AGENT_SAVE_DIGEST_BYTES];
    uint8_t found[AGENT_SAVE_DIGEST_BYTES];
    digest_of(one, one_bytes, two, two_bytes, found);
    return memcmp(found, none, sizeof(found)) != 0 && memcmp(found, digest, sizeof(found)) == 0;
}

/* ---- marks */

static size_t put_number(uint64_t number, uint8_t bytes[NUMBER_BYTES_MAX])
{
    size_t count = 0;
    do {
        bytes[count++] = (uint8_t)((number & 0x7f) | (number > 0x7f ? 0x80 : 0));
        number >>= 7;
    } while (number != 0);
    return count;
}

/* False if there is none, or one that has more than 64 bits. */
static bool get_number(const uint8_t *bytes, uint64_t limit, uint64_t *at, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0; shift < 63 && *at < limit; shift += 7) {
        uint8_t byte = bytes[(*at)++];
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return true;
    }
    return false;
}

struct packing {
    uint8_t *to;
    size_t bytes, used;
    uint64_t end; /* of the run before */
};

static bool pack_run(struct packing *packing, struct blx_extent run)
{
    uint8_t numbers[2 * NUMBER_BYTES_MAX];
    size_t count = put_number(run.start_block - packing->end, numbers);
    count += put_number(run.block_count, numbers + count);
    if (count > packing->bytes - packing->used)
        return false;
    memcpy(packing->to + packing->used, numbers, count);
    packing->used += count;
    packing->end = blx_extent_end(run);
    return true;
}

/* Gaps of less than `gap` blocks count as marked. */
static bool pack(const struct agent_save_volume *volume, uint64_t gap, uint8_t *to, size_t bytes,
                 size_t *used)
{
    struct packing packing = {.to = to, .bytes = bytes};
    struct blx_extent run, whole = {0};
    uint64_t from = 0;
    while (blx_bitmap_next_run(volume->marks, from, volume->blocks, UINT64_MAX, &run)) {
        from = blx_extent_end(run);
        if (whole.block_count != 0 && run.start_block - blx_extent_end(whole) < gap) {
            whole.block_count = from - whole.start_block;
            continue;
        }
        if (whole.block_count != 0 && !pack_run(&packing, whole))
            return false;
        whole = run;
    }
    if (whole.block_count != 0 && !pack_run(&packing, whole))
        return false;
    *used = packing.used;
    return true;
}

/* False if a run lies outside, or a number is cut. `words` NULL: only looks. */
static bool unpack(const struct agent_save_volume *volume, uint64_t *words)
{
    uint64_t at = 0, end = 0, gap = 0, count = 0;
    while (at < volume->packed_bytes) {
        if (!get_number(volume->packed, volume->packed_bytes, &at, &gap) ||
            !get_number(volume->packed, volume->packed_bytes, &at, &count) || count == 0 ||
            gap > volume->blocks - end || count > volume->blocks - end - gap)
            return false;
        if (words != NULL)
            blx_bitmap_set(words, (struct blx_extent){end + gap, count});
        end += gap + count;
    }
    return true;
}

void agent_save_unpack(const struct agent_save_volume *volume, uint64_t *words)
{
    unpack(volume, words);
}

/* ---- volumes */

static void put_volume(const struct agent_save_volume *volume, struct volume_disk *disk)
{
    *disk = (struct volume_disk){
        .block_shift = blx_le32_of(volume->block_shift),
        .start_bytes = blx_le64_of(volume->start_bytes),
        .size_bytes = blx_le64_of(volume->size_bytes),
        .blocks = blx_le64_of(volume->blocks),
        .acked_seq = blx_le64_of(volume->acked_seq),
        .sent_seq = blx_le64_of(volume->sent_seq),
        .base_seq = blx_le64_of(volume->base_seq),
        .last_checkpoint = blx_le64_of(volume->last_checkpoint),
        .pass_total_blocks = blx_le64_of(volume->pass_total_blocks),
        .rescan_cursor_block = blx_le64_of(volume->rescan_cursor_block),
        .rescan_end_block = blx_le64_of(volume->rescan_end_block),
        .flags = blx_le32_of((volume->stream_used ? FLAG_STREAM_USED : 0U) |
                             (volume->checkpoint_unconfirmed ? FLAG_CHECKPOINT_UNCONFIRMED : 0U) |
                             (volume->pass_is_rescan ? FLAG_PASS_IS_RESCAN : 0U) |
                             (volume->rescan_active ? FLAG_RESCAN_ACTIVE : 0U)),
        .above_count = blx_le32_of(volume->above_count),
    };
    blx_text_set(disk->kernel_name, volume->kernel_name);
    blx_text_set(disk->identity, volume->identity);
    blx_text_set(disk->refusal, volume->refusal);
    blx_text_set(disk->volume, volume->volume);
    blx_text_set(disk->pass_reason, volume->pass_reason);
    blx_text_set(disk->rescan_reason, volume->rescan_reason);
    memcpy(disk->stream, volume->stream.bytes, sizeof(disk->stream));
    memcpy(disk->base, volume->base.bytes, sizeof(disk->base));
    memcpy(disk->superblocks, volume->superblocks, sizeof(disk->superblocks));
    memcpy(disk->above, volume->above, sizeof(disk->above));
}

static bool is_text(const char *field, size_t bytes)
{
    size_t length = strnlen(field, bytes);
    for (size_t i = 0, step; i < length; i += step) {
        step = blx_text_character_bytes(field + i, length - i);
        if (step == 0)
            return false;
    }
    return length < bytes;
}

static bool is_sound(const struct volume_disk *disk)
{
    const uint64_t size = blx_le64_get(disk->size_bytes), blocks = blx_le64_get(disk->blocks);
    const uint32_t shift = blx_le32_get(disk->block_shift);
    return is_text(disk->kernel_name, sizeof(disk->kernel_name)) && disk->kernel_name[0] != '\0' &&
           strchr(disk->kernel_name, '/') == NULL &&
           is_text(disk->identity, sizeof(disk->identity)) &&
           is_text(disk->refusal, sizeof(disk->refusal)) &&
           is_text(disk->volume, sizeof(disk->volume)) &&
           is_text(disk->pass_reason, sizeof(disk->pass_reason)) &&
           is_text(disk->rescan_reason, sizeof(disk->rescan_reason)) &&
           (blx_le32_get(disk->flags) & ~(uint32_t)FLAGS) == 0 &&
           blx_le32_get(disk->above_count) <= AGENT_SAVE_ABOVE &&
           blx_le64_get(disk->acked_seq) <= blx_le64_get(disk->sent_seq) &&
           (disk->refusal[0] != '\0' ||
            (shift >= BLX_BLOCK_SHIFT_MIN && shift <= BLX_BLOCK_SHIFT_MAX &&
             blocks <= BLX_VOLUME_MAX_BLOCKS && blocks == blx_blocks_of_bytes(size, shift) &&
             blx_le64_get(disk->pass_total_blocks) <= blocks &&
             blx_le64_get(disk->rescan_cursor_block) <= blocks &&
             blx_le64_get(disk->rescan_end_block) <= blocks));
}

static void get_volume(const struct volume_disk *disk, struct agent_save_volume *volume)
{
    const uint32_t flags = blx_le32_get(disk->flags);
    *volume = (struct agent_save_volume){
        .block_shift = blx_le32_get(disk->block_shift),
        .start_bytes = blx_le64_get(disk->start_bytes),
        .size_bytes = blx_le64_get(disk->size_bytes),
        .blocks = blx_le64_get(disk->blocks),
        .acked_seq = blx_le64_get(disk->acked_seq),
        .sent_seq = blx_le64_get(disk->sent_seq),
        .base_seq = blx_le64_get(disk->base_seq),
        .last_checkpoint = blx_le64_get(disk->last_checkpoint),
        .pass_total_blocks = blx_le64_get(disk->pass_total_blocks),
        .rescan_cursor_block = blx_le64_get(disk->rescan_cursor_block),
        .rescan_end_block = blx_le64_get(disk->rescan_end_block),
        .stream_used = (flags & FLAG_STREAM_USED) != 0,
        .checkpoint_unconfirmed = (flags & FLAG_CHECKPOINT_UNCONFIRMED) != 0,
        .pass_is_rescan = (flags & FLAG_PASS_IS_RESCAN) != 0,
        .rescan_active = (flags & FLAG_RESCAN_ACTIVE) != 0,
        .above_count = blx_le32_get(disk->above_count),
    };
    blx_text_set(volume->kernel_name, disk->kernel_name);
    blx_text_set(volume->identity, disk->identity);
    blx_text_set(volume->refusal, disk->refusal);
    blx_text_set(volume->volume, disk->volume);
    blx_text_set(volume->pass_reason, disk->pass_reason);
    blx_text_set(volume->rescan_reason, disk->rescan_reason);
    memcpy(volume->stream.bytes, disk->stream, sizeof(disk->stream));
    memcpy(volume->base.bytes, disk->base, sizeof(disk->base));
    memcpy(volume->superblocks, disk->superblocks, sizeof(disk->superblocks));
    memcpy(volume->above, disk->above, sizeof(disk->above));
}

/* `room` is what its marks may take. Returns the bytes of all of it. */
static size_t encode_volume(const struct agent_save_volume *volume, uint8_t *to, size_t room)
{
    struct volume_disk disk;
    size_t packed = 0;
    put_volume(volume, &disk);
    uint64_t gap = 1;
    while (volume->marks != NULL && volume->refusal[0] == '\0' &&
           !pack(volume, gap, to + sizeof(disk), room, &packed))
        gap <<= GAP_SHIFT_STEP;
    disk.packed_bytes = blx_le64_of(packed);
    memcpy(to, &disk, sizeof(disk));
    return sizeof(disk) + packed;
}

void agent_save_encode_head(const struct agent_save *save, uint8_t *area, size_t used_bytes)
{
    struct head_disk head = {
        .magic = blx_le64_of(save_magic),
        .version = blx_le32_of(VERSION),
        .state = blx_le32_of(STATE_VALID),
        .verb = blx_le32_of((uint32_t)save->verb),
        .volume_count = blx_le32_of(save->volume_count),
        .saved_s = blx_le64_of(save->saved_s),
        .body_bytes = blx_le64_of(used_bytes - AGENT_SAVE_BODY_AT),
    };
    memcpy(head.id, save->id.bytes, sizeof(head.id));
    blx_text_set(head.boot_id, save->boot_id);
    for (uint32_t i = 0; i < save->volume_count; i++)
        head.write_commands[i] = blx_le64_of(save->volumes[i].write_commands);
    digest_of(&head, offsetof(struct head_disk, digest), area + AGENT_SAVE_BODY_AT,
              used_bytes - AGENT_SAVE_BODY_AT, head.digest);
    memset(area, 0, AGENT_SAVE_HEAD_BYTES);
    memcpy(area, &head, sizeof(head));
}

int agent_save_encode(const struct agent_save *save, uint8_t *area, size_t bytes,
                      size_t *used_bytes, struct blx_error *err)
{
    /* Two runs of a volume always fit, and then the gap between them may become large enough. */
    const size_t least = sizeof(struct volume_disk) + 4 * (size_t)NUMBER_BYTES_MAX;
    if (bytes < AGENT_SAVE_BODY_AT || (bytes - AGENT_SAVE_BODY_AT) / least < save->volume_count)
        return blx_error_set(err, -ENOSPC, "there is no room for the marks of %u volumes",
                             save->volume_count);
    size_t at = AGENT_SAVE_BODY_AT;
    for (uint32_t i = 0; i < save->volume_count; i++) {
        size_t share = (bytes - at) / (save->volume_count - i);
        at += encode_volume(&save->volumes[i], area + at, share - sizeof(struct volume_disk));
    }
    agent_save_encode_head(save, area, at);
    *used_bytes = at;
    return 0;
}

static int check_head(const uint8_t *area, size_t bytes, struct head_disk *head,
                      struct blx_error *err)
{
    if (bytes < AGENT_SAVE_BODY_AT)
        return blx_error_set(err, -ENODATA, "there is none");
    memcpy(head, area, sizeof(*head));
    const uint64_t body_bytes = blx_le64_get(head->body_bytes);
    if (blx_le64_get(head->magic) != save_magic)
        return blx_error_set(
            err, -ENODATA, "there is none: the shutdown was not in order, or nothing was tracked");
    if (blx_le32_get(head->state) == STATE_USED)
        return blx_error_set(err, -EALREADY,
                             "an earlier boot has used it, and the shutdown after that has made "
                             "none: it was not in order");
    if (body_bytes > bytes - AGENT_SAVE_BODY_AT ||
        !digest_fits(head, offsetof(struct head_disk, digest), area + AGENT_SAVE_BODY_AT,
                     body_bytes, head->digest))
        return blx_error_set(err, -EBADMSG, "it is torn or damaged: its digest is wrong");
    if (blx_le32_get(head->version) != VERSION)
        return blx_error_set(err, -ENOTSUP, "it has version %u, and this program knows %d",
                             blx_le32_get(head->version), VERSION);
    if (blx_le32_get(head->state) != STATE_VALID ||
        blx_le32_get(head->volume_count) > BLX_MAX_VOLUMES ||
        blx_le32_get(head->verb) >= AGENT_SAVE_VERBS ||
        strnlen(head->boot_id, sizeof(head->boot_id)) >= AGENT_SAVE_BOOT_ID_BYTES ||
        !is_text(head->boot_id, sizeof(head->boot_id)))
        return blx_error_set(err, -EBADMSG, "a field has a value that it cannot have");
    return 0;
}

/* The volume at *at of the body. */
static bool decode_volume(const uint8_t *body, uint64_t body_bytes, uint64_t *at,
                          struct agent_save_volume *volume)
{
    struct volume_disk disk;
    if (body_bytes - *at < sizeof(disk))
        return false;
    memcpy(&disk, body + *at, sizeof(disk));
    *at += sizeof(disk);
    if (!is_sound(&disk) || blx_le64_get(disk.packed_bytes) > body_bytes - *at)
        return false;
    get_volume(&disk, volume);
    volume->packed = body + *at;
    volume->packed_bytes = blx_le64_get(disk.packed_bytes);
    *at += volume->packed_bytes;
    return unpack(volume, NULL);
}

int agent_save_decode(const uint8_t *area, size_t bytes, struct agent_save *save,
                      struct blx_error *err)
{
    struct head_disk head;
    int rc = check_head(area, bytes, &head, err);
    if (rc < 0)
        return rc;
    const uint64_t body_bytes = blx_le64_get(head.body_bytes);
    const uint32_t count = blx_le32_get(head.volume_count);
    uint64_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct agent_save_volume volume;
        if (!decode_volume(area + AGENT_SAVE_BODY_AT, body_bytes, &at, &volume))
            return blx_error_set(err, -EBADMSG, "volume %u has a value that it cannot have", i);
    }
    if (at != body_bytes)
        return blx_error_set(err, -EBADMSG, "it has more than its volumes");
    *save = (struct agent_save){.verb = (enum agent_save_verb)blx_le32_get(head.verb),
                                .saved_s = blx_le64_get(head.saved_s),
                                .volume_count = count};
    memcpy(save->id.bytes, head.id, sizeof(head.id));
    blx_text_set(save->boot_id, head.boot_id);
    at = 0;
    for (uint32_t i = 0; i < count; i++) {
        decode_volume(area + AGENT_SAVE_BODY_AT, body_bytes, &at, &save->volumes[i]);
        save->volumes[i].write_commands = blx_le64_get(head.write_commands[i]);
    }
    return 0;
}

void agent_save_make_used(uint8_t block[AGENT_SAVE_HEAD_BYTES])
{
    const struct head_disk head = {.magic = blx_le64_of(save_magic),
                                   .version = blx_le32_of(VERSION),
                                   .state = blx_le32_of(STATE_USED)};
    memset(block, 0, AGENT_SAVE_HEAD_BYTES);
    memcpy(block, &head, sizeof(head));
}

/* ---- the history */

void agent_save_history_add(struct agent_save_history *history, uint32_t seconds)
{
    if (history->count == AGENT_SAVE_REBOOTS) {
        memmove(history->seconds, history->seconds + 1,
                sizeof(history->seconds) - sizeof(history->seconds[0]));
        history->count--;
    }
    history->seconds[history->count++] = seconds;
}

void agent_save_history_encode(const struct agent_save_history *history,
                               uint8_t block[AGENT_SAVE_HISTORY_BYTES])
{
    struct history_disk disk = {.magic = blx_le64_of(history_magic),
                                .version = blx_le32_of(VERSION),
                                .count = blx_le32_of(history->count)};
    for (uint32_t i = 0; i < history->count; i++)
        disk.seconds[i] = blx_le32_of(history->seconds[i]);
    digest_of(&disk, offsetof(struct history_disk, digest), "", 0, disk.digest);
    memset(block, 0, AGENT_SAVE_HISTORY_BYTES);
    memcpy(block, &disk, sizeof(disk));
}

void agent_save_history_decode(const uint8_t block[AGENT_SAVE_HISTORY_BYTES],
                               struct agent_save_history *history)
{
    struct history_disk disk;
    memcpy(&disk, block, sizeof(disk));
    *history = (struct agent_save_history){0};
    const uint32_t count = blx_le32_get(disk.count);
    if (blx_le64_get(disk.magic) != history_magic || blx_le32_get(disk.version) != VERSION ||
        count > AGENT_SAVE_REBOOTS ||
        !digest_fits(&disk, offsetof(struct history_disk, digest), "", 0, disk.digest))
        return;
    for (uint32_t i = 0; i < count; i++)
        history->seconds[i] = blx_le32_get(disk.seconds[i]);
    history->count = count;
}
