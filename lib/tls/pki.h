/*
 * The dispatcher's own certificate authority, under DIR/pki:
 *
 *     ca.pem ca.key              the CA, born with whichever of enroll and the daemon comes first
 *     dispatcher.pem dispatcher.key   the dispatcher's certificate (server only), signed by it
 *     lock                       flock()ed while any of them is being made, so that two first users
 * agree
 *
 * Keys are P-256, files of keys have mode 0600 and, like the folder (0700), the owner of DIR, also
 * where root enrolls. Each file comes into place by rename, key before certificate, so that a crash
 * leaves either nothing or what the next start completes. Once both certificates exist ca.key may
 * be kept elsewhere: only enroll needs it then.
 *
 * The CA lasts 20 years, what it signs 10 (and no longer than the CA); nothing renews them yet.
 * notBefore lies an hour back, since clocks differ.
 *
 * Threads and processes: safe to call from several at once; blocks on the lock and the disk.
 */
#pragma once

#include "base/error.h"

/* Makes what is missing of the CA and the dispatcher's certificate. DIR itself must exist. */
int blx_pki_ensure(const char *data_dir, struct blx_error *err);

/*
 * Makes a key and a client certificate for the agent, signed by the CA, and writes one PEM bundle
 * (key, certificate, CA) to `output_path`, mode 0600, by rename. Never replaces an existing file:
 * -EEXIST. -EINVAL for what is no ID. The private key is wiped from memory. An ID may be enrolled
 * again, for a machine that is installed anew: the older bundle stays valid.
 */
int blx_pki_enroll(const char *data_dir, const char *agent_id, const char *output_path,
                   struct blx_error *err);
