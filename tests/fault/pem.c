/* SPDX-License-Identifier: Apache-2.0 */
/* Keys and certificates in files: credentials are written whole or not at all, and read likewise.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "tls/certificate_private.h"
#include "tls/credentials_private.h"
#include "tls/pem_private.h"

static EVP_PKEY *key;
static X509 *cert; /* its own CA */

struct files {
    char dir[FOLDER_BYTES], path[96];
    EVP_PKEY *key;
    X509 *cert;
    struct stack_st_X509 *certs;
};

static void setup(void *arg)
{
    struct files *files = arg;
    *files = (struct files){0};
    folder_make(files->dir);
    snprintf(files->path, sizeof(files->path), "%s/agent.pem", files->dir);
}

static int run_write(void *arg, struct blx_error *err)
{
    return blx_credentials_write(((struct files *)arg)->path, key, cert, cert, NULL, "remove it",
                                 err);
}

/* In memory alone: OpenSSL's calls fail here, too. */
static int run_format(void *arg, struct blx_error *err)
{
    BIO *bundle = NULL;
    (void)arg;
    int rc = blx_credentials_format(key, cert, cert, NULL, &bundle, err);
    assert_int_equal(bundle != NULL, rc == 0);
    BIO_free(bundle);
    return rc;
}

static void check_format(void *arg, int rc)
{
    (void)arg;
    (void)rc;
}

static void setup_written(void *arg)
{
    setup(arg);
    assert_int_equal(run_write(arg, NULL), 0);
}

static void teardown(void *arg)
{
    struct files *files = arg;
    EVP_PKEY_free(files->key);
    X509_free(files->cert);
    sk_X509_pop_free(files->certs, X509_free);
    folder_remove(files->dir);
}

static int run_key(void *arg, struct blx_error *err)
{
    struct files *files = arg;
    return blx_pem_read_key(files->path, &files->key, err);
}

static int run_certs(void *arg, struct blx_error *err)
{
    struct files *files = arg;
    return blx_pem_read_certs(files->path, &files->certs, err);
}

static int run_cert(void *arg, struct blx_error *err)
{
    struct files *files = arg;
    return blx_pem_read_cert(files->path, &files->cert, err);
}

static void check_key(void *arg, int rc)
{
    const struct files *files = arg;
    assert_int_equal(files->key != NULL, rc == 0);
    assert_true(rc < 0 || EVP_PKEY_eq(files->key, key) == 1);
}

/* All of them: one that could not be read does not end the list. */
static void check_certs(void *arg, int rc)
{
    const struct files *files = arg;
    assert_int_equal(files->certs != NULL, rc == 0);
    assert_true(rc < 0 || sk_X509_num(files->certs) == 2);
}

static void check_cert(void *arg, int rc)
{
    const struct files *files = arg;
    assert_int_equal(files->cert != NULL, rc == 0);
    assert_true(rc < 0 || X509_cmp(files->cert, cert) == 0);
}

static void check_write(void *arg, int rc)
{
    struct files *files = arg;
    struct stat st;
    if (stat(files->path, &st) != 0) {
        assert_true(rc < 0);
        assert_int_equal(run_write(arg, NULL), 0);
        assert_int_equal(stat(files->path, &st), 0);
    }
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(run_key(arg, NULL), 0);
    check_key(arg, 0);
    assert_int_equal(run_certs(arg, NULL), 0);
    check_certs(arg, 0);
}

static void credentials_are_written_whole_or_not_at_all(void **state)
{
    (void)state;
    struct files files;
    fault_loop(&(struct fault_case){setup, run_format, check_format, teardown, 0}, &files);
    fault_loop(&(struct fault_case){setup, run_write, check_write, teardown, 0}, &files);
}

static void a_pem_file_is_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct files files;
    fault_loop(&(struct fault_case){setup_written, run_key, check_key, teardown, 0}, &files);
    fault_loop(&(struct fault_case){setup_written, run_certs, check_certs, teardown, 0}, &files);
    fault_loop(&(struct fault_case){setup_written, run_cert, check_cert, teardown, 0}, &files);
}

static int make_cert(void **state)
{
    (void)state;
    assert_int_equal(blx_certificate_new_key(&key, NULL), 0);
    return blx_certificate_make(BLX_CERTIFICATE_CA, "a CA", key, NULL, key, 7, &cert, NULL);
}

static int free_cert(void **state)
{
    (void)state;
    X509_free(cert);
    EVP_PKEY_free(key);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(credentials_are_written_whole_or_not_at_all),
        cmocka_unit_test(a_pem_file_is_read_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, make_cert, free_cert);
}
