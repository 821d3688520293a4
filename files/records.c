/* SPDX-License-Identifier: Apache-2.0 */
#include "files/records.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/assert.h"
#include "base/text.h"

/* Both ends are one program, so fields are as the machine has them. */
struct head {
    uint32_t kind, bytes;
};

struct entry_head {
    struct files_stat stat;
    uint32_t link;
    uint32_t path_bytes, target_bytes; /* with their NUL */
    uint32_t attribute_count, segment_count;
};

struct attribute_head {
    uint32_t name_bytes, value_bytes; /* the name's with its NUL */
};

int files_sender_init(struct files_sender *sender, int fd)
{
    *sender = (struct files_sender){.fd = fd, .buffer = malloc(FILES_RECORD_MAX_BYTES)};
    return sender->buffer == NULL ? -ENOMEM : 0;
}

void files_sender_done(struct files_sender *sender)
{
    free(sender->buffer);
    sender->buffer = NULL;
}

static int put(struct files_sender *sender, const void *data, size_t bytes)
{
    if (bytes > FILES_RECORD_MAX_BYTES - sender->used)
        return -E2BIG;
    if (bytes > 0)
        memcpy(sender->buffer + sender->used, data, bytes);
    sender->used += bytes;
    return 0;
}

static void begin(struct files_sender *sender)
{
    sender->used = sizeof(struct head);
}

