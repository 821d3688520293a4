/* SPDX-License-Identifier: Apache-2.0 */
/* The save of a reboot, without its history: what decodes encodes to what decodes to the same. The
 * input is the head's fields and the body; the digest is made right. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "agent/reboot/save.h"
#include "base/bitmap.h"
#include "fuzz.h"

enum {
    BODY_BYTES_AT = 88, /* in the head */
    DIGEST_AT = 608,
    AREA_BYTES = 64 * 1024,
    BLOCKS_MAX = 1 << 20, /* a larger bitmap tells no more */
};

static void repair(uint8_t *area, size_t body_bytes)
{
    for (unsigned i = 0; i < 8; i++)
        area[BODY_BYTES_AT + i] = (uint8_t)((uint64_t)body_bytes >> (8 * i));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    FUZZ_ASSERT(context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1);
    FUZZ_ASSERT(EVP_DigestUpdate(context, area, DIGEST_AT) == 1);
    FUZZ_ASSERT(EVP_DigestUpdate(context, area + AGENT_SAVE_BODY_AT, body_bytes) == 1);
    FUZZ_ASSERT(EVP_DigestFinal_ex(context, area + DIGEST_AT, NULL) == 1);
    EVP_MD_CTX_free(context);
}

/* The offsets above are those of the head: what they make of a good save is the same save. */
static void check_offsets(void)
{
    static uint8_t area[AREA_BYTES], repaired[AREA_BYTES];
    static const struct agent_save save = {.volume_count = 1,
                                           .volumes = {{.kernel_name = "vda", .refusal = "none"}}};
    size_t used = 0;
    FUZZ_ASSERT(agent_save_encode(&save, area, AREA_BYTES, &used, NULL) == 0);
    memcpy(repaired, area, sizeof(area));
    repair(repaired, used - AGENT_SAVE_BODY_AT);
    FUZZ_ASSERT(memcmp(area, repaired, sizeof(area)) == 0);
}

static uint64_t *unpack(const struct agent_save_volume *volume)
{
    uint64_t *words = calloc(blx_bitmap_words(volume->blocks) + 1, sizeof(*words));
    FUZZ_ASSERT(words != NULL);
    agent_save_unpack(volume, words);
    return words;
}

static bool is_small(const struct agent_save *save)
{
    for (uint32_t i = 0; i < save->volume_count; i++)
        if (save->volumes[i].blocks > BLOCKS_MAX)
            return false;
    return true;
}

/* Marks may be more than before, and none is lost. */
static void check_again(struct agent_save *save)
{
    static uint8_t area[AREA_BYTES];
    static struct agent_save again;
    uint64_t *marks[BLX_MAX_VOLUMES] = {NULL};
    size_t used = 0;
    for (uint32_t i = 0; i < save->volume_count; i++)
        save->volumes[i].marks = marks[i] = unpack(&save->volumes[i]);
    if (agent_save_encode(save, area, AREA_BYTES, &used, NULL) == 0) {
        FUZZ_ASSERT(agent_save_decode(area, AREA_BYTES, &again, NULL) == 0);
        FUZZ_ASSERT(again.volume_count == save->volume_count && again.saved_s == save->saved_s);
        for (uint32_t i = 0; i < save->volume_count; i++) {
            struct agent_save_volume *volume = &again.volumes[i];
            uint64_t *found = unpack(volume);
            for (uint64_t w = 0;
                 save->volumes[i].refusal[0] == '\0' && w < blx_bitmap_words(volume->blocks); w++)
                FUZZ_ASSERT((marks[i][w] & ~found[w]) == 0);
            free(found);
        }
    }
    for (uint32_t i = 0; i < save->volume_count; i++)
        free(marks[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t area[AREA_BYTES];
    static struct agent_save save;
    static bool checked;
    struct blx_error err = {0};
    if (!checked)
        check_offsets();
    checked = true;
    if (size < DIGEST_AT || size - DIGEST_AT > AREA_BYTES - AGENT_SAVE_BODY_AT)
        return 0;
    memset(area, 0, sizeof(area));
    memcpy(area, data, DIGEST_AT);
    memcpy(area + AGENT_SAVE_BODY_AT, data + DIGEST_AT, size - DIGEST_AT);
    for (int turn = 0; turn < 2; turn++) {
        int rc = agent_save_decode(area, AREA_BYTES, &save, &err);
        if (rc < 0)
            fuzz_assert_refusal(rc, &err);
        else if (is_small(&save))
            check_again(&save);
        err = (struct blx_error){0};
        repair(area, size - DIGEST_AT);
    }
    return 0;
}
