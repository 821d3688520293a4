/* SPDX-License-Identifier: Apache-2.0 */
/* The codecs, the encryption of a frame and the digests of a rescan, from inside lib/wire. The
 * codecs keep their contexts with the thread that made them, so each turn has a thread of its own.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "loop.h"
#include "wire/codec_private.h"
#include "wire/digest.h"
#include "wire/frame_encryption_private.h"

enum { SHIFT = 12, BLOCKS = 3, DATA_BYTES = BLOCKS << SHIFT };

struct packing {
    enum blx_codec codec; /* as it is made */
    uint8_t data[DATA_BYTES], packed[DATA_BYTES], unpacked[DATA_BYTES];
    size_t packed_bytes;
    int rc;
};

static int in_thread(struct packing *packing, void *(*function)(void *))
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, function, packing), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return packing->rc;
}

static void *pack_here(void *arg)
{
    struct packing *packing = arg;
    packing->rc = blx_codec_pack(packing->codec, 0, packing->data, DATA_BYTES, packing->packed,
                                 &packing->packed_bytes);
    return NULL;
}

static void *unpack_here(void *arg)
{
    struct packing *packing = arg;
    packing->rc = blx_codec_unpack(packing->codec, packing->packed, packing->packed_bytes,
                                   packing->unpacked, DATA_BYTES);
    return NULL;
}

static void setup_pack(void *arg)
{
    struct packing *packing = arg;
    for (size_t i = 0; i < DATA_BYTES; i++)
        packing->data[i] = (uint8_t)(i / 64);
    fault_poison(&packing->packed_bytes, sizeof(packing->packed_bytes));
    fault_poison(packing->unpacked, sizeof(packing->unpacked));
}

static int run_pack(void *arg, struct blx_error *err)
{
    (void)err;
    return in_thread(arg, pack_here);
}

static int run_unpack(void *arg, struct blx_error *err)
{
    (void)err;
    return in_thread(arg, unpack_here);
}

static void setup_unpack(void *arg)
{
    setup_pack(arg);
    assert_int_equal(run_pack(arg, NULL), 0);
}

/* Short memory is neither "it does not become smaller" nor "it is damaged". */
static void check_pack(void *arg, int rc)
{
    const struct packing *packing = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    if (rc < 0)
        fault_assert_poisoned(&packing->packed_bytes, sizeof(packing->packed_bytes));
    else
        assert_true(packing->packed_bytes < DATA_BYTES);
}

static void check_unpack(void *arg, int rc)
{
    const struct packing *packing = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    if (rc < 0)
        fault_assert_poisoned(packing->unpacked, DATA_BYTES);
    else
        assert_memory_equal(packing->unpacked, packing->data, DATA_BYTES);
}

static void data_is_packed_and_unpacked_or_an_error(void **state)
{
    (void)state;
    static struct packing packing = {.codec = BLX_CODEC_ZSTD};
    fault_loop(&(struct fault_case){setup_pack, run_pack, check_pack, NULL, 1}, &packing);
    fault_loop(&(struct fault_case){setup_unpack, run_unpack, check_unpack, NULL, 1}, &packing);
}

/* A frame that is packed and not yet encrypted. */
struct encrypting {
    struct blx_volume_key key;
    struct blx_frame_extent extent;
    uint8_t data[DATA_BYTES];
    struct blx_frame_content content;
    uint8_t bytes[2 * DATA_BYTES];
};

static void setup_encrypt(void *arg)
{
    struct encrypting *encrypting = arg;
    struct blx_frame_header_disk header = {
        .magic = blx_le32_of(BLX_FRAME_MAGIC),
        .version = BLX_FRAME_VERSION,
        .block_shift = SHIFT,
        .flags = BLX_FRAME_ENCRYPTED,
        .extent_count = blx_le32_of(1),
        .data_bytes = blx_le32_of(DATA_BYTES),
        .payload_bytes = blx_le32_of(DATA_BYTES),
        .generation = {1},
    };
    const struct blx_extent_disk extent = {.start_block = blx_le64_of(3),
                                           .block_count = blx_le32_of(BLOCKS)};
    size_t before = sizeof(header) + sizeof(extent);
    size_t payload = before + blx_frame_encryption_bytes(DATA_BYTES, SHIFT);
    memset(encrypting, 0, sizeof(*encrypting));
    encrypting->key = (struct blx_volume_key){.encryption = {1}, .digest = {2}, .id = {{3}}};
    encrypting->extent = (struct blx_frame_extent){{3, BLOCKS}, false};
    memset(encrypting->data, 7, DATA_BYTES);
    encrypting->content = (struct blx_frame_content){.block_shift = SHIFT,
                                                     .generation = {{1}},
                                                     .extents = &encrypting->extent,
                                                     .extent_count = 1,
                                                     .data = encrypting->data,
                                                     .data_bytes = DATA_BYTES,
                                                     .key = &encrypting->key};
    header.frame_bytes = blx_le32_of((uint32_t)(payload + DATA_BYTES));
    memcpy(encrypting->bytes, &header, sizeof(header));
    memcpy(encrypting->bytes + sizeof(header), &extent, sizeof(extent));
    memcpy(encrypting->bytes + payload, encrypting->data, DATA_BYTES);
}

