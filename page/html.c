/* SPDX-License-Identifier: Apache-2.0 */
#include "page/html.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "page/reply.h"

void page_html_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            fputc(*text, out);
        }
    }
}

void page_html_word(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (isalnum(byte) || strchr("-._~/", byte) != NULL)
            fputc(byte, out);
        else
            fprintf(out, "%%%02X", byte);
    }
}

void page_html_cell(FILE *out, const char *text)
{
    fputs("<td>", out);
    page_html_text(out, text == NULL || text[0] == '\0' ? "-" : text);
    fputs("</td>", out);
}

void page_html_bytes(FILE *out, const json_t *number)
{
    char text[BLX_UNIT_TEXT_BYTES] = "-";
    if (json_is_integer(number) && json_integer_value(number) >= 0)
        blx_size_format((uint64_t)json_integer_value(number), text);
    fputs("<td class=\"number\">", out);
    page_html_text(out, text);
    fputs("</td>", out);
}

const char *page_json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

static void write_note(FILE *out, const char *note)
{
    if (note[0] == '\0')
        return;
    fputs("<p role=\"alert\">", out);
    page_html_text(out, note);
    fputs("</p>\n", out);
}

enum MHD_Result page_html_send(const struct page_request *request,
                               void (*write)(FILE *out, const struct page_request *request,
                                             const json_t *answer),
                               const json_t *answer, const char *note)
{
    const char *shell = page_assets_shell(request->page->assets);
    const char *mark = strstr(shell, PAGE_HTML_MARK);
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return MHD_NO;
    fwrite(shell, 1, mark != NULL ? (size_t)(mark - shell) : strlen(shell), out);
    if (mark != NULL) {
        write_note(out, note);
        write(out, request, answer);
        fputs(mark + strlen(PAGE_HTML_MARK), out);
    }
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return MHD_NO;
    }
    const struct page_reply reply = {.status = MHD_HTTP_OK,
                                     .type = PAGE_TYPE_HTML,
                                     .text = text,
                                     .bytes = bytes,
                                     .packing = PAGE_PACKED};
    return page_reply_send(request, &reply);
}
