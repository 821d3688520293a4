/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a journal of ext4: its table is in order, and no larger than the journal. */
#include <stdlib.h>
#include <string.h>

#include "files/ext_journal_private.h"
#include "fuzz.h"

enum { BLOCK_BYTES = 1024 };

struct journal {
    const uint8_t *data;
    uint64_t block_count, reads;
};

static int read_block(void *arg, void *buffer, uint64_t journal_block)
{
    struct journal *journal = arg;
    FUZZ_ASSERT(journal_block < journal->block_count);
    journal->reads++;
    memcpy(buffer, journal->data + journal_block * BLOCK_BYTES, BLOCK_BYTES);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = fuzz_copy(data, size);
    struct journal journal = {.data = copy, .block_count = size / BLOCK_BYTES};
    const struct ext_journal_source source = {.read = read_block,
                                              .arg = &journal,
                                              .block_bytes = BLOCK_BYTES,
                                              .block_count = journal.block_count};
    struct ext_journal_table table = {0};
    struct blx_error err = {0};
    int rc = ext_journal_read(&source, &table, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    FUZZ_ASSERT(rc == 0 || table.count == 0);
    FUZZ_ASSERT(journal.reads <= 2 * journal.block_count + 1);
    for (size_t i = 0; i < table.count; i++) {
        const struct ext_journal_block *block = &table.blocks[i];
        FUZZ_ASSERT(block->journal_block < journal.block_count);
        FUZZ_ASSERT(i == 0 || block[-1].block < block->block);
        FUZZ_ASSERT(ext_journal_find(&table, block->block) == block);
    }
    ext_journal_table_done(&table);
    free(copy);
    return 0;
}
