/* SPDX-License-Identifier: Apache-2.0 */
/* A token as somebody pasted it, and the tokens and revocations in DIR/pki: what is accepted is
 * written out the same again. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "tls/handover_private.h"
#include "tls/pki_token_private.h"
#include "tls/revocation_private.h"
#include "tls/token.h"

static void check_token(const char *text)
{
    struct blx_token token;
    struct blx_error err = {0};
    char again[BLX_TOKEN_TEXT_BYTES];
    int rc = blx_token_parse(text, &token, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EINVAL);
        return;
    }
    FUZZ_ASSERT(blx_token_format(&token, again, NULL) == 0);
    for (size_t i = 0; i < sizeof(again); i++)
        FUZZ_ASSERT(again[i] == tolower((unsigned char)text[i]));
}

/* Any bytes make a token that reads back. */
static void check_made_token(const uint8_t *data, size_t size)
{
    struct blx_token token = {.secret = {0}}, back;
    char text[BLX_TOKEN_TEXT_BYTES];
    memcpy(&token, data, size < sizeof(token) ? size : sizeof(token));
    FUZZ_ASSERT(blx_token_format(&token, text, NULL) == 0);
    FUZZ_ASSERT(strlen(text) == sizeof(text) - 1);
    FUZZ_ASSERT(blx_token_parse(text, &back, NULL) == 0);
    FUZZ_ASSERT(memcmp(&token, &back, sizeof(token)) == 0);
}

static void check_record(const char *text)
{
    struct blx_token_record record;
    char again[BLX_TOKEN_RECORD_BYTES];
    int rc = blx_token_record_parse(text, &record);
    FUZZ_ASSERT(rc == 0 || rc == -EBADMSG);
    if (rc < 0)
        return;
    FUZZ_ASSERT(blx_name_check("agent ID", record.agent_id, NULL) == 0);
    blx_token_record_format(&record, again);
    FUZZ_ASSERT(strcmp(again, text) == 0);
}

/* Only a line of just that number lets anybody in. */
static void check_revocation(const char *text)
{
    static const char serial[] = "0123AB";
    int rc = blx_revocation_parse(text, serial);
    FUZZ_ASSERT(rc == 0 || rc == 1 || rc == -EBADMSG);
    if (rc == 0)
        FUZZ_ASSERT(strstr(text, "\n0123AB\n") != NULL);
}

/* The head is read back as it is written, which the parser compares; the rest is numbers. */
static void check_handover(const char *text)
{
    struct blx_handover handover = {.state = BLX_HANDOVER_NONE};
    const char *serials = NULL;
    int rc = blx_handover_parse(text, &handover, &serials);
    FUZZ_ASSERT(rc == 0 || rc == -EBADMSG);
    if (rc < 0)
        return;
    FUZZ_ASSERT(handover.state != BLX_HANDOVER_NONE && serials >= text);
    if (blx_handover_lists(serials, "0123AB"))
        FUZZ_ASSERT(strstr(text, "\n0123AB\n") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    check_token(text);
    check_made_token(data, size);
    check_record(text);
    check_revocation(text);
    check_handover(text);
    free(text);
    return 0;
}
