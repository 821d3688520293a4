/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page's certificate, for an address that other machines can reach: the site's (`tls` in the
 * configuration), or the dispatcher's own from DIR/pki. The names that a request may come by are
 * those in it.
 *
 * Threads: it is loaded once, then constant.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"

struct page_tls;

/* -ENOENT, -EBADMSG, ...: the message names the file. */
int page_tls_load(const struct blx_config *config, struct page_tls **tls, struct blx_error *err);

/* NULL is allowed. The key is wiped. */
void page_tls_free(struct page_tls *tls);

/* PEM texts, as long as it is not freed. */
const char *page_tls_key(const struct page_tls *tls);
const char *page_tls_certificate(const struct page_tls *tls);

/* Whether the certificate is for this host: a name, or an address as text. */
bool page_tls_is_for(const struct page_tls *tls, const char *host);
