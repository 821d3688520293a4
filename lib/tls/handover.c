/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/handover_private.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/io.h"
#include "base/text.h"
#include "tls/pem_private.h"
#include "tls/tls.h"

static const char first_line[] = "blxrep handover 1\n";
static const char *const state_words[BLX_HANDOVER_STATES] = {
    [BLX_HANDOVER_WAITING] = "waiting",
    [BLX_HANDOVER_SETTLED] = "settled",
    [BLX_HANDOVER_UNDONE] = "undone",
};

enum { HARDWARE_LETTERS = 2 * BLX_HARDWARE_BYTES, HEAD_BYTES = 1024 };

/* The file, read. Free `text`. */
struct file {
    char *text; /* NULL: there is none */
    struct blx_handover handover;
    const char *serials; /* in `text` */
};

static void file_done(struct file *file)
{
    free(file->text);
}
#define CLEANUP_FILE BLX_CLEANUP(file_done)

static void format_head(const struct blx_handover *handover, char head[HEAD_BYTES])
{
    char hex[HARDWARE_LETTERS + 1];
    blx_hex_format(handover->hardware, BLX_HARDWARE_BYTES, hex);
    snprintf(head, HEAD_BYTES, "%s%s\n%" PRIu64 "\n%" PRIu64 "\n%s\n%s\n", first_line,
             state_words[handover->state], handover->since, handover->checkpoint, hex,
             handover->peer);
}

static int parse_state(const char *word, enum blx_handover_state *state)
{
    for (unsigned i = BLX_HANDOVER_WAITING; i < BLX_HANDOVER_STATES; i++) {
        if (strcmp(word, state_words[i]) == 0) {
            *state = (enum blx_handover_state)i;
            return 0;
        }
    }
    return -EBADMSG;
}

