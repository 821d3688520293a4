/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages about the dispatchers of one data directory (store/member.h). */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

size_t blx_message_put_control_host(const struct blx_message *message, uint8_t *body)
{
    const struct blx_control_host *host = &message->control_host;
    struct blx_control_host_disk disk = {
        .role = blx_le32_of((uint32_t)host->role),
        .since = blx_le64_of(host->since),
        .told = blx_le64_of(host->told),
    };
    blx_field_put_name(disk.name, host->name);
    blx_text_put(disk.listen, sizeof(disk.listen), host->listen);
    blx_text_put(disk.software, sizeof(disk.software), host->software);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_host(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_host_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_host *host = &message->control_host;
    uint32_t role = blx_le32_get(disk.role);
    if (role == 0 || role >= BLX_HOST_ROLES)
        return blx_error_set(err, -EBADMSG, "CONTROL_HOST: its role is out of range");
    host->role = (enum blx_host_role)role;
    int rc = blx_field_check_reserved(disk.reserved, err);
    if (rc == 0)
        rc = blx_field_get_name(disk.name, host->name, "name of a host", err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.since, &host->since, err);
    if (rc == 0)
        rc = blx_field_get_timestamp(disk.told, &host->told, err);
    if (rc == 0)
        rc = blx_field_get_text(disk.listen, host->listen, "the address", err);
    if (rc == 0)
        rc = blx_field_get_text(disk.software, host->software, "the program", err);
    return rc;
}

size_t blx_message_put_control_place(const struct blx_message *message, uint8_t *body)
{
    struct blx_control_place_disk disk;
    blx_field_put_name(disk.agent_id, message->control_place.agent_id);
    blx_field_put_name(disk.host, message->control_place.host);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_control_place(const uint8_t *body, size_t body_bytes,
                                  struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_control_place_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_control_place *place = &message->control_place;
    int rc = blx_field_get_name(disk.agent_id, place->agent_id, "agent ID", err);
    return rc == 0 ? blx_field_get_name(disk.host, place->host, "name of a host", err) : rc;
}
