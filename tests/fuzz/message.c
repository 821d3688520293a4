/* SPDX-License-Identifier: Apache-2.0 */
/* A message, header and body: what decodes encodes to the same bytes again. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wire/message.h"

static void check_encodes_back(const struct blx_message *message, const uint8_t *body,
                               size_t body_bytes)
{
    uint8_t encoded[BLX_MESSAGE_ENCODED_BYTES];
    enum blx_message_type type;
    size_t length = 0, said_bytes = 0;
    FUZZ_ASSERT(blx_message_encode(message, encoded, sizeof(encoded), &length) == 0);
    FUZZ_ASSERT(blx_message_decode_header(encoded, &type, &said_bytes, NULL) == 0);
    FUZZ_ASSERT(type == message->type && said_bytes == body_bytes);
    size_t whole_bytes = BLX_MESSAGE_HEADER_BYTES + body_bytes;
    FUZZ_ASSERT(length ==
                (type == BLX_MESSAGE_FRAME ? BLX_FRAME_MESSAGE_PREFIX_BYTES : whole_bytes));
    FUZZ_ASSERT(
        memcmp(encoded + BLX_MESSAGE_HEADER_BYTES, body, length - BLX_MESSAGE_HEADER_BYTES) == 0);
    FUZZ_ASSERT(blx_message_encode(message, encoded, length - 1, &length) == -EMSGSIZE);
}

/* `message` is untouched if the body is refused. */
static void check_body(enum blx_message_type type, const uint8_t *data, size_t size)
{
    struct blx_message message, before;
    struct blx_error err = {0};
    memset(&message, 0x5a, sizeof(message));
    before = message;
    size_t body_bytes = size - BLX_MESSAGE_HEADER_BYTES;
    uint8_t *body = fuzz_copy(data + BLX_MESSAGE_HEADER_BYTES, body_bytes);
    int rc = blx_message_decode(type, body, body_bytes, &message, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG);
        FUZZ_ASSERT(memcmp(&message, &before, sizeof(message)) == 0);
    } else {
        FUZZ_ASSERT(message.type == type);
        check_encodes_back(&message, body, body_bytes);
    }
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum blx_message_type type = 0;
    size_t body_bytes = 0;
    struct blx_error err = {0};
    if (size < BLX_MESSAGE_HEADER_BYTES)
        return 0;
    uint8_t *repaired = fuzz_copy(data, size);
    /* As connections do: the header says how much follows. */
    const blx_le32 follows = blx_le32_of((uint32_t)(size - BLX_MESSAGE_HEADER_BYTES));
    memcpy(repaired, &follows, sizeof(follows));
    int rc = blx_message_decode_header(repaired, &type, &body_bytes, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG);
    } else {
        FUZZ_ASSERT(body_bytes == size - BLX_MESSAGE_HEADER_BYTES);
        FUZZ_ASSERT(strcmp(blx_message_name(type), "unknown") != 0);
        check_body(type, repaired, size);
    }
    free(repaired);
    /* A type that the header's check would have refused, and a body of any size. */
    check_body((enum blx_message_type)data[0], data, size);
    return 0;
}
