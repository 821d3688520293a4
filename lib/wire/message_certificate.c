/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of the messages that join, that renew a certificate, and that tell of another CA. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

static int bad(struct blx_error *err, const char *reason)
{
    return blx_error_set(err, -EBADMSG, "%s", reason);
}

/* If it does not fit it is left out; the decoder refuses that. */
static size_t put_bytes(uint8_t *at, const uint8_t *bytes, uint32_t count, uint32_t most)
{
    if (count > most)
        return 0;
    memcpy(at, bytes, count);
    return count;
}

static int get_request(const uint8_t *bytes, size_t left, uint32_t count,
                       struct blx_request_message *request, struct blx_error *err)
{
    if (count == 0 || count > BLX_REQUEST_MAX_BYTES)
        return bad(err, "the request's size is out of range");
    if (left != count)
        return bad(err, "its size does not fit the request's");
    request->request_bytes = count;
    memcpy(request->bytes, bytes, count);
    return 0;
}

size_t blx_message_put_join(const struct blx_message *message, uint8_t *body)
{
    const struct blx_join_message *join = &message->join;
    struct blx_join_disk disk = {.request_bytes = blx_le32_of(join->request.request_bytes)};
    memcpy(disk.secret, join->secret, sizeof(disk.secret));
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk) + put_bytes(body + sizeof(disk), join->request.bytes,
                                    join->request.request_bytes, BLX_REQUEST_MAX_BYTES);
}

int blx_message_get_join(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                         struct blx_error *err)
{
    struct blx_join_disk disk;
    memcpy(&disk, body, sizeof(disk));
    memcpy(message->join.secret, disk.secret, sizeof(disk.secret));
    return get_request(body + sizeof(disk), body_bytes - sizeof(disk),
                       blx_le32_get(disk.request_bytes), &message->join.request, err);
}

size_t blx_message_put_certificate(const struct blx_message *message, uint8_t *body)
{
    const struct blx_certificate_message *certificate = &message->certificate;
    struct blx_certificate_disk disk = {
        .cert_bytes = blx_le32_of(certificate->cert_bytes),
        .ca_bytes = blx_le32_of(certificate->ca_bytes),
    };
    memcpy(body, &disk, sizeof(disk));
    size_t bytes = sizeof(disk);
    bytes += put_bytes(body + bytes, certificate->cert, certificate->cert_bytes,
                       BLX_CERTIFICATE_MAX_BYTES);
    bytes +=
        put_bytes(body + bytes, certificate->ca, certificate->ca_bytes, BLX_CERTIFICATE_MAX_BYTES);
    return bytes;
}

int blx_message_get_certificate(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                                struct blx_error *err)
{
    struct blx_certificate_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_certificate_message *certificate = &message->certificate;
    certificate->cert_bytes = blx_le32_get(disk.cert_bytes);
    certificate->ca_bytes = blx_le32_get(disk.ca_bytes);
    if (certificate->cert_bytes == 0 || certificate->cert_bytes > BLX_CERTIFICATE_MAX_BYTES ||
        certificate->ca_bytes == 0 || certificate->ca_bytes > BLX_CERTIFICATE_MAX_BYTES)
        return bad(err, "a certificate's size is out of range");
    if (body_bytes != sizeof(disk) + certificate->cert_bytes + certificate->ca_bytes)
        return bad(err, "its size does not fit the certificates'");
    memcpy(certificate->cert, body + sizeof(disk), certificate->cert_bytes);
    memcpy(certificate->ca, body + sizeof(disk) + certificate->cert_bytes, certificate->ca_bytes);
    return 0;
}

size_t blx_message_put_renew(const struct blx_message *message, uint8_t *body)
{
    const struct blx_request_message *request = &message->renew;
    struct blx_renew_disk disk = {.request_bytes = blx_le32_of(request->request_bytes)};
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk) + put_bytes(body + sizeof(disk), request->bytes, request->request_bytes,
                                    BLX_REQUEST_MAX_BYTES);
}

int blx_message_get_renew(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                          struct blx_error *err)
{
    struct blx_renew_disk disk;
    memcpy(&disk, body, sizeof(disk));
    int rc = blx_field_check_reserved(disk.reserved, err);
    return rc < 0 ? rc
                  : get_request(body + sizeof(disk), body_bytes - sizeof(disk),
                                blx_le32_get(disk.request_bytes), &message->renew, err);
}

size_t blx_message_put_renew_failed(const struct blx_message *message, uint8_t *body)
{
    struct blx_error_disk disk;
    blx_text_put(disk.text, sizeof(disk.text), message->renew_failed.text);
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_renew_failed(const uint8_t *body, size_t body_bytes,
                                 struct blx_message *message, struct blx_error *err)
{
    (void)body_bytes;
    struct blx_error_disk disk;
    memcpy(&disk, body, sizeof(disk));
    return blx_field_get_text(disk.text, message->renew_failed.text, "the reason", err);
}

size_t blx_message_put_authority(const struct blx_message *message, uint8_t *body)
{
    const struct blx_authority_message *authority = &message->authority;
    struct blx_authority_disk disk = {
        .ca_bytes = blx_le32_of(authority->ca_bytes),
        .proof_bytes = blx_le32_of(authority->proof_bytes),
    };
    memcpy(body, &disk, sizeof(disk));
    size_t bytes = sizeof(disk);
    bytes += put_bytes(body + bytes, authority->ca, authority->ca_bytes, BLX_CERTIFICATE_MAX_BYTES);
    bytes += put_bytes(body + bytes, authority->proof, authority->proof_bytes,
                       BLX_CERTIFICATE_MAX_BYTES);
    return bytes;
}

int blx_message_get_authority(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                              struct blx_error *err)
{
    struct blx_authority_disk disk;
    memcpy(&disk, body, sizeof(disk));
    struct blx_authority_message *authority = &message->authority;
    authority->ca_bytes = blx_le32_get(disk.ca_bytes);
    authority->proof_bytes = blx_le32_get(disk.proof_bytes);
    if (authority->ca_bytes == 0 || authority->ca_bytes > BLX_CERTIFICATE_MAX_BYTES ||
        authority->proof_bytes > BLX_CERTIFICATE_MAX_BYTES)
        return bad(err, "a certificate's size is out of range");
    if (body_bytes != sizeof(disk) + authority->ca_bytes + authority->proof_bytes)
        return bad(err, "its size does not fit the certificates'");
    memcpy(authority->ca, body + sizeof(disk), authority->ca_bytes);
    memcpy(authority->proof, body + sizeof(disk) + authority->ca_bytes, authority->proof_bytes);
    return 0;
}

size_t blx_message_put_renewed(const struct blx_message *message, uint8_t *body)
{
    struct blx_renewed_disk disk;
    memcpy(disk.ca_fingerprint, message->renewed.ca_fingerprint, sizeof(disk.ca_fingerprint));
    memcpy(body, &disk, sizeof(disk));
    return sizeof(disk);
}

int blx_message_get_renewed(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                            struct blx_error *err)
{
    (void)body_bytes;
    (void)err;
    struct blx_renewed_disk disk;
    memcpy(&disk, body, sizeof(disk));
    memcpy(message->renewed.ca_fingerprint, disk.ca_fingerprint, sizeof(disk.ca_fingerprint));
    return 0;
}
