/* SPDX-License-Identifier: Apache-2.0 */
#include "page/invite.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "page/address.h"
#include "page/token.h"
#include "store/audit.h"
#include "store/owner.h"
#include "store/store.h"
#include "wire/conn.h"

enum { TEXT_BYTES = 128 };

static void note_down(const struct blx_config *config, enum page_role role, uid_t uid)
{
    char text[TEXT_BYTES];
    struct blx_error err = {0};
    snprintf(text, sizeof(text), "a token for the role %s, for %d minutes", page_role_name(role),
             PAGE_TOKEN_SECONDS / 60);
    const struct blx_audit_entry entry = {.uid = uid, .event = "page-token", .text = text};
    if (blx_audit_append(config->data_dir, &entry, &err) < 0)
        fprintf(stderr, "blxrep: the audit log lacks this token: %s\n", err.message);
}

int page_invite(const struct blx_config *config, struct blx_error *err)
{
    char token[PAGE_TOKEN_TEXT_BYTES], host[PAGE_HOST_BYTES];
    enum blx_owner owner = BLX_OWNER_KEPT;
    struct blx_store store = {.lock_fd = -1};
    const uid_t uid = getuid();
    const enum page_role role =
        config->page_role == BLX_PAGE_OPERATOR ? PAGE_OPERATOR : PAGE_VIEWER;
    int rc = blx_owner_become(config->data_dir, &owner, err);
    if (rc == 0)
        rc = blx_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    blx_store_close(&store);
    if (rc == 0)
        rc = page_token_make(config->data_dir, role, token, err);
    if (rc < 0)
        return rc;
    note_down(config, role, uid);
    const bool loopback = page_address_is_loopback(config->page_listen);
    page_address_name(config->page_listen, host);
    printf("%s://%s/enter?token=%s\n", loopback ? "http" : "https", host, token);
    fprintf(stderr, "blxrep: it lets one %s in, once, within %d minutes\n", page_role_name(role),
            PAGE_TOKEN_SECONDS / 60);
    if (loopback)
        fprintf(stderr, "blxrep: from another machine, first: ssh -L %s:%s HOST\n",
                page_address_port(config->page_listen), host);
    if (!page_address_answers(config->page_listen))
        fprintf(stderr,
                "blxrep: nothing listens at %s: start the page with `systemctl start "
                "blxrep-page`\n",
                host);
    return 0;
}
