/* SPDX-License-Identifier: Apache-2.0 */
/* One policy: a file of the policy folder. Its keys, except `agents`, `encryption` and
 * `suspicious`, are options of the same names. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "config/document_private.h"
#include "config/policy.h"

static const char agents_example[] = "[\"web*\", \"db[1-3]\"]";

const char *blx_policy_key_name(enum blx_policy_key key)
{
    static const char *const names[BLX_POLICY_KEYS] = {
        [BLX_POLICY_SYNC_FREQ] = "sync-freq",
        [BLX_POLICY_RETENTION] = "retention",
        [BLX_POLICY_BANDWIDTH_LIMIT] = "bandwidth-limit",
        [BLX_POLICY_EXCLUDE] = "exclude",
        [BLX_POLICY_QUOTA] = "quota",
        [BLX_POLICY_ENCRYPTION] = "encryption",
        [BLX_POLICY_RESTORE_TEST] = "restore-test",
        [BLX_POLICY_SUSPICIOUS] = "suspicious",
    };
    return names[key];
}

const char *blx_policy_encryption_name(enum blx_policy_encryption encryption)
{
    static const char *const names[BLX_POLICY_ENCRYPTIONS] = {
        [BLX_POLICY_ENCRYPTION_OPTIONAL] = "optional",
        [BLX_POLICY_ENCRYPTION_REQUIRED] = "required",
    };
    return names[encryption];
}

void blx_policy_done(struct blx_policy *policy)
{
    free(policy->path);
    for (size_t i = 0; i < policy->agent_count; i++)
        free(policy->agents[i]);
    free(policy->agents);
    blx_config_done(&policy->settings);
    *policy = (struct blx_policy){0};
}

static int refuse(const struct blx_place *place, struct blx_error *err)
{
    blx_place_prefix(place, err);
    return -EINVAL;
}

static int add_agent(const struct blx_place *place, const config_setting_t *entry,
                     struct blx_policy *policy, struct blx_error *err)
{
    if (config_setting_type(entry) != CONFIG_TYPE_STRING)
        return blx_place_wrong_type(place, entry, "a text or a list of texts", agents_example, err);
    const char *text = config_setting_get_string(entry);
    if (text[0] == '\0') {
        blx_error_set(err, -EINVAL, "a pattern is empty; write agents: %s", agents_example);
        return refuse(place, err);
    }
    int rc = blx_array_make_room(policy->agents, policy->agent_count);
    if (rc == 0 && (policy->agents[policy->agent_count] = strdup(text)) == NULL)
        rc = -ENOMEM;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot keep '%.40s'", text);
    policy->agent_count++;
    return 0;
}

static bool is_list(const struct blx_place *place)
{
    int type = config_setting_type(place->setting);
    return type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST;
}

static int apply_agents(const struct blx_place *place, struct blx_policy *policy,
                        struct blx_error *err)
{
    if (!is_list(place))
        return add_agent(place, place->setting, policy, err);
    int rc = 0, count = config_setting_length(place->setting);
    for (int i = 0; rc == 0 && i < count; i++)
        rc = add_agent(place, config_setting_get_elem(place->setting, (unsigned)i), policy, err);
    return rc;
}

/* A character that the name of a device never has would make a message that the agent refuses. */
static int check_pattern(const struct blx_place *place, const char *pattern, struct blx_error *err)
{
    for (const char *at = pattern; *at != '\0'; at++) {
        if (*at < ' ' || *at > '~') {
            blx_error_set(err, -EINVAL,
                          "a pattern has a character that is not printable ASCII; "
                          "write a '?' for it");
            return refuse(place, err);
        }
    }
    return 0;
}

/* An empty list is valid: no device is left out, even if an earlier file has patterns. */
static int apply_exclude(const struct blx_place *place, const struct blx_option *option,
                         struct blx_policy *policy, struct blx_error *err)
{
    size_t bytes = 0;
    if (is_list(place) && config_setting_length(place->setting) == 0)
        return 0;
    int rc = blx_place_option(place, option, &policy->settings, err);
    for (size_t i = 0; rc == 0 && i < policy->settings.exclude_count; i++) {
        bytes += strlen(policy->settings.excludes[i]) + 1;
        rc = check_pattern(place, policy->settings.excludes[i], err);
    }
    if (rc < 0 || bytes <= BLX_POLICY_TEXT_BYTES)
        return rc;
    blx_error_set(err, -EINVAL,
                  "%zu characters are more than the %d that an agent can be sent; "
                  "write shorter patterns",
                  bytes, BLX_POLICY_TEXT_BYTES);
    return refuse(place, err);
}

/* The limit is checked here, and sent to the agent as it is written. */
static int apply_bandwidth_limit(const struct blx_place *place, const struct blx_option *option,
                                 struct blx_policy *policy, struct blx_error *err)
{
    char buffer[64];
    int rc = blx_place_option(place, option, &policy->settings, err);
    if (rc < 0)
        return rc;
    const char *text = blx_setting_text(option, place->setting, buffer);
    if (strlen(text) >= sizeof(policy->bandwidth_limit)) {
        blx_error_set(err, -EINVAL, "more than %zu characters; write fewer rules",
                      sizeof(policy->bandwidth_limit) - 1);
        return refuse(place, err);
    }
    strcpy(policy->bandwidth_limit, text);
    return 0;
}

static int apply_encryption(const struct blx_place *place, struct blx_policy *policy,
                            struct blx_error *err)
{
    if (config_setting_type(place->setting) != CONFIG_TYPE_STRING)
        return blx_place_wrong_type(place, place->setting, "a text", "\"required\"", err);
    const char *text = config_setting_get_string(place->setting);
    unsigned value = 0;
    while (value < BLX_POLICY_ENCRYPTIONS && strcmp(text, blx_policy_encryption_name(value)) != 0)
        value++;
    if (value == BLX_POLICY_ENCRYPTIONS) {
        blx_error_set(err, -EINVAL, "'%.40s' is neither \"required\" nor \"optional\"", text);
        return refuse(place, err);
    }
    policy->encryption = value;
    return 0;
}

