/* SPDX-License-Identifier: Apache-2.0 */
/* lib/crypt, with OpenSSL's calls failing, too: bytes that were not encrypted, digested or derived
 * are an error, and never pass for it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "crypt/block_digest.h"
#include "crypt/key.h"
#include "crypt/volume_key.h"
#include "crypt/xaes.h"
#include "loop.h"

enum { BYTES = 100 };

static const uint8_t key_bytes[BLX_XAES_KEY_BYTES] = {1, 2}, nonce[BLX_XAES_NONCE_BYTES] = {3};
static const struct blx_xaes_piece piece = {"what is not encrypted", 21};
static const struct blx_xaes_message message = {
    .key = key_bytes, .nonce = nonce, .pieces = &piece, .piece_count = 1};
static const struct blx_volume_key volume_key = {.digest = {1, 2, 3}};

struct outputs {
    struct blx_key key;
    struct blx_volume_key derived;
    uint8_t expanded[40], digest[BLX_BLOCK_DIGEST_BYTES], tag[BLX_XAES_TAG_BYTES];
    uint8_t data[BYTES];
    char text[160]; /* of a key's file */
    struct blx_block_digester *digester;
};

static void setup(void *arg)
{
    struct outputs *out = arg;
    fault_poison(out, sizeof(*out));
    out->digester = NULL;
}

static void teardown(void *arg)
{
    blx_block_digester_free(((struct outputs *)arg)->digester);
}

static int run_expand(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_key_expand(key_bytes, "a test", 6, out->expanded, sizeof(out->expanded), err);
}

static int run_create(void *arg, struct blx_error *err)
{
    return blx_key_create(&((struct outputs *)arg)->key, err);
}

/* An id that does not fit would be a file that was changed. */
static int run_parse(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_key_parse(out->text, strlen(out->text), &out->key, err);
}

static void setup_parse(void *arg)
{
    struct outputs *out = arg;
    struct blx_key key = {.secret = {1}};
    char id[BLX_KEY_ID_TEXT_BYTES];
    setup(arg);
    assert_int_equal(
        blx_key_expand(key.secret, "blxrep key id 1", 15, key.id.bytes, BLX_KEY_ID_BYTES, NULL), 0);
    blx_key_id_format(&key.id, id);
    snprintf(out->text, sizeof(out->text), "blxrep encryption key 1\nid: %s\nkey: 01%062d\n", id,
             0);
}

static int run_derive(void *arg, struct blx_error *err)
{
    static const struct blx_key key = {.secret = {9}, .id = {{8}}};
    return blx_volume_key_derive(&key, "web1", "vda", &((struct outputs *)arg)->derived, err);
}

/* The RFC's, cut: no other digest ever passes for it. */
static void check_expand(void *arg, int rc)
{
    const struct outputs *out = arg;
    uint8_t again[sizeof(out->expanded)];
    assert_int_equal(blx_key_expand(key_bytes, "a test", 6, again, sizeof(again), NULL), 0);
    if (rc < 0)
        fault_assert_poisoned(out->expanded, sizeof(out->expanded));
    else
        assert_memory_equal(out->expanded, again, sizeof(again));
}

static void check_create(void *arg, int rc)
{
    const struct outputs *out = arg;
    if (rc < 0)
        fault_assert_poisoned(&out->key, sizeof(out->key));
    else
        assert_false(blx_key_id_is_none(&out->key.id));
}

static void check_parse(void *arg, int rc)
{
    assert_int_not_equal(rc, -EINVAL);
    check_create(arg, rc);
}

static void check_derive(void *arg, int rc)
{
    const struct outputs *out = arg;
    if (rc < 0)
        fault_assert_poisoned(&out->derived, sizeof(out->derived));
    else
        assert_int_equal(out->derived.id.bytes[0], 8);
}

static void a_key_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){setup, run_expand, check_expand, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_create, check_create, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup_parse, run_parse, check_parse, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_derive, check_derive, teardown, 0}, &out);
}

static int run_digester(void *arg, struct blx_error *err)
{
    return blx_block_digester_new(&volume_key, &((struct outputs *)arg)->digester, err);
}

static void check_digester(void *arg, int rc)
{
    assert_int_equal(((struct outputs *)arg)->digester != NULL, rc == 0);
}

static void setup_digest(void *arg)
{
    setup(arg);
    assert_int_equal(run_digester(arg, NULL), 0);
}

static int run_digest(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_block_digest(out->digester, 5, "a block's data", 14, out->digest, err);
}

/* The digester is as good as before. */
static void check_digest(void *arg, int rc)
{
    struct outputs *out = arg;
    uint8_t right[BLX_BLOCK_DIGEST_BYTES];
    struct blx_block_digester *other = NULL;
    assert_int_equal(blx_block_digester_new(&volume_key, &other, NULL), 0);
    assert_int_equal(blx_block_digest(other, 5, "a block's data", 14, right, NULL), 0);
    blx_block_digester_free(other);
    if (rc < 0) {
        fault_assert_poisoned(out->digest, sizeof(out->digest));
        assert_int_equal(run_digest(arg, NULL), 0);
    }
    assert_memory_equal(out->digest, right, sizeof(right));
}

static void a_block_is_digested_right_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){setup, run_digester, check_digester, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup_digest, run_digest, check_digest, teardown, 0}, &out);
}

static void setup_plain(void *arg)
{
    struct outputs *out = arg;
    setup(arg);
    memset(out->data, 7, BYTES);
}

static int run_encrypt(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_xaes_encrypt(&message, out->data, BYTES, out->tag, err);
}

static int run_decrypt(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_xaes_decrypt(&message, out->data, BYTES, out->tag, err);
}

static void setup_encrypted(void *arg)
{
    setup_plain(arg);
    assert_int_equal(run_encrypt(arg, NULL), 0);
}

static void check_plain(void *arg, int rc)
{
    const struct outputs *out = arg;
    uint8_t plain[BYTES];
    memset(plain, 7, sizeof(plain));
    assert_int_not_equal(rc, -EBADMSG);
    if (rc == 0)
        assert_memory_equal(out->data, plain, BYTES);
}

static void check_encrypt(void *arg, int rc)
{
    struct outputs *out = arg;
    if (rc < 0) {
        fault_assert_poisoned(out->tag, sizeof(out->tag));
        return;
    }
    assert_int_equal(run_decrypt(arg, NULL), 0);
    check_plain(arg, 0);
}

static void what_is_encrypted_comes_back_or_is_an_error(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){setup_plain, run_encrypt, check_encrypt, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup_encrypted, run_decrypt, check_plain, teardown, 0}, &out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_made_whole_or_not_at_all),
        cmocka_unit_test(a_block_is_digested_right_or_not_at_all),
        cmocka_unit_test(what_is_encrypted_comes_back_or_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
