/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent takeover`: the rescue system in place of the Linux that runs, by kexec, for a
 * machine into which nobody can put a CD. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/network.h"
#include "cli/secret.h"

#define MEBIBYTE (UINT64_C(1) << 20)
/* A machine of 1 GiB, of which its firmware and its kernel keep some. */
#define LEAST_MEMORY (896 * MEBIBYTE)

enum {
    COMMAND_LINE_BYTES = 2048, /* x86's COMMAND_LINE_SIZE, with the NUL */
    TOKEN_LINE_BYTES = 512,
};

/* The kernel's command line. Words with blanks or quotes cannot be told apart there. */
struct words {
    char text[COMMAND_LINE_BYTES];
    size_t length;
};

__attribute__((format(printf, 3, 4))) static int add(struct words *words, struct blx_error *err,
                                                     const char *format, ...)
{
    size_t left = sizeof(words->text) - words->length;
    va_list args;
    va_start(args, format);
    int length = vsnprintf(words->text + words->length, left, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= left)
        return blx_error_set(err, -E2BIG,
                             "the rescue system's command line would have more than %d bytes",
                             COMMAND_LINE_BYTES - 1);
    words->length += (size_t)length;
    return 0;
}

static int add_value(struct words *words, const char *name, const char *value,
                     struct blx_error *err)
{
    if (value == NULL)
        return 0;
    if (value[strcspn(value, " \t\n\"'\\")] != '\0')
        return blx_error_set(
            err, -EINVAL, "the %s has a blank or a quote, and cannot be passed to a kernel", name);
    return add(words, err, " blxrep.%s=%s", name, value);
}

static int add_token(struct words *words, const char *path, struct blx_error *err)
{
    char token[TOKEN_LINE_BYTES];
    if (path == NULL)
        return 0;
    int rc = cli_secret_read(path, "Token: ", token, sizeof(token), err);
    if (rc == 0)
        rc = add_value(words, "token", token, err);
    OPENSSL_cleanse(token, sizeof(token));
    return rc;
}

/* The consoles of this system are those that somebody may look at. */
static int add_consoles(struct words *words, struct blx_error *err)
{
    char line[4096];
    ssize_t got = blx_file_read_small(AT_FDCWD, "/proc/cmdline", line, sizeof(line) - 1);
    line[got > 0 ? got : 0] = '\0';
    int rc = 0;
    for (char *rest = line, *word; rc == 0 && (word = strsep(&rest, " \n")) != NULL;)
        if (strncmp(word, "console=", strlen("console=")) == 0)
            rc = add(words, err, " %s", word);
    return rc;
}

/* What `rescue-image` wrote for every boot of this image. */
static int add_image_words(struct words *words, const char *folder, struct blx_error *err)
{
    char path[PATH_MAX], line[COMMAND_LINE_BYTES];
    int rc = blx_path_format(path, sizeof(path), err, "%s/cmdline", folder);
    if (rc < 0)
        return rc;
    ssize_t got = blx_file_read_small(AT_FDCWD, path, line, sizeof(line) - 1);
    if (got < 0)
        return blx_error_errno(err, (int)got,
                               "cannot read '%s', which `blxrep dispatcher rescue-image "
                               "--pxe=DIR` writes beside kernel and initrd",
                               path);
    line[got] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return add(words, err, "%s", line);
}

static int make_words(const struct blx_config *config, const struct cli_network *network,
                      struct words *words, struct blx_error *err)
{
    char address[CLI_NETWORK_WORDS_BYTES];
    int rc = add_image_words(words, config->rescue_dir, err);
    if (rc == 0)
        rc = add_consoles(words, err);
    if (rc == 0)
        rc = add(words, err, " %s", cli_network_format(network, address));
    if (rc == 0)
        rc = add_value(words, "dispatcher", config->dispatcher_addr, err);
    if (rc == 0)
        rc = add_value(words, "output", config->output, err);
    if (rc == 0)
        rc = add_token(words, config->token_file, err);
    if (rc == 0 && config->yes && config->output != NULL && config->token_file != NULL)
        rc = add(words, err, " blxrep.unattended");
    return rc;
}

