/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages in which a dispatcher tells which settings are in force. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

size_t blx_message_put_control_policy(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_policy_disk disk;
    blx_field_put_name(disk.agent_id, message->control_policy.agent_id);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_policy(const uint8_t *body, size_t body_bytes,
                                   struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_policy_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_name(disk.agent_id, message->control_policy.agent_id, "agent ID", err);
}

size_t blx_message_put_control_verdict(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_verdict *verdict = &message->control_verdict;
    size_t texts_bytes = verdict->texts_bytes;
    if (texts_bytes > sizeof(verdict->texts))
        texts_bytes = sizeof(verdict->texts);
    struct blx_control_verdict_disk disk = {
        .key = blx_le32_of(verdict->key),
        .source = blx_le32_of((uint32_t)verdict->source),
        .texts_bytes = blx_le32_of((uint32_t)texts_bytes),
    };
    blx_text_put(disk.file, sizeof(disk.file), verdict->file);
    blx_text_put(disk.pattern, sizeof(disk.pattern), verdict->pattern);
    for (size_t i = 0; i < BLX_VERDICT_NUMBERS; i++)
        disk.numbers[i] = blx_le64_of(verdict->numbers[i]);
    memcpy(body, &disk, sizeof(disk));
    memcpy(body + sizeof(disk), verdict->texts, texts_bytes);
    return sizeof(disk) + texts_bytes;
}

int blx_message_get_control_verdict(const uint8_t *body, size_t body_bytes,
                                    struct blx_message *message, struct blx_error *err)
{
    struct blx_control_verdict_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_verdict *verdict = &message->control_verdict;
    const uint32_t source = blx_le32_get(disk.source);
    verdict->key = blx_le32_get(disk.key);
    verdict->texts_bytes = blx_le32_get(disk.texts_bytes);
    if (source > BLX_VERDICT_POLICY)
        return blx_error_set(err, -EBADMSG, "the source is out of range");
    verdict->source = (enum blx_verdict_source)source;
    if (verdict->texts_bytes > sizeof(verdict->texts) ||
        verdict->texts_bytes != body_bytes - sizeof(disk))
        return blx_error_set(err, -EBADMSG, "its texts have another size than its header says");
    for (size_t i = 0; i < BLX_VERDICT_NUMBERS; i++)
        verdict->numbers[i] = blx_le64_get(disk.numbers[i]);
    memcpy(verdict->texts, body + sizeof(disk), verdict->texts_bytes);
    if (!blx_field_are_texts(verdict->texts, verdict->texts_bytes))
        return blx_error_set(err, -EBADMSG, "one of its texts is not printable text");
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.file, verdict->file, "the file", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.pattern, verdict->pattern, "the pattern", err);
    return rc;
}

size_t blx_message_put_control_stale(const struct blx_message *message, uint8_t *body)
{
    blx_text_put((char *)body, BLX_TEXT_BYTES, message->control_stale.text);
    return BLX_TEXT_BYTES;
}

int blx_message_get_control_stale(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    return blx_field_get_text((const char *)body, message->control_stale.text, "the remark", err);
}
