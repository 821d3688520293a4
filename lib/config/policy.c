/* SPDX-License-Identifier: Apache-2.0 */
#include "config/policy.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"

static const char suffix[] = ".yaml";

void blx_policies_done(struct blx_policies *policies)
{
    for (size_t i = 0; i < policies->count; i++)
        blx_policy_done(&policies->list[i]);
    free(policies->list);
    *policies = (struct blx_policies){0};
}

bool blx_policy_is_file(const char *name)
{
    size_t length = strlen(name), end = sizeof(suffix) - 1;
    return name[0] != '.' && length > end && strcmp(name + length - end, suffix) == 0;
}

static int is_policy(const struct dirent *entry)
{
    return blx_policy_is_file(entry->d_name);
}

/* By bytes, so that the locale does not matter. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_files(const char *dir, struct dirent **entries, size_t count,
                      struct blx_policies *policies, struct blx_error *err)
{
    policies->list = calloc(count + 1, sizeof(policies->list[0]));
    if (policies->list == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the policies in '%s'", dir);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        int rc = blx_path_format(path, sizeof(path), err, "%s/%s", dir, entries[i]->d_name);
        if (rc == 0)
            rc = blx_policy_read(path, &policies->list[i], err);
        if (rc < 0)
            return rc;
        policies->count++;
    }
    return 0;
}

int blx_policies_read(const char *dir, struct blx_policies *policies, struct blx_error *err)
{
    BLX_CLEANUP_POLICIES struct blx_policies found = {0};
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, is_policy, compare_names);
    if (count < 0 && errno == ENOENT && strcmp(dir, BLX_DEFAULT_POLICY_DIR) == 0)
        count = 0;
    if (count < 0)
        return blx_error_errno(err, -errno,
                               "cannot read the folder of policies '%s'; make it, or give another "
                               "one with --policy-dir=DIR",
                               dir);
    int rc = read_files(dir, entries, (size_t)count, &found, err);
    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    if (rc < 0)
        return rc;
    *policies = found;
    found = (struct blx_policies){0};
    return 0;
}

static const char *matching(const struct blx_policy *policy, const char *agent_id)
{
    for (size_t i = 0; i < policy->agent_count; i++) {
        if (fnmatch(policy->agents[i], agent_id, 0) == 0)
            return policy->agents[i];
    }
    return NULL;
}

const struct blx_policy *blx_policies_find(const struct blx_policies *policies,
                                           enum blx_policy_key key, const char *agent_id,
                                           const char **pattern)
{
    for (size_t i = policies->count; i-- > 0;) {
        const struct blx_policy *policy = &policies->list[i];
        const char *match = (policy->given & (1U << key)) != 0 ? matching(policy, agent_id) : NULL;
        if (match == NULL)
            continue;
        if (pattern != NULL)
            *pattern = match;
        return policy;
    }
    return NULL;
}

static void take_excludes(const struct blx_config *settings, struct blx_policy_verdict *verdict)
{
    verdict->exclude_bytes = 0;
    for (size_t i = 0; i < settings->exclude_count; i++) {
        size_t bytes = strlen(settings->excludes[i]) + 1;
        memcpy(verdict->exclude + verdict->exclude_bytes, settings->excludes[i], bytes);
        verdict->exclude_bytes += bytes;
    }
}

void blx_policies_judge(const struct blx_policies *policies, const struct blx_policy_verdict *own,
                        const char *agent_id, struct blx_policy_verdict *verdict)
{
    *verdict = *own;
    const struct blx_policy *by[BLX_POLICY_KEYS];
    for (unsigned key = 0; key < BLX_POLICY_KEYS; key++)
        by[key] = blx_policies_find(policies, key, agent_id, NULL);
    if (by[BLX_POLICY_SYNC_FREQ] != NULL)
        verdict->sync_freq_ms = by[BLX_POLICY_SYNC_FREQ]->settings.sync_freq_ms;
    if (by[BLX_POLICY_RETENTION] != NULL)
        verdict->retention = by[BLX_POLICY_RETENTION]->settings.retention;
    if (by[BLX_POLICY_BANDWIDTH_LIMIT] != NULL)
        blx_text_set(verdict->bandwidth_limit, by[BLX_POLICY_BANDWIDTH_LIMIT]->bandwidth_limit);
    if (by[BLX_POLICY_QUOTA] != NULL)
        verdict->quota = by[BLX_POLICY_QUOTA]->settings.quota;
    if (by[BLX_POLICY_ENCRYPTION] != NULL)
        verdict->encryption = by[BLX_POLICY_ENCRYPTION]->encryption;
    if (by[BLX_POLICY_RESTORE_TEST] != NULL)
        verdict->test = by[BLX_POLICY_RESTORE_TEST]->test;
    if (by[BLX_POLICY_SUSPICIOUS] != NULL)
        verdict->suspicious = by[BLX_POLICY_SUSPICIOUS]->suspicious;
    if (by[BLX_POLICY_EXCLUDE] != NULL)
        take_excludes(&by[BLX_POLICY_EXCLUDE]->settings, verdict);
}
