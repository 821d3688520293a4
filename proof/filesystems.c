/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/filesystems.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/le.h"
#include "base/program.h"
#include "base/text.h"

enum {
    EXT_SUPER = 1024,
    EXT_COMPATIBLE = EXT_SUPER + 0x5c,
    EXT_INCOMPATIBLE = EXT_SUPER + 0x60,
    EXT_MAGIC = EXT_SUPER + 0x38,
    EXT_HAS_JOURNAL = 4,
    EXT_RECOVER = 4,
    EXT_EXTENTS = 0x40,
    BTRFS_SUPER = 64 * 1024,
    BTRFS_DEVICES = BTRFS_SUPER + 0x88,
};

struct proof_cage proof_bench_cage(const struct proof_bench *bench, uint32_t disk,
                                   const char *const *words, const char *package)
{
    return (struct proof_cage){.words = words,
                               .package = package,
                               .blocks = bench->blocks,
                               .disk = disk,
                               .size_bytes = bench->disks[disk].size_bytes,
                               .wake_fd = bench->wake_fd,
                               .deadline_ns = bench->deadline_ns};
}

/* What others begin with. */
static const struct {
    const char *name;
    size_t offset, bytes;
    const char *mark;
} others[] = {
    {"LUKS", 0, 6, "LUKS\xba\xbe"},
    {"LVM", 512, 8, "LABELONE"},
    {"swap", 4086, 10, "SWAPSPACE2"},
    {"vfat", 82, 5, "FAT32"},
    {"vfat", 54, 4, "FAT1"},
    {"ntfs", 3, 4, "NTFS"},
    {"md", 4096, 4, "\xfc\x4e\x2b\xa9"},
    {"exfat", 3, 5, "EXFAT"},
};

static bool has(const uint8_t *head, size_t bytes, size_t offset, const char *mark, size_t length)
{
    return offset + length <= bytes && memcmp(head + offset, mark, length) == 0;
}

static uint32_t number_at(const uint8_t *head, size_t offset)
{
    blx_le32 number;
    memcpy(&number, head + offset, sizeof(number));
    return blx_le32_get(number);
}

static void tell_ext(const uint8_t *head, struct proof_filesystem *found)
{
    bool has_journal = (number_at(head, EXT_COMPATIBLE) & EXT_HAS_JOURNAL) != 0;
    uint32_t incompatible = number_at(head, EXT_INCOMPATIBLE);
    found->kind = PROOF_KIND_EXT;
    found->needs_recovery = (incompatible & EXT_RECOVER) != 0;
    blx_text_set(found->name, (incompatible & EXT_EXTENTS) != 0 ? "ext4"
                              : has_journal                     ? "ext3"
                                                                : "ext2");
}

static void tell_other(const uint8_t *head, size_t bytes, struct proof_filesystem *found)
{
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]) && found->name[0] == '\0'; i++)
        if (has(head, bytes, others[i].offset, others[i].mark, others[i].bytes)) {
            found->kind = PROOF_KIND_OTHER;
            blx_text_set(found->name, others[i].name);
        }
}

void proof_filesystem_tell(const uint8_t *head, size_t bytes, struct proof_filesystem *found)
{
    *found = (struct proof_filesystem){.kind = PROOF_KIND_NONE};
    if (has(head, bytes, BTRFS_SUPER + 64, "_BHRfS_M", 8) && BTRFS_DEVICES + 4 <= bytes) {
        bool alone = number_at(head, BTRFS_DEVICES) <= 1;
        found->kind = alone ? PROOF_KIND_BTRFS : PROOF_KIND_OTHER;
        blx_text_set(found->name, alone ? "btrfs" : "btrfs of several disks");
    } else if (has(head, bytes, 0, "XFSB", 4)) {
        found->kind = PROOF_KIND_XFS;
        blx_text_set(found->name, "xfs");
    } else if (has(head, bytes, EXT_MAGIC, "\x53\xef", 2)) {
        tell_ext(head, found);
    } else {
        tell_other(head, bytes, found);
    }
}

int proof_filesystem_find(const struct proof_bench *bench, uint32_t disk,
                          struct proof_filesystem *found, struct blx_error *err)
{
    BLX_CLEANUP_FREE uint8_t *head = malloc(PROOF_HEAD_BYTES);
    uint64_t bytes = bench->disks[disk].size_bytes;
    if (head == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot look at '%s'", bench->disks[disk].device);
    if (bytes > PROOF_HEAD_BYTES)
        bytes = PROOF_HEAD_BYTES;
    int rc = bench->blocks->kind->read(bench->blocks, disk, head, (size_t)bytes, 0, err);
    if (rc == 0)
        proof_filesystem_tell(head, (size_t)bytes, found);
    return rc;
}

/* The first line that is no heading, since what follows is often a consequence; or the last one. */
static void find_complaint(const char *said, char *complaint, size_t bytes)
{
    /* It does not see what is mounted, either. */
    static const char *const headings[] = {"ext2fs_check_if_mount",
                                           "e2fsck ",
                                           "Pass ",
                                           "Phase ",
                                           "        -",
                                           "Opening ",
                                           "Checking ",
                                           "Warning! ",
                                           "[",
                                           "UUID: ",
                                           "Setting up",
                                           "ALERT: ",
                                           "used as",
                                           "incons"};
    char line[256];
    complaint[0] = '\0';
    for (const char *at = said; *at != '\0';) {
        size_t length = strcspn(at, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)length, at);
        at += length + (at[length] != '\0');
        bool heading = line[strspn(line, " \t\r")] == '\0';
        for (size_t i = 0; i < sizeof(headings) / sizeof(headings[0]); i++)
            heading = heading || strncmp(line, headings[i], strlen(headings[i])) == 0;
        if (!heading) {
            blx_text_copy(complaint, bytes, line);
            break;
        }
    }
    if (complaint[0] == '\0')
        blx_text_copy(complaint, bytes, "it says nothing");
    blx_text_clean(complaint);
}