static int finish(struct files_sender *sender, enum files_record_kind kind)
{
    struct head head = {.kind = kind, .bytes = (uint32_t)(sender->used - sizeof(head))};
    memcpy(sender->buffer, &head, sizeof(head));
    for (size_t done = 0; done < sender->used;) {
        ssize_t wrote = write(sender->fd, sender->buffer + done, sender->used - done);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

int files_send_text(struct files_sender *sender, enum files_record_kind kind, const char *text)
{
    size_t length = strnlen(text, FILES_PATH_BYTES - 1);
    begin(sender);
    int rc = put(sender, text, length);
    if (rc == 0)
        rc = put(sender, "", 1);
    return rc == 0 ? finish(sender, kind) : rc;
}

int files_send_heading(struct files_sender *sender, const char *path, const char *device,
                       const char *filesystem)
{
    begin(sender);
    int rc = put(sender, path, strlen(path) + 1);
    if (rc == 0)
        rc = put(sender, device, strlen(device) + 1);
    if (rc == 0)
        rc = put(sender, filesystem, strlen(filesystem) + 1);
    return rc == 0 ? finish(sender, FILES_RECORD_HEADING) : rc;
}

static int put_attributes(struct files_sender *sender, const struct files_entry *entry)
{
    int rc = entry->attribute_count > FILES_MAX_ATTRIBUTES ? -E2BIG : 0;
    for (size_t i = 0; rc == 0 && i < entry->attribute_count; i++) {
        const struct files_attribute *attribute = &entry->attributes[i];
        struct attribute_head head = {.name_bytes = (uint32_t)strlen(attribute->name) + 1,
                                      .value_bytes = (uint32_t)attribute->bytes};
        rc = put(sender, &head, sizeof(head));
        if (rc == 0)
            rc = put(sender, attribute->name, head.name_bytes);
        if (rc == 0)
            rc = put(sender, attribute->value, attribute->bytes);
    }
    return rc;
}

int files_send_entry(struct files_sender *sender, const struct files_entry *entry)
{
    struct entry_head head = {.stat = entry->stat,
                              .link = entry->link,
                              .path_bytes = (uint32_t)strlen(entry->path) + 1,
                              .target_bytes = (uint32_t)strlen(entry->target) + 1,
                              .attribute_count = (uint32_t)entry->attribute_count,
                              .segment_count = (uint32_t)entry->segment_count};
    begin(sender);
    int rc = put(sender, &head, sizeof(head));
    if (rc == 0)
        rc = put(sender, entry->path, head.path_bytes);
    if (rc == 0)
        rc = put(sender, entry->target, head.target_bytes);
    if (rc == 0)
        rc = put_attributes(sender, entry);
    if (rc == 0)
        rc = put(sender, entry->segments, entry->segment_count * sizeof(entry->segments[0]));
    return rc == 0 ? finish(sender, FILES_RECORD_ENTRY) : rc;
}

int files_send_data(struct files_sender *sender, uint64_t offset_bytes, const void *data,
                    size_t bytes)
{
    begin(sender);
    int rc = put(sender, &offset_bytes, sizeof(offset_bytes));
    if (rc == 0)
        rc = put(sender, data, bytes);
    return rc == 0 ? finish(sender, FILES_RECORD_DATA) : rc;
}

int files_send_changes(struct files_sender *sender, const struct files_changes *changes)
{
    begin(sender);
    int rc = put(sender, changes, sizeof(*changes));
    return rc == 0 ? finish(sender, FILES_RECORD_CHANGES) : rc;
}

int files_send_changed(struct files_sender *sender, const char *path, uint64_t written_bytes,
                       uint64_t size_bytes)
{
    const uint64_t numbers[] = {written_bytes, size_bytes};
    begin(sender);
    int rc = put(sender, numbers, sizeof(numbers));
    if (rc == 0)
        rc = put(sender, path, strlen(path) + 1);
    return rc == 0 ? finish(sender, FILES_RECORD_CHANGED) : rc;
}

int files_send_end(struct files_sender *sender)
{
    begin(sender);
    return finish(sender, FILES_RECORD_END);
}

/*
 * The receiver's states:
 *
 *     TOPS ──ENTRY──► ENTRIES ──► END
 *       ├──HEADING──► LISTING ──► END          NOTE and PROBLEM may come at any place
 *       └──CHANGES──► COMPARING ──► END
 */
enum state { STATE_TOPS, STATE_ENTRIES, STATE_LISTING, STATE_COMPARING, STATE_END };

struct files_receiver {
    int fd;
    enum state state;
    uint8_t *buffer; /* FILES_RECORD_MAX_BYTES */
    char **tops;
    size_t top_count, tops_begun;
    char folder[FILES_PATH_BYTES];      /* the last entry's, if it is a folder; "": none is open */
    void *linked;                       /* paths that a hard link may lead to */
    struct files_attribute *attributes; /* FILES_MAX_ATTRIBUTES */
    struct files_segment *segments;     /* FILES_MAX_SEGMENTS: of the last entry */
    size_t segment_count, segment;      /* the one that data is missing of */
    uint64_t segment_done_bytes;
    size_t changed_left;    /* that may come of this disk */
    uint64_t changed_bytes; /* the most that the next file of it may have */
};

static int compare_paths(const void *a, const void *b)
{
    return strcmp(a, b);
}

struct files_receiver *files_receiver_new(int fd)
{
    struct files_receiver *receiver = calloc(1, sizeof(*receiver));
    if (receiver == NULL)
        return NULL;
    receiver->fd = fd;
    receiver->buffer = malloc(FILES_RECORD_MAX_BYTES);
    receiver->attributes = calloc(FILES_MAX_ATTRIBUTES, sizeof(receiver->attributes[0]));
    receiver->segments = calloc(FILES_MAX_SEGMENTS, sizeof(receiver->segments[0]));
    if (receiver->buffer != NULL && receiver->attributes != NULL && receiver->segments != NULL)
        return receiver;
    files_receiver_free(receiver);
    return NULL;
}

void files_receiver_free(struct files_receiver *receiver)
{
    if (receiver == NULL)
        return;
    for (size_t i = 0; i < receiver->top_count; i++)
        free(receiver->tops[i]);
    free(receiver->tops);
    tdestroy(receiver->linked, free);
    free(receiver->segments);
    free(receiver->attributes);
    free(receiver->buffer);
    free(receiver);
}

/* -ENODATA if the stream ends, -EINTR. */
static int take(const struct files_receiver *receiver, void *buffer, size_t bytes)
{
    uint8_t *to = buffer;
    while (bytes > 0) {
        ssize_t got = read(receiver->fd, to, bytes);
        if (got <= 0)
            return got == 0 ? -ENODATA : -errno;
        to += got;
        bytes -= (size_t)got;
    }
    return 0;
}

static int broken(const char *rule, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG,
                         "the reader of the filesystem broke the rules (%s), so nothing more of it "
                         "is taken: the filesystem may be hostile",
                         rule);
}

/* What is left of a record. */
struct rest {
    const uint8_t *at;
    size_t bytes;
};

static const void *cut(struct rest *rest, size_t bytes)
{
    if (bytes > rest->bytes)
        return NULL;
    const uint8_t *part = rest->at;
    rest->at += bytes;
    rest->bytes -= bytes;
    return part;
}

/* A text that fills `bytes` bytes, the last one its NUL. NULL: it is none. */
static const char *cut_text(struct rest *rest, size_t bytes)
{
    const char *text = cut(rest, bytes);
    return text != NULL && bytes > 0 && strnlen(text, bytes) == bytes - 1 ? text : NULL;
}

/* The next text, however long it is. */
static const char *cut_next_text(struct rest *rest)
{
    const void *end = rest->bytes > 0 ? memchr(rest->at, '\0', rest->bytes) : NULL;
    return end == NULL ? NULL : cut_text(rest, (size_t)((const uint8_t *)end - rest->at) + 1);
}

static bool is_path(const char *path)
{
    if (path == NULL || strlen(path) >= FILES_PATH_BYTES)
        return false;
    for (const char *at = path;; at++) {
        size_t length = strcspn(at, "/");
        if (length == 0 || length > 255 || (length == 1 && at[0] == '.') ||
            (length == 2 && at[0] == '.' && at[1] == '.'))
            return false;
        at += length;
        if (*at == '\0')
            return true;
    }
}

/* Whether `path` lies in `folder`, or deeper. */
static bool lies_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static int take_top(struct files_receiver *receiver, const char *path, struct blx_error *err)
{
    if (receiver->state != STATE_TOPS || receiver->top_count == FILES_MAX_TOPS || !is_path(path))
        return broken("a name at the top", err);
    char *copy = strdup(path);
    if (copy == NULL || blx_array_make_room(receiver->tops, receiver->top_count) < 0) {
        free(copy);
        return blx_error_errno(err, -ENOMEM, "cannot list what is to be copied");
    }
    receiver->tops[receiver->top_count++] = copy;
    return 0;
}

/* The place that an entry may have, and the folder that is open after it. */
static int take_place(struct files_receiver *receiver, const struct files_entry *entry,
                      struct blx_error *err)
{
    const char *path = entry->path;
    char parent[FILES_PATH_BYTES];
    blx_text_set(parent, path);
    char *slash = strrchr(parent, '/');
    if (slash != NULL)
        *slash = '\0';
    bool inside = slash != NULL && receiver->folder[0] != '\0' &&
                  (strcmp(parent, receiver->folder) == 0 || lies_below(receiver->folder, parent)) &&
                  (lies_below(path, receiver->tops[receiver->tops_begun - 1]));
    if (!inside) {
        if (receiver->tops_begun == receiver->top_count ||
            strcmp(path, receiver->tops[receiver->tops_begun]) != 0)
            return broken("an entry outside of what was asked for", err);
        receiver->tops_begun++;
        parent[0] = '\0';
    }
    blx_text_set(receiver->folder, S_ISDIR(entry->stat.mode) ? path : parent);
    return 0;
}

bool files_mode_is_known(uint32_t mode)
{
    mode_t kind = mode & S_IFMT;
    return kind == S_IFREG || kind == S_IFDIR || kind == S_IFLNK || kind == S_IFIFO ||
           kind == S_IFSOCK || kind == S_IFCHR || kind == S_IFBLK;
}

static int check_stat(const struct files_entry *entry, struct blx_error *err)
{
    const struct files_stat *stat = &entry->stat;
    if (!files_mode_is_known(stat->mode) || (stat->mode & ~(uint32_t)(S_IFMT | 07777)) != 0 ||
        stat->size_bytes > FILES_MAX_SIZE_BYTES || stat->mtime_ns > 999999999 ||
        stat->atime_ns > 999999999)
        return broken("an entry's kind, mode, size or time", err);
    if ((entry->link == FILES_LINK_SYMBOLIC) !=
        (S_ISLNK(stat->mode) && entry->link != FILES_LINK_HARD))
        return broken("an entry's link", err);
    return 0;
}

/* Whatever has several names may be led to. */
static int take_link(struct files_receiver *receiver, const struct files_entry *entry,
                     struct blx_error *err)
{
    if (entry->link == FILES_LINK_SYMBOLIC && entry->target[0] == '\0')
        return broken("a symbolic link to nothing", err);
    if (entry->link == FILES_LINK_NONE && entry->target[0] != '\0')
        return broken("a target without a link", err);
    if (entry->link == FILES_LINK_HARD)
        return tfind(entry->target, &receiver->linked, compare_paths) == NULL
                   ? broken("a hard link to something else", err)
                   : 0;
    if (receiver->state == STATE_LISTING || entry->stat.links < 2 || S_ISDIR(entry->stat.mode))
        return 0;
    char *copy = strdup(entry->path);
    void *node = copy != NULL ? tsearch(copy, &receiver->linked, compare_paths) : NULL;
    if (node == NULL || *(char **)node != copy)
        free(copy);
    return node == NULL ? blx_error_errno(err, -ENOMEM, "cannot remember a hard link") : 0;
}

bool files_attribute_is_known(const char *name)
{
    static const char *const prefixes[] = {"user.", "trusted.", "security.",
                                           "system.posix_acl_access", "system.posix_acl_default"};
    if (strlen(name) > 255)
        return false;
    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
        size_t length = strlen(prefixes[i]);
        bool whole = prefixes[i][length - 1] != '.';
        if (whole ? strcmp(name, prefixes[i]) == 0
                  : strncmp(name, prefixes[i], length) == 0 && name[length] != '\0')
            return true;
    }
    return false;
}

