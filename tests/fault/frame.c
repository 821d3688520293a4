/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib/wire/frame and digest. The codecs keep their contexts with the thread that made them, so each
 * turn has a thread of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "loop.h"
#include "wire/digest.h"
#include "wire/frame.h"

enum { SHIFT = 12, BLOCKS = 4, DATA_BYTES = BLOCKS << SHIFT, UNTOUCHED = 0x5a };

struct packing {
    enum blx_codec codec;
    uint8_t data[DATA_BYTES], unpacked[DATA_BYTES];
    uint8_t packed[DATA_BYTES + 4096];
    const struct blx_volume_key *key; /* NULL: it is not encrypted */
    size_t frame_bytes;
    struct blx_frame frame;
    struct blx_error *err;
    int rc;
};

/* Runs `function` in a thread of its own; returns the `packing->rc` that it leaves. */
static int in_thread(struct packing *packing, void *(*function)(void *), struct blx_error *err)
{
    pthread_t thread;
    packing->err = err;
    assert_int_equal(pthread_create(&thread, NULL, function, packing), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return packing->rc;
}

static void *pack_here(void *arg)
{
    struct packing *packing = arg;
    const struct blx_frame_extent extent = {{3, BLOCKS}, false};
    const struct blx_frame_content content = {
        .codec = packing->codec,
        .block_shift = SHIFT,
        .generation = {{1}},
        .extents = &extent,
        .extent_count = 1,
        .data = packing->data,
        .data_bytes = DATA_BYTES,
        .key = packing->key,
    };
    assert_true(blx_frame_bound(&content) <= sizeof(packing->packed));
    packing->rc = blx_frame_pack(&content, packing->packed, &packing->frame_bytes, packing->err);
    return NULL;
}

static int pack(void *state, struct blx_error *err)
{
    return in_thread(state, pack_here, err);
}

static void fill(void *state)
{
    struct packing *packing = state;
    for (size_t i = 0; i < DATA_BYTES; i++)
        packing->data[i] = (uint8_t)(i / 64);
    packing->frame_bytes = UNTOUCHED;
}

static void check_packed(void *state, int rc)
{
    struct packing *packing = state;
    if (rc < 0) {
        assert_int_equal(packing->frame_bytes, UNTOUCHED);
        return;
    }
    blx_frame_seal(packing->packed, 1);
    assert_int_equal(blx_frame_parse(packing->packed, packing->frame_bytes, &packing->frame, NULL),
                     0);
    assert_int_equal(packing->frame.codec, packing->codec);
    assert_int_equal(blx_frame_decrypt(&packing->frame, packing->packed, packing->key, NULL), 0);
    assert_int_equal(blx_frame_unpack(&packing->frame, packing->unpacked, NULL), 0);
    assert_memory_equal(packing->unpacked, packing->data, DATA_BYTES);
}

static void a_frame_is_packed_or_not(void **state)
{
    (void)state;
    static struct packing packing = {.codec = BLX_CODEC_ZSTD};
    fault_loop(&(struct fault_case){.setup = fill, .run = pack, .check = check_packed}, &packing);
}

static struct blx_volume_key example_key(void)
{
    const struct blx_key key = {.secret = {1, 2, 3}, .id = {{4}}};
    struct blx_volume_key derived;
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL), 0);
    return derived;
}

static void an_encrypted_frame_is_packed_or_not(void **state)
{
    (void)state;
    static struct packing packing = {.codec = BLX_CODEC_ZSTD};
    const struct blx_volume_key key = example_key();
    packing.key = &key;
    fault_loop(&(struct fault_case){.setup = fill, .run = pack, .check = check_packed}, &packing);
}

static int decrypt(void *state, struct blx_error *err)
{
    struct packing *packing = state;
    return blx_frame_decrypt(&packing->frame, packing->packed, packing->key, err);
}

