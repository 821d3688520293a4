/* SPDX-License-Identifier: Apache-2.0 */
#include "crypt/key.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/secret_file.h"

static const char first_line[] = "blxrep encryption key 1";
static const char paper_line[] = "blxrep encryption key 2";
static const char id_info[] = "blxrep key id 1";
static const char id_label[] = "id: ", key_label[] = "key: ", part_label[] = "key ";

enum {
    PARTS = 4, /* of a key on paper, a line each */
    PART_BYTES = BLX_KEY_BYTES / PARTS,
    GROUP_DIGITS = 4,
    PART_TEXT_BYTES = 2 * PART_BYTES + 2 * sizeof(uint16_t) + 1,
};

int blx_key_expand(const uint8_t secret[BLX_KEY_BYTES], const void *info, size_t info_bytes,
                   void *out, size_t out_bytes, struct blx_error *err)
{
    /* The parameters' type has no const; nothing is written through it. */
    union {
        const void *constant;
        void *plain;
    } salted = {.constant = info}, keyed = {.constant = secret};
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, keyed.plain, BLX_KEY_BYTES),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, salted.plain, info_bytes),
        OSSL_PARAM_construct_end(),
    };
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = kdf == NULL ? NULL : EVP_KDF_CTX_new(kdf);
    bool done = context != NULL && EVP_KDF_derive(context, out, out_bytes, params) == 1;
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return done ? 0 : blx_error_set(err, -EIO, "the cryptographic library cannot derive a key");
}

static int derive_id(struct blx_key *key, struct blx_error *err)
{
    return blx_key_expand(key->secret, id_info, sizeof(id_info) - 1, key->id.bytes,
                          sizeof(key->id.bytes), err);
}

int blx_key_set(struct blx_key *key, const uint8_t secret[BLX_KEY_BYTES], struct blx_error *err)
{
    memcpy(key->secret, secret, sizeof(key->secret));
    return derive_id(key, err);
}

int blx_key_create(struct blx_key *key, struct blx_error *err)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key made = {0};
    if (RAND_priv_bytes(made.secret, sizeof(made.secret)) != 1)
        return blx_error_set(err, -EIO, "cannot make a key: no random numbers");
    int rc = derive_id(&made, err);
    if (rc == 0)
        *key = made;
    return rc;
}