static int parse_attributes(struct files_receiver *receiver, struct rest *rest, uint32_t count,
                            struct blx_error *err)
{
    size_t total = 0;
    if (count > FILES_MAX_ATTRIBUTES)
        return broken("too many attributes", err);
    for (uint32_t i = 0; i < count; i++) {
        struct attribute_head head;
        const void *from = cut(rest, sizeof(head));
        if (from == NULL)
            return broken("an attribute's length", err);
        memcpy(&head, from, sizeof(head));
        const char *name = cut_text(rest, head.name_bytes);
        const void *value = cut(rest, head.value_bytes);
        total += (size_t)head.name_bytes + head.value_bytes;
        if (name == NULL || !files_attribute_is_known(name) || value == NULL ||
            head.value_bytes > FILES_ATTRIBUTE_MAX_BYTES || total > FILES_ATTRIBUTES_MAX_BYTES)
            return broken("an attribute", err);
        receiver->attributes[i] =
            (struct files_attribute){.name = name, .value = value, .bytes = head.value_bytes};
    }
    return 0;
}

static int parse_segments(struct files_receiver *receiver, struct rest *rest,
                          const struct entry_head *head, struct blx_error *err)
{
    uint64_t end = 0;
    const void *from = head->segment_count <= FILES_MAX_SEGMENTS
                           ? cut(rest, head->segment_count * sizeof(receiver->segments[0]))
                           : NULL;
    bool may_have = S_ISREG(head->stat.mode) && head->link == FILES_LINK_NONE;
    if (from == NULL || (head->segment_count > 0 && !may_have))
        return broken("an entry's segments", err);
    if (head->segment_count > 0)
        memcpy(receiver->segments, from, head->segment_count * sizeof(receiver->segments[0]));
    for (uint32_t i = 0; i < head->segment_count; i++) {
        const struct files_segment *segment = &receiver->segments[i];
        if (segment->offset_bytes < end || segment->bytes == 0 ||
            segment->offset_bytes > head->stat.size_bytes ||
            segment->bytes > head->stat.size_bytes - segment->offset_bytes)
            return broken("an entry's segments", err);
        end = segment->offset_bytes + segment->bytes;
    }
    receiver->segment_count = head->segment_count;
    receiver->segment = 0;
    receiver->segment_done_bytes = 0;
    return 0;
}

