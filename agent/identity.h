/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identity of this agent: its certificate and key, whose files the configuration names. The
 * files may change while the agent runs: a renewal or a new `blxrep agent join` replaces the
 * bundle, a site's own tools replace its certificate. So the agent checks them before each
 * connection.
 *
 * Threads: the main thread's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"
#include "config/config.h"
#include "tls/tls.h"

struct agent_identity {
    struct blx_tls_context *tls; /* owned */
    struct stat file;            /* the certificate's, as it was loaded */
    uint64_t renew_after_ns;     /* no renewal is tried before; blx_clock_ns() */
};

/* Loads the certificate and key, which must be this agent's. Warns of a certificate that expires
 * soon. */
int agent_identity_load(struct agent_identity *identity, const struct blx_config *config,
                        struct blx_error *err);

/* Loads them again if the file has changed. If that fails the log says why, and what was loaded
 * before stays in use. */
void agent_identity_refresh(struct agent_identity *identity, const struct blx_config *config);

/* Whether the credentials are a bundle of blxrep's, which the agent may replace. */
bool agent_identity_can_renew(const struct blx_config *config);
