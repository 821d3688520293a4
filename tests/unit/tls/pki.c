/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "fixture.h"
#include "tls/pem_private.h"
#include "tls/pki.h"

static mode_t mode_of(const char *path)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static char *content_of(const char *path)
{
    void *content = NULL;
    size_t bytes = 0;
    assert_int_equal(blx_file_read(path, 1 << 20, &content, &bytes, NULL), 0);
    return content;
}

static unsigned files_in(const char *dir)
{
    BLX_CLEANUP_DIR DIR *at = opendir(dir);
    assert_non_null(at);
    unsigned count = 0;
    for (struct dirent *entry; (entry = readdir(at)) != NULL;)
        count += entry->d_name[0] != '.';
    return count;
}

static void ensure(const struct fixture *fixture)
{
    struct blx_error err = {0};
    if (blx_pki_ensure(fixture->dir, &err) < 0)
        fail_msg("%s", err.message);
}

/* What the openssl tool says about the certificate. */
static int openssl_verify(const struct fixture *fixture, const char *purpose, const char *file)
{
    char command[512];
    snprintf(
        command, sizeof(command),
        "openssl verify -x509_strict -purpose %s -CAfile '%s/pki/ca.pem' '%s/%s' >/dev/null 2>&1",
        purpose, fixture->dir, fixture->dir, file);
    return system(command);
}

static void pki_ensure_makes_everything_once(void **state)
{
    const struct fixture *fixture = *state;
    ensure(fixture);
    assert_int_equal(mode_of(fixture_path(fixture, "pki")), 0700);
    assert_int_equal(mode_of(fixture_path(fixture, "pki/ca.key")), 0600);
    assert_int_equal(mode_of(fixture_path(fixture, "pki/dispatcher.key")), 0600);
    assert_int_equal(files_in(fixture_path(fixture, "pki")), 5);
    BLX_CLEANUP_FREE char *ca = content_of(fixture_path(fixture, "pki/ca.pem"));
    BLX_CLEANUP_FREE char *own = content_of(fixture_path(fixture, "pki/dispatcher.pem"));
    ensure(fixture);
    BLX_CLEANUP_FREE char *ca_again = content_of(fixture_path(fixture, "pki/ca.pem"));
    BLX_CLEANUP_FREE char *own_again = content_of(fixture_path(fixture, "pki/dispatcher.pem"));
    assert_string_equal(ca, ca_again);
    assert_string_equal(own, own_again);
}

static void pki_certificates_pass_a_strict_check(void **state)
{
    const struct fixture *fixture = *state;
    ensure(fixture);
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", fixture_path(fixture, "web1.pem"), NULL),
                     0);
    assert_int_equal(openssl_verify(fixture, "sslserver", "pki/dispatcher.pem"), 0);
    assert_int_not_equal(openssl_verify(fixture, "sslclient", "pki/dispatcher.pem"), 0);
    assert_int_equal(openssl_verify(fixture, "sslclient", "web1.pem"), 0);
    assert_int_not_equal(openssl_verify(fixture, "sslserver", "web1.pem"), 0);
}

static void pki_certificates_last_as_long_as_promised(void **state)
{
    const struct fixture *fixture = *state;
    ensure(fixture);
    BLX_CLEANUP_X509 X509 *ca = NULL;
    BLX_CLEANUP_X509 X509 *own = NULL;
    assert_int_equal(blx_pem_read_cert(fixture_path(fixture, "pki/ca.pem"), &ca, NULL), 0);
    assert_int_equal(blx_pem_read_cert(fixture_path(fixture, "pki/dispatcher.pem"), &own, NULL), 0);
    int days = 0;
    int seconds = 0;
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(ca));
    assert_in_range(days, 20 * 365 + 3, 20 * 365 + 5);
    ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(own));
    assert_in_range(days, 10 * 365, 10 * 365 + 2);
    ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(own), NULL);
    assert_true(days > 6 * 365);
    assert_int_equal(ASN1_TIME_compare(X509_get0_notBefore(own), X509_get0_notBefore(ca)), 0);
    char name[64];
    X509_NAME_get_text_by_NID(X509_get_subject_name(ca), NID_commonName, name, sizeof(name));
    assert_int_equal(strncmp(name, "blxrep CA ", 10), 0);
    assert_int_equal(strlen(name), 18);
}

