/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A restore from a dispatcher that says anything: the input is its messages, in one connection.
 * Frames are repaired, so that their checksums do not end every run.
 *
 * Whatever it says: the restore ends, leaves no descriptor open, and an image has its name only if
 * the plan and every frame made sense. The journal that stays can be read, or is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz.h"
#include "repair.h"
#include "store/restore/pull.h"

enum {
    MAX_SCRIPT_BYTES = 64 * 1024, /* goes into the socket whole */
    MAX_VOLUME_BYTES = 64 << 20,  /* a sparse file; larger ones tell nothing more */
};

struct script {
    const uint8_t *bytes;
    size_t size;
    bool said;
    int peer_fd; /* stays open: what the target sends goes nowhere */
};

/* The first connection says it all; there is no other. */
static int dial(void *arg, struct blx_conn **conn, struct blx_error *err)
{
    struct script *script = arg;
    int fds[2];
    if (script->said)
        return blx_error_set(err, -EACCES, "it has said all");
    script->said = true;
    FUZZ_ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    FUZZ_ASSERT(send(fds[1], script->bytes, script->size, MSG_NOSIGNAL) == (ssize_t)script->size);
    FUZZ_ASSERT(shutdown(fds[1], SHUT_WR) == 0);
    script->peer_fd = fds[1];
    return blx_conn_new(fds[0], NULL, 1000, conn, err);
}

static void repair_frames(uint8_t *script, size_t size)
{
    for (size_t at = 0; size - at >= BLX_MESSAGE_HEADER_BYTES;) {
        enum blx_message_type type;
        size_t body_bytes;
        if (blx_message_decode_header(script + at, &type, &body_bytes, NULL) < 0 ||
            body_bytes > size - at - BLX_MESSAGE_HEADER_BYTES)
            return;
        if (type == BLX_MESSAGE_FRAME)
            repair_frame(script + at + BLX_FRAME_MESSAGE_PREFIX_BYTES,
                         BLX_MESSAGE_HEADER_BYTES + body_bytes - BLX_FRAME_MESSAGE_PREFIX_BYTES);
        at += BLX_MESSAGE_HEADER_BYTES + body_bytes;
    }
}

/* A dispatcher that has a key for digests is asked for them. */
static unsigned flags_for(const uint8_t *script, size_t size)
{
    for (size_t at = 0; size - at >= BLX_MESSAGE_HEADER_BYTES;) {
        enum blx_message_type type;
        size_t body_bytes;
        if (blx_message_decode_header(script + at, &type, &body_bytes, NULL) < 0 ||
            body_bytes > size - at - BLX_MESSAGE_HEADER_BYTES)
            break;
        if (type == BLX_MESSAGE_DELTA_KEY)
            return BLX_RESTORE_DELTA;
        at += BLX_MESSAGE_HEADER_BYTES + body_bytes;
    }
    return 0;
}

static void restore(struct blx_pull *pull, const char *path, const char *journal, unsigned flags)
{
    struct blx_error err = {0};
    struct stat st;
    const struct blx_restore_volume *volume = blx_pull_get_volume(pull, 0);
    const struct blx_pull_target target = {.target = {.path = path, .flags = flags},
                                           .journal = journal};
    if (volume->size_bytes > MAX_VOLUME_BYTES)
        return;
    int rc = blx_pull_volume(pull, 0, &target, NULL, &err);
    bool named = stat(path, &st) == 0;
    FUZZ_ASSERT(named == (rc == 0));
    FUZZ_ASSERT(!named || (uint64_t)st.st_size == volume->size_bytes);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    blx_pull_can_resume(pull, 0, journal, path);
    if (rc == 0)
        blx_pull_finish(pull, 0, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char dir[PATH_MAX], path[PATH_MAX], journal[PATH_MAX];
    if (size > MAX_SCRIPT_BYTES)
        return 0;
    fuzz_path(dir, "out");
    fuzz_path(path, "out/image");
    fuzz_path(journal, "out/journal");
    FUZZ_ASSERT(mkdir(dir, 0700) == 0);
    int next_fd = fuzz_next_fd();
    uint8_t *copy = fuzz_copy(data, size);
    repair_frames(copy, size);
    struct script script = {.bytes = copy, .size = size, .peer_fd = -1};
    const struct blx_pull_request request = {
        .dial = dial, .arg = &script, .patience_ms = 1, .pause_ms = 1};
    struct blx_pull *pull = NULL;
    struct blx_error err = {0};
    int rc = blx_pull_open(&request, &pull, &err);
    if (rc == 0)
        restore(pull, path, journal, flags_for(copy, size));
    else
        fuzz_assert_refusal(rc, &err);
    blx_pull_close(pull);
    if (script.peer_fd >= 0)
        close(script.peer_fd);
    free(copy);
    FUZZ_ASSERT(fuzz_next_fd() == next_fd);
    fuzz_remove(dir);
    return 0;
}
