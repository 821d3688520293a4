/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_volume.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitmap.h"

/* Not assert(): a release build would leave the calls out. */
static void must(bool done)
{
    if (!done)
        abort();
}

void fake_volume_make(struct fake_volume *fake, uint64_t short_bytes)
{
    memset(fake, 0, sizeof(*fake));
    strcpy(fake->folder, "/tmp/blxrep-unit-XXXXXX");
    must(mkdtemp(fake->folder) != NULL);
    char path[96];
    snprintf(path, sizeof(path), "%s/device", fake->folder);
    struct agent_volume *volume = &fake->volume;
    strcpy(volume->device.node, path);
    fake->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    must(fake->fd >= 0);
    volume->device.size_bytes = (uint64_t)FAKE_BLOCKS * FAKE_BLOCK_BYTES - short_bytes;
    must(ftruncate(fake->fd, (off_t)volume->device.size_bytes) == 0);
    volume->device.logical_block_bytes = 512;
    strcpy(volume->device.kernel_name, "fake");
    volume->dirty = fake->dirty;
    volume->blocks = FAKE_BLOCKS;
    volume->block_shift = 12;
    struct blx_generation generation = {{1, 2, 3}};
    must(agent_bad_blocks_init(&volume->bad, FAKE_BLOCKS, NULL) == 0);
    must(agent_ledger_open(fake->folder, "fake", &generation, FAKE_BLOCKS, AGENT_LEDGER_FRESH,
                           &volume->ledger, NULL) == 0);
}

void fake_volume_remove(struct fake_volume *fake)
{
    char path[96];
    agent_bad_blocks_done(&fake->volume.bad);
    agent_ledger_close(&fake->volume.ledger);
    close(fake->fd);
    snprintf(path, sizeof(path), "%s/device", fake->folder);
    unlink(path);
    snprintf(path, sizeof(path), "%s/fake.ledger", fake->folder);
    unlink(path);
    rmdir(fake->folder);
}

void fake_volume_write(struct fake_volume *fake, uint64_t block, uint8_t byte)
{
    uint8_t data[FAKE_BLOCK_BYTES];
    uint64_t offset = block * FAKE_BLOCK_BYTES;
    uint64_t left = fake->volume.device.size_bytes - offset;
    size_t bytes = left < sizeof(data) ? (size_t)left : sizeof(data);
    memset(data, byte, sizeof(data));
    must(pwrite(fake->fd, data, bytes, (off_t)offset) == (ssize_t)bytes);
    blx_bitmap_set(fake->dirty, (struct blx_extent){block, 1});
}