/* Signs the certificate in `name` again, as if a clock that is ten days ahead had made it. */
static void make_early(const struct fixture *fixture, const char *name, const char *key_name)
{
    BLX_CLEANUP_X509 X509 *cert = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    assert_int_equal(blx_pem_read_cert(fixture_path(fixture, name), &cert, NULL), 0);
    assert_int_equal(blx_pem_read_key(fixture_path(fixture, key_name), &key, NULL), 0);
    X509_time_adj_ex(X509_getm_notBefore(cert), 10, 0, NULL);
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    FILE *file = fopen(fixture_path(fixture, name), "we");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    assert_int_equal(fclose(file), 0);
}

static struct blx_tls_files files_of(const struct fixture *fixture, char paths[3][512])
{
    static const char *const names[] = {"pki/ca.pem", "pki/dispatcher.pem", "pki/dispatcher.key"};
    for (size_t i = 0; i < 3; i++)
        snprintf(paths[i], 512, "%s", fixture_path(fixture, names[i]));
    return (struct blx_tls_files){.ca = paths[0], .cert = paths[1], .key = paths[2]};
}

/* A dispatcher was installed while its clock was ahead. */
static void pki_certificates_that_are_not_valid_yet_are_made_again(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err = {0};
    char paths[3][512];
    struct blx_tls_context *tls = NULL;
    const struct blx_tls_files files = files_of(fixture, paths);
    ensure(fixture);
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", fixture_path(fixture, "web1.pem"), NULL),
                     0);
    make_early(fixture, "pki/ca.pem", "pki/ca.key");
    make_early(fixture, "pki/dispatcher.pem", "pki/ca.key");
    assert_int_equal(blx_tls_context_new_server(&files, &tls, &err), -EINVAL);
    assert_non_null(strstr(err.message, "clock was ahead"));
    ensure(fixture);
    assert_int_equal(openssl_verify(fixture, "sslserver", "pki/dispatcher.pem"), 0);
    assert_int_equal(openssl_verify(fixture, "sslclient", "web1.pem"), 0);
    blx_error_clear(&err);
    assert_int_equal(blx_tls_context_new_server(&files, &tls, &err), 0);
    blx_tls_context_free(tls);
    /* Without the CA's key nothing is touched. */
    make_early(fixture, "pki/dispatcher.pem", "pki/ca.key");
    assert_int_equal(unlink(fixture_path(fixture, "pki/ca.key")), 0);
    ensure(fixture);
    assert_int_not_equal(openssl_verify(fixture, "sslserver", "pki/dispatcher.pem"), 0);
}

/* An agent has joined, and its clock went back. */
static void an_agents_certificate_that_is_not_valid_yet_is_tried(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_FREE char *path = strdup(fixture_path(fixture, "web1.pem"));
    BLX_CLEANUP_FREE char *cert = strdup(fixture_path(fixture, "early.pem"));
    struct blx_tls_context *tls = NULL;
    struct blx_error err = {0};
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", path, NULL), 0);
    char command[1100];
    snprintf(command, sizeof(command), "openssl x509 -in '%s' -out '%s'", path, cert);
    assert_int_equal(system(command), 0);
    make_early(fixture, "early.pem", "pki/ca.key");
    const struct blx_tls_files files = {.ca = path, .cert = cert, .key = path};
    if (blx_tls_context_new_client(&files, &tls, &err) < 0)
        fail_msg("%s", err.message);
    blx_tls_context_free(tls);
}

static void pki_enroll_writes_one_private_bundle(void **state)
{
    const struct fixture *fixture = *state;
    const char *path = fixture_path(fixture, "web1.pem");
    struct blx_error err = {0};
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", path, &err), 0);
    assert_int_equal(mode_of(path), 0600);
    BLX_CLEANUP_FREE char *bundle = content_of(path);
    BLX_CLEANUP_FREE char *ca = content_of(fixture_path(fixture, "pki/ca.pem"));
    assert_non_null(strstr(bundle, "PRIVATE KEY"));
    assert_non_null(strstr(bundle, ca));
    assert_int_equal(files_in(fixture->dir), 2);
}

