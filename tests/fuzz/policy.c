/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the policy folder: one that is taken keeps to its bounds, makes a POLICY that an agent
 * takes, and is taken again the same; a refusal names the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/policy.h"
#include "fuzz.h"

/* An agent must not refuse the POLICY that it gets. */
static void check_message(const struct blx_policy_verdict *verdict)
{
    struct blx_message message = {.type = BLX_MESSAGE_POLICY,
                                  .policy = {.sync_freq_ms = verdict->sync_freq_ms,
                                             .exclude_bytes = (uint32_t)verdict->exclude_bytes}};
    uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
    size_t length;
    FUZZ_ASSERT(verdict->exclude_bytes <= sizeof(verdict->exclude));
    memcpy(message.policy.bandwidth_limit, verdict->bandwidth_limit, BLX_POLICY_TEXT_BYTES);
    memcpy(message.policy.exclude, verdict->exclude, verdict->exclude_bytes);
    FUZZ_ASSERT(blx_message_encode(&message, buffer, sizeof(buffer), &length) == 0);
}

static void check_policy(struct blx_policy *policy, const char *path)
{
    const struct blx_policies policies = {.list = policy, .count = 1};
    const struct blx_policy_verdict own = {.sync_freq_ms = 60000};
    struct blx_policy_verdict verdict = {0};
    FUZZ_ASSERT(strcmp(policy->path, path) == 0);
    FUZZ_ASSERT(policy->agent_count > 0 && policy->given != 0 &&
                policy->given < 1U << BLX_POLICY_KEYS);
    static const char *const agent_ids[] = {"web1", "db2", "a"};
    for (size_t i = 0; i < 3; i++) {
        blx_policies_judge(&policies, &own, agent_ids[i], &verdict);
        check_message(&verdict);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[PATH_MAX];
    BLX_CLEANUP(blx_policy_done) struct blx_policy policy = {0};
    BLX_CLEANUP(blx_policy_done) struct blx_policy again = {0};
    struct blx_error err = {0};
    fuzz_path(path, "policy.yaml");
    fuzz_write_file(path, data, size);
    int rc = blx_policy_read(path, &policy, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(strstr(err.message, "policy.yaml") != NULL);
        return 0;
    }
    check_policy(&policy, path);
    FUZZ_ASSERT(blx_policy_read(path, &again, NULL) == 0);
    FUZZ_ASSERT(policy.given == again.given && policy.agent_count == again.agent_count &&
                policy.settings.sync_freq_ms == again.settings.sync_freq_ms &&
                policy.settings.exclude_count == again.settings.exclude_count &&
                strcmp(policy.bandwidth_limit, again.bandwidth_limit) == 0);
    return 0;
}
