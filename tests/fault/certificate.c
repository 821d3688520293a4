/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates, requests for them and tokens: made and read whole or not at all. */
#include <errno.h>
#include <string.h>

#include "loop.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/request_private.h"

/* Made once. */
static EVP_PKEY *ca_key, *agent_key;
static X509 *ca, *agent_cert;

struct outputs {
    EVP_PKEY *key;
    X509 *cert;
    char name[BLX_NAME_BYTES], serial[BLX_SERIAL_TEXT_BYTES], token[BLX_TOKEN_TEXT_BYTES];
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    struct blx_request_message request;
    struct blx_token read;
};

static void setup(void *arg)
{
    struct outputs *out = arg;
    fault_poison(out, sizeof(*out));
    out->key = NULL;
    out->cert = NULL;
}

static void teardown(void *arg)
{
    struct outputs *out = arg;
    EVP_PKEY_free(out->key);
    X509_free(out->cert);
}

/* Nothing was written through the pointers. */
static void check_texts(const struct outputs *out)
{
    fault_assert_poisoned(out->name, sizeof(*out) - offsetof(struct outputs, name));
}

static int run_key(void *arg, struct blx_error *err)
{
    return blx_certificate_new_key(&((struct outputs *)arg)->key, err);
}

static void check_key(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->key != NULL, rc == 0);
    check_texts(out);
}

static int run_authority(void *arg, struct blx_error *err)
{
    return blx_certificate_make(BLX_CERTIFICATE_CA, "a CA", ca_key, NULL, ca_key, 7,
                                &((struct outputs *)arg)->cert, err);
}

/* Its time would end after the CA's. */
static int run_agent(void *arg, struct blx_error *err)
{
    return blx_certificate_make(BLX_CERTIFICATE_AGENT, "web1", agent_key, ca, ca_key,
                                BLX_CERTIFICATE_DAYS, &((struct outputs *)arg)->cert, err);
}

static void check_cert(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->cert != NULL, rc == 0);
    assert_true(rc < 0 || X509_verify(out->cert, ca_key) == 1);
    check_texts(out);
}

static int run_name(void *arg, struct blx_error *err)
{
    return blx_certificate_name(agent_cert, ((struct outputs *)arg)->name, err);
}

static int run_copier(void *arg, struct blx_error *err)
{
    return blx_certificate_copier(agent_cert, ((struct outputs *)arg)->name, err);
}

/* It is an agent's. */
static void check_copier(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_true(rc < 0 || out->name[0] == '\0');
}

static int run_serial(void *arg, struct blx_error *err)
{
    return blx_certificate_serial(agent_cert, ((struct outputs *)arg)->serial, err);
}

static int run_fingerprint(void *arg, struct blx_error *err)
{
    return blx_certificate_fingerprint(agent_cert, ((struct outputs *)arg)->fingerprint, err);
}

static int run_token(void *arg, struct blx_error *err)
{
    static const struct blx_token token = {.secret = {1, 2, 3}};
    return blx_token_format(&token, ((struct outputs *)arg)->token, err);
}

static void check_name(void *arg, int rc)
{
    const struct outputs *out = arg;
    if (rc < 0)
        check_texts(out);
    else
        assert_string_equal(out->name, "web1");
}

static void check_serial(void *arg, int rc)
{
    const struct outputs *out = arg;
    if (rc < 0)
        check_texts(out);
    else
        assert_true(strspn(out->serial, "0123456789ABCDEF") == strlen(out->serial));
}

static void check_fingerprint(void *arg, int rc)
{
    const struct outputs *out = arg;
    uint8_t again[BLX_FINGERPRINT_BYTES];
    assert_int_equal(blx_certificate_fingerprint(agent_cert, again, NULL), 0);
    if (rc < 0)
        check_texts(out);
    else
        assert_memory_equal(out->fingerprint, again, sizeof(again));
}

static void check_token(void *arg, int rc)
{
    const struct outputs *out = arg;
    struct blx_token token;
    if (rc < 0) {
        check_texts(out);
        return;
    }
    assert_int_equal(blx_token_parse(out->token, &token, NULL), 0);
    assert_int_equal(token.secret[2], 3);
}

static void setup_token(void *arg)
{
    struct outputs *out = arg;
    setup(arg);
    assert_int_equal(run_token(arg, NULL), 0);
    fault_poison(&out->read, sizeof(out->read));
}

static int run_token_parse(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_token_parse(out->token, &out->read, err);
}

/* It is whole. */
static void check_token_parse(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_not_equal(rc, -EINVAL);
    if (rc < 0)
        fault_assert_poisoned(&out->read, sizeof(out->read));
    else
        assert_int_equal(out->read.secret[2], 3);
}

static void a_certificate_is_made_whole_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){setup, run_key, check_key, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_authority, check_cert, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_agent, check_cert, teardown, 0}, &out);
}

static void what_a_certificate_says_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){setup, run_name, check_name, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_copier, check_copier, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_serial, check_serial, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_fingerprint, check_fingerprint, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup, run_token, check_token, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup_token, run_token_parse, check_token_parse, teardown, 0},
               &out);
}

static int run_request(void *arg, struct blx_error *err)
{
    return blx_request_make(agent_key, &((struct outputs *)arg)->request, err);
}

static int run_request_key(void *arg, struct blx_error *err)
{
    struct outputs *out = arg;
    return blx_request_key(&out->request, &out->key, err);
}

/* Whoever gets it sends it. */
static void check_request(void *arg, int rc)
{
    const struct outputs *out = arg;
    EVP_PKEY *key = NULL;
    if (rc < 0)
        return;
    assert_in_range(out->request.request_bytes, 1, BLX_REQUEST_MAX_BYTES);
    assert_int_equal(blx_request_key(&out->request, &key, NULL), 0);
    assert_int_equal(EVP_PKEY_eq(key, agent_key), 1);
    EVP_PKEY_free(key);
}

static void setup_request(void *arg)
{
    setup(arg);
    assert_int_equal(run_request(arg, NULL), 0);
}

static void check_request_key(void *arg, int rc)
{
    const struct outputs *out = arg;
    assert_int_equal(out->key != NULL, rc == 0);
    assert_true(rc < 0 || EVP_PKEY_eq(out->key, agent_key) == 1);
}

static void a_request_is_made_and_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct outputs out;
    fault_loop(&(struct fault_case){setup, run_request, check_request, teardown, 0}, &out);
    fault_loop(&(struct fault_case){setup_request, run_request_key, check_request_key, teardown, 0},
               &out);
}

static int make_all(void **state)
{
    (void)state;
    assert_int_equal(blx_certificate_new_key(&ca_key, NULL), 0);
    assert_int_equal(blx_certificate_new_key(&agent_key, NULL), 0);
    assert_int_equal(
        blx_certificate_make(BLX_CERTIFICATE_CA, "a CA", ca_key, NULL, ca_key, 7, &ca, NULL), 0);
    assert_int_equal(blx_certificate_make(BLX_CERTIFICATE_AGENT, "web1", agent_key, ca, ca_key, 7,
                                          &agent_cert, NULL),
                     0);
    return 0;
}

static int free_all(void **state)
{
    (void)state;
    X509_free(agent_cert);
    X509_free(ca);
    EVP_PKEY_free(agent_key);
    EVP_PKEY_free(ca_key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_is_made_whole_or_not_at_all),
        cmocka_unit_test(what_a_certificate_says_is_read_whole_or_not_at_all),
        cmocka_unit_test(a_request_is_made_and_read_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, make_all, free_all);
}
