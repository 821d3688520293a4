/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent disks`: the disks and partitions of this machine, for whoever must choose one. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/holds.h"
#include "cli/table.h"

#define SYS_BLOCK "/sys/block"

enum { VALUE_BYTES = 128, SECTOR_BYTES = 512 };

/* The file's first line without blanks around it; "" if it cannot be read. */
static void read_value(const char *folder, const char *name, char value[VALUE_BYTES])
{
    char path[PATH_MAX];
    value[0] = '\0';
    if (blx_path_format(path, sizeof(path), NULL, "%s/%s", folder, name) < 0)
        return;
    ssize_t got = blx_file_read_small(AT_FDCWD, path, value, VALUE_BYTES - 1);
    value[got > 0 ? got : 0] = '\0';
    value[strcspn(value, "\n")] = '\0';
    size_t blanks = strspn(value, " ");
    memmove(value, value + blanks, strlen(value + blanks) + 1);
    for (size_t end = strlen(value); end > 0 && value[end - 1] == ' '; end--)
        value[end - 1] = '\0';
    blx_text_clean(value);
}

static uint64_t read_size(const char *folder)
{
    char sectors[VALUE_BYTES];
    read_value(folder, "size", sectors);
    return strtoull(sectors, NULL, 10) * SECTOR_BYTES;
}

/* Who made it and what it is called, as far as the driver knows: "QEMU HARDDISK". */
static void read_model(const char *folder, char model[2 * VALUE_BYTES])
{
    char vendor[VALUE_BYTES], name[VALUE_BYTES];
    read_value(folder, "device/vendor", vendor);
    read_value(folder, "device/model", name);
    /* A virtio disk has a number as its vendor and no name; ATA's is that of the bus. */
    bool is_vendor = strncmp(vendor, "0x", 2) != 0 && strcmp(vendor, "ATA") != 0;
    snprintf(model, 2 * VALUE_BYTES, "%s%s%s", is_vendor ? vendor : "",
             is_vendor && vendor[0] != '\0' && name[0] != '\0' ? " " : "", name);
}

/* What is on it; a disk in use says so. */
static void read_content(const char *name, char text[CLI_HOLDS_BYTES + 16])
{
    char path[PATH_MAX], holds[CLI_HOLDS_BYTES] = "";
    text[0] = '\0';
    if (blx_path_format(path, sizeof(path), NULL, "/dev/%s", name) < 0)
        return;
    BLX_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_EXCL);
    bool in_use = fd < 0 && errno == EBUSY;
    if (in_use)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        snprintf(text, CLI_HOLDS_BYTES, "cannot be read: %s", strerror(errno));
        return;
    }
    cli_holds_describe(fd, holds);
    snprintf(text, CLI_HOLDS_BYTES + 16, "%s%s%s", holds, in_use && holds[0] != '\0' ? ", " : "",
             in_use ? "in use" : "");
}

static int add_row(struct cli_table *table, const char *folder, const char *name,
                   const char *indent)
{
    char size[BLX_UNIT_TEXT_BYTES], model[2 * VALUE_BYTES], serial[VALUE_BYTES];
    char content[CLI_HOLDS_BYTES + 16], shown[NAME_MAX + 3];
    read_model(folder, model);
    read_value(folder, "serial", serial); /* virtio; others have it below device/ */
    if (serial[0] == '\0')
        read_value(folder, "device/serial", serial);
    read_content(name, content);
    snprintf(shown, sizeof(shown), "%s%s", indent, name);
    return cli_table_add(
        table, (const char *const[]){shown, blx_size_format(read_size(folder), size), model, serial,
                                     content[0] != '\0' ? content : "nothing that is known"});
}

/* Loops, memory disks and drives of CDs cannot be restored to. */
static int is_disk(const struct dirent *entry)
{
    static const char *const others[] = {"loop", "ram", "zram", "sr", "fd", "nbd"};
    char folder[PATH_MAX];
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        size_t length = strlen(others[i]);
        if (strncmp(entry->d_name, others[i], length) == 0 &&
            entry->d_name[length + strspn(entry->d_name + length, "0123456789")] == '\0')
            return 0;
    }
    return entry->d_name[0] != '.' &&
           blx_path_format(folder, sizeof(folder), NULL, SYS_BLOCK "/%s", entry->d_name) == 0 &&
           read_size(folder) > 0;
}

static bool is_partition(const char *folder)
{
    char path[PATH_MAX];
    return blx_path_format(path, sizeof(path), NULL, "%s/partition", folder) == 0 &&
           access(path, F_OK) == 0;
}

static void free_names(struct dirent **names, int count)
{
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
}

static int add_disk(struct cli_table *table, const char *name)
{
    char folder[PATH_MAX], part[PATH_MAX + NAME_MAX + 2];
    struct dirent **names = NULL;
    int rc = blx_path_format(folder, sizeof(folder), NULL, SYS_BLOCK "/%s", name);
    if (rc == 0)
        rc = add_row(table, folder, name, "");
    int count = rc == 0 ? scandir(folder, &names, NULL, versionsort) : 0;
    for (int i = 0; rc == 0 && i < count; i++) {
        snprintf(part, sizeof(part), "%s/%s", folder, names[i]->d_name);
        if (is_partition(part))
            rc = add_row(table, part, names[i]->d_name, "  ");
    }
    free_names(names, count);
    return rc;
}

enum blx_exit cli_disks(const struct cli_request *request, struct blx_error *err)
{
    (void)request;
    struct cli_table table = {.column_count = 5};
    struct dirent **names = NULL;
    int count = scandir(SYS_BLOCK, &names, is_disk, versionsort);
    if (count < 0) {
        blx_error_errno(err, -errno, "cannot read '" SYS_BLOCK "': is /sys mounted?");
        return BLX_EXIT_FAILED;
    }
    int rc =
        cli_table_add(&table, (const char *const[]){"DISK", "SIZE", "MODEL", "SERIAL", "HOLDS"});
    for (int i = 0; rc == 0 && i < count; i++)
        rc = add_disk(&table, names[i]->d_name);
    free_names(names, count);
    if (rc == 0 && count > 0) {
        cli_table_fit(&table, stdout);
        cli_table_print(&table);
    } else if (rc == 0)
        cli_note("this machine has no disk that its kernel knows: a driver may be missing");
    else
        blx_error_errno(err, rc, "cannot list the disks");
    cli_table_done(&table);
    return rc == 0 ? BLX_EXIT_OK : BLX_EXIT_FAILED;
}
