/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/pki_restore.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "tls/pki_private.h"
#include "tls/pki_token_private.h"

static const char first_line[] = "blxrep restore token 1";
static const char takes_over_line[] = "reads and takes over"; /* the last one; otherwise "reads" */

enum { DAY_SECONDS = 24 * 3600, HASH_LETTERS = BLX_TOKEN_HASH_BYTES - 1 };

int blx_restore_record_format(const struct blx_restore_record *record,
                              char text[BLX_RESTORE_RECORD_BYTES])
{
    const struct blx_restore_grant *grant = &record->grant;
    int at = snprintf(text, BLX_RESTORE_RECORD_BYTES, "%s\n%s\n%" PRId64 "\n%" PRIu64 "\nvolumes",
                      first_line, grant->agent_id, record->expires_s, grant->checkpoint);
    for (uint32_t i = 0; i < grant->volume_count && i < BLX_MAX_VOLUMES; i++)
        at += snprintf(text + at, BLX_RESTORE_RECORD_BYTES - (size_t)at, " %s", grant->volumes[i]);
    at += snprintf(text + at, BLX_RESTORE_RECORD_BYTES - (size_t)at, "\n%s%s\n%s\n",
                   record->use == BLX_RESTORE_OPEN ? "open" : record->machine,
                   record->use == BLX_RESTORE_DONE ? " done" : "",
                   grant->takes_over ? takes_over_line : "reads");
    return at;
}

/* The next line of the text without its end, which the caller may change; NULL after the last. */
static char *take_line(char **text)
{
    char *line = *text, *end = strchr(line, '\n');
    if (end == NULL)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return line;
}

static int parse_volumes(char *line, struct blx_restore_grant *grant)
{
    char *rest = line;
    const char *word = strsep(&rest, " ");
    if (strcmp(word, "volumes") != 0)
        return -EBADMSG;
    while ((word = strsep(&rest, " ")) != NULL) {
        if (grant->volume_count == BLX_MAX_VOLUMES || blx_name_check("volume name", word, NULL) < 0)
            return -EBADMSG;
        blx_text_set(grant->volumes[grant->volume_count], word);
        grant->volume_count++;
    }
    return grant->volume_count > 0 ? 0 : -EBADMSG;
}

static int parse_use(char *line, struct blx_restore_record *record)
{
    char *rest = line;
    const char *word = strsep(&rest, " ");
    if (strcmp(word, "open") == 0)
        return 0;
    if (strlen(word) != HASH_LETTERS || strspn(word, "0123456789abcdef") != HASH_LETTERS)
        return -EBADMSG;
    blx_text_set(record->machine, word);
    record->use = rest == NULL ? BLX_RESTORE_USED : BLX_RESTORE_DONE;
    return 0;
}

/* `text` is a copy, which is taken apart. */
static int parse_lines(char *text, struct blx_restore_record *record)
{
    char *lines[7];
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        lines[i] = take_line(&text);
        if (lines[i] == NULL)
            return -EBADMSG;
    }
    if (blx_name_check("agent ID", lines[1], NULL) < 0 ||
        sscanf(lines[2], "%18" SCNd64, &record->expires_s) != 1 ||
        blx_timestamp_parse(lines[3], &record->grant.checkpoint, NULL) < 0)
        return -EBADMSG;
    blx_text_set(record->grant.agent_id, lines[1]);
    record->grant.takes_over = strcmp(lines[6], takes_over_line) == 0;
    int rc = parse_volumes(lines[4], &record->grant);
    return rc < 0 ? rc : parse_use(lines[5], record);
}

/* What it reads is written again and compared, so nothing else gets through. */
int blx_restore_record_parse(const char *text, struct blx_restore_record *record)
{
    struct blx_restore_record read = {.use = BLX_RESTORE_OPEN};
    char copy[BLX_RESTORE_RECORD_BYTES];
    if (strlen(text) >= sizeof(copy))
        return -EBADMSG;
    strcpy(copy, text);
    int rc = parse_lines(copy, &read);
    if (rc < 0)
        return rc;
    blx_restore_record_format(&read, copy);
    if (strcmp(copy, text) != 0)
        return -EBADMSG;
    *record = read;
    return 0;
}

static int write_record(const struct blx_pki *pki, const char *name,
                        const struct blx_restore_record *record, struct blx_error *err)
{
    char text[BLX_RESTORE_RECORD_BYTES];
    blx_restore_record_format(record, text);
    return blx_pki_token_write(pki, name, text, err);
}

static int check_grant(const struct blx_restore_grant *grant, struct blx_error *err)
{
    int rc = blx_name_check("agent ID", grant->agent_id, err);
    for (uint32_t i = 0; rc == 0 && i < grant->volume_count; i++)
        rc = blx_name_check("volume name", grant->volumes[i], err);
    return rc;
}

