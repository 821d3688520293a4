/* SPDX-License-Identifier: Apache-2.0 */
#include "files/walk.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/text.h"

enum { PIECE_BYTES = 4096, MAX_DEPTH = 1000 };

/* Something at the top of a copy or a listing. */
struct top {
    char *path;  /* owned: on the server */
    size_t skip; /* of its bytes, which the copy's name lacks */
};

/* An inode that was met. */
struct met {
    uint64_t number;
    size_t disk;
    char *path; /* owned: in the copy; NULL for a folder */
};

struct walk {
    struct files_places *places;
    enum files_task task;
    struct files_sender *sender;
    struct top *tops;
    size_t top_count;
    void *linked;  /* struct met: what has several names */
    void *folders; /* struct met: a hostile filesystem may have a folder in itself */
    bool *caveats; /* of each disk: told */
    /* The entry that is being told. */
    char path[FILES_PATH_BYTES]; /* on the server */
    size_t skip;
    struct files_attribute attributes[FILES_MAX_ATTRIBUTES];
    size_t attribute_count, attribute_bytes;
    bool attributes_left_out;
    struct files_segment *segments; /* FILES_MAX_SEGMENTS */
    size_t segment_count;
    uint8_t *buffer; /* FILES_DATA_MAX_BYTES */
};

static const char *name_of(const struct walk *walk)
{
    return walk->path + walk->skip;
}

static int tell(struct walk *walk, enum files_record_kind kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static int tell(struct walk *walk, enum files_record_kind kind, const char *format, ...)
{
    char text[FILES_PATH_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return files_send_text(walk->sender, kind, text);
}

/* Nothing can be read any more: the keeper has ended. */
static bool is_lost(const struct blx_error *cause)
{
    return cause->code == -EPIPE || cause->code == -ECONNRESET;
}

static int leave_out(struct walk *walk, const struct blx_error *cause)
{
    if (is_lost(cause))
        return cause->code;
    return tell(walk, FILES_RECORD_PROBLEM, "'%s' is left out: %s", walk->path, cause->message);
}

static int compare_met(const void *a, const void *b)
{
    const struct met *first = a, *second = b;
    if (first->disk != second->disk)
        return first->disk < second->disk ? -1 : 1;
    return (first->number > second->number) - (first->number < second->number);
}

static void free_met(void *met)
{
    free(((struct met *)met)->path);
    free(met);
}

/* The one that was met before, or NULL: it is remembered now. -ENOMEM. */
static int meet(void **tree, struct met key, const char *path, const struct met **before)
{
    void *found = tfind(&key, tree, compare_met);
    *before = found != NULL ? *(struct met *const *)found : NULL;
    if (found != NULL)
        return 0;
    struct met *met = malloc(sizeof(*met));
    char *copy = path != NULL ? strdup(path) : NULL;
    if (met == NULL || (path != NULL && copy == NULL)) {
        free(met);
        free(copy);
        return -ENOMEM;
    }
    *met = (struct met){.number = key.number, .disk = key.disk, .path = copy};
    if (tsearch(met, tree, compare_met) != NULL)
        return 0;
    free_met(met);
    return -ENOMEM;
}

static void forget_attributes(struct walk *walk)
{
    for (size_t i = 0; i < walk->attribute_count; i++)
        free((void *)(uintptr_t)walk->attributes[i].name);
    walk->attribute_count = walk->attribute_bytes = 0;
    walk->attributes_left_out = false;
}

/* Name and value lie in one piece of memory. */
static int take_attribute(void *arg, const struct files_attribute *attribute)
{
    struct walk *walk = arg;
    size_t name_bytes = strlen(attribute->name) + 1;
    size_t bytes = name_bytes + attribute->bytes;
    if (walk->attribute_count == FILES_MAX_ATTRIBUTES ||
        !files_attribute_is_known(attribute->name) ||
        attribute->bytes > FILES_ATTRIBUTE_MAX_BYTES ||
        bytes > FILES_ATTRIBUTES_MAX_BYTES - walk->attribute_bytes) {
        walk->attributes_left_out = true;
        return 0;
    }
    char *copy = malloc(bytes);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, attribute->name, name_bytes);
    if (attribute->bytes > 0)
        memcpy(copy + name_bytes, attribute->value, attribute->bytes);
    walk->attributes[walk->attribute_count++] = (struct files_attribute){
        .name = copy, .value = copy + name_bytes, .bytes = attribute->bytes};
    walk->attribute_bytes += bytes;
    return 0;
}

/* Too many segments become one that has the holes between them. */
static int take_segment(void *arg, uint64_t offset_bytes, uint64_t bytes)
{
    struct walk *walk = arg;
    struct files_segment *last =
        walk->segment_count > 0 ? &walk->segments[walk->segment_count - 1] : NULL;
    if (last != NULL && (walk->segment_count == FILES_MAX_SEGMENTS ||
                         last->offset_bytes + last->bytes == offset_bytes))
        last->bytes = offset_bytes + bytes - last->offset_bytes;
    else
        walk->segments[walk->segment_count++] =
            (struct files_segment){.offset_bytes = offset_bytes, .bytes = bytes};
    return 0;
}

/* Blocks that cannot be read are zeros in the copy, which is told. */
static int send_piecemeal(struct walk *walk, struct files_tree *tree, struct files_node node,
                          uint64_t offset, size_t bytes)
{
    int rc = 0;
    for (size_t done = 0; rc == 0 && done < bytes;) {
        struct blx_error cause = {0};
        size_t piece = bytes - done < PIECE_BYTES ? bytes - done : PIECE_BYTES;
        int failed = tree->kind->read(tree, node, walk->buffer, piece, offset + done, &cause);
        if (failed < 0) {
            memset(walk->buffer, 0, piece);
            rc = is_lost(&cause)
                     ? cause.code
                     : tell(walk, FILES_RECORD_PROBLEM,
                            "'%s': bytes %" PRIu64 "-%" PRIu64 " are zeros in the copy: %s",
                            walk->path, offset + done, offset + done + piece - 1, cause.message);
        }
        if (rc == 0)
            rc = files_send_data(walk->sender, offset + done, walk->buffer, piece);
        done += piece;
    }
    return rc;
}

static int send_segment(struct walk *walk, struct files_tree *tree, struct files_node node,
                        const struct files_segment *segment)
{
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < segment->bytes;) {
        uint64_t offset = segment->offset_bytes + done, left = segment->bytes - done;
        size_t bytes = left < FILES_DATA_MAX_BYTES ? (size_t)left : FILES_DATA_MAX_BYTES;
        if (tree->kind->read(tree, node, walk->buffer, bytes, offset, NULL) == 0)
            rc = files_send_data(walk->sender, offset, walk->buffer, bytes);
        else
            rc = send_piecemeal(walk, tree, node, offset, bytes);
        done += bytes;
    }
    return rc;
}

