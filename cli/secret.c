/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/secret.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

/* Reads up to the end of the line or of the file. A pipe may give the line in pieces. */
static int read_line(int fd, char *text, size_t bytes, struct blx_error *err)
{
    size_t have = 0;
    while (have < bytes) {
        ssize_t n = read(fd, text + have, 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return blx_error_errno(err, -errno, "cannot read it");
        if (n == 0 || text[have] == '\n')
            break;
        have++;
    }
    if (have == bytes)
        return blx_error_set(err, -EINVAL, "its first line is too long for a secret");
    text[have] = '\0';
    return 0;
}

static int strip(char *text, struct blx_error *err)
{
    size_t length = strlen(text), begin = strspn(text, " \t\r");
    while (length > begin && isspace((unsigned char)text[length - 1]))
        length--;
    memmove(text, text + begin, length - begin);
    text[length - begin] = '\0';
    return length > begin ? 0 : blx_error_set(err, -EINVAL, "its first line is empty");
}

/* The interrupt key ends the line instead of the process, so that echo always comes back. */
static int read_unseen(const char *prompt, char *text, size_t bytes, struct blx_error *err)
{
    struct termios before, unseen;
    if (tcgetattr(STDIN_FILENO, &before) != 0)
        return blx_error_errno(err, -errno, "cannot ask on the terminal");
    unseen = before;
    unseen.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
    unseen.c_cc[VEOL] = before.c_cc[VINTR];
    fputs(prompt, stderr);
    fflush(stderr);
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &unseen) != 0)
        return blx_error_errno(err, -errno, "cannot hide what is typed");
    int rc = 0;
    size_t have = 0;
    ssize_t n = 0;
    while (have + 1 < bytes && (n = read(STDIN_FILENO, text + have, 1)) == 1) {
        if (text[have] == '\n' || text[have] == (char)before.c_cc[VINTR])
            break;
        have++;
    }
    if (n == 1 && text[have] == (char)before.c_cc[VINTR])
        rc = blx_error_set(err, -ECANCELED, "interrupted");
    else if (have + 1 == bytes)
        rc = blx_error_set(err, -EINVAL, "the line is too long for a secret");
    text[have] = '\0';
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    fputc('\n', stderr);
    return rc;
}

int cli_secret_read(const char *path, const char *prompt, char *text, size_t bytes,
                    struct blx_error *err)
{
    BLX_CLEANUP_FD int opened = -1;
    bool is_input = path == NULL || strcmp(path, "-") == 0;
    int rc;
    if (!is_input) {
        opened = blx_open(path, O_RDONLY, 0, err);
        if (opened < 0)
            return opened;
    }
    if (is_input && isatty(STDIN_FILENO) == 1)
        rc = read_unseen(prompt, text, bytes, err);
    else
        rc = read_line(is_input ? STDIN_FILENO : opened, text, bytes, err);
    if (rc == 0)
        rc = strip(text, err);
    if (rc < 0) {
        OPENSSL_cleanse(text, bytes);
        blx_error_prefix(err, "%s", is_input ? "the standard input" : path);
    }
    return rc;
}

void cli_secret_wipe(int argc, char **argv, const char *name)
{
    size_t length = strlen(name);
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, length) != 0)
            continue;
        char *value = NULL;
        if (argv[i][length] == '=')
            value = argv[i] + length + 1;
        else if (argv[i][length] == '\0' && i + 1 < argc)
            value = argv[i + 1];
        if (value != NULL)
            memset(value, '*', strlen(value));
    }
}
