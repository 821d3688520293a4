/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands of `blxrep`: one file each, one row in main.c's table. They hold no logic that
 * lib lacks: they read what was asked, call lib, and print.
 *
 * Results go to stdout; everything else goes to `err`, which main() prints, or to stderr. Threads:
 * one.
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "store/store.h"

struct cli_request {
    const struct blx_config *config; /* complete: blx_config_require() has passed */
    int argc;                        /* the subcommand's own words: argv[0] is its name */
    char **argv;
};

/* Each returns the exit status; with another than BLX_EXIT_OK the message is in `err`, or empty
 * where it is printed already. */
enum blx_exit cli_start(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_enroll(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_keygen(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_join(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_revoke(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_show(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_info(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_restore(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_checkpoint(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_rescan(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_status(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_verify(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_prune(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_pin(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_unpin(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_policy(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_pause(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_resume(const struct cli_request *request, struct blx_error *err);

/*
 * Opens the data directory for a command that writes into it. Root takes on the identity of the
 * directory's owner first, for good, so that the dispatcher can read what was written.
 */
int cli_open_for_writing(const char *data_dir, struct blx_store *store, struct blx_error *err);

/* "blxrep: <message>" to stderr, for what does not end the command. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