static void pki_enroll_never_replaces_a_file(void **state)
{
    const struct fixture *fixture = *state;
    const char *path = fixture_path(fixture, "web1.pem");
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", path, NULL), 0);
    BLX_CLEANUP_FREE char *before = content_of(path);
    struct blx_error err = {0};
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", path, &err), -EEXIST);
    assert_non_null(strstr(err.message, "--output"));
    BLX_CLEANUP_FREE char *after = content_of(path);
    assert_string_equal(before, after);
    assert_int_equal(files_in(fixture->dir), 2);
}

static void pki_enroll_refuses_what_is_no_id(void **state)
{
    const struct fixture *fixture = *state;
    const char *bad[] = {"", "..", "a/b", "../web1", "web 1", "-web1"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(
            blx_pki_enroll(fixture->dir, bad[i], fixture_path(fixture, "out.pem"), NULL), -EINVAL);
    assert_int_equal(files_in(fixture->dir), 0);
}

static void pki_errors_name_what_is_wrong(void **state)
{
    const struct fixture *fixture = *state;
    struct blx_error err = {0};
    assert_int_equal(blx_pki_ensure(fixture_path(fixture, "missing"), &err), -ENOENT);
    assert_non_null(strstr(err.message, "missing'"));
    assert_int_equal(
        blx_pki_enroll(fixture->dir, "web1", fixture_path(fixture, "no/out.pem"), NULL), -ENOENT);
    ensure(fixture);
    assert_int_equal(unlink(fixture_path(fixture, "pki/ca.key")), 0);
    blx_error_clear(&err);
    assert_int_equal(blx_pki_ensure(fixture->dir, &err), 0);
    assert_int_equal(blx_pki_enroll(fixture->dir, "web1", fixture_path(fixture, "web1.pem"), &err),
                     -ENOENT);
    assert_non_null(strstr(err.message, "ca.key"));
    assert_int_equal(truncate(fixture_path(fixture, "pki/ca.pem"), 0), 0);
    blx_error_clear(&err);
    assert_int_equal(blx_pki_ensure(fixture->dir, &err), -EINVAL);
    assert_non_null(strstr(err.message, "ca.pem"));
}

/* Root enrolls; the daemon runs as the user that owns DIR. */
static void pki_files_belong_to_the_owner_of_the_data_directory(void **state)
{
    const struct fixture *fixture = *state;
    assert_int_equal(geteuid(), 0);
    assert_int_equal(chown(fixture->dir, 4321, 4322), 0);
    ensure(fixture);
    const char *names[] = {"pki", "pki/lock", "pki/ca.key", "pki/ca.pem", "pki/dispatcher.key"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct stat st;
        assert_int_equal(stat(fixture_path(fixture, names[i]), &st), 0);
        assert_int_equal(st.st_uid, 4321);
        assert_int_equal(st.st_gid, 4322);
    }
}

/* Files that DIR's owner could plant to make root give away another file. */
static void pki_lock_that_is_a_link_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_FREE char *victim = strdup(fixture_path(fixture, "victim"));
    assert_int_equal(close(open(victim, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)), 0);
    assert_int_equal(chown(fixture->dir, 4321, 4322), 0);
    assert_int_equal(mkdir(fixture_path(fixture, "pki"), 0700), 0);
    assert_int_equal(symlink(victim, fixture_path(fixture, "pki/lock")), 0);
    assert_int_equal(blx_pki_ensure(fixture->dir, NULL), -ELOOP);
    assert_int_equal(unlink(fixture_path(fixture, "pki/lock")), 0);
    assert_int_equal(link(victim, fixture_path(fixture, "pki/lock")), 0);
    ensure(fixture);
    struct stat st;
    assert_int_equal(stat(victim, &st), 0);
    assert_int_equal(st.st_uid, 0);
}

static void *ensure_thread(void *arg)
{
    const struct fixture *fixture = arg;
    return blx_pki_ensure(fixture->dir, NULL) == 0 ? arg : NULL;
}

static void pki_first_users_at_once_agree(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ensure_thread, fixture), 0);
    for (size_t i = 0; i < 6; i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
    assert_int_equal(openssl_verify(fixture, "sslserver", "pki/dispatcher.pem"), 0);
    blx_tls_context_free(fixture_server(fixture));
}

/* The fault seam: every call fails once, as in a crash at that point; the next start completes what
 * is there. */