/* An item of the copy: which filesystem it lies on, and where that was mounted. */
struct item {
    struct files_tree *tree;
    size_t disk;
    size_t mount_length; /* of the path */
    struct files_node node;
    struct files_stat stat;
    unsigned depth;
};

static int look_at(struct walk *walk, struct item *item, struct files_entry *entry,
                   char target[FILES_PATH_BYTES], struct blx_error *err)
{
    const struct files_tree_kind *kind = item->tree->kind;
    *entry = (struct files_entry){.stat = item->stat, .path = name_of(walk), .target = ""};
    forget_attributes(walk);
    walk->segment_count = 0;
    int rc = 0;
    if (S_ISLNK(item->stat.mode)) {
        rc = kind->read_link(item->tree, item->node, target, err);
        entry->link = FILES_LINK_SYMBOLIC;
        entry->target = target;
    }
    if (rc < 0 || walk->task == FILES_LIST)
        return rc;
    if (S_ISREG(item->stat.mode))
        rc = kind->map(item->tree, item->node, take_segment, walk, err);
    return rc;
}

/* A copy without its attributes is better than none. */
static int add_attributes(struct walk *walk, const struct item *item)
{
    struct blx_error cause = {0};
    int rc =
        item->tree->kind->list_attributes(item->tree, item->node, take_attribute, walk, &cause);
    if (rc == 0 && walk->attributes_left_out)
        rc = blx_error_set(&cause, -E2BIG, "they are too large, or of a kind that is not known");
    if (rc == 0 || is_lost(&cause))
        return rc;
    return tell(walk, FILES_RECORD_PROBLEM, "'%s' is copied without some of its attributes: %s",
                walk->path, cause.message);
}