static int check_memory(struct blx_error *err)
{
    struct sysinfo info;
    char has[BLX_UNIT_TEXT_BYTES];
    if (sysinfo(&info) != 0)
        return blx_error_errno(err, -errno, "cannot ask for this machine's memory");
    uint64_t bytes = (uint64_t)info.totalram * info.mem_unit;
    if (bytes >= LEAST_MEMORY)
        return 0;
    return blx_error_set(err, -ENOMEM,
                         "this machine has %s of memory, and the rescue system needs 1 GiB",
                         blx_size_format(bytes, has));
}

static int open_part(const char *folder, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", folder, name);
    return rc < 0 ? rc : blx_open(path, O_RDONLY, 0, err);
}

static int refused(int rc, struct blx_error *err)
{
    if (rc == -EPERM)
        return blx_error_set(err, rc,
                             "the kernel refuses to load another one: only root may, and not if "
                             "kernel.kexec_load_disabled is 1 or the kernel is locked down (Secure "
                             "Boot); boot the ISO instead");
    if (rc == -ENOSYS || rc == -EOPNOTSUPP)
        return blx_error_set(err, rc,
                             "this kernel cannot start another one (it has no kexec_file_load): "
                             "boot the ISO instead");
    if (rc == -EKEYREJECTED || rc == -ENOPKG || rc == -ENODATA)
        return blx_error_set(err, rc,
                             "this kernel starts only kernels that are signed: make the image with "
                             "a signed one (--kernel-package), or boot the ISO instead");
    return blx_error_errno(err, rc, "cannot load the rescue system");
}

static int load(const char *folder, const struct words *words, struct blx_error *err)
{
    BLX_CLEANUP_FD int kernel = open_part(folder, "vmlinuz", err);
    if (kernel < 0)
        return kernel;
    BLX_CLEANUP_FD int initrd = open_part(folder, "initrd.img", err);
    if (initrd < 0)
        return initrd;
    if (syscall(SYS_kexec_file_load, kernel, initrd, words->length + 1, words->text, 0UL) != 0)
        return refused(-errno, err);
    return 0;
}

/* Whoever is to lose a running system says its name. */
static int confirm(const struct cli_network *network, struct blx_error *err)
{
    char line[sizeof(network->host) + 2];
    cli_note("every program of this machine, '%s', ends now, without a shutdown, and the rescue "
             "system starts",
             network->host);
    fputs("Type the machine's name to go on: ", stderr);
    if (fgets(line, sizeof(line), stdin) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, network->host) == 0 && line[0] != '\0')
        return 0;
    return blx_error_set(err, -ECANCELED, "'%.64s' is not '%s': nothing was done", line,
                         network->host);
}

/* Programs are not asked to end: their disks are about to be written anyway. What they have given
 * to the kernel goes to the disks all the same, for somebody who turns back in the rescue
 * system. */
static int start(struct blx_error *err)
{
    sync();
    reboot(RB_KEXEC);
    return blx_error_errno(err, -errno, "cannot start the rescue system, which is loaded");
}

static int take_over(const struct blx_config *config, struct words *words, struct blx_error *err)
{
    struct cli_network network;
    int rc = check_memory(err);
    if (rc == 0)
        rc = cli_network_look(&network, err);
    if (rc == 0 && config->token_file != NULL && strcmp(config->token_file, "-") == 0 &&
        !config->yes && !config->dry_run && isatty(STDIN_FILENO) != 1)
        rc = blx_error_set(err, -EINVAL,
                           "the standard input has the token, so it cannot answer the question: "
                           "add --yes, or give --token-file=FILE");
    if (rc == 0)
        rc = make_words(config, &network, words, err);
    if (rc < 0)
        return rc;
    if (config->dry_run) {
        puts(words->text);
        return 0;
    }
    rc = load(config->rescue_dir, words, err);
    if (rc == 0 && !config->yes)
        rc = confirm(&network, err);
    return rc == 0 ? start(err) : rc;
}

enum blx_exit cli_takeover(const struct cli_request *request, struct blx_error *err)
{
    struct words words = {0};
    int rc = take_over(request->config, &words, err);
    OPENSSL_cleanse(&words, sizeof(words)); /* it has the token */
    return rc == 0 ? BLX_EXIT_OK : BLX_EXIT_FAILED;
}
