/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/said.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"

/* "nbdkit: blxrep.1: error: the frame ..." without what is of no use to a person. */
static void end_line(struct boot_said *said)
{
    static const char mark[] = "error: ", program[] = "qemu-system-x86_64: ";
    said->line[said->used] = '\0';
    blx_text_clean(said->line);
    const char *text = said->line, *after = strstr(text, mark);
    if (after != NULL)
        text = after + sizeof(mark) - 1;
    else if (strncmp(text, program, sizeof(program) - 1) == 0)
        text += sizeof(program) - 1;
    if (said->used > 0 && said->cause[0] == '\0' && strstr(text, "warning:") == NULL)
        blx_text_set(said->cause, text);
    said->used = 0;
}

bool boot_said_read(struct boot_said *said, int fd)
{
    char text[1024];
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (poll(&poller, 1, 0) > 0) {
        ssize_t got = read(fd, text, sizeof(text));
        if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) {
            end_line(said);
            return false;
        }
        for (ssize_t i = 0; i < got; i++) {
            if (text[i] == '\n')
                end_line(said);
            else if (said->used + 1 < sizeof(said->line))
                said->line[said->used++] = text[i];
        }
    }
    return true;
}
