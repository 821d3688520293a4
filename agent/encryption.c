/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/encryption.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "config/encryption_mark.h"

static int remove_mark(const struct agent *agent, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_encryption_mark_path(agent->config, path, err);
    if (rc < 0)
        return rc;
    if (unlink(path) == 0)
        blx_log_warning("encryption ends here: everything is sent in the clear from now on, as "
                        "encryption-key: \"none\" demands");
    else if (errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return 0;
}

void agent_encryption_note(const struct agent *agent)
{
    char path[PATH_MAX], text[BLX_KEY_ID_TEXT_BYTES + 1];
    struct blx_error error = {0};
    struct stat st;
    if (blx_key_id_is_none(&agent->key.id))
        return;
    int rc = blx_encryption_mark_path(agent->config, path, &error);
    if (rc == 0 && lstat(path, &st) == 0)
        return;
    blx_key_id_format(&agent->key.id, text);
    strcat(text, "\n");
    if (rc == 0)
        rc = blx_file_replace(path, text, strlen(text), 0644, &error);
    if (rc < 0)
        blx_log_warning(
            "cannot note that this agent encrypts: %s: if 'encryption-key' is lost from "
            "its configuration it will send in the clear",
            error.message);
}

int agent_encryption_load(struct agent *agent, struct blx_error *err)
{
    const char *path = agent->config->encryption_key;
    if (path == NULL)
        return blx_encryption_mark_check(agent->config, err);
    if (strcmp(path, "none") == 0)
        return remove_mark(agent, err);
    int rc = blx_key_read(path, &agent->key, err);
    if (rc < 0)
        return rc;
    char id[BLX_KEY_ID_TEXT_BYTES];
    struct stat st;
    blx_key_id_format(&agent->key.id, id);
    blx_log_info(
        "everything is encrypted with the key %s before it is sent: keep copies of '%s' elsewhere, "
        "nothing can be restored without it",
        id, path);
    if (stat(path, &st) == 0 && (st.st_mode & 077) != 0)
        blx_log_warning("others may read the key '%s': chmod 600 it", path);
    return 0;
}
