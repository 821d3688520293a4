/* SPDX-License-Identifier: Apache-2.0 */
/* What a dispatcher told the others: nothing of a file that is refused is left. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "store/member.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct blx_member_report report;
    struct blx_error err = {0};
    uint8_t *content = fuzz_copy(data, size);
    int rc = blx_member_parse(content, size, &report, &err);
    FUZZ_ASSERT(size == 0 || memcmp(content, data, size) == 0);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG);
    } else {
        FUZZ_ASSERT(report.host.role > 0 && (int)report.host.role < BLX_HOST_ROLES);
        FUZZ_ASSERT(blx_name_check("name of a host", report.host.name, NULL) == 0);
        for (size_t i = 0; i < report.agent_count; i++)
            FUZZ_ASSERT(blx_name_check("agent ID", report.agents[i].agent_id, NULL) == 0);
        free(report.agents);
    }
    free(content);
    return 0;
}
