/* SPDX-License-Identifier: Apache-2.0 */
#include "page/files.h"

#include <archive.h>
#include <archive_entry.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "page/html.h"
#include "page/reply.h"

enum { PIECE_BYTES = 64 * 1024, NAME_BYTES = 256 };

static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned count;

/* A command whose output is sent. */
struct download {
    struct page_run run;
    struct archive *archive; /* NULL: the tar archive itself is sent */
    uint64_t file_bytes;     /* of the file; of a tar archive MHD_SIZE_UNKNOWN */
    char name[NAME_BYTES];   /* of what is sent */
};

int page_files_ask(const struct page_request *request, struct page_files_words *words,
                   struct page_question *question, struct blx_error *err)
{
    char agent[BLX_NAME_BYTES], checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    char device[PAGE_DEVICE_BYTES], path[PAGE_PATH_BYTES];
    int rc = page_request_agent(request, "agent", agent, err);
    if (rc == 0)
        rc = page_request_checkpoint(request, checkpoint, err);
    if (rc == 0)
        rc = page_request_device(request, device, err);
    if (rc == 0)
        rc = page_request_path(request, path, err);
    if (rc < 0)
        return rc;
    snprintf(words->agent, sizeof(words->agent), "--agent=%s", agent);
    snprintf(words->checkpoint, sizeof(words->checkpoint), "--checkpoint=%s", checkpoint);
    snprintf(words->device, sizeof(words->device), "--device=%s", device);
    snprintf(words->path, sizeof(words->path), "--path=%s", path);
    *question =
        (struct page_question){.words = {"files", words->agent, words->checkpoint, words->path,
                                         "--json", device[0] != '\0' ? words->device : NULL}};
    return 0;
}

static int take_turn(struct blx_error *err)
{
    pthread_mutex_lock(&count_lock);
    bool free_one = count < PAGE_DOWNLOADS;
    count += free_one ? 1 : 0;
    pthread_mutex_unlock(&count_lock);
    return free_one
               ? 0
               : blx_error_set(err, -EBUSY, "%d downloads are under way already: try again later",
                               PAGE_DOWNLOADS);
}

static void close_download(void *arg)
{
    struct download *download = arg;
    if (download->archive != NULL)
        archive_read_free(download->archive);
    if (download->run.pid > 0)
        page_ask_end(&download->run, NULL);
    free(download);
    pthread_mutex_lock(&count_lock);
    count--;
    pthread_mutex_unlock(&count_lock);
}

/* The last name of the path, with what is no plain character replaced: it goes into a header. */
static void name_download(struct download *download, const char *path, const char *ending)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash != NULL ? slash + 1 : path;
    snprintf(download->name, sizeof(download->name), "%.200s%s", last[0] != '\0' ? last : "files",
             ending);
    for (char *at = download->name; *at != '\0'; at++)
        if (!isalnum((unsigned char)*at) && strchr("-._", *at) == NULL)
            *at = '_';
}

/* What the command says if it ends without a file. */
static int explain_end(struct download *download, struct blx_error *err)
{
    struct blx_error said = {0};
    int status = page_ask_end(&download->run, &said);
    download->run.pid = 0;
    return status != 0 ? blx_error_copy(err, -EIO, &said)
                       : blx_error_set(err, -ENOENT, "there is no such file in the checkpoint");
}

/* Whether both name the same place: blxrep's archives have no slash in front. */
static bool is_same_path(const char *a, const char *b)
{
    for (;;) {
        a += strspn(a, "/");
        b += strspn(b, "/");
        size_t length = strcspn(a, "/");
        if (length != strcspn(b, "/") || strncmp(a, b, length) != 0)
            return false;
        if (length == 0)
            return true;
        a += length;
        b += length;
    }
}

static bool has_same_name(const char *a, const char *b)
{
    const char *last_a = strrchr(a, '/'), *last_b = strrchr(b, '/');
    return strcmp(last_a != NULL ? last_a + 1 : a, last_b != NULL ? last_b + 1 : b) == 0;
}

/* Names are bytes, and one that the library cannot give as such is given as UTF-8. */
static const char *name_of(struct archive_entry *entry)
{
    const char *name = archive_entry_pathname(entry);
    name = name != NULL ? name : archive_entry_pathname_utf8(entry);
    return name != NULL ? name : "";
}