int blx_pki_make_restore_token(const char *data_dir, const struct blx_restore_grant *grant,
                               uint64_t valid_s, char text[BLX_TOKEN_TEXT_BYTES],
                               struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    struct blx_token token = {.secret = {0}};
    char name[BLX_TOKEN_NAME_BYTES];
    const struct blx_restore_record record = {.grant = *grant,
                                              .expires_s = (int64_t)time(NULL) + (int64_t)valid_s};
    int rc = check_grant(grant, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = blx_pki_token_begin(&pki, &ca, grant->agent_id, 0, &token, name, err);
    if (rc == 0)
        rc = write_record(&pki, name, &record, err);
    if (rc == 0)
        rc = blx_token_format(&token, text, err);
    OPENSSL_cleanse(&token, sizeof(token));
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}

static int not_for_restoring(const struct blx_pki *pki, const char *name, const char *text,
                             struct blx_error *err)
{
    struct blx_token_record join;
    if (blx_token_record_parse(text, &join) == 0)
        return blx_error_set(err, -EACCES,
                             "the token lets a server join as '%s': `blxrep agent join` takes it",
                             join.agent_id);
    return blx_error_set(err, -EBADMSG, "'%s/%s' is damaged: make a new token", pki->dir, name);
}

static int read_record(const struct blx_pki *pki, const char *name,
                       struct blx_restore_record *record, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *text = NULL;
    int rc = blx_pki_token_read(pki, name, &text, err);
    if (rc < 0)
        return rc;
    return blx_restore_record_parse(text, record) < 0 ? not_for_restoring(pki, name, text, err) : 0;
}

/* -EACCES unless the machine may use it. */
static int check_record(const struct blx_restore_record *record,
                        const char machine[BLX_TOKEN_HASH_BYTES], struct blx_error *err)
{
    const char *agent_id = record->grant.agent_id;
    if (record->use == BLX_RESTORE_DONE)
        return blx_error_set(err, -EACCES,
                             "the restore of '%s' with this token is complete: make a new one for "
                             "another",
                             agent_id);
    if (record->use == BLX_RESTORE_USED &&
        CRYPTO_memcmp(record->machine, machine, HASH_LETTERS) != 0)
        return blx_error_set(err, -EACCES,
                             "another machine restores '%s' with this token: make a new one, and "
                             "if that machine is not yours, `blxrep dispatcher revoke --agent=%s "
                             "--token` ends it; `blxrep dispatcher log` says where it came from",
                             agent_id, agent_id);
    if (record->expires_s <= time(NULL))
        return blx_error_set(err, -EACCES, "the token of '%s' has expired: make a new one",
                             agent_id);
    return 0;
}

/* Whose token it is, and what its file says. Free nothing. */
struct lookup {
    char name[BLX_TOKEN_NAME_BYTES];
    char machine[BLX_TOKEN_HASH_BYTES];
    struct blx_restore_record record;
};

static int look(const struct blx_pki *pki, const struct blx_restore_message *message,
                struct lookup *found, struct blx_error *err)
{
    found->record.grant.agent_id[0] = '\0';
    int rc = blx_pki_token_name(message->secret, found->name, err);
    if (rc == 0)
        rc = blx_pki_token_hash(message->machine, sizeof(message->machine), found->machine, err);
    if (rc == 0)
        rc = read_record(pki, found->name, &found->record, err);
    return rc < 0 ? rc : check_record(&found->record, found->machine, err);
}

int blx_pki_use_restore_token(const char *data_dir, const struct blx_restore_message *message,
                              struct blx_restore_grant *grant, enum blx_restore_turn *turn,
                              struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct lookup found;
    grant->agent_id[0] = '\0';
    int rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0) {
        rc = look(&pki, message, &found, err);
        blx_text_set(grant->agent_id, found.record.grant.agent_id);
    }
    if (rc == 0) {
        *turn = found.record.use == BLX_RESTORE_OPEN ? BLX_RESTORE_FIRST : BLX_RESTORE_AGAIN;
        found.record.use = BLX_RESTORE_USED;
        found.record.expires_s = (int64_t)time(NULL) + DAY_SECONDS;
        blx_text_set(found.record.machine, found.machine);
        rc = write_record(&pki, found.name, &found.record, err);
    }
    blx_pki_close(&pki);
    if (rc == 0)
        *grant = found.record.grant;
    return rc;
}

int blx_pki_check_restore_token(const char *data_dir, const struct blx_restore_message *message,
                                struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct lookup found;
    int rc = blx_path_format(pki.dir, sizeof(pki.dir), err, "%s/pki", data_dir);
    return rc < 0 ? rc : look(&pki, message, &found, err);
}

int blx_pki_finish_restore_token(const char *data_dir, const struct blx_restore_message *message,
                                 struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct lookup found;
    int rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = look(&pki, message, &found, err);
    if (rc == 0) {
        found.record.use = BLX_RESTORE_DONE;
        rc = write_record(&pki, found.name, &found.record, err);
    }
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_revoke_tokens(const char *data_dir, const char *agent_id, unsigned *count,
                          struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = blx_pki_token_sweep(&pki, agent_id, BLX_TOKEN_JOIN | BLX_TOKEN_RESTORE, count, err);
    blx_pki_close(&pki);
    return rc;
}