static int parse_entry(struct files_receiver *receiver, struct rest *rest,
                       struct files_entry *entry, struct blx_error *err)
{
    struct entry_head head;
    const void *from = cut(rest, sizeof(head));
    if (from == NULL)
        return broken("an entry's length", err);
    memcpy(&head, from, sizeof(head));
    const char *path = cut_text(rest, head.path_bytes);
    const char *target = cut_text(rest, head.target_bytes);
    if (!is_path(path) || target == NULL || strlen(target) >= FILES_PATH_BYTES ||
        head.link > FILES_LINK_HARD)
        return broken("an entry's path", err);
    int rc = parse_attributes(receiver, rest, head.attribute_count, err);
    if (rc == 0)
        rc = parse_segments(receiver, rest, &head, err);
    if (rc == 0 && rest->bytes > 0)
        rc = broken("an entry's length", err);
    *entry = (struct files_entry){.stat = head.stat,
                                  .link = (enum files_link)head.link,
                                  .path = path,
                                  .target = target,
                                  .attributes = receiver->attributes,
                                  .attribute_count = head.attribute_count,
                                  .segments = receiver->segments,
                                  .segment_count = head.segment_count};
    return rc;
}

static bool data_is_missing(const struct files_receiver *receiver)
{
    return receiver->segment < receiver->segment_count;
}

