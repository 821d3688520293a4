/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/send/reader_private.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"

static pthread_key_t reader_key;
static pthread_once_t reader_once = PTHREAD_ONCE_INIT;
static int reader_rc;

static void reader_free(void *p)
{
    struct agent_reader *reader = p;
    if (reader->context != 0)
        syscall(SYS_io_destroy, reader->context);
    free(reader);
}

static void make_key(void)
{
    reader_rc = -pthread_key_create(&reader_key, reader_free);
}

/* Once, and not for each thread. */
static void log_refused(int cause)
{
    static atomic_flag is_logged = ATOMIC_FLAG_INIT;
    if (!atomic_flag_test_and_set(&is_logged))
        blx_log_notice("the kernel refuses asynchronous reads (io_setup: %s): scattered blocks are "
                       "read one after the other; check the unit's SystemCallFilter= and the "
                       "sysctl fs.aio-max-nr",
                       strerror(cause));
}

struct agent_reader *agent_reader_prepare(void)
{
    pthread_once(&reader_once, make_key);
    if (reader_rc != 0)
        return NULL;
    struct agent_reader *reader = pthread_getspecific(reader_key);
    if (reader != NULL)
        return reader;
    reader = calloc(1, sizeof(*reader));
    if (reader == NULL)
        return NULL;
    if (pthread_setspecific(reader_key, reader) != 0) {
        free(reader);
        return NULL;
    }
    if (syscall(SYS_io_setup, AGENT_READER_MAX_RUNS, &reader->context) < 0) {
        log_refused(errno);
        reader->context = 0;
    }
    return reader;
}

void agent_run_add(struct agent_run *run, void *to, uint64_t bytes)
{
    run->vectors[run->vector_count++] = (struct iovec){to, bytes};
    run->end += bytes;
}

/* `bytes` more of the run were read. */
static void run_advance(struct agent_run *run, size_t bytes)
{
    run->offset += bytes;
    int first = 0;
    while (first < run->vector_count && bytes >= run->vectors[first].iov_len)
        bytes -= run->vectors[first++].iov_len;
    run->vector_count -= first;
    memmove(run->vectors, run->vectors + first,
            (size_t)run->vector_count * sizeof(run->vectors[0]));
    if (run->vector_count > 0) {
        run->vectors[0].iov_base = (uint8_t *)run->vectors[0].iov_base + bytes;
        run->vectors[0].iov_len -= bytes;
    }
}

/*
 * The device may end within its last block, and even within its last sector, which nobody can read
 * or write then. The bytes after its last whole sector read as zero.
 */
static void run_clip(struct agent_run *run, const struct agent_source *source)
{
    uint64_t limit = source->size_bytes - source->size_bytes % source->logical_block_bytes;
    uint64_t at = run->offset;
    int kept = 0;
    for (int i = 0; i < run->vector_count; i++) {
        struct iovec *vector = &run->vectors[i];
        uint64_t left = at < limit ? limit - at : 0;
        size_t whole = vector->iov_len < left ? vector->iov_len : (size_t)left;
        at += vector->iov_len;
        memset((uint8_t *)vector->iov_base + whole, 0, vector->iov_len - whole);
        vector->iov_len = whole;
        kept += whole > 0;
    }
    run->vector_count = kept;
}

/* Reads the rest of the run. */
static int run_read(const struct agent_source *source, struct agent_run *run)
{
    while (run->error == 0 && run->vector_count > 0) {
        ssize_t got = preadv(source->fd, run->vectors, run->vector_count, (off_t)run->offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -ENXIO; /* the device has become smaller */
        run_advance(run, (size_t)got);
    }
    return run->error;
}

/* Waits for all of `submitted` requests: until then the kernel writes to their memory. */
static void reap(struct agent_reader *reader, long submitted)
{
    struct io_event events[AGENT_READER_MAX_RUNS];
    while (submitted > 0) {
        long got = syscall(SYS_io_getevents, reader->context, submitted, submitted, events, NULL);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) { /* cannot happen; destroying the context waits for them, too */
            syscall(SYS_io_destroy, reader->context);
            reader->context = 0;
            return;
        }
        for (size_t i = 0; i < (size_t)got; i++) {
            struct agent_run *run = &reader->runs[events[i].data];
            if (events[i].res < 0)
                run->error = (int)events[i].res;
            else
                run_advance(run, (size_t)events[i].res);
        }
        submitted -= got;
    }
}

/* One request for each run. A read that comes back short is left to run_read(). */
static void read_together(struct agent_reader *reader, const struct agent_source *source,
                          size_t count)
{
    struct iocb requests[AGENT_READER_MAX_RUNS];
    struct iocb *list[AGENT_READER_MAX_RUNS];
    for (size_t i = 0; i < count; i++) {
        requests[i] = (struct iocb){
            .aio_data = i,
            .aio_lio_opcode = IOCB_CMD_PREADV,
            .aio_fildes = (uint32_t)source->fd,
            .aio_buf = (uintptr_t)reader->runs[i].vectors,
            .aio_nbytes = (unsigned)reader->runs[i].vector_count,
            .aio_offset = (int64_t)reader->runs[i].offset,
        };
        list[i] = &requests[i];
    }
    reap(reader, syscall(SYS_io_submit, reader->context, count, list));
}

int agent_reader_read(struct agent_reader *reader, const struct agent_source *source, size_t count)
{
    for (size_t i = 0; i < count; i++)
        run_clip(&reader->runs[i], source);
    if (count > 1 && reader->context != 0)
        read_together(reader, source, count);
    for (size_t i = 0; i < count; i++) {
        int rc = run_read(source, &reader->runs[i]);
        if (rc < 0)
            return rc;
    }
    return 0;
}
