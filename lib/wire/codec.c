/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/codec_private.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

/* The fastest level of each: the load on the agent's server counts more than the last percent of
 * size. */
enum { ZSTD_LEVEL = 1, ZLIB_LEVEL = 1 };

struct contexts {
    ZSTD_CCtx *pack;
    ZSTD_DCtx *unpack;
};

static pthread_key_t contexts_key;
static pthread_once_t contexts_once = PTHREAD_ONCE_INIT;
static int contexts_rc;

static void contexts_free(void *p)
{
    struct contexts *contexts = p;
    ZSTD_freeCCtx(contexts->pack);
    ZSTD_freeDCtx(contexts->unpack);
    free(contexts);
}

static void contexts_make_key(void)
{
    contexts_rc = -pthread_key_create(&contexts_key, contexts_free);
}

/* The calling thread's contexts; NULL if memory is short. */
static struct contexts *contexts_get(void)
{
    pthread_once(&contexts_once, contexts_make_key);
    if (contexts_rc != 0)
        return NULL;
    struct contexts *contexts = pthread_getspecific(contexts_key);
    if (contexts != NULL)
        return contexts;
    contexts = calloc(1, sizeof(*contexts));
    if (contexts != NULL && pthread_setspecific(contexts_key, contexts) != 0) {
        free(contexts);
        return NULL;
    }
    return contexts;
}

static int zstd_pack(int level, const void *data, size_t bytes, void *packed, size_t *packed_bytes)
{
    struct contexts *contexts = contexts_get();
    if (contexts != NULL && contexts->pack == NULL)
        contexts->pack = ZSTD_createCCtx();
    if (contexts == NULL || contexts->pack == NULL)
        return -ENOMEM;
    size_t used = ZSTD_compressCCtx(contexts->pack, packed, bytes - 1, data, bytes,
                                    level == 0 ? ZSTD_LEVEL : level);
    if (ZSTD_isError(used))
        return ZSTD_getErrorCode(used) == ZSTD_error_memory_allocation ? -ENOMEM : -ENOSPC;
    *packed_bytes = used;
    return 0;
}

static int zlib_pack(const void *data, size_t bytes, void *packed, size_t *packed_bytes)
{
    uLongf used = bytes - 1;
    int rc = compress2(packed, &used, data, bytes, ZLIB_LEVEL);
    if (rc != Z_OK)
        return rc == Z_MEM_ERROR ? -ENOMEM : -ENOSPC;
    *packed_bytes = used;
    return 0;
}

int blx_codec_pack(enum blx_codec codec, int level, const void *data, size_t bytes, void *packed,
                   size_t *packed_bytes)
{
    if (bytes == 0 || codec == BLX_CODEC_NONE)
        return -ENOSPC;
    return codec == BLX_CODEC_ZSTD ? zstd_pack(level, data, bytes, packed, packed_bytes)
                                   : zlib_pack(data, bytes, packed, packed_bytes);
}

static int zstd_unpack(const void *packed, size_t packed_bytes, void *data, size_t bytes)
{
    struct contexts *contexts = contexts_get();
    if (contexts != NULL && contexts->unpack == NULL)
        contexts->unpack = ZSTD_createDCtx();
    if (contexts == NULL || contexts->unpack == NULL)
        return -ENOMEM;
    size_t got = ZSTD_decompressDCtx(contexts->unpack, data, bytes, packed, packed_bytes);
    if (ZSTD_isError(got) && ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation)
        return -ENOMEM;
    return ZSTD_isError(got) || got != bytes ? -EBADMSG : 0;
}

static int zlib_unpack(const void *packed, size_t packed_bytes, void *data, size_t bytes)
{
    uLongf got = bytes;
    uLong used = packed_bytes;
    int rc = uncompress2(data, &got, packed, &used);
    if (rc == Z_MEM_ERROR)
        return -ENOMEM;
    return rc != Z_OK || got != bytes || used != packed_bytes ? -EBADMSG : 0;
}

int blx_codec_unpack(enum blx_codec codec, const void *packed, size_t packed_bytes, void *data,
                     size_t bytes)
{
    if (codec == BLX_CODEC_ZSTD)
        return zstd_unpack(packed, packed_bytes, data, bytes);
    if (codec == BLX_CODEC_ZLIB)
        return zlib_unpack(packed, packed_bytes, data, bytes);
    if (packed_bytes != bytes)
        return -EBADMSG;
    if (bytes > 0)
        memcpy(data, packed, bytes);
    return 0;
}

static const char *const names[] = {
    [BLX_CODEC_NONE] = "none",
    [BLX_CODEC_ZLIB] = "zlib",
    [BLX_CODEC_ZSTD] = "zstd",
};

const char *blx_codec_name(enum blx_codec codec)
{
    return codec <= BLX_CODEC_ZSTD ? names[codec] : "unknown";
}

int blx_codec_parse(const char *text, enum blx_codec *codec, struct blx_error *err)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(text, names[i]) == 0) {
            *codec = (enum blx_codec)i;
            return 0;
        }
    }
    return blx_error_set(err, -EINVAL, "the codec '%s' is unknown: use zstd, zlib or none", text);
}