static int take_entry(struct files_receiver *receiver, struct rest *rest,
                      struct files_record *record, struct blx_error *err)
{
    if (data_is_missing(receiver))
        return broken("a file without all of its data", err);
    if (receiver->state == STATE_COMPARING)
        return broken("an entry in a comparison", err);
    if (receiver->state == STATE_TOPS)
        receiver->state = STATE_ENTRIES;
    int rc = parse_entry(receiver, rest, &record->entry, err);
    if (rc == 0)
        rc = check_stat(&record->entry, err);
    if (rc == 0 && receiver->state == STATE_LISTING) {
        receiver->segment_count = 0; /* a listing has no data */
        return take_link(receiver, &record->entry, err);
    }
    if (rc == 0)
        rc = take_place(receiver, &record->entry, err);
    return rc == 0 ? take_link(receiver, &record->entry, err) : rc;
}

static int take_data(struct files_receiver *receiver, struct rest *rest,
                     struct files_record *record, struct blx_error *err)
{
    const void *from = cut(rest, sizeof(record->offset_bytes));
    if (from == NULL || rest->bytes == 0 || rest->bytes > FILES_DATA_MAX_BYTES ||
        !data_is_missing(receiver))
        return broken("data", err);
    memcpy(&record->offset_bytes, from, sizeof(record->offset_bytes));
    record->data = rest->at;
    record->bytes = rest->bytes;
    const struct files_segment *segment = &receiver->segments[receiver->segment];
    if (record->offset_bytes != segment->offset_bytes + receiver->segment_done_bytes ||
        record->bytes > segment->bytes - receiver->segment_done_bytes)
        return broken("data at another place", err);
    receiver->segment_done_bytes += record->bytes;
    if (receiver->segment_done_bytes == segment->bytes) {
        receiver->segment++;
        receiver->segment_done_bytes = 0;
    }
    return 0;
}

static int take_heading(struct files_receiver *receiver, struct rest *rest,
                        struct files_record *record, struct blx_error *err)
{
    if (receiver->state == STATE_ENTRIES || receiver->state == STATE_COMPARING ||
        receiver->top_count > 0)
        return broken("a heading in a copy", err);
    receiver->state = STATE_LISTING;
    record->text = cut_next_text(rest);
    record->device = cut_next_text(rest);
    record->filesystem = cut_next_text(rest);
    if (record->text == NULL || record->device == NULL || record->filesystem == NULL ||
        rest->bytes > 0)
        return broken("a heading", err);
    return 0;
}

