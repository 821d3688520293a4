/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian fields of wire and disk structs. A struct of these types has the same bytes on
 * every machine. A field is read and written only through these functions.
 */
#pragma once

#include <endian.h>
#include <stdint.h>

typedef struct {
    uint16_t raw;
} __attribute__((packed)) blx_le16;
typedef struct {
    uint32_t raw;
} __attribute__((packed)) blx_le32;
typedef struct {
    uint64_t raw;
} __attribute__((packed)) blx_le64;

static inline uint16_t blx_le16_get(blx_le16 v)
{
    return le16toh(v.raw);
}
static inline uint32_t blx_le32_get(blx_le32 v)
{
    return le32toh(v.raw);
}
static inline uint64_t blx_le64_get(blx_le64 v)
{
    return le64toh(v.raw);
}
static inline blx_le16 blx_le16_of(uint16_t v)
{
    return (blx_le16){htole16(v)};
}
static inline blx_le32 blx_le32_of(uint32_t v)
{
    return (blx_le32){htole32(v)};
}
static inline blx_le64 blx_le64_of(uint64_t v)
{
    return (blx_le64){htole64(v)};
}