void blx_key_wipe(struct blx_key *key)
{
    if (key != NULL)
        OPENSSL_cleanse(key, sizeof(*key));
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

static bool read_digits(const char *text, size_t length, uint8_t *bytes, size_t count)
{
    if (length != 2 * count)
        return false;
    for (size_t i = 0; i < count; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static void write_digits(const uint8_t *bytes, size_t count, char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * count] = '\0';
}

/* The part of a key file that has been read so far. */
struct reading {
    struct blx_key key; /* the id is the one that the file claims */
    bool has_first, has_id, has_key;
    bool on_paper;
    unsigned part_count; /* on paper: how many parts of the key are read */
    char fault[96];
};

static bool begins_with(const char *line, size_t length, const char *label)
{
    return length > strlen(label) && memcmp(line, label, strlen(label)) == 0;
}

/* CRC-16/CCITT of the part's number and its bytes: a mistyped digit, two swapped ones and two
 * swapped lines are all found. */
static uint16_t part_sum(unsigned number, const uint8_t bytes[PART_BYTES])
{
    uint16_t sum = 0xffff;
    for (size_t i = 0; i <= PART_BYTES; i++) {
        sum ^= (uint16_t)((i == 0 ? number : bytes[i - 1]) << 8);
        for (unsigned bit = 0; bit < 8; bit++)
            sum = (uint16_t)((sum & 0x8000) != 0 ? sum << 1 ^ 0x1021 : sum << 1);
    }
    return sum;
}

/* "key 2: 0123 4567 89ab cdef 1b2c"; blanks count nowhere after the colon. */
static const char *read_part(struct reading *reading, const char *line, size_t length)
{
    const size_t skip = sizeof(part_label) - 1 + 2; /* the number and the colon */
    const unsigned number = reading->part_count + 1;
    uint8_t bytes[PART_BYTES + sizeof(uint16_t)] = {0};
    char digits[PART_TEXT_BYTES] = "";
    size_t count = 0;
    bool fits = length > skip && line[skip - 2] == (char)('0' + number) && line[skip - 1] == ':';
    for (size_t i = skip; fits && i < length; i++) {
        if (line[i] != ' ' && count < sizeof(digits))
            digits[count++] = line[i];
    }
    if (!fits)
        snprintf(reading->fault, sizeof(reading->fault), "its line \"key %u: \" is missing",
                 number);
    else if (!read_digits(digits, count, bytes, sizeof(bytes)))
        snprintf(reading->fault, sizeof(reading->fault),
                 "its line \"key %u: \" does not have five groups of four hexadecimal digits",
                 number);
    else if (part_sum(number, bytes) != (bytes[PART_BYTES] << 8 | bytes[PART_BYTES + 1]))
        snprintf(reading->fault, sizeof(reading->fault),
                 "its line \"key %u: \" has a wrong digit: compare it with the paper", number);
    else
        memcpy(reading->key.secret + reading->part_count++ * PART_BYTES, bytes, PART_BYTES);
    OPENSSL_cleanse(bytes, sizeof(bytes));
    OPENSSL_cleanse(digits, sizeof(digits));
    reading->has_key = reading->part_count == PARTS;
    return reading->fault[0] != '\0' ? reading->fault : NULL;
}

/* Why the line cannot stand in a key file; NULL if it can. */
static const char *read_line(struct reading *reading, const char *line, size_t length)
{
    const size_t id_skip = sizeof(id_label) - 1, key_skip = sizeof(key_label) - 1;
    if (!reading->has_first) {
        reading->has_first =
            length == sizeof(first_line) - 1 && memcmp(line, first_line, length) == 0;
        reading->on_paper =
            length == sizeof(paper_line) - 1 && memcmp(line, paper_line, length) == 0;
        reading->has_first = reading->has_first || reading->on_paper;
        return reading->has_first ? NULL
                                  : "its first line is not \"blxrep encryption key 1\" (`blxrep "
                                    "keygen` makes one)";
    }
    if (length == 0 || line[0] == '#')
        return NULL;
    if (begins_with(line, length, id_label) && !reading->has_id) {
        reading->has_id = read_digits(line + id_skip, length - id_skip, reading->key.id.bytes,
                                      sizeof(reading->key.id.bytes));
        return reading->has_id ? NULL : "its id is not 16 hexadecimal digits";
    }
    if (reading->on_paper && begins_with(line, length, part_label) && !reading->has_key)
        return read_part(reading, line, length);
    if (!reading->on_paper && begins_with(line, length, key_label) && !reading->has_key) {
        reading->has_key = read_digits(line + key_skip, length - key_skip, reading->key.secret,
                                       sizeof(reading->key.secret));
        return reading->has_key ? NULL : "its key is not 64 hexadecimal digits";
    }
    return "it has a line that is not known or stands twice";
}

static const char *read_lines(struct reading *reading, const char *text, size_t bytes)
{
    const char *fault = NULL;
    for (size_t at = 0; fault == NULL && at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        size_t length = end != NULL ? (size_t)(end - text) - at : bytes - at;
        size_t next = at + length + (end != NULL);
        if (length > 0 && text[at + length - 1] == '\r') /* mail programs add it */
            length--;
        fault = read_line(reading, text + at, length);
        at = next;
    }
    if (fault != NULL)
        return fault;
    return reading->has_id && reading->has_key ? NULL : "its id or its key is missing";
}

static void reading_wipe(struct reading *reading)
{
    OPENSSL_cleanse(reading, sizeof(*reading));
}

int blx_key_parse(const char *text, size_t bytes, struct blx_key *key, struct blx_error *err)
{
    BLX_CLEANUP(reading_wipe) struct reading reading = {0};
    const char *fault =
        bytes > BLX_KEY_FILE_MAX_BYTES ? "it is too long" : read_lines(&reading, text, bytes);
    if (fault != NULL)
        return blx_error_set(err, -EINVAL, "it is not an encryption key: %s", fault);
    const struct blx_key_id told = reading.key.id;
    int rc = derive_id(&reading.key, err);
    if (rc < 0)
        return rc;
    if (!blx_key_id_equal(&told, &reading.key.id))
        return blx_error_set(err, -EINVAL,
                             "it was changed: its key and its id do not fit together");
    *key = reading.key;
    return 0;
}

int blx_key_read(const char *path, struct blx_key *key, struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, BLX_KEY_FILE_MAX_BYTES, &content, &bytes, err);
    if (rc < 0)
        return rc;
    struct blx_error cause = {0};
    rc = blx_key_parse(content, bytes, key, &cause);
    OPENSSL_cleanse(content, bytes);
    free(content);
    return rc < 0 ? blx_error_set(err, rc, "cannot use the key '%s': %s", path, cause.message) : 0;
}

int blx_key_write(const char *path, const struct blx_key *key, struct blx_error *err)
{
    char id[BLX_KEY_ID_TEXT_BYTES], secret[2 * BLX_KEY_BYTES + 1], text[512];
    blx_key_id_format(&key->id, id);
    write_digits(key->secret, sizeof(key->secret), secret);
    int length = snprintf(text, sizeof(text),
                          "%s\n"
                          "# Whoever has this file can read the checkpoints made with it.\n"
                          "# Without it nobody can, ever: keep copies of it in safe places.\n"
                          "%s%s\n%s%s\n",
                          first_line, id_label, id, key_label, secret);
    int rc = blx_secret_file_write(path, text, (size_t)length, "give another --output=FILE", err);
    OPENSSL_cleanse(secret, sizeof(secret));
    OPENSSL_cleanse(text, sizeof(text));
    return rc;
}

void blx_key_format_for_paper(const struct blx_key *key, char text[BLX_KEY_PAPER_BYTES])
{
    char id[BLX_KEY_ID_TEXT_BYTES], digits[PART_TEXT_BYTES];
    blx_key_id_format(&key->id, id);
    size_t used =
        (size_t)snprintf(text, BLX_KEY_PAPER_BYTES,
                         "%s\n"
                         "# To use it, type these lines into a file of mode 0600. The last "
                         "group of a line is its check sum:\n"
                         "# `blxrep keygen --check=FILE` names a line that is mistyped.\n"
                         "%s%s\n",
                         paper_line, id_label, id);
    for (unsigned part = 0; part < PARTS; part++) {
        const uint8_t *bytes = key->secret + part * PART_BYTES;
        const uint16_t sum = part_sum(part + 1, bytes);
        const uint8_t sum_bytes[] = {(uint8_t)(sum >> 8), (uint8_t)sum};
        write_digits(bytes, PART_BYTES, digits);
        write_digits(sum_bytes, sizeof(sum_bytes), digits + 2 * PART_BYTES);
        used += (size_t)snprintf(text + used, BLX_KEY_PAPER_BYTES - used, "%s%u:", part_label,
                                 part + 1);
        for (size_t i = 0; digits[i] != '\0'; i += GROUP_DIGITS)
            used += (size_t)snprintf(text + used, BLX_KEY_PAPER_BYTES - used, " %.*s", GROUP_DIGITS,
                                     digits + i);
        used += (size_t)snprintf(text + used, BLX_KEY_PAPER_BYTES - used, "\n");
    }
    OPENSSL_cleanse(digits, sizeof(digits));
}

bool blx_key_id_is_none(const struct blx_key_id *id)
{
    static const struct blx_key_id none;
    return blx_key_id_equal(id, &none);
}

bool blx_key_id_equal(const struct blx_key_id *a, const struct blx_key_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

void blx_key_id_format(const struct blx_key_id *id, char text[BLX_KEY_ID_TEXT_BYTES])
{
    write_digits(id->bytes, sizeof(id->bytes), text);
}
