/* SPDX-License-Identifier: Apache-2.0 */
#include "page/view.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "wire/protection.h"

enum { SHOWN_CHECKPOINTS = 500 };

/* The words of a request for files. */
struct place {
    char agent[BLX_NAME_BYTES], checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    char device[PAGE_DEVICE_BYTES], path[PAGE_PATH_BYTES];
};

/* How bad it is: the worst is on top. What this version does not know may be worse than that. */
static int find_rank(const json_t *agent)
{
    const char *name = page_json_text(agent, "protection");
    int at = 0;
    while (at < BLX_PROTECTIONS && strcmp(name, blx_protection_name((enum blx_protection)at)) != 0)
        at++;
    return at;
}

static void link_agent(FILE *out, const char *id)
{
    fputs("<td><a href=\"/agent?id=", out);
    page_html_word(out, id);
    fputs("\">", out);
    page_html_text(out, id);
    fputs("</a></td>", out);
}

static void link_checkpoint(FILE *out, const char *agent, const char *checkpoint)
{
    fputs("<td>", out);
    if (checkpoint[0] != '\0') {
        fputs("<a href=\"/checkpoint?agent=", out);
        page_html_word(out, agent);
        fputs("&amp;checkpoint=", out);
        page_html_word(out, checkpoint);
        fputs("\">", out);
        page_html_text(out, checkpoint);
        fputs("</a>", out);
    } else {
        fputs("-", out);
    }
    fputs("</td>", out);
}

static void write_age(FILE *out, const json_t *seconds)
{
    char text[BLX_UNIT_TEXT_BYTES] = "-";
    if (json_is_integer(seconds) && json_integer_value(seconds) >= 0)
        blx_duration_format((uint64_t)json_integer_value(seconds) * 1000, text);
    fputs("<td class=\"number\">", out);
    page_html_text(out, text);
    fputs("</td>", out);
}

static void write_heads(FILE *out, const char *const *heads)
{
    fputs("<table><thead><tr>", out);
    for (; *heads != NULL; heads++)
        fprintf(out, "<th scope=\"col\">%s</th>", *heads);
    fputs("</tr></thead>\n<tbody>\n", out);
}

static void write_agent(FILE *out, const json_t *agent)
{
    const char *id = page_json_text(agent, "id");
    fputs("<tr>", out);
    link_agent(out, id);
    page_html_cell(out, page_json_text(agent, "protection"));
    page_html_cell(out, page_json_text(agent, "why"));
    page_html_cell(out, page_json_text(agent, "state"));
    link_checkpoint(out, id, page_json_text(agent, "last_checkpoint"));
    write_age(out, json_object_get(agent, "age"));
    page_html_cell(out, page_json_text(agent, "consistency"));
    page_html_cell(out, page_json_text(json_object_get(agent, "proven"), "time"));
    page_html_bytes(out, json_object_get(agent, "volume_bytes"));
    fputs("</tr>\n", out);
}

static bool is_archived(const json_t *agent)
{
    return strcmp(page_json_text(agent, "protection"), "archived") == 0;
}

/* It is protected elsewhere, and copied from there. */
static bool is_copy(const json_t *agent)
{
    return json_object_get(agent, "copy_of") != NULL;
}

/* The sentence of `status`; nobody expects anything of an agent that is archived. */
static void write_summary(FILE *out, const json_t *status)
{
    size_t wanted = 0, good = 0, known = 0, count = 0, at;
    const json_t *agent;
    json_array_foreach(status, at, agent)
    {
        if (is_copy(agent))
            continue;
        count++;
        known += json_is_null(json_object_get(agent, "away_ms")) ? 0 : 1;
        wanted += is_archived(agent) ? 0 : 1;
        good += json_is_true(json_object_get(agent, "protected")) ? 1 : 0;
    }
    if (count == 0)
        fputs("<h1>No agent has connected yet</h1>\n", out);
    else if (known == 0)
        fputs("<h1>Nothing is being protected: no dispatcher runs</h1>\n", out);
    else if (wanted == 0)
        fputs("<h1>Nothing is being protected: every agent is archived</h1>\n", out);
    else if (good == wanted && wanted == 1)
        fputs("<h1>The only agent is protected</h1>\n", out);
    else if (good == wanted)
        fprintf(out, "<h1>All %zu agents are protected</h1>\n", wanted);
    else
        fprintf(out, "<h1>%zu of %zu agent%s %s not protected</h1>\n", wanted - good, wanted,
                wanted == 1 ? "" : "s", wanted - good == 1 ? "is" : "are");
}

