/* SPDX-License-Identifier: Apache-2.0 */
#include "files/list.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "base/timestamp.h"

enum { TIME_BYTES = 32, KINDS = 7 };

static const struct {
    uint32_t mode;
    char letter;
    const char *name;
} kinds[KINDS] = {
    {S_IFREG, '-', "file"},         {S_IFDIR, 'd', "folder"},  {S_IFLNK, 'l', "link"},
    {S_IFIFO, 'p', "fifo"},         {S_IFSOCK, 's', "socket"}, {S_IFCHR, 'c', "character device"},
    {S_IFBLK, 'b', "block device"},
};

static size_t kind_of(uint32_t mode)
{
    size_t kind = 0;
    while (kind < KINDS - 1 && kinds[kind].mode != (mode & S_IFMT))
        kind++;
    return kind;
}

void files_listing_begin(struct files_listing *listing, FILE *out, enum files_listing_form form)
{
    *listing = (struct files_listing){.out = out, .form = form, .json.out = out};
    if (form == FILES_LISTING_JSON)
        blx_json_open(&listing->json, NULL, '[');
}

static void add_heading(struct files_listing *listing, const struct files_record *record)
{
    blx_text_set(listing->folder, record->text);
    blx_text_set(listing->device, record->device);
    blx_text_set(listing->filesystem, record->filesystem);
    if (listing->form == FILES_LISTING_JSON)
        return;
    char folder[FILES_PATH_BYTES];
    blx_text_set(folder, record->text);
    blx_text_clean(folder);
    blx_text_clean(listing->device);
    fprintf(listing->out, "%s%s%son %s (%s)\n", listing->headings++ > 0 ? "\n" : "", folder,
            folder[0] != '\0' ? " " : "", listing->device, listing->filesystem);
}

/* "drwxr-sr-t" */
static void format_mode(uint32_t mode, char text[11])
{
    static const char letters[] = "rwxrwxrwx";
    text[0] = kinds[kind_of(mode)].letter;
    for (unsigned i = 0; i < 9; i++)
        text[1 + i] = (mode & (0400U >> i)) != 0 ? letters[i] : '-';
    if ((mode & S_ISUID) != 0)
        text[3] = text[3] == 'x' ? 's' : 'S';
    if ((mode & S_ISGID) != 0)
        text[6] = text[6] == 'x' ? 's' : 'S';
    if ((mode & S_ISVTX) != 0)
        text[9] = text[9] == 'x' ? 't' : 'T';
    text[10] = '\0';
}

/* "2026-11-22 20:36" */
static void format_time(int64_t seconds, char text[TIME_BYTES])
{
    blx_timestamp stamp = blx_timestamp_from_unix(seconds);
    if (stamp == 0) {
        snprintf(text, TIME_BYTES, "%16" PRId64, seconds);
        return;
    }
    char full[BLX_RFC3339_TEXT_BYTES];
    blx_timestamp_format_rfc3339(stamp, full);
    snprintf(text, TIME_BYTES, "%.10s %.5s", full, full + 11);
}

static void print(struct files_listing *listing, const struct files_entry *entry)
{
    char mode[11], when[TIME_BYTES], size[32], name[FILES_PATH_BYTES], target[FILES_PATH_BYTES];
    const struct files_stat *stat = &entry->stat;
    format_mode(stat->mode, mode);
    format_time(stat->mtime_s, when);
    blx_text_set(name, entry->path);
    blx_text_set(target, entry->target);
    blx_text_clean(name);
    blx_text_clean(target);
    if (S_ISCHR(stat->mode) || S_ISBLK(stat->mode))
        snprintf(size, sizeof(size), "%u, %u", stat->major, stat->minor);
    else
        snprintf(size, sizeof(size), "%" PRIu64, stat->size_bytes);
    fprintf(listing->out, "%s %2u %5u %5u %10s %s %s%s%s%s\n", mode, stat->links, stat->uid,
            stat->gid, size, when, listing->folder[0] != '\0' ? "" : "/", name,
            target[0] != '\0' ? " -> " : "", target);
}

/* Names are bytes: what is no text is shown as "?", as on a terminal. */
static void print_json(struct files_listing *listing, const struct files_entry *entry)
{
    struct blx_json *json = &listing->json;
    const struct files_stat *stat = &entry->stat;
    char path[2 * FILES_PATH_BYTES], target[FILES_PATH_BYTES], mode[16], when[TIME_BYTES + 16];
    const char *folder = strcmp(listing->folder, "/") == 0 ? "" : listing->folder;
    snprintf(path, sizeof(path), "%s/%s", folder, entry->path);
    blx_text_set(target, entry->target);
    blx_text_clean(path);
    blx_text_clean(target);
    snprintf(mode, sizeof(mode), "%04o", stat->mode & 07777);
    blx_timestamp_format_rfc3339(blx_timestamp_from_unix(stat->mtime_s), when);
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "path", path);
    blx_json_string(json, "type", kinds[kind_of(stat->mode)].name);
    blx_json_string(json, "mode", mode);
    blx_json_number(json, "uid", stat->uid);
    blx_json_number(json, "gid", stat->gid);
    blx_json_number(json, "size", stat->size_bytes);
    if (blx_timestamp_from_unix(stat->mtime_s) != 0)
        blx_json_string(json, "mtime", when);
    else
        blx_json_null(json, "mtime");
    if (target[0] != '\0')
        blx_json_string(json, "target", target);
    blx_json_string(json, "device", listing->device);
    blx_json_string(json, "filesystem", listing->filesystem);
    blx_json_close(json, '}');
}

void files_listing_add(struct files_listing *listing, const struct files_record *record)
{
    if (record->kind == FILES_RECORD_HEADING)
        add_heading(listing, record);
    else if (listing->form == FILES_LISTING_JSON)
        print_json(listing, &record->entry);
    else
        print(listing, &record->entry);
}

int files_listing_end(struct files_listing *listing)
{
    if (listing->form == FILES_LISTING_JSON)
        blx_json_close(&listing->json, ']');
    return fflush(listing->out) != 0 || ferror(listing->out) ? -EIO : 0;
}
