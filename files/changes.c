/* SPDX-License-Identifier: Apache-2.0 */
#include "files/changes.h"

#include <errno.h>
#include <inttypes.h>

#include "base/text.h"
#include "base/units.h"

void files_changes_begin(struct files_changes_print *print, FILE *out, enum files_listing_form form)
{
    *print = (struct files_changes_print){.out = out, .form = form, .json.out = out};
    if (form == FILES_LISTING_JSON)
        blx_json_open(&print->json, NULL, '[');
}

/* The JSON of a disk is open until the next one begins. */
static void close_disk(struct files_changes_print *print)
{
    if (print->disks == 0 || print->form != FILES_LISTING_JSON)
        return;
    blx_json_close(&print->json, ']');
    blx_json_close(&print->json, '}');
}

static void add_disk_json(struct blx_json *json, const struct files_changes *changes)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "device", changes->device);
    blx_json_string(json, "filesystem", changes->filesystem);
    blx_json_number(json, "size", changes->size_bytes);
    blx_json_number(json, "written_bytes", changes->written_bytes);
    blx_json_bool(json, "tells_files", changes->tells_files != 0);
    blx_json_number(json, "files_bytes", changes->files_bytes);
    blx_json_number(json, "file_count", changes->file_count);
    blx_json_open(json, "files", '[');
}

static void add_disk(struct files_changes_print *print, struct files_changes *changes)
{
    char written[BLX_UNIT_TEXT_BYTES], size[BLX_UNIT_TEXT_BYTES], files[BLX_UNIT_TEXT_BYTES],
        others[BLX_UNIT_TEXT_BYTES];
    blx_text_clean(changes->device);
    blx_text_clean(changes->filesystem);
    close_disk(print);
    bool first = print->disks++ == 0;
    if (print->form == FILES_LISTING_JSON) {
        add_disk_json(&print->json, changes);
        return;
    }
    fprintf(print->out, "%s%s  %s of %s written%s%s%s\n", first ? "" : "\n", changes->device,
            blx_size_format(changes->written_bytes, written),
            blx_size_format(changes->size_bytes, size), changes->filesystem[0] != '\0' ? " (" : "",
            changes->filesystem, changes->filesystem[0] != '\0' ? ")" : "");
    if (changes->written_bytes == 0)
        return;
    if (changes->tells_files == 0) {
        fprintf(print->out, "  its files are not told: that is done for ext2, ext3 and ext4\n");
        return;
    }
    uint64_t rest = changes->written_bytes - changes->files_bytes;
    fprintf(print->out,
            "  %s in %" PRIu64 " files and folders, %s elsewhere: free by now, journal, tables\n",
            blx_size_format(changes->files_bytes, files), changes->file_count,
            blx_size_format(rest, others));
    if (changes->file_count > FILES_MOST_FILES)
        fprintf(print->out, "  the %d with most:\n", FILES_MOST_FILES);
}

static void add_file(struct files_changes_print *print, const struct files_changed *changed)
{
    char path[FILES_PATH_BYTES], bytes[BLX_UNIT_TEXT_BYTES], size[BLX_UNIT_TEXT_BYTES];
    blx_text_set(path, changed->path);
    blx_text_clean(path);
    if (print->form == FILES_LISTING_JSON) {
        blx_json_open(&print->json, NULL, '{');
        blx_json_string(&print->json, "path", path);
        blx_json_number(&print->json, "written_bytes", changed->written_bytes);
        blx_json_number(&print->json, "size", changed->size_bytes);
        blx_json_close(&print->json, '}');
        return;
    }
    fprintf(print->out, "  %10s of %10s  %s\n", blx_size_format(changed->written_bytes, bytes),
            blx_size_format(changed->size_bytes, size), path);
}

void files_changes_add(struct files_changes_print *print, const struct files_record *record)
{
    if (record->kind == FILES_RECORD_CHANGES) {
        struct files_changes changes = record->changes;
        add_disk(print, &changes);
    } else {
        add_file(print, &record->changed);
    }
}

int files_changes_end(struct files_changes_print *print)
{
    close_disk(print);
    if (print->form == FILES_LISTING_JSON)
        blx_json_close(&print->json, ']');
    return fflush(print->out) != 0 || ferror(print->out) ? -EIO : 0;
}