static int send_file(struct walk *walk, struct item *item, struct files_entry *entry)
{
    int rc = walk->task == FILES_LIST ? 0 : add_attributes(walk, item);
    entry->attributes = walk->attributes;
    entry->attribute_count = walk->attribute_count;
    entry->segments = walk->segments;
    entry->segment_count = walk->segment_count;
    if (rc == 0)
        rc = files_send_entry(walk->sender, entry);
    for (size_t i = 0; rc == 0 && i < walk->segment_count; i++) {
        struct files_segment segment = walk->segments[i];
        rc = send_segment(walk, item->tree, item->node, &segment);
    }
    return rc;
}

/* The second name of a file leads to the first one. 1: it was told. */
static int send_hard_link(struct walk *walk, const struct item *item)
{
    const struct met *before;
    if (item->stat.links < 2 || S_ISDIR(item->stat.mode) || walk->task == FILES_LIST)
        return 0;
    int rc = meet(&walk->linked, (struct met){.number = item->node.number, .disk = item->disk},
                  name_of(walk), &before);
    if (rc < 0 || before == NULL)
        return rc;
    const struct files_entry entry = {
        .stat = item->stat, .link = FILES_LINK_HARD, .path = name_of(walk), .target = before->path};
    rc = files_send_entry(walk->sender, &entry);
    return rc == 0 ? 1 : rc;
}

static int send_folder(struct walk *walk, const struct item *item);

/* The item at walk->path. `err`: a failure is the walk's, for something at the top; NULL: it is
 * told, and the item left out. */
static int send_item(struct walk *walk, struct item *item, struct blx_error *err)
{
    char target[FILES_PATH_BYTES];
    struct files_entry entry;
    struct blx_error cause = {0};
    int rc = send_hard_link(walk, item);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = look_at(walk, item, &entry, target, &cause);
    if (rc < 0)
        return err != NULL ? blx_error_set(err, rc, "'%s': %s", walk->path, cause.message)
                           : leave_out(walk, &cause);
    rc = send_file(walk, item, &entry);
    return rc == 0 && S_ISDIR(item->stat.mode) && walk->task != FILES_LIST ? send_folder(walk, item)
                                                                           : rc;
}

static struct files_node node_at(const struct walk *walk, const struct item *folder,
                                 uint64_t number)
{
    const char *path = walk->path + folder->mount_length;
    return (struct files_node){.number = number, .path = path + (path[0] == '/')};
}

/* The name in the folder at walk->path, whose end is restored. */
static int send_name(struct walk *walk, const struct item *folder, const struct files_name *name)
{
    size_t length = strlen(walk->path), name_length = strlen(name->text);
    size_t slash = length == 1 ? 0 : 1; /* "/" has one */
    if (length + slash + name_length >= sizeof(walk->path) - 1)
        return tell(walk, FILES_RECORD_PROBLEM, "'%.200s...' is left out: its path is too long",
                    walk->path);
    walk->path[length] = '/';
    memcpy(walk->path + length + slash, name->text, name_length + 1);
    struct item item = *folder;
    struct blx_error cause = {0};
    item.node = node_at(walk, folder, name->number);
    item.depth++;
    const char *mounted = files_places_mounted_at(walk->places, walk->path);
    int rc = item.tree->kind->look(item.tree, item.node, &item.stat, &cause);
    if (rc < 0)
        rc = leave_out(walk, &cause);
    else if (mounted != NULL && S_ISDIR(item.stat.mode)) {
        struct files_entry entry = {.stat = item.stat, .path = name_of(walk), .target = ""};
        rc = files_send_entry(walk->sender, &entry);
        if (rc == 0)
            rc = tell(walk, FILES_RECORD_NOTE, "'%s' was on %s%s", walk->path, mounted,
                      walk->task == FILES_LIST ? "" : ", and is empty here: ask for it by name");
    } else
        rc = send_item(walk, &item, NULL);
    walk->path[length] = '\0';
    return rc;
}

static int tell_strange(struct walk *walk, const struct files_names *names)
{
    return names->strange == 0 ? 0
                               : tell(walk, FILES_RECORD_PROBLEM,
                                      "%zu names in '%s' are left out: no system allows them",
                                      names->strange, walk->path);
}

static int send_names(struct walk *walk, const struct item *folder)
{
    BLX_CLEANUP(files_names_done) struct files_names names = {0};
    struct blx_error cause = {0};
    if (files_names_read(folder->tree, folder->node, &names, &cause) < 0)
        return is_lost(&cause)
                   ? cause.code
                   : tell(walk, FILES_RECORD_PROBLEM, "the content of '%s' is left out: %s",
                          walk->path, cause.message);
    int rc = tell_strange(walk, &names);
    for (size_t i = 0; rc == 0 && i < names.count; i++)
        rc = send_name(walk, folder, &names.names[i]);
    return rc;
}

