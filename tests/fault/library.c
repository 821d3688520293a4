/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of lib/wire and lib/crypt to other libraries that need memory there: it runs short with
 * the rest. */
#include <openssl/evp.h>
#include <stddef.h>
#include <xxhash.h>
#include <zstd.h>

#include "memory.h"

FAULT_WRAP(ZSTD_CCtx *, ZSTD_createCCtx, (void), ())
FAULT_WRAP(ZSTD_DCtx *, ZSTD_createDCtx, (void), ())
FAULT_WRAP(EVP_MD *, EVP_MD_fetch,
           (OSSL_LIB_CTX * library, const char *algorithm, const char *properties),
           (library, algorithm, properties))
FAULT_WRAP(EVP_MD_CTX *, EVP_MD_CTX_new, (void), ())
FAULT_WRAP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_new, (void), ())
FAULT_WRAP(XXH3_state_t *, XXH3_createState, (void), ())
