/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scattered reads of a device, many at once. One request reads a run: extents that lie near each
 * other, and the gaps between them. A thread hands all runs of a batch to the kernel and sleeps
 * once for all instead of once for each, because sleeping and waking cost more than the rest.
 *
 * It uses Linux's native asynchronous I/O (io_submit), which needs no library and is in every
 * kernel. If that is refused (a seccomp filter, fs.aio-max-nr) the runs are read one after the
 * other, and the log says so once.
 *
 * Threads: each has a reader of its own, made by agent_reader_prepare() or at first use, and freed
 * with the thread. Batches are read in helper processes (patience.h), which have one each.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { AGENT_RUN_MAX_EXTENTS = 32, AGENT_READER_MAX_RUNS = 64 };

struct agent_run {
    struct iovec vectors[2 * AGENT_RUN_MAX_EXTENTS];
    int vector_count;
    uint64_t offset; /* of the first byte that is still to be read */
    uint64_t end;
    int error; /* -errno, of a read */
};

/* What is read. */
struct agent_source {
    int fd;
    uint64_t size_bytes;
    uint32_t logical_block_bytes;
};

struct agent_reader {
    unsigned long context; /* the kernel's; 0: none */
    struct agent_run runs[AGENT_READER_MAX_RUNS];
};

/* The calling thread's; NULL if memory is short. */
struct agent_reader *agent_reader_prepare(void);

/* The run reads the next `bytes` of the device, too, to memory at `to`. */
void agent_run_add(struct agent_run *run, void *to, uint64_t bytes);

/* Reads the reader's first `count` runs. Bytes after the device's last whole sector read as zero.
 * 0, or the first error: the memory of the runs may be half filled then. */
int agent_reader_read(struct agent_reader *reader, const struct agent_source *source, size_t count);