void page_view_overview(FILE *out, const struct page_request *request, const json_t *answer)
{
    static const char *const heads[] = {"Server",     "Protection", "Why",         "State",
                                        "Checkpoint", "Age",        "Consistency", "Last proven",
                                        "Disks",      NULL};
    size_t at;
    const json_t *agent;
    (void)request;
    write_summary(out, answer);
    write_heads(out, heads);
    for (int rank = BLX_PROTECTIONS; rank >= 0; rank--) {
        json_array_foreach(answer, at, agent)
        {
            if (!is_copy(agent) && find_rank(agent) == rank)
                write_agent(out, agent);
        }
    }
    fputs("</tbody></table>\n", out);
}

/* What is special about a checkpoint, in words. */
static void write_marks(FILE *out, const json_t *checkpoint)
{
    static const char *const marks[] = {"damaged", "pinned", "locked", "suspicious"};
    const json_t *tested = json_object_get(checkpoint, "tested");
    const char *comma = "";
    fputs("<td>", out);
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        const json_t *mark = json_object_get(checkpoint, marks[i]);
        if (mark == NULL || json_is_null(mark) || json_is_false(mark))
            continue;
        fprintf(out, "%s%s", comma, marks[i]);
        comma = ", ";
    }
    if (json_is_object(tested)) {
        fprintf(out, "%stested: ", comma);
        page_html_text(out, page_json_text(tested, "verdict"));
    }
    fputs("</td>", out);
}

static void write_sum(FILE *out, const json_t *checkpoint, const char *key)
{
    json_int_t sum = 0;
    size_t at;
    const json_t *volume;
    json_array_foreach(json_object_get(checkpoint, "volumes"), at, volume)
    {
        json_int_t part = json_integer_value(json_object_get(volume, key));
        sum += part > 0 && part < INT64_MAX - sum ? part : 0;
    }
    json_t *number = json_integer(sum);
    page_html_bytes(out, number);
    json_decref(number);
}

static void write_checkpoint(FILE *out, const char *agent, const json_t *checkpoint)
{
    fputs("<tr>", out);
    link_checkpoint(out, agent, page_json_text(checkpoint, "checkpoint"));
    page_html_cell(out, page_json_text(checkpoint, "time"));
    page_html_cell(out, page_json_text(checkpoint, "consistency"));
    page_html_cell(out, page_json_text(checkpoint, "kind"));
    write_sum(out, checkpoint, "changed_bytes");
    write_sum(out, checkpoint, "stored_bytes");
    write_marks(out, checkpoint);
    page_html_cell(out, page_json_text(checkpoint, "note"));
    fputs("</tr>\n", out);
}

void page_view_agent(FILE *out, const struct page_request *request, const json_t *answer)
{
    static const char *const heads[] = {"Checkpoint", "Time",  "Consistency", "Kind", "Changed",
                                        "Stored",     "Marks", "Note",        NULL};
    char agent[BLX_NAME_BYTES] = "";
    size_t count = json_array_size(answer);
    page_request_agent(request, "id", agent, NULL);
    fputs("<p><a href=\"/\">All servers</a></p>\n<h1>", out);
    page_html_text(out, agent);
    fprintf(out, "</h1>\n<p>%zu checkpoints, the newest first", count);
    if (count > SHOWN_CHECKPOINTS)
        fprintf(out, "; the newest %d are shown, and `blxrep dispatcher show` lists all",
                SHOWN_CHECKPOINTS);
    fputs("</p>\n", out);
    write_heads(out, heads);
    for (size_t i = 0; i < count && i < SHOWN_CHECKPOINTS; i++)
        write_checkpoint(out, agent, json_array_get(answer, count - 1 - i));
    fputs("</tbody></table>\n", out);
}

static void write_value(FILE *out, const json_t *value)
{
    if (json_is_string(value)) {
        page_html_text(out, json_string_value(value));
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    page_html_text(out, text != NULL ? text : "?");
    free(text);
}

/* The members that are no lists, as a table of two columns. */
static void write_members(FILE *out, const json_t *object)
{
    const char *key;
    json_t *value;
    fputs("<table><tbody>\n", out);
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0) ||
            strcmp(key, "volumes") == 0)
            continue;
        fputs("<tr><th scope=\"row\">", out);
        page_html_text(out, key);
        fputs("</th><td>", out);
        write_value(out, value);
        fputs("</td></tr>\n", out);
    }
    fputs("</tbody></table>\n", out);
}

/* An address that takes the words of `files`. */
static void write_files_address(FILE *out, const char *url, const char *agent,
                                const char *checkpoint, const char *device, const char *path)
{
    fprintf(out, "%s?agent=", url);
    page_html_word(out, agent);
    fputs("&amp;checkpoint=", out);
    page_html_word(out, checkpoint);
    fputs("&amp;device=", out);
    page_html_word(out, device);
    fputs("&amp;path=", out);
    page_html_word(out, path);
}

