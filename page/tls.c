/* SPDX-License-Identifier: Apache-2.0 */
#include "page/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { MOST_BYTES = 256 * 1024 };

struct page_tls {
    char *key, *certificate; /* owned */
    X509 *first;             /* owned: the certificate itself, before those that signed it */
};

static int read_file(const char *path, char **text, struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, MOST_BYTES, &content, &bytes, err);
    if (rc == 0)
        *text = content;
    return rc;
}

static int parse(struct page_tls *tls, const char *path, struct blx_error *err)
{
    BIO *bio = BIO_new_mem_buf(tls->certificate, -1);
    tls->first = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    if (tls->first == NULL)
        return blx_error_set(err, -EBADMSG, "'%s' has no certificate in PEM form", path);
    return 0;
}

int page_tls_load(const struct blx_config *config, struct page_tls **tls, struct blx_error *err)
{
    char own_key[PATH_MAX], own_certificate[PATH_MAX];
    struct page_tls *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot load the page's certificate");
    int rc = blx_path_format(own_key, PATH_MAX, err, "%s/pki/dispatcher.key", config->data_dir);
    if (rc == 0)
        rc = blx_path_format(own_certificate, PATH_MAX, err, "%s/pki/dispatcher.pem",
                             config->data_dir);
    const char *certificate = config->tls.cert != NULL ? config->tls.cert : own_certificate;
    if (rc == 0)
        rc = read_file(config->tls.key != NULL ? config->tls.key : own_key, &made->key, err);
    if (rc == 0)
        rc = read_file(certificate, &made->certificate, err);
    if (rc == 0)
        rc = parse(made, certificate, err);
    if (rc < 0) {
        blx_error_prefix(err, "page-listen can be reached from other machines, so the page needs "
                              "a certificate");
        page_tls_free(made);
        return rc;
    }
    *tls = made;
    return 0;
}

void page_tls_free(struct page_tls *tls)
{
    if (tls == NULL)
        return;
    if (tls->key != NULL)
        OPENSSL_cleanse(tls->key, strlen(tls->key));
    free(tls->key);
    free(tls->certificate);
    X509_free(tls->first);
    free(tls);
}

const char *page_tls_key(const struct page_tls *tls)
{
    return tls->key;
}

const char *page_tls_certificate(const struct page_tls *tls)
{
    return tls->certificate;
}

bool page_tls_is_for(const struct page_tls *tls, const char *host)
{
    return X509_check_host(tls->first, host, 0, 0, NULL) == 1 ||
           X509_check_ip_asc(tls->first, host, 0) == 1;
}