static int run_encrypt(void *arg, struct blx_error *err)
{
    struct encrypting *encrypting = arg;
    return blx_frame_encrypt(&encrypting->content, encrypting->bytes, DATA_BYTES, err);
}

static void check_encrypt(void *arg, int rc)
{
    struct encrypting *encrypting = arg;
    struct blx_frame frame;
    struct blx_frame_header_disk header;
    struct blx_frame_encryption_disk encryption;
    uint8_t unpacked[DATA_BYTES];
    const uint8_t none[BLX_XAES_NONCE_BYTES] = {0};
    if (rc < 0)
        return;
    memcpy(&header, encrypting->bytes, sizeof(header));
    memcpy(&encryption, encrypting->bytes + sizeof(header) + sizeof(struct blx_extent_disk),
           sizeof(encryption));
    assert_memory_not_equal(encryption.nonce, none, sizeof(none));
    blx_frame_seal(encrypting->bytes, 1);
    assert_int_equal(
        blx_frame_parse(encrypting->bytes, blx_le32_get(header.frame_bytes), &frame, NULL), 0);
    assert_memory_not_equal(frame.payload, encrypting->data, DATA_BYTES);
    assert_int_equal(blx_frame_decrypt(&frame, encrypting->bytes, &encrypting->key, NULL), 0);
    assert_int_equal(blx_frame_unpack(&frame, unpacked, NULL), 0);
    assert_memory_equal(unpacked, encrypting->data, DATA_BYTES);
}

static void a_frame_is_encrypted_or_an_error(void **state)
{
    (void)state;
    static struct encrypting encrypting;
    fault_loop(&(struct fault_case){setup_encrypt, run_encrypt, check_encrypt, NULL, 0},
               &encrypting);
}

struct digesting {
    struct blx_digester *digester;
    struct blx_digests digests;
    uint8_t data[DATA_BYTES];
};

/* Two blocks in each piece, so that the end completes the last one. */
static const struct blx_digest_request request = {.blocks_per_digest = 2};

static void setup_digest(void *arg)
{
    struct digesting *digesting = arg;
    memset(digesting, 0, sizeof(*digesting));
    memset(digesting->data, 7, DATA_BYTES);
    assert_int_equal(blx_digester_new(&digesting->digester, NULL), 0);
    blx_digester_begin(digesting->digester, &request, SHIFT, &digesting->digests);
}

static void free_digester(void *arg)
{
    blx_digester_free(((struct digesting *)arg)->digester);
}

static int run_digest(void *arg, struct blx_error *err)
{
    struct digesting *digesting = arg;
    int rc = blx_digester_add(digesting->digester, digesting->data, BLOCKS, err);
    return rc < 0 ? rc : blx_digester_end(digesting->digester, err);
}

/* Both pieces, and right ones. The digester can begin again. */
static void check_digest(void *arg, int rc)
{
    struct digesting *digesting = arg;
    struct digesting right;
    setup_digest(&right);
    assert_int_equal(run_digest(&right, NULL), 0);
    if (rc < 0) {
        blx_digester_begin(digesting->digester, &request, SHIFT, &digesting->digests);
        assert_int_equal(run_digest(arg, NULL), 0);
    }
    assert_int_equal(digesting->digests.count, 2);
    for (uint32_t i = 0; i < 2; i++)
        assert_true(blx_digests_equal(&digesting->digests, &right.digests, i));
    free_digester(&right);
}

static void blocks_are_digested_or_an_error(void **state)
{
    (void)state;
    static struct digesting digesting;
    fault_loop(&(struct fault_case){setup_digest, run_digest, check_digest, free_digester, 0},
               &digesting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_is_packed_and_unpacked_or_an_error),
        cmocka_unit_test(a_frame_is_encrypted_or_an_error),
        cmocka_unit_test(blocks_are_digested_or_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