static int calls_until_failure;

static int fails_now(void)
{
    return calls_until_failure-- == 0;
}
static int faulty_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return blx_sys_real.openat(dir_fd, path, flags, mode);
}
static ssize_t faulty_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    if (fails_now()) {
        errno = ENOSPC;
        return -1;
    }
    return blx_sys_real.pwrite(fd, buffer, bytes, offset);
}
static int faulty_fsync(int fd)
{
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return blx_sys_real.fsync(fd);
}
static int faulty_rename(const char *from, const char *to)
{
    if (fails_now()) {
        errno = EIO;
        return -1;
    }
    return blx_sys_real.rename(from, to);
}
static int faulty_mkdir(const char *path, mode_t mode)
{
    if (fails_now()) {
        errno = EROFS;
        return -1;
    }
    return blx_sys_real.mkdir(path, mode);
}

static void pki_enroll_survives_a_failure_at_every_call(void **state)
{
    const struct fixture *fixture = *state;
    BLX_CLEANUP_FREE char *path = strdup(fixture_path(fixture, "web1.pem"));
    struct blx_sys faulty = blx_sys_real;
    faulty.openat = faulty_openat;
    faulty.pwrite = faulty_pwrite;
    faulty.fsync = faulty_fsync;
    faulty.rename = faulty_rename;
    faulty.mkdir = faulty_mkdir;
    int rc = -1;
    int n = 0;
    for (; rc != 0; n++) {
        assert_true(n < 200);
        char command[256];
        snprintf(command, sizeof(command), "rm -rf '%s/pki' '%s/web1.pem'", fixture->dir,
                 fixture->dir);
        assert_int_equal(system(command), 0);
        calls_until_failure = n;
        blx_sys = &faulty;
        struct blx_error err = {0};
        rc = blx_pki_enroll(fixture->dir, "web1", path, &err);
        blx_sys = &blx_sys_real;
        if (rc < 0)
            assert_true(strlen(err.message) > 0);
        ensure(fixture);
        blx_tls_context_free(fixture_server(fixture));
        assert_true(files_in(fixture->dir) <= 2);
    }
    assert_true(n > 20);
    assert_int_equal(openssl_verify(fixture, "sslclient", "web1.pem"), 0);
}

static void refuse_ensure(const struct fixture *fixture, const char *part)
{
    struct blx_error err = {0};
    assert_int_equal(blx_pki_ensure(fixture->dir, &err), -EPERM);
    if (strstr(err.message, part) == NULL)
        fail_msg("%s", err.message);
}

static void pki_that_others_can_change_or_read_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    ensure(fixture);
    assert_int_equal(chmod(fixture_path(fixture, "pki"), 0770), 0);
    refuse_ensure(fixture, "others may write to");
    assert_int_equal(chmod(fixture_path(fixture, "pki"), 0700), 0);
    assert_int_equal(chmod(fixture_path(fixture, "pki/ca.key"), 0640), 0);
    refuse_ensure(fixture, "others may read the key");
    assert_int_equal(chmod(fixture_path(fixture, "pki/ca.key"), 0600), 0);
    assert_int_equal(chown(fixture_path(fixture, "pki"), 12345, 12345), 0);
    refuse_ensure(fixture, "belongs to user 12345");
    assert_int_equal(chown(fixture_path(fixture, "pki"), 0, 0), 0);
    ensure(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pki_ensure_makes_everything_once),
        TEST(pki_certificates_pass_a_strict_check),
        TEST(pki_certificates_last_as_long_as_promised),
        TEST(pki_enroll_writes_one_private_bundle),
        TEST(pki_enroll_never_replaces_a_file),
        TEST(pki_enroll_refuses_what_is_no_id),
        TEST(pki_errors_name_what_is_wrong),
        TEST(pki_files_belong_to_the_owner_of_the_data_directory),
        TEST(pki_certificates_that_are_not_valid_yet_are_made_again),
        TEST(pki_that_others_can_change_or_read_is_refused),
        TEST(an_agents_certificate_that_is_not_valid_yet_is_tried),
        TEST(pki_lock_that_is_a_link_is_refused),
        TEST(pki_first_users_at_once_agree),
        TEST(pki_enroll_survives_a_failure_at_every_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