static int send_folder(struct walk *walk, const struct item *item)
{
    const struct met *before;
    int rc = meet(&walk->folders, (struct met){.number = item->node.number, .disk = item->disk},
                  name_of(walk), &before);
    if (rc < 0)
        return rc;
    if (before != NULL || item->depth > MAX_DEPTH)
        return tell(walk, FILES_RECORD_PROBLEM,
                    "the content of '%s' is left out: the filesystem is damaged, the folder %s",
                    walk->path, before != NULL ? "lies at two places" : "lies too deep");
    return send_names(walk, item);
}

static int tell_caveat(struct walk *walk, const struct files_place *place)
{
    if (place->tree->caveat == NULL || walk->caveats[place->disk])
        return 0;
    walk->caveats[place->disk] = true;
    return tell(walk, FILES_RECORD_NOTE, "%s: %s", files_places_device(walk->places, place->disk),
                place->tree->caveat);
}

static void tops_done(struct walk *walk)
{
    for (size_t i = 0; i < walk->top_count; i++)
        free(walk->tops[i].path);
    free(walk->tops);
}

static int add_top(struct walk *walk, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t skip = walk->task == FILES_COPY ? (size_t)(slash - path) + 1 : 1;
    char *copy = strdup(path);
    if (copy == NULL || blx_array_make_room(walk->tops, walk->top_count) < 0) {
        free(copy);
        return -ENOMEM;
    }
    walk->tops[walk->top_count++] = (struct top){.path = copy, .skip = skip};
    return 0;
}

/* The root has no name, so its content is at the top. */
static int add_content(struct walk *walk, const struct files_place *root, struct blx_error *err)
{
    BLX_CLEANUP(files_names_done) struct files_names names = {0};
    int rc = files_names_read(root->tree, root->node, &names, err);
    if (rc == 0)
        rc = tell_strange(walk, &names);
    for (size_t i = 0; rc == 0 && i < names.count; i++) {
        char path[258];
        snprintf(path, sizeof(path), "/%s", names.names[i].text);
        if (i == 0 || strcmp(names.names[i].text, names.names[i - 1].text) != 0)
            rc = add_top(walk, path);
    }
    return rc;
}

static int take_match(void *arg, const char *path, struct blx_error *err)
{
    struct walk *walk = arg;
    BLX_CLEANUP_FREE struct files_place *place = malloc(sizeof(*place));
    int rc = place == NULL ? -ENOMEM : files_places_find(walk->places, path, place, err);
    if (rc == 0 && walk->task != FILES_LIST && strcmp(place->path, "/") == 0)
        rc = add_content(walk, place, err);
    else if (rc == 0)
        rc = add_top(walk, place->path);
    return rc < 0 ? blx_error_errno(err, rc, "cannot look for '%s'", path) : 0;
}

/* The slash comes before every other character. */
static int rank(char character)
{
    return character == '/' ? 1 : (unsigned char)character + (character != '\0');
}

/* By name, and a folder before everything that lies in it. */
static int compare_tops(const void *a, const void *b)
{
    const struct top *first = a, *second = b;
    const char *x = first->path + first->skip, *y = second->path + second->skip;
    while (*x == *y && *x != '\0') {
        x++;
        y++;
    }
    return rank(*x) - rank(*y);
}

/* What was asked for twice is copied once. */
static int unite_tops(struct walk *walk, struct blx_error *err)
{
    size_t kept = 0;
    int rc = 0;
    if (walk->top_count > 0)
        qsort(walk->tops, walk->top_count, sizeof(walk->tops[0]), compare_tops);
    for (size_t i = 0; i < walk->top_count; i++) {
        struct top *top = &walk->tops[i], *last = kept > 0 ? &walk->tops[kept - 1] : NULL;
        const char *name = top->path + top->skip;
        size_t length = last != NULL ? strlen(last->path + last->skip) : 0;
        bool below = last != NULL && strncmp(name, last->path + last->skip, length) == 0 &&
                     (name[length] == '/' || name[length] == '\0');
        if (below && strcmp(top->path, last->path) != 0 && name[length] == '\0')
            rc = blx_error_set(err, -EEXIST,
                               "'%s' and '%s' would have the same name: copy one after the other",
                               last->path, top->path);
        if (below)
            free(top->path);
        else
            walk->tops[kept++] = *top;
    }
    walk->top_count = kept;
    return rc;
}