static int apply_sensitivity(const struct blx_place *place, struct blx_policy *policy,
                             struct blx_error *err)
{
    if (config_setting_type(place->setting) != CONFIG_TYPE_STRING)
        return blx_place_wrong_type(place, place->setting, "a text", "\"high\"", err);
    const char *text = config_setting_get_string(place->setting);
    unsigned value = 0;
    while (value < BLX_SENSITIVITIES && strcmp(text, blx_sensitivity_name(value)) != 0)
        value++;
    if (value == BLX_SENSITIVITIES) {
        blx_error_set(err, -EINVAL, "'%.40s' is none of \"low\", \"default\", \"high\" and \"off\"",
                      text);
        return refuse(place, err);
    }
    if (policy->suspicious != BLX_SENSITIVITY_OFF) /* `off: true` stands, whatever follows */
        policy->suspicious = value;
    return 0;
}

static int apply_off(const struct blx_place *place, struct blx_policy *policy,
                     struct blx_error *err)
{
    if (config_setting_type(place->setting) != CONFIG_TYPE_BOOL)
        return blx_place_wrong_type(place, place->setting, "true or false", "true", err);
    if (config_setting_get_bool(place->setting))
        policy->suspicious = BLX_SENSITIVITY_OFF;
    return 0;
}

static int apply_suspicious(const struct blx_place *group, struct blx_policy *policy,
                            struct blx_error *err)
{
    if (config_setting_type(group->setting) != CONFIG_TYPE_GROUP)
        return blx_place_wrong_type(group, group->setting, "a group", "{ sensitivity: \"high\" }",
                                    err);
    int rc = 0, count = config_setting_length(group->setting);
    policy->suspicious = BLX_SENSITIVITY_DEFAULT;
    for (int i = 0; rc == 0 && i < count; i++) {
        const config_setting_t *member = config_setting_get_elem(group->setting, (unsigned)i);
        const struct blx_place place = {
            .path = group->path, .group = "suspicious.", .setting = member};
        const char *name = config_setting_name(member);
        if (strcmp(name, "sensitivity") == 0) {
            rc = apply_sensitivity(&place, policy, err);
        } else if (strcmp(name, "off") == 0) {
            rc = apply_off(&place, policy, err);
        } else {
            blx_error_set(err, -EINVAL, "unknown key; 'suspicious' has sensitivity and off");
            rc = refuse(&place, err);
        }
    }
    return rc;
}

static int unknown_key(const struct blx_place *place, struct blx_error *err)
{
    blx_error_set(
        err, -EINVAL,
        "unknown key; a policy has agents, sync-freq, retention, bandwidth-limit, exclude, "
        "quota, encryption, restore-test and suspicious");
    return refuse(place, err);
}

static int apply_setting(void *arg, const struct blx_place *place, struct blx_error *err)
{
    struct blx_policy *policy = arg;
    const char *name = config_setting_name(place->setting);
    if (strcmp(name, "agents") == 0)
        return apply_agents(place, policy, err);
    unsigned key = 0;
    while (key < BLX_POLICY_KEYS && strcmp(name, blx_policy_key_name(key)) != 0)
        key++;
    if (key == BLX_POLICY_KEYS)
        return unknown_key(place, err);
    policy->given |= 1U << key;
    if (key == BLX_POLICY_RETENTION)
        return blx_place_retention(place, &policy->settings, err);
    if (key == BLX_POLICY_QUOTA)
        return blx_place_quota(place, &policy->settings, err);
    if (key == BLX_POLICY_ENCRYPTION)
        return apply_encryption(place, policy, err);
    if (key == BLX_POLICY_RESTORE_TEST)
        return blx_place_restore_test(place, &policy->test, err);
    if (key == BLX_POLICY_SUSPICIOUS)
        return apply_suspicious(place, policy, err);
    const struct blx_option *option = blx_option_find(name, strlen(name));
    if (key == BLX_POLICY_EXCLUDE)
        return apply_exclude(place, option, policy, err);
    if (key == BLX_POLICY_BANDWIDTH_LIMIT)
        return apply_bandwidth_limit(place, option, policy, err);
    return blx_place_option(place, option, &policy->settings, err);
}

static int check_whole(const char *path, unsigned lines, const struct blx_policy *policy,
                       struct blx_error *err)
{
    if (policy->agent_count == 0)
        return blx_error_set(err, -EINVAL,
                             "'%s', line %u, key 'agents': missing or empty: which agents is it "
                             "for? Add the line  agents: %s",
                             path, lines + 1, agents_example);
    if (policy->given == 0)
        return blx_error_set(
            err, -EINVAL,
            "'%s': it sets nothing; add sync-freq, retention, bandwidth-limit, "
            "exclude, quota, encryption, restore-test or suspicious, or remove the file",
            path);
    return 0;
}

int blx_policy_read(const char *path, struct blx_policy *policy, struct blx_error *err)
{
    BLX_CLEANUP(blx_policy_done) struct blx_policy found = {0};
    unsigned lines = 0;
    int rc = blx_document_read(path, "", apply_setting, &found, &lines, err);
    if (rc == 0)
        rc = check_whole(path, lines, &found, err);
    if (rc == 0 && (found.path = strdup(path)) == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot keep '%s'", path);
    if (rc < 0)
        return rc;
    *policy = found;
    found = (struct blx_policy){0};
    return 0;
}