static int take_changes(struct files_receiver *receiver, struct rest *rest,
                        struct files_record *record, struct blx_error *err)
{
    struct files_changes *changes = &record->changes;
    const void *from = cut(rest, sizeof(*changes));
    if ((receiver->state != STATE_TOPS && receiver->state != STATE_COMPARING) ||
        receiver->top_count > 0)
        return broken("changes in a copy or a listing", err);
    receiver->state = STATE_COMPARING;
    if (from == NULL || rest->bytes > 0)
        return broken("changes", err);
    memcpy(changes, from, sizeof(*changes));
    if (strnlen(changes->device, sizeof(changes->device)) == sizeof(changes->device) ||
        strnlen(changes->filesystem, sizeof(changes->filesystem)) == sizeof(changes->filesystem) ||
        changes->size_bytes > FILES_MAX_SIZE_BYTES || changes->tells_files > 1)
        return broken("changes", err);
    /* Files of a damaged filesystem may share blocks. */
    if (changes->written_bytes > changes->size_bytes)
        changes->written_bytes = changes->size_bytes;
    if (changes->files_bytes > changes->written_bytes)
        changes->files_bytes = changes->written_bytes;
    receiver->changed_left = changes->tells_files == 1 ? FILES_MOST_FILES : 0;
    receiver->changed_bytes = changes->written_bytes;
    return 0;
}

static int take_changed(struct files_receiver *receiver, struct rest *rest,
                        struct files_record *record, struct blx_error *err)
{
    uint64_t numbers[2];
    const void *from = cut(rest, sizeof(numbers));
    if (receiver->state != STATE_COMPARING || receiver->changed_left == 0 || from == NULL)
        return broken("a changed file", err);
    memcpy(numbers, from, sizeof(numbers));
    const char *path = cut_text(rest, rest->bytes);
    if (!is_path(path) || numbers[0] > receiver->changed_bytes || numbers[0] == 0 ||
        numbers[1] > FILES_MAX_SIZE_BYTES)
        return broken("a changed file", err);
    receiver->changed_left--;
    receiver->changed_bytes = numbers[0];
    record->changed =
        (struct files_changed){.path = path, .written_bytes = numbers[0], .size_bytes = numbers[1]};
    return 0;
}

static int take_end(struct files_receiver *receiver, const struct rest *rest, struct blx_error *err)
{
    if (rest->bytes > 0 || data_is_missing(receiver) || receiver->tops_begun != receiver->top_count)
        return broken("an end before everything came", err);
    receiver->state = STATE_END;
    return 0;
}

static int take_record(struct files_receiver *receiver, uint32_t kind, struct rest rest,
                       struct files_record *record, struct blx_error *err)
{
    record->kind = (enum files_record_kind)kind;
    switch (kind) {
    case FILES_RECORD_HEADING:
        return take_heading(receiver, &rest, record, err);
    case FILES_RECORD_ENTRY:
        return take_entry(receiver, &rest, record, err);
    case FILES_RECORD_DATA:
        return take_data(receiver, &rest, record, err);
    case FILES_RECORD_END:
        return take_end(receiver, &rest, err);
    case FILES_RECORD_CHANGES:
        return take_changes(receiver, &rest, record, err);
    case FILES_RECORD_CHANGED:
        return take_changed(receiver, &rest, record, err);
    case FILES_RECORD_TOP:
    case FILES_RECORD_NOTE:
    case FILES_RECORD_PROBLEM:
    case FILES_RECORD_FAILED:
    case FILES_RECORD_KERNEL:
        record->text = cut_text(&rest, rest.bytes);
        if (record->text == NULL)
            return broken("a text", err);
        if (kind == FILES_RECORD_KERNEL &&
            (receiver->state != STATE_TOPS || receiver->top_count > 0))
            return broken("a wish for a kernel after it had begun", err);
        return kind == FILES_RECORD_TOP ? take_top(receiver, record->text, err) : 0;
    default:
        return broken("an unknown record", err);
    }
}

int files_receive(struct files_receiver *receiver, struct files_record *record,
                  struct blx_error *err)
{
    struct head head;
    blx_assert(receiver->state != STATE_END);
    int rc = take(receiver, &head, sizeof(head));
    if (rc == 0 && head.bytes > FILES_RECORD_MAX_BYTES)
        return broken("a record's length", err);
    if (rc == 0)
        rc = take(receiver, receiver->buffer, head.bytes);
    if (rc == -ENODATA)
        return blx_error_set(err, rc, "the reader of the filesystem ended before it was done");
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot read what the reader of the filesystem says");
    *record = (struct files_record){.text = ""};
    struct rest rest = {.at = receiver->buffer, .bytes = head.bytes};
    return take_record(receiver, head.kind, rest, record, err);
}