static int send_tops(struct walk *walk)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < walk->top_count; i++)
        rc = files_send_text(walk->sender, FILES_RECORD_TOP,
                             walk->tops[i].path + walk->tops[i].skip);
    return rc;
}

static struct item item_of(const struct files_place *place)
{
    size_t length = strcmp(place->path, "/") == 0 ? 0 : strlen(place->path);
    size_t inside = strlen(place->node.path);
    return (struct item){.tree = place->tree,
                         .disk = place->disk,
                         .mount_length = length - inside - (inside > 0 ? 1 : 0),
                         .node = place->node,
                         .stat = place->stat};
}

static int copy_top(struct walk *walk, const struct top *top, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct files_place *place = malloc(sizeof(*place));
    int rc = place == NULL ? -ENOMEM : files_places_find(walk->places, top->path, place, err);
    if (rc < 0)
        return rc;
    blx_text_set(walk->path, place->path);
    walk->skip = top->skip;
    struct item item = item_of(place);
    item.node = node_at(walk, &item, place->node.number);
    rc = tell_caveat(walk, place);
    return rc == 0 ? send_item(walk, &item, err) : rc;
}

static int list_top(struct walk *walk, const struct top *top, size_t *disk, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct files_place *place = malloc(sizeof(*place));
    int rc = place == NULL ? -ENOMEM : files_places_find(walk->places, top->path, place, err);
    if (rc == 0)
        rc = tell_caveat(walk, place);
    if (rc < 0)
        return rc;
    bool folder = S_ISDIR(place->stat.mode);
    blx_text_set(walk->path, place->path);
    struct item item = item_of(place);
    item.node = node_at(walk, &item, place->node.number);
    if (folder || *disk != place->disk)
        rc = files_send_heading(walk->sender, folder ? place->path : "",
                                files_places_device(walk->places, place->disk),
                                files_places_filesystem(walk->places, place->disk));
    *disk = folder ? SIZE_MAX : place->disk;
    if (rc < 0)
        return rc;
    walk->skip = folder ? strlen(place->path) + (place->path[1] != '\0') : 1;
    return folder ? send_names(walk, &item) : send_item(walk, &item, err);
}

static int walk_tops(struct walk *walk, struct blx_error *err)
{
    size_t disk = SIZE_MAX;
    int rc = walk->task == FILES_LIST ? 0 : send_tops(walk);
    for (size_t i = 0; rc == 0 && i < walk->top_count; i++)
        rc = walk->task == FILES_LIST ? list_top(walk, &walk->tops[i], &disk, err)
                                      : copy_top(walk, &walk->tops[i], err);
    return rc == 0 ? files_send_end(walk->sender) : rc;
}

static void walk_done(struct walk *walk)
{
    tops_done(walk);
    forget_attributes(walk);
    tdestroy(walk->linked, free_met);
    tdestroy(walk->folders, free_met);
    free(walk->caveats);
    free(walk->segments);
    free(walk->buffer);
    free(walk);
}

int files_walk(struct files_places *places, enum files_task task, char *const *paths,
               size_t path_count, struct files_sender *sender, struct blx_error *err)
{
    struct walk *walk = calloc(1, sizeof(*walk));
    if (walk == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot look for files");
    walk->places = places;
    walk->task = task;
    walk->sender = sender;
    walk->caveats = calloc(FILES_MAX_DISKS, sizeof(walk->caveats[0]));
    walk->segments = calloc(FILES_MAX_SEGMENTS, sizeof(walk->segments[0]));
    walk->buffer = malloc(FILES_DATA_MAX_BYTES);
    int rc = walk->caveats == NULL || walk->segments == NULL || walk->buffer == NULL ? -ENOMEM : 0;
    for (size_t i = 0; rc == 0 && i < path_count; i++)
        rc = files_places_match(places, paths[i], take_match, walk, err);
    if (rc == 0 && task != FILES_LIST)
        rc = unite_tops(walk, err);
    if (rc == 0)
        rc = walk_tops(walk, err);
    walk_done(walk);
    const char *action = rc == -EPIPE || rc == -ECONNRESET
                             ? "cannot ask for the checkpoint's blocks"
                             : "cannot tell what was found";
    return rc < 0 ? blx_error_errno(err, rc, "%s", action) : 0;
}
