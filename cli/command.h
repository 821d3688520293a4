/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subcommands of `blxrep`: one file each, and one row each in main.c's table. A subcommand
 * reads the request, calls lib, and prints. It has no logic that lib lacks.
 *
 * Results go to stdout. Everything else goes to `err`, which main() prints, or to stderr.
 *
 * Threads: one.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "base/error.h"
#include "config/config.h"
#include "store/audit.h"
#include "store/store.h"

struct cli_request {
    const struct blx_config *config; /* complete: blx_config_require() has passed */
    int argc;                        /* the subcommand's words: argv[0] is its name */
    char **argv;
    const char *side; /* the word before the command: "dispatcher" or "agent"; NULL: none */
};

/* Each returns the exit status. Unless that is BLX_EXIT_OK, `err` has the message; it is empty if
 * the message is printed already. */
enum blx_exit cli_start(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_check(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_files(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_copy(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_adopt(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_object_store(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_page(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_mount(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_boot(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_test(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_enroll(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_keygen(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_join(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_revoke(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_readmit(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_renew(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_renew_ca(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_retire_ca(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_show(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_info(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_restore(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_pull(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_checkpoint(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_rescan(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_status(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_verify(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_prune(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_remove(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_archive(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_move(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_rename(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_pin(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_unpin(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_policy(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_test_event(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_log(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_pause(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_resume(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_rescue_image(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_reboot(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_takeover(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_move_gpt(const struct cli_request *request, struct blx_error *err);
enum blx_exit cli_disks(const struct cli_request *request, struct blx_error *err);

/*
 * If root calls it, the process becomes the data directory's owner for good: that owner may put
 * links and pipes there, and must be able to read what is written. Called before anything below
 * the directory is touched, and after everything of root's is open. A folder that its owner cannot
 * come to is used as root.
 */
int cli_become_owner(const char *data_dir, struct blx_error *err);

/* Which daemon is meant: the word before the command, or `mode`, or what only one of them has in
 * its configuration. NONE: nothing tells. */
enum blx_mode cli_find_mode(const struct cli_request *request);

/* Runs the program words[0] in place of this one: it returns only if that fails. */
enum blx_exit cli_become_program(char **words, struct blx_error *err);

/* The same for a program that takes the subcommand's words. */
/* agent restore --files. */
enum blx_exit cli_pull_files(const struct cli_request *request, struct blx_error *err);

enum blx_exit cli_become_same(const char *program, const struct cli_request *request,
                              struct blx_error *err);

/* The user that typed the command, whoever the process is now. */
uid_t cli_caller_uid(void);

/* Becomes the owner and opens the data directory. */
int cli_store_open(const char *data_dir, enum blx_store_mode mode, struct blx_store *store,
                   struct blx_error *err);

/*
 * Adds a line to the audit log, as the owner of the data directory. The deed is done already, so a
 * line that cannot be written is a remark.
 */
void cli_audit(const char *data_dir, const struct blx_audit_entry *entry);

/* Prints the lines of `text` on stdout. A terminal gets them broken between words, with `indent`
 * blanks before each further line. NULL is passed over. */
void cli_say(const char *text, size_t indent);

/* Prints a sentence on stdout. A terminal gets it broken between words. */
void cli_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints "blxrep: <message>" on stderr, for a remark that does not end the command. */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Draws a progress bar; lib's long operations call it. `progress` is a struct blx_progress. */
void cli_progress(void *progress, uint64_t done_bytes, uint64_t total_bytes);