/* Reads up to the content of the file at `path`. */
static int open_file(struct download *download, const char *path, struct blx_error *err)
{
    struct archive_entry *entry = NULL;
    download->archive = archive_read_new();
    if (download->archive == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot send the file");
    archive_read_support_format_tar(download->archive);
    if (archive_read_open_fd(download->archive, download->run.out_fd, PIECE_BYTES) != ARCHIVE_OK)
        return explain_end(download, err);
    /* The folders that lead to it come first. A warning tells of a name that is no text. */
    int rc;
    do
        rc = archive_read_next_header(download->archive, &entry);
    while (rc >= ARCHIVE_WARN && rc != ARCHIVE_EOF && archive_entry_filetype(entry) == S_IFDIR &&
           !is_same_path(name_of(entry), path));
    if (rc < ARCHIVE_WARN || rc == ARCHIVE_EOF)
        return explain_end(download, err);
    if (archive_entry_filetype(entry) != S_IFREG || !has_same_name(name_of(entry), path))
        return blx_error_set(err, -EINVAL,
                             "this is no file with content: take it as a tar archive (as=tar)");
    download->file_bytes = (uint64_t)archive_entry_size(entry);
    return 0;
}

static int start(const struct page_request *request, struct download *download,
                 struct blx_error *err)
{
    struct page_files_words words;
    struct page_question question;
    const char *as = page_request_word(request, "as");
    const bool tar = as != NULL && strcmp(as, "tar") == 0;
    int rc = page_files_ask(request, &words, &question, err);
    if (rc < 0)
        return rc;
    question.words[4] = "--output=-";
    name_download(download, words.path, tar ? ".tar" : "");
    rc = page_ask_start(request->page->ask, &question, &download->run, err);
    download->file_bytes = MHD_SIZE_UNKNOWN;
    return rc < 0 || tar ? rc : open_file(download, words.path + strlen("--path="), err);
}

/* The tar archive's next bytes, and at its end whether it is whole. */
static ssize_t read_tar(struct download *download, char *buffer, size_t room)
{
    struct blx_error err = {0};
    ssize_t got;
    do
        got = read(download->run.out_fd, buffer, room);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        return got;
    int status = page_ask_end(&download->run, &err);
    download->run.pid = 0;
    if (got < 0 || status != 0) {
        blx_log_warning("a download of '%s' breaks off: %s", download->name, err.message);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return MHD_CONTENT_READER_END_OF_STREAM;
}

static ssize_t fill(void *arg, uint64_t position, char *buffer, size_t room)
{
    struct download *download = arg;
    if (download->archive == NULL)
        return read_tar(download, buffer, room);
    uint64_t left = download->file_bytes - position;
    ssize_t got = archive_read_data(download->archive, buffer, left < room ? (size_t)left : room);
    if (got > 0)
        return got;
    blx_log_warning("a download of '%s' breaks off", download->name);
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static enum MHD_Result add_headers(struct MHD_Response *response, const struct download *download)
{
    char name[NAME_BYTES + 64];
    snprintf(name, sizeof(name), "attachment; filename=\"%s\"", download->name);
    const char *headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE,
         download->archive == NULL ? "application/x-tar" : "application/octet-stream"},
        {MHD_HTTP_HEADER_CONTENT_DISPOSITION, name},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
    };
    enum MHD_Result result = page_reply_guard(response);
    for (size_t i = 0; result == MHD_YES && i < sizeof(headers) / sizeof(headers[0]); i++)
        result = MHD_add_response_header(response, headers[i][0], headers[i][1]);
    return result;
}

enum MHD_Result page_download_serve(const struct page_request *request)
{
    struct blx_error err = {0};
    struct download *download = calloc(1, sizeof(*download));
    if (download == NULL)
        return MHD_NO;
    if (take_turn(&err) < 0) {
        free(download);
        return page_reply_error(request, page_status_of(&err), &err);
    }
    if (start(request, download, &err) < 0) {
        close_download(download);
        return page_reply_error(request, page_status_of(&err), &err);
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        download->file_bytes, PIECE_BYTES, fill, download, close_download);
    if (response == NULL) {
        close_download(download);
        return MHD_NO;
    }
    enum MHD_Result result = add_headers(response, download);
    if (result == MHD_YES)
        result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}