struct checker {
    const char *package;
    const char *words[8];
};

static const struct checker replayer = {
    "e2fsprogs", {"e2fsck", "-y", "-E", "journal_only", PROOF_CAGE_DISK, NULL}};
static const struct checker checkers[PROOF_KINDS] = {
    [PROOF_KIND_EXT] = {"e2fsprogs", {"e2fsck", "-f", "-n", PROOF_CAGE_DISK, NULL}},
    [PROOF_KIND_XFS] = {"xfsprogs", {"xfs_repair", "-n", "-f", PROOF_CAGE_DISK, NULL}},
    /* --force: it would look for it among the mounts, which it does not see. */
    [PROOF_KIND_BTRFS] = {"btrfs-progs",
                          {"btrfs", "check", "--readonly", "--force", PROOF_CAGE_DISK, NULL}},
};

static void note(char *text, size_t bytes, const char *separator, const char *device,
                 const char *name)
{
    size_t used = strlen(text);
    if (used < bytes)
        snprintf(text + used, bytes - used, "%s%s (%s)", used > 0 ? separator : "", device, name);
}

static void judge(const struct proof_bench *bench, uint32_t disk, const char *program,
                  const struct proof_cage_end *end, struct proof_findings *findings)
{
    char complaint[201];
    findings->damaged++;
    if (findings->reason[0] != '\0')
        return;
    if (end->trouble.code != 0) {
        snprintf(findings->reason, sizeof(findings->reason), "%.80s: %.300s",
                 bench->disks[disk].device, end->trouble.message);
        return;
    }
    find_complaint(end->said, complaint, sizeof(complaint));
    if (end->status > BLX_PROGRAM_SIGNALLED)
        snprintf(findings->reason, sizeof(findings->reason),
                 "%.80s: signal %d ended %s, so the filesystem may be hostile: %.200s",
                 bench->disks[disk].device, end->status - BLX_PROGRAM_SIGNALLED, program,
                 complaint);
    else
        snprintf(findings->reason, sizeof(findings->reason), "%.80s: %s finds: %.200s",
                 bench->disks[disk].device, program, complaint);
}

/* e2fsck that replayed a journal ends with 1, which is fine. */
static int replay(const struct proof_bench *bench, uint32_t disk, struct proof_cage_end *end,
                  struct blx_error *err)
{
    struct proof_cage cage = proof_bench_cage(bench, disk, replayer.words, replayer.package);
    cage.access = PROOF_CAGE_WRITES;
    return proof_cage_run(&cage, end, err);
}

static int check_one(const struct proof_bench *bench, uint32_t disk,
                     const struct proof_filesystem *filesystem, struct proof_cage_end *end,
                     struct proof_findings *findings, struct blx_error *err)
{
    const struct checker *checker = &checkers[filesystem->kind];
    struct proof_cage cage = proof_bench_cage(bench, disk, checker->words, checker->package);
    int rc = filesystem->needs_recovery ? replay(bench, disk, end, err) : 0;
    if (rc == 0)
        rc = proof_cage_run(&cage, end, err);
    if (rc < 0)
        return rc;
    if (end->status != 0 || end->trouble.code != 0)
        judge(bench, disk, checker->words[0], end, findings);
    else
        findings->clean++;
    return 0;
}

static void sum_up(struct proof_findings *findings, const char *clean, const char *unchecked)
{
    char count[48];
    if (findings->clean == 0)
        blx_text_set(count, "no filesystem is clean");
    else
        snprintf(count, sizeof(count), "%u filesystem%s clean: ", findings->clean,
                 findings->clean == 1 ? " is" : "s are");
    snprintf(findings->seen, sizeof(findings->seen), "%s%s%s%s%s", count, clean,
             unchecked[0] != '\0' ? "; not checked: " : "", unchecked,
             findings->damaged > 0 ? "; damage was found" : "");
}

int proof_filesystems_check(const struct proof_bench *bench, struct proof_findings *findings,
                            struct blx_error *err)
{
    char clean[160] = "", unchecked[160] = "";
    BLX_CLEANUP_FREE struct proof_cage_end *end = malloc(sizeof(*end));
    *findings = (struct proof_findings){0};
    int rc = end == NULL ? blx_error_errno(err, -ENOMEM, "cannot check filesystems") : 0;
    for (uint32_t disk = 0; rc == 0 && disk < bench->disk_count; disk++) {
        const char *device = bench->disks[disk].device;
        struct proof_filesystem filesystem;
        unsigned before = findings->clean;
        rc = proof_filesystem_find(bench, disk, &filesystem, err);
        if (rc < 0 || filesystem.kind == PROOF_KIND_NONE)
            continue;
        if (filesystem.kind == PROOF_KIND_OTHER) {
            findings->unchecked++;
            note(unchecked, sizeof(unchecked), ", ", device, filesystem.name);
            continue;
        }
        rc = check_one(bench, disk, &filesystem, end, findings, err);
        if (findings->clean > before)
            note(clean, sizeof(clean), ", ", device, filesystem.name);
    }
    sum_up(findings, clean, unchecked);
    return rc;
}
