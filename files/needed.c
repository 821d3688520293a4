/* SPDX-License-Identifier: Apache-2.0 */
#include "files/needed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/program.h"

static int start(const char *program, pid_t *pid, int *out, struct blx_error *err)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return blx_error_errno(err, -errno, "cannot start ldd");
    const char *const words[] = {"ldd", program, NULL};
    const int fds[] = {-1, pipes[1], -1};
    const struct blx_program ldd = {
        .words = words, .fds = fds, .fd_count = 3, .package = "libc-bin"};
    int rc = blx_program_start(&ldd, pid, err);
    close(pipes[1]);
    if (rc < 0)
        close(pipes[0]);
    else
        *out = pipes[0];
    return rc;
}

/* "libz.so.1 => /lib/libz.so.1 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)". NULL: the line
 * has no path. */
static char *find_path(char *line)
{
    char *path = strchr(line, '/');
    if (path != NULL)
        path[strcspn(path, " \n")] = '\0';
    return path;
}

int files_needed_libraries(const char *program, files_visit_library *visit, void *arg,
                           struct blx_error *err)
{
    char line[4096];
    pid_t pid;
    int fd;
    int rc = start(program, &pid, &fd, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FILE FILE *file = fdopen(fd, "r");
    if (file == NULL) {
        close(fd);
        rc = -ENOMEM;
    }
    while (rc == 0 && fgets(line, sizeof(line), file) != NULL) {
        const char *path = find_path(line);
        if (path != NULL)
            rc = visit(arg, path);
    }
    blx_program_kill(pid);
    return rc < 0 ? blx_error_errno(err, rc, "cannot find the libraries of '%s'", program) : 0;
}