static void fill_encrypted(void *state)
{
    struct packing *packing = state;
    fill(state);
    assert_int_equal(pack(state, NULL), 0);
    blx_frame_seal(packing->packed, 1);
    assert_int_equal(blx_frame_parse(packing->packed, packing->frame_bytes, &packing->frame, NULL),
                     0);
}

static void check_decrypted(void *state, int rc)
{
    struct packing *packing = state;
    assert_int_equal(packing->frame.is_ciphertext, rc < 0);
    if (rc == 0)
        assert_int_equal(blx_frame_unpack(&packing->frame, packing->unpacked, NULL), 0);
}

static void a_frame_is_decrypted_or_not(void **state)
{
    (void)state;
    static struct packing packing = {.codec = BLX_CODEC_ZSTD};
    const struct blx_volume_key key = example_key();
    packing.key = &key;
    fault_loop(
        &(struct fault_case){.setup = fill_encrypted, .run = decrypt, .check = check_decrypted},
        &packing);
}

static int parse(void *state, struct blx_error *err)
{
    struct packing *packing = state;
    return blx_frame_parse(packing->packed, packing->frame_bytes, &packing->frame, err);
}

static void fill_sealed(void *state)
{
    struct packing *packing = state;
    fill(state);
    assert_int_equal(pack(state, NULL), 0);
    blx_frame_seal(packing->packed, 1);
}

/* It is good: no answer may say that it is not. */
static void check_parsed(void *state, int rc)
{
    const struct packing *packing = state;
    assert_true(rc == 0 || rc == -ENOMEM);
    if (rc == 0)
        assert_int_equal(packing->frame.extent_count, 1);
}

static void a_frame_is_parsed_or_not(void **state)
{
    (void)state;
    static struct packing packing = {.codec = BLX_CODEC_ZSTD};
    fault_loop(&(struct fault_case){.setup = fill_sealed, .run = parse, .check = check_parsed},
               &packing);
}

static void *unpack_here(void *arg)
{
    struct packing *packing = arg;
    packing->rc = blx_frame_unpack(&packing->frame, packing->unpacked, packing->err);
    return NULL;
}

static int unpack(void *state, struct blx_error *err)
{
    return in_thread(state, unpack_here, err);
}

static void fill_packed(void *state)
{
    struct packing *packing = state;
    fill(state);
    assert_int_equal(pack(state, NULL), 0);
    check_packed(state, 0);
    memset(packing->unpacked, UNTOUCHED, sizeof(packing->unpacked));
}

static void check_unpacked(void *state, int rc)
{
    struct packing *packing = state;
    if (rc == 0)
        assert_memory_equal(packing->unpacked, packing->data, DATA_BYTES);
}

static void a_frame_is_unpacked_or_not(void **state)
{
    (void)state;
    static struct packing packing = {.codec = BLX_CODEC_ZSTD};
    fault_loop(&(struct fault_case){.setup = fill_packed, .run = unpack, .check = check_unpacked},
               &packing);
}

static int make_digester(void *state, struct blx_error *err)
{
    return blx_digester_new(state, err);
}

static void forget_digester(void *state)
{
    *(struct blx_digester **)state = NULL;
}

static void check_digester(void *state, int rc)
{
    struct blx_digester **digester = state;
    assert_true((rc == 0) == (*digester != NULL));
    blx_digester_free(*digester);
}

static void a_digester_is_made_or_not(void **state)
{
    (void)state;
    struct blx_digester *digester;
    fault_loop(&(struct fault_case){.setup = forget_digester,
                                    .run = make_digester,
                                    .check = check_digester},
               &digester);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_is_packed_or_not),
        cmocka_unit_test(an_encrypted_frame_is_packed_or_not),
        cmocka_unit_test(a_frame_is_decrypted_or_not),
        cmocka_unit_test(a_frame_is_parsed_or_not),
        cmocka_unit_test(a_frame_is_unpacked_or_not),
        cmocka_unit_test(a_digester_is_made_or_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
