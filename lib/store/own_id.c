/* SPDX-License-Identifier: Apache-2.0 */
#include "store/own_id.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

static int id_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/id", dir);
}

static int parse(const char *path, const char *content, size_t bytes, char id[BLX_NAME_BYTES],
                 struct blx_error *err)
{
    char text[BLX_NAME_BYTES] = "";
    if (bytes > 1 && bytes <= sizeof(text) && content[bytes - 1] == '\n')
        memcpy(text, content, bytes - 1);
    if (blx_name_check("agent ID", text, NULL) < 0 || strlen(text) != bytes - 1)
        return blx_error_set(err, -EBADMSG,
                             "'%s' is damaged: it should be one line, the ID in the configuration "
                             "of the agent's server",
                             path);
    memcpy(id, text, sizeof(text));
    return 0;
}

int blx_own_id_read(struct blx_agent_store agent, char id[BLX_NAME_BYTES], struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    int rc = id_path(agent, path, err);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, BLX_NAME_BYTES, &content, &bytes, &why);
    if (rc == 0)
        return parse(path, content, bytes, id, err);
    if (rc == -EFBIG)
        return parse(path, "", 0, id, err);
    if (rc != -ENOENT)
        return blx_error_copy(err, rc, &why);
    snprintf(id, BLX_NAME_BYTES, "%s", agent.id);
    return 0;
}

int blx_own_id_write(struct blx_agent_store agent, const char *id, struct blx_error *err)
{
    char path[PATH_MAX], text[BLX_NAME_BYTES + 1];
    int rc = id_path(agent, path, err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof(text), "%s\n", id);
    /* Readable for a dispatcher of another user, as a pause is. */
    return blx_file_replace(path, text, strlen(text), 0644, err);
}

/* Whether the folder of this name is the agent's: 1, 0, or an error. */
static int is_folder_of(const struct blx_store *store, const char *name, const char *id,
                        struct blx_error *err)
{
    char own[BLX_NAME_BYTES];
    int rc = blx_own_id_read(blx_store_agent(store, name), own, err);
    return rc < 0 ? rc : strcmp(own, id) == 0;
}

/* Among the agents that have another name than their ID. */
static int search(const struct blx_store *store, const char *id, char name[BLX_NAME_BYTES],
                  struct blx_error *err)
{
    char **names = NULL;
    size_t count = 0;
    int rc = blx_store_list_agents(store, &names, &count, err);
    int found = 0;
    for (size_t i = 0; rc == 0 && found == 0 && i < count; i++) {
        found = strcmp(names[i], id) == 0 ? 0 : is_folder_of(store, names[i], id, err);
        if (found == 1)
            snprintf(name, BLX_NAME_BYTES, "%s", names[i]);
    }
    blx_store_free_agents(names, count);
    return rc < 0 ? rc : found;
}

int blx_own_id_find(const struct blx_store *store, const char *id, char name[BLX_NAME_BYTES],
                    struct blx_error *err)
{
    char found[BLX_NAME_BYTES];
    int rc = blx_name_check("agent ID", id, err);
    if (rc < 0)
        return rc;
    bool taken = blx_agent_store_exists(blx_store_agent(store, id));
    rc = taken ? is_folder_of(store, id, id, err) : 0;
    if (rc == 1)
        snprintf(found, sizeof(found), "%s", id);
    else if (rc == 0)
        rc = search(store, id, found, err);
    if (rc == 0 && taken)
        return blx_error_set(err, -EEXIST,
                             "'%s' is the name of another agent here: this server needs another "
                             "ID, or that agent another name (`blxrep dispatcher rename`)",
                             id);
    if (rc < 0)
        return rc;
    snprintf(name, BLX_NAME_BYTES, "%s", rc == 1 ? found : id);
    return rc;
}

int blx_own_id_resolve(const struct blx_store *store, const char *called, char name[BLX_NAME_BYTES],
                       struct blx_error *err)
{
    int rc = blx_name_check("agent ID", called, err);
    if (rc < 0)
        return rc;
    if (!blx_agent_store_exists(blx_store_agent(store, called))) {
        rc = blx_own_id_find(store, called, name, err);
        return rc < 0 ? rc : 0;
    }
    snprintf(name, BLX_NAME_BYTES, "%s", called);
    return 0;
}