static int parse_hardware(const char *hex, uint8_t hardware[BLX_HARDWARE_BYTES])
{
    if (strlen(hex) != HARDWARE_LETTERS)
        return -EBADMSG;
    for (size_t i = 0; i < BLX_HARDWARE_BYTES; i++) {
        const char pair[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        hardware[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return 0;
}

static bool are_serials(const char *lines)
{
    while (*lines != '\0') {
        size_t bytes = strspn(lines, "0123456789ABCDEF");
        if (bytes == 0 || bytes >= BLX_SERIAL_TEXT_BYTES || lines[bytes] != '\n')
            return false;
        lines += bytes + 1;
    }
    return true;
}

/* What it reads is written again and compared, so nothing else gets through. */
int blx_handover_parse(const char *text, struct blx_handover *handover, const char **serials)
{
    struct blx_handover read = {.state = BLX_HANDOVER_NONE};
    char state[8], since[15], checkpoint[15], hex[HARDWARE_LETTERS + 1], head[HEAD_BYTES];
    _Static_assert(BLX_TEXT_BYTES == 256 && HARDWARE_LETTERS == 64, "the pattern");
    if (sscanf(text, "blxrep handover 1\n%7[a-z]\n%14[0-9]\n%14[0-9]\n%64[0-9a-f]\n%255[^\n]",
               state, since, checkpoint, hex, read.peer) != 5 ||
        parse_state(state, &read.state) < 0 || blx_timestamp_parse(since, &read.since, NULL) < 0 ||
        blx_timestamp_parse(checkpoint, &read.checkpoint, NULL) < 0 ||
        parse_hardware(hex, read.hardware) < 0)
        return -EBADMSG;
    format_head(&read, head);
    size_t bytes = strlen(head);
    if (strncmp(text, head, bytes) != 0 || !are_serials(text + bytes))
        return -EBADMSG;
    *handover = read;
    *serials = text + bytes;
    return 0;
}

bool blx_handover_lists(const char *serials, const char *serial)
{
    size_t length = strlen(serial);
    for (const char *line = serials; *line != '\0'; line = strchr(line, '\n') + 1)
        if (strncmp(line, serial, length) == 0 && line[length] == '\n')
            return true;
    return false;
}

static int file_name(const char *agent_id, char name[BLX_NAME_BYTES + 16], struct blx_error *err)
{
    int rc = blx_name_check("agent ID", agent_id, err);
    return rc < 0 ? rc : blx_path_format(name, BLX_NAME_BYTES + 16, err, "handovers/%s", agent_id);
}

static int read_file(const char *dir, const char *agent_id, struct file *file,
                     struct blx_error *err)
{
    char name[BLX_NAME_BYTES + 16], path[PATH_MAX];
    void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    int rc = file_name(agent_id, name, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/%s", dir, name);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, BLX_HANDOVER_FILE_BYTES, &content, &bytes, &why);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &why);
    file->text = content;
    if (blx_handover_parse(file->text, &file->handover, &file->serials) < 0)
        return blx_error_set(err, -EBADMSG,
                             "'%s' is damaged, so the agent '%s' is refused: remove it if no other "
                             "machine has its name",
                             path, agent_id);
    return 0;
}

static int write_file(const struct blx_pki *pki, const char *agent_id,
                      const struct blx_handover *handover, const char *serials, const char *serial,
                      struct blx_error *err)
{
    char name[BLX_NAME_BYTES + 16], folder[PATH_MAX], head[HEAD_BYTES];
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_mem());
    int rc = file_name(agent_id, name, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "handovers", folder, err);
    if (rc == 0)
        rc = blx_pki_make_dir(pki, folder, err);
    if (rc < 0)
        return rc;
    format_head(handover, head);
    if (content == NULL ||
        BIO_printf(content, "%s%s%s%s", head, serials, serial, serial[0] == '\0' ? "" : "\n") <= 0)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s/%s'", pki->dir, name);
    return blx_pki_write(pki, name, content, BLX_PKI_PRIVATE_MODE, err);
}

static bool is_known(const uint8_t hardware[BLX_HARDWARE_BYTES])
{
    static const uint8_t none[BLX_HARDWARE_BYTES];
    return memcmp(hardware, none, sizeof(none)) != 0;
}

int blx_handover_begin(const char *data_dir, const char *agent_id,
                       const struct blx_handover *handover, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_handover begun = *handover;
    begun.state = BLX_HANDOVER_WAITING;
    blx_text_clean(begun.peer);
    if (!is_known(begun.hardware) || begun.peer[0] == '\0')
        return blx_error_set(err, -EINVAL,
                             "the machine that is to take '%s' over has not told by what it is "
                             "known again",
                             agent_id);
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = write_file(&pki, agent_id, &begun, "", "", err);
    blx_pki_close(&pki);
    return rc;
}

static int look(const char *data_dir, const char *agent_id, struct file *file,
                struct blx_error *err)
{
    char dir[PATH_MAX - 128];
    int rc = blx_path_format(dir, sizeof(dir), err, "%s/pki", data_dir);
    return rc < 0 ? rc : read_file(dir, agent_id, file, err);
}

int blx_handover_look(const char *data_dir, const char *agent_id, struct blx_handover *handover,
                      struct blx_error *err)
{
    CLEANUP_FILE struct file file = {.text = NULL};
    int rc = look(data_dir, agent_id, &file, err);
    if (rc == 0)
        *handover = file.handover;
    return rc;
}

static int refuse_old(const struct blx_handover *handover, const char *agent_id,
                      struct blx_error *err)
{
    return blx_error_set(err, -EACCES,
                         "the server '%s' was restored onto another machine (from %s) at %" PRIu64
                         ", and this is not that one: if it is the right one, `blxrep dispatcher "
                         "readmit --agent=%s` lets it in and refuses the other",
                         agent_id, handover->peer, handover->since, agent_id);
}

static int refuse_new(const struct blx_handover *handover, const char *agent_id,
                      struct blx_error *err)
{
    return blx_error_set(err, -EACCES,
                         "this machine restored the server '%s' at %" PRIu64
                         ", and `readmit` has given the name back to the old one: if this is the "
                         "right one, have it join again (`blxrep dispatcher enroll --agent=%s "
                         "--token`)",
                         agent_id, handover->since, agent_id);
}

int blx_handover_check(const char *data_dir, const char *agent_id, const char *serial,
                       struct blx_handover *handover, enum blx_handover_verdict *verdict,
                       struct blx_error *err)
{
    CLEANUP_FILE struct file file = {.text = NULL};
    int rc = look(data_dir, agent_id, &file, err);
    if (rc < 0)
        return rc;
    *handover = file.handover;
    *verdict = BLX_HANDOVER_GOOD;
    if (file.text == NULL)
        return 0;
    bool listed = blx_handover_lists(file.serials, serial);
    switch (file.handover.state) {
    case BLX_HANDOVER_WAITING:
        *verdict = listed ? BLX_HANDOVER_NEW : BLX_HANDOVER_TO_PROVE;
        return 0;
    case BLX_HANDOVER_SETTLED:
        *verdict = BLX_HANDOVER_NEW;
        return listed ? 0 : refuse_old(handover, agent_id, err);
    default:
        *verdict = is_known(file.handover.hardware) ? BLX_HANDOVER_NOT_THERE : BLX_HANDOVER_GOOD;
        return listed ? refuse_new(handover, agent_id, err) : 0;
    }
}

int blx_handover_prove(const struct blx_handover *handover, const char *agent_id,
                       enum blx_handover_verdict verdict,
                       const uint8_t hardware[BLX_HARDWARE_BYTES], struct blx_error *err)
{
    bool is_it =
        is_known(hardware) && CRYPTO_memcmp(hardware, handover->hardware, BLX_HARDWARE_BYTES) == 0;
    if (verdict == BLX_HANDOVER_TO_PROVE && !is_it)
        return refuse_old(handover, agent_id, err);
    return verdict == BLX_HANDOVER_NOT_THERE && is_it ? refuse_new(handover, agent_id, err) : 0;
}

/* A restore may have begun another one meanwhile. */
static bool is_same(const struct blx_handover *a, const struct blx_handover *b)
{
    return a->since == b->since && memcmp(a->hardware, b->hardware, sizeof(a->hardware)) == 0;
}

int blx_handover_settle(const char *data_dir, const char *agent_id, const struct blx_handover *seen,
                        struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    CLEANUP_FILE struct file file = {.text = NULL};
    int rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = read_file(pki.dir, agent_id, &file, err);
    if (rc == 0 && file.handover.state == BLX_HANDOVER_WAITING && is_same(&file.handover, seen)) {
        file.handover.state = BLX_HANDOVER_SETTLED;
        rc = write_file(&pki, agent_id, &file.handover, file.serials, "", err);
    }
    blx_pki_close(&pki);
    return rc;
}

/* Once the new machine has a certificate that tells it apart, its hardware is no longer needed. */
static int undo(const struct blx_pki *pki, const char *agent_id, struct file *file,
                struct blx_error *err)
{
    if (file->text == NULL)
        return blx_error_set(err, -ENOENT,
                             "no other machine has the name '%s': no restore of it took over",
                             agent_id);
    if (file->handover.state == BLX_HANDOVER_UNDONE)
        return blx_error_set(err, -EALREADY,
                             "'%s' is the old machine already: the one that restored it at %" PRIu64
                             " is refused",
                             agent_id, file->handover.since);
    if (file->handover.state == BLX_HANDOVER_SETTLED)
        memset(file->handover.hardware, 0, sizeof(file->handover.hardware));
    file->handover.state = BLX_HANDOVER_UNDONE;
    return write_file(pki, agent_id, &file->handover, file->serials, "", err);
}

int blx_handover_undo(const char *data_dir, const char *agent_id, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    CLEANUP_FILE struct file file = {.text = NULL};
    int rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = read_file(pki.dir, agent_id, &file, err);
    if (rc == 0)
        rc = undo(&pki, agent_id, &file, err);
    blx_pki_close(&pki);
    return rc;
}

int blx_handover_except(const struct blx_pki *pki, const char *agent_id, const char *serial,
                        enum blx_handover_right right, struct blx_error *err)
{
    CLEANUP_FILE struct file file = {.text = NULL};
    int rc = read_file(pki->dir, agent_id, &file, err);
    if (rc < 0 || file.text == NULL)
        return rc;
    if (file.handover.state != BLX_HANDOVER_UNDONE)
        return write_file(pki, agent_id, &file.handover, file.serials, serial, err);
    /* A certificate of a person's is good on that machine, too. */
    if (right == BLX_HANDOVER_BY_SESSION || !is_known(file.handover.hardware))
        return 0;
    memset(file.handover.hardware, 0, sizeof(file.handover.hardware));
    return write_file(pki, agent_id, &file.handover, file.serials, "", err);
}