static void write_line(FILE *out, const char *head, const struct page_request *request,
                       const char *before, const char *agent, const char *checkpoint,
                       const char *after)
{
    char line[2 * PATH_MAX];
    snprintf(line, sizeof(line), "blxrep dispatcher %s --agent=%s --checkpoint=%s --data-dir=%s%s",
             before, agent, checkpoint, request->page->data_dir, after);
    fprintf(out, "<dt>%s</dt><dd><code>", head);
    page_html_text(out, line);
    fputs("</code></dd>\n", out);
}

static void write_ways_back(FILE *out, const struct page_request *request, const char *agent,
                            const char *checkpoint)
{
    fputs("<h2>Ways back</h2>\n<p><a href=\"", out);
    write_files_address(out, "/files", agent, checkpoint, "", "/");
    fputs("\">Browse its files</a></p>\n<dl>\n", out);
    write_line(out, "One file", request, "files", agent, checkpoint, " --output=. /etc/fstab");
    write_line(out, "The server now", request, "boot", agent, checkpoint, "");
    write_line(out, "Onto a new machine", request, "restore", agent, checkpoint, " --token");
    write_line(out, "The image", request, "restore", agent, checkpoint, " --output=disk.img");
    fputs("</dl>\n", out);
}

void page_view_checkpoint(FILE *out, const struct page_request *request, const json_t *answer)
{
    const char *agent = page_json_text(answer, "agent");
    const char *checkpoint = page_json_text(answer, "checkpoint");
    size_t at;
    const json_t *volume;
    fputs("<p><a href=\"/\">All servers</a>, <a href=\"/agent?id=", out);
    page_html_word(out, agent);
    fputs("\">", out);
    page_html_text(out, agent);
    fputs("</a></p>\n<h1>", out);
    page_html_text(out, agent);
    fputs(", ", out);
    page_html_text(out, page_json_text(answer, "time"));
    fputs("</h1>\n", out);
    write_members(out, answer);
    write_ways_back(out, request, agent, checkpoint);
    json_array_foreach(json_object_get(answer, "volumes"), at, volume)
    {
        fputs("<h2>", out);
        page_html_text(out, page_json_text(volume, "name"));
        fputs("</h2>\n", out);
        if (json_is_null(json_object_get(volume, "key"))) {
            fputs("<p><a href=\"/image?agent=", out);
            page_html_word(out, agent);
            fputs("&amp;checkpoint=", out);
            page_html_word(out, checkpoint);
            fputs("&amp;device=", out);
            page_html_word(out, page_json_text(volume, "device"));
            fputs("\">Download the image</a></p>\n", out);
        }
        write_members(out, volume);
    }
}

/* A folder leads on, a file is downloaded, and neither link is made for anything else. */
static void write_entry(FILE *out, const struct place *place, const json_t *entry)
{
    const char *path = page_json_text(entry, "path"), *type = page_json_text(entry, "type");
    bool folder = strcmp(type, "folder") == 0, file = strcmp(type, "file") == 0;
    fputs("<tr><td>", out);
    if (folder || file) {
        fputs("<a href=\"", out);
        write_files_address(out, folder ? "/files" : "/download", place->agent, place->checkpoint,
                            place->device, path);
        fputs("\">", out);
    }
    page_html_text(out, path);
    fputs(folder || file ? "</a></td>" : "</td>", out);
    page_html_cell(out, type);
    page_html_bytes(out, json_object_get(entry, "size"));
    page_html_cell(out, page_json_text(entry, "mtime"));
    page_html_cell(out, page_json_text(entry, "mode"));
    fputs("</tr>\n", out);
}

void page_view_files(FILE *out, const struct page_request *request, const json_t *answer)
{
    static const char *const heads[] = {"Path", "Kind", "Size", "Changed", "Mode", NULL};
    struct place place = {.agent = ""};
    size_t at;
    const json_t *entry;
    page_request_agent(request, "agent", place.agent, NULL);
    page_request_checkpoint(request, place.checkpoint, NULL);
    page_request_device(request, place.device, NULL);
    page_request_path(request, place.path, NULL);
    fputs("<p><a href=\"/checkpoint?agent=", out);
    page_html_word(out, place.agent);
    fputs("&amp;checkpoint=", out);
    page_html_word(out, place.checkpoint);
    fputs("\">Checkpoint ", out);
    page_html_text(out, place.checkpoint);
    fputs(" of ", out);
    page_html_text(out, place.agent);
    fputs("</a></p>\n<h1>", out);
    page_html_text(out, place.path);
    fputs("</h1>\n<p><a href=\"", out);
    write_files_address(out, "/download", place.agent, place.checkpoint, place.device, place.path);
    fputs("&amp;as=tar\">Download all of it as a tar archive</a></p>\n", out);
    write_heads(out, heads);
    json_array_foreach(answer, at, entry)
    {
        write_entry(out, &place, entry);
    }
    fputs("</tbody></table>\n", out);
}
